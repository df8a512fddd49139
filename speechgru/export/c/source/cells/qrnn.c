/* The state of a QRNN: rows n, z, o of the product with its window. */
static void qrnn(const float *restrict x, float *restrict h, float *restrict c, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float update = sigmoid(x[n + i]);
        c[i] = update * c[i] + (1 - update) * tangent(x[i]);
        h[i] = sigmoid(x[2 * n + i]) * c[i];
    }
}
