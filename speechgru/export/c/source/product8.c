/* A matrix of whole numbers with a scale for each row, and what is added to the product. */
typedef struct {
    int rows, columns;
    const int8_t *weight;
    const float *scale, *bias;
} matrix8;

/* The vector is rounded to whole numbers too, as fine as the sum of their products allows. */
static void product8(const matrix8 *m, const float *restrict x, float *restrict y, int16_t *restrict whole)
{
    const int32_t fits = INT32_MAX / (128 * (int32_t)m->columns), most = fits < 32767 ? fits : 32767;
    const int columns = m->columns;
    float largest = 0, scale;
    int row, column, k;
    for (column = 0; column < columns; column++) {
        const float size = x[column] < 0 ? -x[column] : x[column];
        if (size > largest) largest = size;
    }
    scale = largest > 0 ? (float)most / largest : 0;
    for (column = 0; column < columns; column++)
        whole[column] = (int16_t)(x[column] * scale + (x[column] < 0 ? -0.5f : 0.5f));
    scale = largest > 0 ? largest / (float)most : 0;
    for (row = 0; row < m->rows; row += 4) { /* four rows read the vector once; what is no row is computed in vain */
        const int8_t *restrict a = m->weight + row * columns, *restrict b = row + 1 < m->rows ? a + columns : a;
        const int8_t *restrict c = row + 2 < m->rows ? b + columns : a, *restrict d = row + 3 < m->rows ? c + columns : a;
        int32_t sums[4], sum_a = 0, sum_b = 0, sum_c = 0, sum_d = 0;
        for (column = 0; column < columns; column++) {
            const int32_t value = whole[column];
            sum_a += a[column] * value;
            sum_b += b[column] * value;
            sum_c += c[column] * value;
            sum_d += d[column] * value;
        }
        sums[0] = sum_a;
        sums[1] = sum_b;
        sums[2] = sum_c;
        sums[3] = sum_d;
        for (k = 0; k < 4 && row + k < m->rows; k++)
            y[row + k] = (float)sums[k] * (scale * m->scale[row + k]) + (m->bias ? m->bias[row + k] : 0);
    }
}
