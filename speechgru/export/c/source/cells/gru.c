/* The state of a GRU, from its products with the frame and with the state: rows r, z, n. */
static void gru(const float *restrict x, const float *restrict u, float *restrict h, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float reset = sigmoid(x[i] + u[i]), update = sigmoid(x[n + i] + u[n + i]);
        const float candidate = tangent(x[2 * n + i] + reset * u[2 * n + i]);
        h[i] = (1 - update) * candidate + update * h[i];
    }
}
