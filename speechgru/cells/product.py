"""The product of frames or states with a weight, on its own or once per frame inside of a compiled loop.

A library takes longer to start than the product of a few rows takes, packs the weight at each call, and sums in an
order that depends on the number of rows. Here the weight is read as it is in memory. The key idea is the tile: three
rows by four columns are twelve vectors of sums, which stay in registers while the loop runs along the inner axis, eight
numbers at a time, and become twelve numbers at its end. Every sum is made in this one order, however many rows there
are: a frame has the same result to the last bit alone, in a chunk and in its utterance.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from speechgru.cells.rows import ZERO
from speechgru.cells.vectors import LANES, add_product, load, store_sums, zeros
from speechgru.compiled import kernel

COLUMNS = 4  # of a tile
BLOCK = 18  # rows that stay in the cache while the weight is read
# Fused multiply-adds are allowed, sums in another order than written are not.
_ordered = kernel(fastmath={"contract"}, error_model="numpy", nogil=True)
_part = register_jitable(fastmath={"contract"}, error_model="numpy", forceinline=True)


@_ordered
def multiply(left: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
    """``out = left @ weight.T`` of contiguous arrays, (rows, inner), (columns, inner) and (rows, columns)."""
    columns, inner = weight.shape
    tiles = columns // COLUMNS
    for begin in range(0, len(left), BLOCK):
        rows = min(BLOCK, len(left) - begin)
        last = begin + rows // 3 * 3
        for column in range(0, tiles * COLUMNS, COLUMNS):
            for row in range(begin, last, 3):
                _three_rows(left, row, weight, column, out)
            if rows % 3 == 2:
                _two_rows(left, last, weight, column, out)
        if rows % 3 == 1:
            for column in range(0, tiles // 2 * 2 * COLUMNS, 2 * COLUMNS):
                _one_row(left, last, weight, column, out)
            if tiles % 2:
                _half_row(left, last, weight, (tiles - 1) * COLUMNS, out)
    rest = inner // LANES * LANES
    if rest < inner:
        for row in range(len(left)):
            for column in range(tiles * COLUMNS):
                out[row, column] += _dot(left[row], weight[column], rest)
    for row in range(len(left)):
        for column in range(tiles * COLUMNS, columns):
            out[row, column] = _dot(left[row], weight[column], 0)


@_ordered
def project(left: np.ndarray, weight: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """As :func:`multiply`, with the bias added where there is one."""
    multiply(left, weight, out)
    for row in range(len(out)):
        for column in range(len(bias)):
            out[row, column] += bias[column]


@_part
def _three_rows(left: np.ndarray, row: int, weight: np.ndarray, column: int, out: np.ndarray) -> None:
    columns, inner = weight.shape
    x, w = row * inner, column * inner
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = zeros()
    for k in range(0, inner // LANES * LANES, LANES):
        a, b, c = load(left, x + k), load(left, x + inner + k), load(left, x + 2 * inner + k)
        v = load(weight, w + k)
        a0, b0, c0 = add_product(a0, a, v), add_product(b0, b, v), add_product(c0, c, v)
        v = load(weight, w + inner + k)
        a1, b1, c1 = add_product(a1, a, v), add_product(b1, b, v), add_product(c1, c, v)
        v = load(weight, w + 2 * inner + k)
        a2, b2, c2 = add_product(a2, a, v), add_product(b2, b, v), add_product(c2, c, v)
        v = load(weight, w + 3 * inner + k)
        a3, b3, c3 = add_product(a3, a, v), add_product(b3, b, v), add_product(c3, c, v)
    store_sums(out, row * columns + column, a0, a1, a2, a3)
    store_sums(out, (row + 1) * columns + column, b0, b1, b2, b3)
    store_sums(out, (row + 2) * columns + column, c0, c1, c2, c3)


@_part
def _two_rows(left: np.ndarray, row: int, weight: np.ndarray, column: int, out: np.ndarray) -> None:
    columns, inner = weight.shape
    x, w = row * inner, column * inner
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zeros()
    for k in range(0, inner // LANES * LANES, LANES):
        a, b = load(left, x + k), load(left, x + inner + k)
        v = load(weight, w + k)
        a0, b0 = add_product(a0, a, v), add_product(b0, b, v)
        v = load(weight, w + inner + k)
        a1, b1 = add_product(a1, a, v), add_product(b1, b, v)
        v = load(weight, w + 2 * inner + k)
        a2, b2 = add_product(a2, a, v), add_product(b2, b, v)
        v = load(weight, w + 3 * inner + k)
        a3, b3 = add_product(a3, a, v), add_product(b3, b, v)
    store_sums(out, row * columns + column, a0, a1, a2, a3)
    store_sums(out, (row + 1) * columns + column, b0, b1, b2, b3)


@_part
def _one_row(left: np.ndarray, row: int, weight: np.ndarray, column: int, out: np.ndarray) -> None:
    """One row by twice the columns, so that there are enough sums at once."""
    columns, inner = weight.shape
    x, w = row * inner, column * inner
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zeros()
    for k in range(0, inner // LANES * LANES, LANES):
        a = load(left, x + k)
        a0, a1 = add_product(a0, a, load(weight, w + k)), add_product(a1, a, load(weight, w + inner + k))
        a2 = add_product(a2, a, load(weight, w + 2 * inner + k))
        a3 = add_product(a3, a, load(weight, w + 3 * inner + k))
        a4 = add_product(a4, a, load(weight, w + 4 * inner + k))
        a5 = add_product(a5, a, load(weight, w + 5 * inner + k))
        a6 = add_product(a6, a, load(weight, w + 6 * inner + k))
        a7 = add_product(a7, a, load(weight, w + 7 * inner + k))
    store_sums(out, row * columns + column, a0, a1, a2, a3)
    store_sums(out, row * columns + column + COLUMNS, a4, a5, a6, a7)


@_part
def _half_row(left: np.ndarray, row: int, weight: np.ndarray, column: int, out: np.ndarray) -> None:
    columns, inner = weight.shape
    x, w = row * inner, column * inner
    a0 = a1 = a2 = a3 = zeros()
    for k in range(0, inner // LANES * LANES, LANES):
        a = load(left, x + k)
        a0, a1 = add_product(a0, a, load(weight, w + k)), add_product(a1, a, load(weight, w + inner + k))
        a2 = add_product(a2, a, load(weight, w + 2 * inner + k))
        a3 = add_product(a3, a, load(weight, w + 3 * inner + k))
    store_sums(out, row * columns + column, a0, a1, a2, a3)


@_part
def _dot(left: np.ndarray, right: np.ndarray, begin: int) -> np.float32:
    """The scalar product from an index on."""
    total = ZERO
    for k in range(begin, len(left)):
        total += left[k] * right[k]
    return total
