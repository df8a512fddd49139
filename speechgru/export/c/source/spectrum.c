/* From samples to the mel powers of a frame. */

/* The sample at an index of the stream, also before its first sample and after its last one. */
static int sample_at(const NAME_state *s, int64_t index)
{
    const int64_t length = s->taken;
    if (EDGES == EDGES_REFLECT) {
        const int64_t period = 2 * (length > 1 ? length - 1 : 1);
        index = (index % period + period) % period;
        if (index > period - index) index = period - index;
        if (index > length - 1) index = length - 1;
    } else if (EDGES == EDGES_MIRROR) {
        const int64_t period = 2 * length;
        index = (index % period + period) % period;
        if (index > period - 1 - index) index = period - 1 - index;
    } else if (index < 0 || index >= length) {
        return 0;
    }
    return s->samples[index - (length - s->held)];
}

/* e^(-2 pi i k / POINTS) */
static void turn(int k, float *real, float *imaginary)
{
    float sign = 1;
    if (HALVED) { /* the table is for twice as many points, and holds the first half of the circle */
        k *= 2;
        if (k > POINTS) {
            k -= POINTS;
            sign = -1;
        }
    }
    *real = sign * turn_real[k];
    *imaginary = sign * turn_imaginary[k];
}

/* Butterflies of one place for all `stride` transforms that run side by side; Stockham's order needs no reversal. */
static void butterflies_2(const float *restrict from, float *restrict to, int apart, int place, int stride)
{
    const float *a = from + place * stride, *b = a + apart * stride;
    float *sum = to + 2 * place * stride, *difference = sum + stride, wr, wi;
    int k;
    turn(place * stride, &wr, &wi);
    for (k = 0; k < stride; k++) {
        const float real = a[k] - b[k], imaginary = a[POINTS + k] - b[POINTS + k];
        sum[k] = a[k] + b[k];
        sum[POINTS + k] = a[POINTS + k] + b[POINTS + k];
        difference[k] = real * wr - imaginary * wi;
        difference[POINTS + k] = real * wi + imaginary * wr;
    }
}

static void butterflies_4(const float *restrict from, float *restrict to, int apart, int place, int stride)
{
    const float *a = from + place * stride;
    const float *b = a + apart * stride, *c = b + apart * stride, *d = c + apart * stride;
    float *out = to + 4 * place * stride;
    float w1r, w1i, w2r, w2i, w3r, w3i;
    int k;
    turn(place * stride, &w1r, &w1i);
    turn(2 * place * stride, &w2r, &w2i);
    turn(3 * place * stride, &w3r, &w3i);
    for (k = 0; k < stride; k++) {
        const float er = a[k] + c[k], ei = a[POINTS + k] + c[POINTS + k];
        const float fr = a[k] - c[k], fi = a[POINTS + k] - c[POINTS + k];
        const float gr = b[k] + d[k], gi = b[POINTS + k] + d[POINTS + k];
        const float hr = b[POINTS + k] - d[POINTS + k], hi = d[k] - b[k]; /* -i times the difference */
        out[k] = er + gr;
        out[POINTS + k] = ei + gi;
        out[stride + k] = (fr + hr) * w1r - (fi + hi) * w1i;
        out[stride + POINTS + k] = (fr + hr) * w1i + (fi + hi) * w1r;
        out[2 * stride + k] = (er - gr) * w2r - (ei - gi) * w2i;
        out[2 * stride + POINTS + k] = (er - gr) * w2i + (ei - gi) * w2r;
        out[3 * stride + k] = (fr - hr) * w3r - (fi - hi) * w3i;
        out[3 * stride + POINTS + k] = (fr - hr) * w3i + (fi - hi) * w3r;
    }
}

/* The first stage if it has radix 4, for all places side by side: there each transform has one place only. */
static void first_stage_4(const float *restrict from, float *restrict to)
{
    const int apart = POINTS / 4, step = HALVED ? 2 : 1;
    const float *ar = from, *br = ar + apart, *cr = br + apart, *dr = cr + apart;
    const float *ai = from + POINTS, *bi = ai + apart, *ci = bi + apart, *di = ci + apart;
    float *real = to, *imaginary = to + POINTS;
    int k;
    for (k = 0; k < apart; k++) {
        const float er = ar[k] + cr[k], ei = ai[k] + ci[k], fr = ar[k] - cr[k], fi = ai[k] - ci[k];
        const float gr = br[k] + dr[k], gi = bi[k] + di[k], hr = bi[k] - di[k], hi = dr[k] - br[k];
        const float w1r = turn_real[step * k], w1i = turn_imaginary[step * k]; /* and its square and cube */
        const float w2r = w1r * w1r - w1i * w1i, w2i = 2 * w1r * w1i;
        const float w3r = w1r * w2r - w1i * w2i, w3i = w1r * w2i + w1i * w2r;
        real[4 * k] = er + gr;
        real[4 * k + 1] = (fr + hr) * w1r - (fi + hi) * w1i;
        real[4 * k + 2] = (er - gr) * w2r - (ei - gi) * w2i;
        real[4 * k + 3] = (fr - hr) * w3r - (fi - hi) * w3i;
        imaginary[4 * k] = ei + gi;
        imaginary[4 * k + 1] = (fr + hr) * w1i + (fi + hi) * w1r;
        imaginary[4 * k + 2] = (er - gr) * w2i + (ei - gi) * w2r;
        imaginary[4 * k + 3] = (fr - hr) * w3i + (fi - hi) * w3r;
    }
}

static void butterflies_any(const float *from, float *to, int radix, int apart, int place, int stride)
{
    int out, in, k;
    for (out = 0; out < radix; out++) {
        float *sum = to + (radix * place + out) * stride;
        for (k = 0; k < stride; k++) sum[k] = sum[POINTS + k] = 0;
        for (in = 0; in < radix; in++) {
            const float *one = from + (place + apart * in) * stride;
            float wr, wi;
            turn((int)(((int64_t)out * (place + apart * in) * stride) % POINTS), &wr, &wi);
            for (k = 0; k < stride; k++) {
                sum[k] += one[k] * wr - one[POINTS + k] * wi;
                sum[POINTS + k] += one[k] * wi + one[POINTS + k] * wr;
            }
        }
    }
}

/* A stage of the transform; compilers vectorise it where they know the stride. */
static void stage_4(const float *restrict from, float *restrict to, int apart, int stride)
{
    int place;
    for (place = 0; place < apart; place++) butterflies_4(from, to, apart, place, stride);
}

static void stage_any(const float *from, float *to, int radix, int apart, int stride)
{
    int place;
    for (place = 0; place < apart; place++) {
        if (radix == 2) butterflies_2(from, to, apart, place, stride);
        else butterflies_any(from, to, radix, apart, place, stride);
    }
}

/* Fourier transform of POINTS complex numbers, real parts before imaginary ones; returns where the result is. */
static float *fourier(float *from, float *to)
{
    int stage, left = POINTS, stride = 1;
    for (stage = 0; stage < RADICES; stage++) {
        float *swapped = from;
        const int radix = radices[stage], apart = left / radix;
        if (radix != 4) stage_any(from, to, radix, apart, stride);
        else if (stride == 1) first_stage_4(from, to);
        else if (stride == 4) stage_4(from, to, apart, 4);
        else if (stride == 16) stage_4(from, to, apart, 16);
        else if (stride == 64) stage_4(from, to, apart, 64);
        else stage_4(from, to, apart, stride);
        from = to;
        to = swapped;
        left = apart;
        stride *= radix;
    }
    return from;
}

/* Squared moduli of the transform of FFT_SIZE real numbers; where HALVED, `z` is the transform with two of them in each
   complex number. */
static void powers(const float *restrict z, float *restrict power)
{
    int k;
    if (HALVED) {
        const int last = HIGHEST_BIN < POINTS ? HIGHEST_BIN : POINTS - 1;
        power[0] = (z[0] + z[POINTS]) * (z[0] + z[POINTS]);
        power[POINTS] = (z[0] - z[POINTS]) * (z[0] - z[POINTS]);
        for (k = 1; k <= last; k++) {
            const float *mirrored = z + POINTS - k;
            const float er = 0.5f * (z[k] + mirrored[0]), ei = 0.5f * (z[POINTS + k] - mirrored[POINTS]);
            const float fr = 0.5f * (z[POINTS + k] + mirrored[POINTS]), fi = 0.5f * (mirrored[0] - z[k]);
            const float real = er + fr * turn_real[k] - fi * turn_imaginary[k];
            const float imaginary = ei + fr * turn_imaginary[k] + fi * turn_real[k];
            power[k] = real * real + imaginary * imaginary;
        }
    } else {
        for (k = 0; k <= HIGHEST_BIN; k++) power[k] = z[k] * z[k] + z[POINTS + k] * z[POINTS + k];
    }
}

/* The samples of the next frame. */
static void window_of(const NAME_state *s, float *restrict signal)
{
    const int64_t begin = FIRST_SAMPLE + s->frames * HOP;
    int i;
    if (begin >= 0 && begin + WINDOW <= s->taken) {
        const int16_t *samples = s->samples + (begin - (s->taken - s->held));
        for (i = 0; i < WINDOW; i++) signal[i] = samples[i];
    } else {
        for (i = 0; i < WINDOW; i++) signal[i] = (float)sample_at(s, begin + i);
    }
}

/* Subtracts the mean, applies pre-emphasis and the window: the input of the transform. */
static void windowed(const float *restrict signal, float *restrict out)
{
    float mean = 0;
    int32_t sum = 0;
    int i;
    for (i = 0; REMOVE_DC && i < WINDOW; i++) sum += (int32_t)signal[i];
    mean = (float)sum / WINDOW;
    out[0] = (1 - PREEMPHASIS) * (signal[0] - mean) * window_weight[0]; /* the first sample is its own predecessor */
    for (i = 1; i < WINDOW; i++)
        out[i] = (signal[i] - mean - PREEMPHASIS * (signal[i - 1] - mean)) * window_weight[i];
    for (i = WINDOW; i < FFT_SIZE; i++) out[i] = 0;
}

/* The sum of a band, by four sums that do not wait for each other. */
static float band(const float *restrict weight, const float *restrict power, int count)
{
    float a = 0, b = 0, c = 0, d = 0;
    int k = 0;
    for (; k + 4 <= count; k += 4) {
        a += weight[k] * power[k];
        b += weight[k + 1] * power[k + 1];
        c += weight[k + 2] * power[k + 2];
        d += weight[k + 3] * power[k + 3];
    }
    for (; k < count; k++) a += weight[k] * power[k];
    return (a + b) + (c + d);
}

static void next_frame(NAME_state *s)
{
    float *one = s->work, *other = s->work + 2 * POINTS, *spectrum, *power;
    const float *weight = mel_weight;
    int i;
    window_of(s, other);
    windowed(other, one);
    for (i = 0; i < POINTS; i++) {
        other[i] = HALVED ? one[2 * i] : one[i];
        other[POINTS + i] = HALVED ? one[2 * i + 1] : 0;
    }
    spectrum = fourier(other, one);
    power = spectrum == one ? other : one;
    powers(spectrum, power);
    for (i = 0; i < MELS; i++) {
        const float sum = band(weight, power + mel_first[i], mel_count[i]);
        weight += mel_count[i];
        s->mel[i] = TAKE_LOG ? LOG_UNIT * logf(sum > LOG_FLOOR ? sum : LOG_FLOOR) : sum;
    }
    s->frames++;
    push_1(s, s->mel);
}
