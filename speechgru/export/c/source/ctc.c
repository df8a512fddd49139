/* From scores to tokens: the likeliest token of each frame, without blanks and repetitions. */
static void tell(NAME_state *s, const float *scores, int64_t start, int64_t end)
{
    int best = 0, i;
    for (i = 1; i < LABELS; i++)
        if (scores[i] > scores[best]) best = i;
    if (best != 0 && best != s->token) {
        if (s->found < s->max_events) {
            NAME_event *event = s->events + s->found;
            event->label = best;
            event->confidence = exponential(scores[best]);
            event->start = start;
            event->end = end;
        }
        s->found++;
    }
    s->token = best;
}

/* Logarithms of probabilities from the sums of the last layer. */
static void score_tokens(float *scores)
{
    float highest = scores[0], total = 0;
    int i;
    for (i = 1; i < LABELS; i++)
        if (scores[i] > highest) highest = scores[i];
    for (i = 0; i < LABELS; i++) total += exponential(scores[i] - highest);
    total = highest + logf(total);
    for (i = 0; i < LABELS; i++) scores[i] -= total;
}
