/* The state of an SRU: rows n, z, r of the product with the frame, the weights of the memory in z and r, and what the
   highway passes on. */
static void sru(const float *restrict x, const float *restrict weight, const float *restrict skip, float scale,
                float *restrict h, float *restrict c, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float update = sigmoid(x[n + i] + weight[i] * c[i]);
        const float highway = sigmoid(x[2 * n + i] + weight[n + i] * c[i]);
        c[i] = update * c[i] + (1 - update) * x[i];
        h[i] = highway * c[i] + (1 - highway) * scale * skip[i];
    }
}
