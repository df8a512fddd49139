/* From samples to the mel powers of a frame. */

/* What stands at a place of the stream, also before its first sample and after its last one. */
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
    if (HALVED) { /* the table is that of twice as many points, and holds the first half of the circle */
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
static void butterflies_2(const float *from, float *to, int apart, int place, int stride)
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

static void butterflies_4(const float *from, float *to, int apart, int place, int stride)
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

/* Fourier transform of POINTS complex numbers, the real parts before the imaginary ones; gives where the result is. */
static float *fourier(float *from, float *to)
{
    int stage, place, left = POINTS, stride = 1;
    for (stage = 0; stage < RADICES; stage++) {
        float *swapped = from;
        const int radix = radices[stage], apart = left / radix;
        for (place = 0; place < apart; place++) {
            if (radix == 4) butterflies_4(from, to, apart, place, stride);
            else if (radix == 2) butterflies_2(from, to, apart, place, stride);
            else butterflies_any(from, to, radix, apart, place, stride);
        }
        from = to;
        to = swapped;
        left = apart;
        stride *= radix;
    }
    return from;
}

/* Squared modulus of one bin of the transform of FFT_SIZE real numbers; where HALVED, of two in each complex one. */
static float power_of_bin(const float *z, int k)
{
    float real, imaginary;
    if (HALVED) {
        const int same = k == POINTS ? 0 : k, mirrored = k ? POINTS - k : 0;
        const float er = 0.5f * (z[same] + z[mirrored]), ei = 0.5f * (z[POINTS + same] - z[POINTS + mirrored]);
        const float fr = 0.5f * (z[POINTS + same] + z[POINTS + mirrored]), fi = 0.5f * (z[mirrored] - z[same]);
        real = er + fr * turn_real[k] - fi * turn_imaginary[k];
        imaginary = ei + fr * turn_imaginary[k] + fi * turn_real[k];
    } else {
        real = z[k];
        imaginary = z[POINTS + k];
    }
    return real * real + imaginary * imaginary;
}

/* The windowed samples of the next frame, as the transform reads them. */
static void window_samples(NAME_state *s)
{
    const int64_t begin = FIRST_SAMPLE + s->frames * HOP;
    float *signal = s->work + 2 * POINTS, *complex = s->work;
    float mean = 0;
    int32_t sum = 0;
    int i;
    for (i = 0; i < WINDOW; i++) {
        const int value = sample_at(s, begin + i);
        sum += value;
        signal[i] = (float)value;
    }
    if (REMOVE_DC) mean = (float)sum / WINDOW;
    for (i = WINDOW - 1; i >= 0; i--) {
        const float before = signal[i ? i - 1 : 0] - mean; /* the first sample stands before itself */
        signal[i] = (signal[i] - mean - PREEMPHASIS * before) * window_weight[i];
    }
    for (i = WINDOW; i < FFT_SIZE; i++) signal[i] = 0;
    for (i = 0; i < POINTS; i++) {
        complex[i] = HALVED ? signal[2 * i] : signal[i];
        complex[POINTS + i] = HALVED ? signal[2 * i + 1] : 0;
    }
}

static void next_frame(NAME_state *s)
{
    float *spectrum, *power;
    const float *weight = mel_weight;
    int i, k;
    window_samples(s);
    spectrum = fourier(s->work, s->work + 2 * POINTS);
    power = spectrum == s->work ? s->work + 2 * POINTS : s->work;
    for (k = LOWEST_BIN; k <= HIGHEST_BIN; k++) power[k] = power_of_bin(spectrum, k);
    for (i = 0; i < MELS; i++) {
        float sum = 0;
        for (k = 0; k < mel_count[i]; k++) sum += *weight++ * power[mel_first[i] + k];
        s->mel[i] = TAKE_LOG ? LOG_UNIT * logf(sum > LOG_FLOOR ? sum : LOG_FLOOR) : sum;
    }
    s->frames++;
    push_1(s, s->mel);
}
