/* What is left of the state of a GRU1, GRU2 or GRU3 after the reset gate. */
static void variant_left(const float *restrict reset, const float *restrict h, float *restrict left, int n)
{
    int i;
    for (i = 0; i < n; i++) left[i] = sigmoid(reset[i]) * h[i];
}

/* The next state, from the sums of the update gate, and of the candidate with the frame and with what is left. */
static void variant(const float *restrict gate, const float *restrict x, const float *restrict u, float *restrict h,
                    int n)
{
    int i;
    for (i = 0; i < n; i++) {
        const float update = sigmoid(gate[i]);
        h[i] = (1 - update) * tangent(x[i] + u[i]) + update * h[i];
    }
}
