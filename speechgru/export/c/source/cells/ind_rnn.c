/* The state of an IndRNN, from its product with the frame and the weight of each value for itself. */
static void ind_rnn(const float *restrict x, const float *restrict weight, float *restrict h, int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float sum = x[i] + weight[i] * h[i];
        h[i] = sum > 0 ? sum : 0;
    }
}
