/* Reads 16-bit samples at the model's rate from standard input and prints what is heard:
   arecord -q -t raw -f S16_LE -c 1 -r RATE | ./example */
#include "model.h"

#include <stdio.h>

static NAME_state state;

static void print(const NAME_event *events, int found)
{
    int i;
    for (i = 0; i < found && i < 16; i++)
        printf("%8.2f s  %-12s %.2f\n", (double)events[i].end / UPPER_SAMPLE_RATE, NAME_labels[events[i].label],
               (double)events[i].confidence);
    fflush(stdout);
}

int main(void)
{
    static int16_t samples[UPPER_SAMPLE_RATE / 50];
    NAME_event events[16];
    size_t n;
    NAME_init(&state);
    while ((n = fread(samples, sizeof samples[0], sizeof samples / sizeof samples[0], stdin)) > 0)
        print(events, NAME_feed(&state, samples, (int)n, events, 16));
    print(events, NAME_flush(&state, events, 16));
    return 0;
}
