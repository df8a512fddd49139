#ifndef UPPER_MODEL_H
#define UPPER_MODEL_H

#include <stdint.h>

#define UPPER_SAMPLE_RATE @RATE@ /* samples per second of its input */
#define UPPER_LABELS @LABELS@

/* The labels of the scores, in the order of the scores; UTF-8. */
extern const char *const NAME_labels[UPPER_LABELS];

/* @EVENT@ */
typedef struct {
    int64_t start, end; /* in samples from the beginning of the stream */
    int label;          /* index into NAME_labels */
    float confidence;   /* 0 to 1 */
} NAME_event;

/* One stream. Set on_scores after NAME_init to be given the scores of every frame; the rest is not for callers. */
typedef struct NAME_state {
    void (*on_scores)(void *user, const float *scores); /* @SCORES@ */
    void *user;
    NAME_event *events;
@STATE@} NAME_state;

/* Call it before the first sample of a stream. */
void NAME_init(NAME_state *state);

/* Takes n samples, any number. Returns how many events they brought; the first max_events are in `events`. */
int NAME_feed(NAME_state *state, const int16_t *samples, int n, NAME_event *events, int max_events);

/* Ends the stream and returns its last events in the same way. For another stream call NAME_init again. */
int NAME_flush(NAME_state *state, NAME_event *events, int max_events);

#endif
