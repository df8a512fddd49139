/* How many samples of the stream have been heard for a frame of the head. */
static int64_t heard_samples(const NAME_state *s, int64_t frame)
{
    int64_t frames = frame * SUBSAMPLING + FRAMES_AHEAD, samples, begun;
    if (frames < FRAMES_AT_LEAST) frames = FRAMES_AT_LEAST;
    frames += DELTAS_AHEAD;
    samples = FIRST_SAMPLE + (frames - 1) * HOP + WINDOW;
    begun = frames * HOP - SLACK;
    if (samples < begun) samples = begun;
    if (samples < SAMPLES_AT_LEAST) samples = SAMPLES_AT_LEAST;
    return s->ended && samples > s->taken ? s->taken : samples;
}
