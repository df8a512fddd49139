/* A matrix of whole numbers with a scale for each row, and what is added to the product. */
typedef struct {
    int rows, columns;
    const int8_t *weight;
    const float *scale, *bias;
} matrix8;

/* Rounds a vector to whole numbers, as finely as the sum of their products allows; returns what the number 1 stands
   for. */
static float whole_numbers(const float *restrict x, int16_t *restrict whole, int columns)
{
    const int32_t fits = INT32_MAX / (128 * (int32_t)columns), most = fits < 32767 ? fits : 32767;
    union {
        float value;
        int32_t bits;
    } size, largest;
    float scale;
    int column;
    largest.bits = 0;
    for (column = 0; column < columns; column++) { /* sizes have the order of their bits */
        size.value = x[column];
        size.bits &= 0x7fffffff;
        if (size.bits > largest.bits) largest.bits = size.bits;
    }
    scale = largest.bits ? (float)most / largest.value : 0;
    for (column = 0; column < columns; column++)
        whole[column] = (int16_t)(x[column] * scale + (x[column] < 0 ? -0.5f : 0.5f));
    return largest.value / (float)most;
}

/* The vector is read once for four rows; results for rows beyond the last one are not used. */
static void product8(const matrix8 *m, const float *restrict x, float *restrict y, int16_t *restrict whole)
{
    const int rows = m->rows, columns = m->columns;
    const float scale = whole_numbers(x, whole, columns);
    int first, row, column;
    for (first = 0; first < rows; first += 32) {
        const int end = first + 32 < rows ? first + 32 : rows;
        int32_t sums[32];
        for (row = first; row < end; row += 4) {
            const int8_t *restrict a = m->weight + row * columns, *restrict b = row + 1 < rows ? a + columns : a;
            const int8_t *restrict c = row + 2 < rows ? b + columns : a, *restrict d = row + 3 < rows ? c + columns : a;
            int32_t sum_a = 0, sum_b = 0, sum_c = 0, sum_d = 0;
            for (column = 0; column < columns; column++) {
                const int32_t value = whole[column];
                sum_a += a[column] * value;
                sum_b += b[column] * value;
                sum_c += c[column] * value;
                sum_d += d[column] * value;
            }
            sums[row - first] = sum_a;
            sums[row - first + 1] = sum_b;
            sums[row - first + 2] = sum_c;
            sums[row - first + 3] = sum_d;
        }
        for (row = first; row < end; row++)
            y[row] = (float)sums[row - first] * (scale * m->scale[row]) + (m->bias ? m->bias[row] : 0);
    }
}
