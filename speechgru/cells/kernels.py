"""What compiled kernels share: a small matrix product, tanh, sigmoid, and what an autograd function remembers."""

from __future__ import annotations

from typing import Protocol

import numba
import numpy as np
from numba import float32
from torch import Tensor

from speechgru.compiled import kernel

FAST = {"contract", "reassoc"}  # fused multiply-adds and reordered sums; NaN and infinity stay what they are
# x / 0 as in NumPy: Python's rule is a branch in every division, and a loop with a branch in it is not vectorised.
compiled = kernel(fastmath=FAST, error_model="numpy")


class Context(Protocol):
    """What a ``torch.autograd.Function`` remembers from its forward to its backward pass.

    Attributes:
        saved_tensors: what ``save_for_backward`` was given.
        kept: other tensors that the gradient needs.
        reverse: whether rows are read from their end.
        flags: other choices of the cell.
    """

    saved_tensors: tuple[Tensor, ...]
    kept: tuple[Tensor, ...]
    reverse: bool
    flags: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Inputs and outputs; torch sees when one is changed in between."""


@numba.njit(inline="always")
def tanh(x):
    """tanh to 4e-7 by the rational function of Eigen's ``ptanh``, which the compiler can vectorise."""
    x = float32(7.998811) if x > float32(7.998811) else x
    x = float32(-7.998811) if x < float32(-7.998811) else x
    s = x * x
    p = float32(-2.76076847742355e-16) * s + float32(2.00018790482477e-13)
    p = p * s + float32(-8.60467152213735e-11)
    p = p * s + float32(5.12229709037114e-08)
    p = p * s + float32(1.48572235717979e-05)
    p = p * s + float32(6.37261928875436e-04)
    p = p * s + float32(4.89352455891786e-03)
    q = float32(1.19825839466702e-06) * s + float32(1.18534705686654e-04)
    q = q * s + float32(2.26843463243900e-03)
    q = q * s + float32(4.89352518554385e-03)
    return x * p / q


@numba.njit(inline="always")
def sigmoid(x):
    return float32(0.5) * tanh(float32(0.5) * x) + float32(0.5)


@compiled
def multiply(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """``out = left @ right`` for small matrices: four rows by four columns of ``left`` at a time stay in registers.

    As fast as a BLAS here, and without its threads, which wait for each other longer than such a product takes.
    """
    rows, inner = left.shape
    columns = right.shape[1]
    out[:] = 0
    for i in range(0, rows - 3, 4):
        out0, out1, out2, out3 = out[i], out[i + 1], out[i + 2], out[i + 3]
        row0, row1, row2, row3 = left[i], left[i + 1], left[i + 2], left[i + 3]
        for k in range(0, inner - 3, 4):
            right0, right1, right2, right3 = right[k], right[k + 1], right[k + 2], right[k + 3]
            a00, a01, a02, a03 = row0[k], row0[k + 1], row0[k + 2], row0[k + 3]
            a10, a11, a12, a13 = row1[k], row1[k + 1], row1[k + 2], row1[k + 3]
            a20, a21, a22, a23 = row2[k], row2[k + 1], row2[k + 2], row2[k + 3]
            a30, a31, a32, a33 = row3[k], row3[k + 1], row3[k + 2], row3[k + 3]
            for j in range(columns):
                x0, x1, x2, x3 = right0[j], right1[j], right2[j], right3[j]
                out0[j] += a00 * x0 + a01 * x1 + a02 * x2 + a03 * x3
                out1[j] += a10 * x0 + a11 * x1 + a12 * x2 + a13 * x3
                out2[j] += a20 * x0 + a21 * x1 + a22 * x2 + a23 * x3
                out3[j] += a30 * x0 + a31 * x1 + a32 * x2 + a33 * x3
    for i in range(rows):
        target, row = out[i], left[i]
        for k in range(inner // 4 * 4 if i < rows // 4 * 4 else 0, inner):
            factor, line = row[k], right[k]
            for j in range(columns):
                target[j] += factor * line[j]
