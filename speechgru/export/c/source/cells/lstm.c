/* The memory of an LSTM, from both products: rows i, f, g, o. */
static void lstm_memory(const float *restrict x, const float *restrict u, float *restrict c, int n)
{
    int i;
    for (i = 0; i < n; i++)
        c[i] = sigmoid(x[n + i] + u[n + i]) * c[i] + sigmoid(x[i] + u[i]) * tangent(x[2 * n + i] + u[2 * n + i]);
}

/* Its output. */
static void lstm_output(const float *restrict x, const float *restrict u, const float *restrict c, float *restrict h,
                        int n)
{
    int i;
    for (i = 0; i < n; i++) h[i] = sigmoid(x[3 * n + i] + u[3 * n + i]) * tangent(c[i]);
}
