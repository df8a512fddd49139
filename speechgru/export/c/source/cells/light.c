/* The state of a Li-GRU, from both products: rows z, n. */
static void light(const float *restrict x, const float *restrict u, float *restrict h, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float update = sigmoid(x[i] + u[i]), sum = x[n + i] + u[n + i];
        h[i] = (1 - update) * (sum > 0 ? sum : 0) + update * h[i];
    }
}
