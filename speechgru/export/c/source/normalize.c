/* Layer normalisation, with a gain and a shift where they are given. */
static void normalize(float *values, int n, const float *gain, const float *shift)
{
    float mean = 0, variance = 0, factor;
    int i;
    for (i = 0; i < n; i++) mean += values[i];
    mean /= (float)n;
    for (i = 0; i < n; i++) variance += (values[i] - mean) * (values[i] - mean);
    factor = 1.0f / sqrtf(variance / (float)n + 1e-5f);
    for (i = 0; i < n; i++) values[i] = (values[i] - mean) * factor * (gain ? gain[i] : 1) + (shift ? shift[i] : 0);
}
