/* From scores to detections: the mean over the last frames, a threshold for each word, and a refractory time. */
static void tell(NAME_state *s, int label, float confidence, int64_t start, int64_t end)
{
    if (s->found < s->max_events) {
        NAME_event *event = s->events + s->found;
        event->label = label;
        event->confidence = confidence;
        event->start = start;
        event->end = end;
    }
    s->found++;
}

/* Scores are summed as whole numbers, so that the sums are exact and chunks make no difference. */
static void spot(NAME_state *s, const float *scores, int64_t heard)
{
    const int32_t newest = (s->spot_first + s->spot_held) % SPOT_KEPT;
    int word;
    if (!s->scored)
        for (word = 0; word < WORDS; word++) s->low[word] = heard;
    s->scored = 1;
    s->spot_heard[newest] = heard;
    s->spot_held++;
    for (word = 0; word < WORDS; word++) {
        const int32_t score = (int32_t)(scores[words[word]] * 1073741824.0f + 0.5f);
        s->spot_scores[newest * WORDS + word] = score;
        s->spot_sums[word] += score;
    }
    while (s->spot_held > 1
           && (s->spot_held == SPOT_KEPT || heard - s->spot_heard[s->spot_first] > SMOOTHED_SAMPLES)) {
        for (word = 0; word < WORDS; word++) s->spot_sums[word] -= s->spot_scores[s->spot_first * WORDS + word];
        s->spot_first = (s->spot_first + 1) % SPOT_KEPT;
        s->spot_held--;
    }
    for (word = 0; word < WORDS; word++) {
        const int64_t sum = s->spot_sums[word], count = s->spot_held;
        if (sum >= thresholds[word] * count && (!s->fired[word] || heard - s->last[word] >= REFRACTORY_SAMPLES)) {
            tell(s, words[word], (float)sum / ((float)count * 1073741824.0f), s->low[word], heard);
            s->fired[word] = 1;
            s->last[word] = heard;
        }
        if (2 * sum < thresholds[word] * count) s->low[word] = heard;
    }
}

/* Probabilities from the sums of the last layer: each word by itself, the other labels share what is left. */
static void score_labels(float *scores)
{
    float most = 0, highest = -1e30f, total = 0;
    int i;
    for (i = 0; i < LABELS; i++)
        if (is_word[i]) {
            scores[i] = sigmoid(scores[i]);
            if (scores[i] > most) most = scores[i];
        } else if (scores[i] > highest) {
            highest = scores[i];
        }
    for (i = 0; i < LABELS; i++)
        if (!is_word[i]) total += scores[i] = exponential(scores[i] - highest);
    for (i = 0; i < LABELS; i++)
        if (!is_word[i]) scores[i] *= (1 - most) / total;
}
