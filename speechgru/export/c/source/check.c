/* Reads int16 samples in chunks of argv[1]; writes the scores of every frame to argv[2] and prints the events. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

static NAME_state state;

static void keep(void *file, const float *scores)
{
    fwrite(scores, sizeof *scores, UPPER_LABELS, (FILE *)file);
}

static void print(const NAME_event *events, int found)
{
    int i;
    for (i = 0; i < found && i < 1024; i++)
        printf("%d %ld %ld %.9g\n", events[i].label, (long)events[i].start, (long)events[i].end, events[i].confidence);
}

int main(int count, char **arguments)
{
    static int16_t samples[65536];
    static NAME_event events[1024];
    const size_t chunk = count == 3 ? (size_t)atoi(arguments[1]) : 0;
    FILE *file = chunk ? fopen(arguments[2], "wb") : NULL;
    size_t n;
    if (!file) return 2;
    NAME_init(&state);
    state.on_scores = keep;
    state.user = file;
    while ((n = fread(samples, sizeof samples[0], chunk, stdin)) > 0)
        print(events, NAME_feed(&state, samples, (int)n, events, 1024));
    print(events, NAME_flush(&state, events, 1024));
    printf("state %lu\n", (unsigned long)sizeof state);
    return fclose(file) != 0;
}
