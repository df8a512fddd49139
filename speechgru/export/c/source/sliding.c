/* Normalises a frame by the mean and the spread of the frames around it: from PAST before to AHEAD after it, and at the
   beginning of the stream at least the first MINIMUM. */
static void sliding_takes(NAME_state *s, const float *frame)
{
    int i;
    memcpy(s->sliding + (s->sliding_known % SLIDING_KEPT) * FEATURES, frame, FEATURES * sizeof *frame);
    s->sliding_known++;
    for (i = 0; i < FEATURES; i++) {
        s->sliding_sum[i] += frame[i];
        s->sliding_squares[i] += (double)frame[i] * frame[i];
    }
}

static void sliding_gives(NAME_state *s)
{
    const float *frame = s->sliding + (s->sliding_given % SLIDING_KEPT) * FEATURES;
    int i;
    for (; s->sliding_low < s->sliding_given - PAST; s->sliding_low++) {
        const float *old = s->sliding + (s->sliding_low % SLIDING_KEPT) * FEATURES;
        for (i = 0; i < FEATURES; i++) {
            s->sliding_sum[i] -= old[i];
            s->sliding_squares[i] -= (double)old[i] * old[i];
        }
    }
    for (i = 0; i < FEATURES; i++) {
        const double count = (double)(s->sliding_known - s->sliding_low), mean = s->sliding_sum[i] / count;
        const double spread = s->sliding_squares[i] / count - mean * mean;
        const double divisor = VARIANCE ? sqrt(spread > SMALLEST_VARIANCE ? spread : SMALLEST_VARIANCE) : 1;
        s->normal[i] = (float)((frame[i] - mean) / divisor);
    }
    s->sliding_given++;
}
