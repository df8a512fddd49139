/* Reads 16-bit samples at the model's rate from standard input and prints the tokens as they are heard:
   arecord -q -t raw -f S16_LE -c 1 -r RATE | ./example */
#include "model.h"

#include <stdio.h>
#include <string.h>

static NAME_state state;

static void print(const NAME_event *events, int found)
{
    int i;
    for (i = 0; i < found && i < 16; i++) {
        const char *token = NAME_labels[events[i].label];
        printf("%s", strcmp(token, "|") == 0 ? " " : token);
    }
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
    printf("\n");
    return 0;
}
