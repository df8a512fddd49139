/* What is left of the state after a reset gate, r * h; r from both products. */
static void reset_state(const float *restrict x, const float *restrict u, const float *restrict h, float *restrict left,
                        int n)
{
    int i;
    for (i = 0; i < n; i++) left[i] = sigmoid(x[i] + u[i]) * h[i];
}
