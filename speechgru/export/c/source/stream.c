/* From chunks of samples to frames, and from frames to events. */

/* How many frames no later sample can change. */
static int64_t frames_ready(const NAME_state *s)
{
    const int64_t inside = (s->taken - FIRST_SAMPLE - WINDOW + HOP) / HOP, begun = (s->taken + SLACK) / HOP;
    if (s->taken - FIRST_SAMPLE < WINDOW || s->taken + SLACK < HOP) return 0;
    if ((EDGES == EDGES_REFLECT || EDGES == EDGES_MIRROR) && s->taken <= -FIRST_SAMPLE) return 0;
    return inside < begun ? inside : begun;
}

/* Drops the samples that no later frame reads. */
static void drop_samples(NAME_state *s)
{
    int64_t needed = FIRST_SAMPLE + s->frames * HOP, drop;
    if ((EDGES == EDGES_REFLECT || EDGES == EDGES_MIRROR) && needed > s->taken - 2 * WINDOW - 2)
        needed = s->taken - 2 * WINDOW - 2;
    drop = needed - (s->taken - s->held);
    if (drop <= 0) return;
    if (drop > s->held) drop = s->held;
    s->held -= (int32_t)drop;
    memmove(s->samples, s->samples + drop, (size_t)s->held * sizeof s->samples[0]);
}

void NAME_init(NAME_state *s)
{
    memset(s, 0, sizeof *s);
    start(s);
}

int NAME_feed(NAME_state *s, const int16_t *samples, int n, NAME_event *events, int max_events)
{
    s->events = events;
    s->max_events = max_events;
    s->found = 0;
    while (n > 0 && !s->ended) {
        const int space = KEPT_SAMPLES - s->held, taken = n < space ? n : space;
        memcpy(s->samples + s->held, samples, (size_t)taken * sizeof samples[0]);
        samples += taken;
        n -= taken;
        s->held += taken;
        s->taken += taken;
        while (s->frames < frames_ready(s)) next_frame(s);
        drop_samples(s);
    }
    s->events = NULL;
    return s->found;
}

int NAME_flush(NAME_state *s, NAME_event *events, int max_events)
{
    int64_t frames = s->taken > 0;
    s->events = events;
    s->max_events = max_events;
    s->found = 0;
    if (!s->ended) {
        s->ended = 1;
        if (frames && (s->taken + SLACK) / HOP > 1) frames = (s->taken + SLACK) / HOP;
        while (s->frames < frames) next_frame(s);
        end_1(s);
    }
    s->events = NULL;
    return s->found;
}
