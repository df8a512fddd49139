/* A convolution over the frames of a window (frame, channel, value), normalised and rectified: (channel, value). */
typedef struct {
    int channels, size, stride, width, height, outputs, out_size; /* stride and height along the values */
    int residual;
} convolution;

static void patch_of(const convolution *c, const float *kept, int place, float *patch)
{
    const int begin = place * c->stride - c->height / 2;
    int channel, frame, value;
    for (channel = 0; channel < c->channels; channel++)
        for (frame = 0; frame < c->width; frame++) {
            const float *row = kept + (frame * c->channels + channel) * c->size;
            for (value = begin; value < begin + c->height; value++)
                *patch++ = value >= 0 && value < c->size ? row[value] : 0;
        }
}

static void rectify(const convolution *c, const float *kept, const float *sums, int place, float *out)
{
    const float *before = kept + c->width / 2 * c->channels * c->size;
    int channel;
    for (channel = 0; channel < c->outputs; channel++) {
        const int at = channel * c->out_size + place;
        out[at] = sums[channel] > 0 ? sums[channel] : 0;
        if (c->residual) out[at] += before[at];
    }
}
