/* a + b, in place of a */
static void add(float *restrict a, const float *restrict b, int n)
{
    int i;
    for (i = 0; i < n; i++) a[i] += b[i];
}
