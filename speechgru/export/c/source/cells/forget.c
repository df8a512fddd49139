/* What is left of the state after a gate that both keeps and resets, (1 - z) * h; z from both products. */
static void forget_state(const float *restrict x, const float *restrict u, const float *restrict h,
                         float *restrict left, int n)
{
    int i;
    for (i = 0; i < n; i++) left[i] = (1 - sigmoid(x[i] + u[i])) * h[i];
}
