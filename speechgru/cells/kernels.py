"""What compiled kernels share: how they are compiled, parts of rows, and what an autograd function remembers."""

from __future__ import annotations

from typing import Protocol

from numba.extending import register_jitable
from torch import Tensor

from speechgru.cells.rows import sigmoid, sigmoid_slope, standardize, standardize_backward, tanh, tanh_slope

FAST = {"contract", "reassoc"}  # fused multiply-adds and reordered sums; NaN and infinity stay what they are
# A function given to ``part`` stays plain Python and is compiled into every kernel that calls it. x / 0 is as in NumPy:
# Python's rule would put a branch into every division, and a loop with a branch in it is not vectorised.
part = register_jitable(fastmath=FAST, error_model="numpy", forceinline=True)
for one in (tanh, sigmoid, tanh_slope, sigmoid_slope, standardize, standardize_backward):
    part(one)


class Context(Protocol):
    """What a ``torch.autograd.Function`` remembers from its forward to its backward pass.

    Attributes:
        saved_tensors: what ``save_for_backward`` was given.
        needs_input_grad: for each argument of ``apply``, whether its gradient is wanted.
    """

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Saves inputs and outputs; torch notices when one is changed in between."""
