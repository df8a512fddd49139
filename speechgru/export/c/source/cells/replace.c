/* The next state (1 - z) * n + z * h, z and n from the products with the frame and with the state. */
static void replace(const float *restrict xz, const float *restrict uz, const float *restrict xn,
                    const float *restrict un, float *restrict h, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float update = sigmoid(xz[i] + uz[i]);
        h[i] = (1 - update) * tangent(xn[i] + un[i]) + update * h[i];
    }
}
