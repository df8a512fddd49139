/* Windows over a stream of frames: a window is complete when its last frame has come; outside the stream are zeros. */
typedef struct {
    int width, stride, before, size;
} window;

/* Takes a frame; returns whether a window is complete: `kept` is then this window. */
static int window_takes(const window *w, float *kept, int32_t *held, const float *frame)
{
    if (*held >= 0) memcpy(kept + *held * w->size, frame, (size_t)w->size * sizeof *frame);
    return ++*held == w->width;
}

/* After the last frame: returns whether there is one more window, completed with zeros. */
static int window_remains(const window *w, float *kept, const int32_t *held)
{
    if (*held <= w->before) return 0;
    memset(kept + *held * w->size, 0, (size_t)(w->width - *held) * (size_t)w->size * sizeof *kept);
    return 1;
}

/* Moves to the next window. */
static void window_moves(const window *w, float *kept, int32_t *held)
{
    if (w->stride < w->width)
        memmove(kept, kept + w->stride * w->size, (size_t)(w->width - w->stride) * (size_t)w->size * sizeof *kept);
    *held -= w->stride;
}
