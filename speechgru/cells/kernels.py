"""What compiled kernels share: a small matrix product, parts of rows, and what an autograd function remembers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numba.extending import register_jitable
from torch import Tensor

from speechgru.cells.rows import sigmoid, sigmoid_slope, standardize, standardize_backward, tanh, tanh_slope
from speechgru.compiled import kernel

FAST = {"contract", "reassoc"}  # fused multiply-adds and reordered sums; NaN and infinity stay what they are
# x / 0 as in NumPy: Python's rule is a branch in every division, and a loop with a branch in it is not vectorised.
compiled = kernel(fastmath=FAST, error_model="numpy")
# Such a function stays plain Python and is compiled into every kernel that calls it.
part = register_jitable(fastmath=FAST, error_model="numpy", forceinline=True)
for one in (tanh, sigmoid, tanh_slope, sigmoid_slope, standardize, standardize_backward):
    part(one)


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
