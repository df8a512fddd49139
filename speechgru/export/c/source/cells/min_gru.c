/* The state of a minGRU: rows z, n of the product with the frame. */
static void min_gru(const float *restrict x, float *restrict h, int positive, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float update = sigmoid(x[i]), sum = x[n + i];
        const float candidate = !positive ? sum : sum < 0 ? sigmoid(sum) : sum + 0.5f;
        h[i] = (1 - update) * candidate + update * h[i];
    }
}
