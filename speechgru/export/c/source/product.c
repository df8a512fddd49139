/* A matrix, column after column, and what is added to its products. */
typedef struct {
    int rows, columns;
    const float *weight, *bias;
} matrix;

/* Four columns at a time: the sums are read and written once for all four, and compilers vectorise over the rows. */
static void product(const matrix *m, const float *restrict x, float *restrict y)
{
    const int rows = m->rows;
    const float *restrict a = m->weight;
    int row, column = 0;
    for (row = 0; row < rows; row++) y[row] = m->bias ? m->bias[row] : 0;
    for (; column + 4 <= m->columns; column += 4, a += 4 * rows) {
        const float *restrict b = a + rows, *restrict c = b + rows, *restrict d = c + rows;
        const float xa = x[column], xb = x[column + 1], xc = x[column + 2], xd = x[column + 3];
        for (row = 0; row < rows; row++) y[row] += a[row] * xa + b[row] * xb + c[row] * xc + d[row] * xd;
    }
    for (; column < m->columns; column++, a += rows)
        for (row = 0; row < rows; row++) y[row] += a[row] * x[column];
}
