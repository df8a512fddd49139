/* Appends to a frame the slopes of its last values, from DELTA_REACH frames before it to as many after it. */
static void slopes(const float *kept, int size, float *out)
{
    const float *now = kept + DELTA_REACH * size;
    float sum = 0;
    int i, n;
    memcpy(out, now, (size_t)size * sizeof *out);
    for (n = 1; n <= DELTA_REACH; n++) sum += 2 * (float)(n * n);
    for (i = size - STATIC; i < size; i++) {
        float slope = 0;
        for (n = 1; n <= DELTA_REACH; n++) slope += (float)n * (now[n * size + i] - now[i - n * size]);
        out[size + i - (size - STATIC)] = slope / sum;
    }
}

/* Takes a frame; returns whether the slopes of the middle frame of `kept` can be computed. The first frame also stands
   for the frames before it. */
static int slopes_take(float *kept, int size, int32_t *held, const float *frame)
{
    do memcpy(kept + *held * size, frame, (size_t)size * sizeof *frame);
    while (++*held <= DELTA_REACH);
    return *held == 2 * DELTA_REACH + 1;
}

static void slopes_move(float *kept, int size, int32_t *held)
{
    --*held;
    memmove(kept, kept + size, (size_t)*held * (size_t)size * sizeof *kept);
}
