/* The state of a FastGRNN, from both products, the biases of z and n, and the two shares of the candidate. */
static void fast_grnn(const float *restrict x, const float *restrict u, const float *restrict bias, float zeta,
                      float nu, float *restrict h, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float sum = x[i] + u[i], update = sigmoid(sum + bias[i]);
        h[i] = (zeta * (1 - update) + nu) * tangent(sum + bias[n + i]) + update * h[i];
    }
}
