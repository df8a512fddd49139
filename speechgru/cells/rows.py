"""What a compiled loop needs from a cell: functions of one row of one frame, and the parts of these functions.

Everything here and all row functions are plain Python in float32, so that a cell's file needs no compiler: loop.py
compiles them into the loop over the frames. Sizes are read from the arrays. A constant is an ``np.float32``, because
with Python's numbers the compiler would calculate in float64. The compiler vectorises only loops over few arrays at a
time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
EPSILON = np.float32(1e-5)  # torch's layer norm adds it under the root


class Row(NamedTuple):
    """One row of one frame.

    Attributes:
        x: the input's part of the gates. ``forward`` may overwrite it; ``backward`` finds what ``forward`` wrote.
        old: the output of the frame before, (hidden,).
        new: the output of this frame, (hidden,), which ``forward`` writes.
        memory: the rest of the state. ``forward`` finds the value before the frame and writes the value after it;
            ``backward`` finds the value before it.
        kept: what ``forward`` keeps for ``backward``.
        vectors: what the cell gave the loop under that name.
    """

    x: np.ndarray
    old: np.ndarray
    new: np.ndarray
    memory: np.ndarray
    kept: np.ndarray
    vectors: tuple[np.ndarray, ...]


class At(NamedTuple):
    """The gradients at what :class:`Row` holds.

    Attributes:
        x: at the input's part of the gates, which ``backward`` writes.
        product: at the recurrent product; the same array as ``x`` where the cell only adds the product to ``x``, else
            ``backward`` writes it.
        state: ``backward`` finds the gradient at ``new`` and writes that at ``old``, without the product's share.
        memory: likewise, at the memory after the frame and at the memory before it.
        vectors: at each of them, to which ``backward`` adds.
    """

    x: np.ndarray
    product: np.ndarray
    state: np.ndarray
    memory: np.ndarray
    vectors: tuple[np.ndarray, ...]


def nothing(size: int) -> int:
    """No values, whatever the size."""
    return 0


@dataclasses.dataclass(frozen=True)
class RowFunctions:
    """A cell as a compiled loop runs it; the functions stand at the top of a module.

    Attributes:
        forward: (row, product) writes the new output and memory. ``product`` is the recurrent product after its layer
            norm; with ``reset`` it is the candidate's, the product of the weight's last rows with the reset state.
        backward: (row, at), the chain rule through ``forward``.
        reset: (row, product, reset state), for a cell whose reset gate stands before the candidate's product: writes
            the gates and the state that the candidate sees. ``product`` is that of all other rows of the weight with
            the state.
        reset_backward: (row, at, gradient at the reset state), the chain rule through ``reset``; adds to ``at.state``.
        recurrent: whether the state is multiplied by a matrix; without one each row is run on its own.
        memory: whether the state has a memory cell beside the output, of the same size.
        adds_product: whether the product is only added to ``x``, so that both have one gradient.
        kept: hidden_size -> the size of ``Row.kept``.
    """

    forward: Callable[[Row, np.ndarray], None]
    backward: Callable[[Row, At], None]
    reset: Callable[[Row, np.ndarray, np.ndarray], None] | None = None
    reset_backward: Callable[[Row, At, np.ndarray], None] | None = None
    recurrent: bool = True
    memory: bool = False
    adds_product: bool = True
    kept: Callable[[int], int] = nothing

    def functions(self) -> list[Callable[..., None]]:
        """The functions that the cell has, ``forward`` first."""
        return [one for one in (self.forward, self.backward, self.reset, self.reset_backward) if one is not None]


def tanh(x: np.float32) -> np.float32:
    """tanh to 4e-7 by the rational function of Eigen's ``ptanh``, which the compiler can vectorise."""
    x = np.float32(7.998811) if x > np.float32(7.998811) else x
    x = np.float32(-7.998811) if x < np.float32(-7.998811) else x
    s = x * x
    p = np.float32(-2.76076847742355e-16) * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06) * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return x * p / q


def sigmoid(x: np.float32) -> np.float32:
    return HALF * tanh(HALF * x) + HALF


def tanh_slope(y: np.float32) -> np.float32:
    """The derivative of tanh where its value is y."""
    return ONE - y * y


def sigmoid_slope(y: np.float32) -> np.float32:
    """The derivative of the sigmoid where its value is y."""
    return y * (ONE - y)


def standardize(values: np.ndarray) -> np.float32:
    """Layer norm without weights in place; returns 1 / standard deviation."""
    size = np.float32(len(values))
    total, square = ZERO, ZERO
    for j in range(len(values)):
        total += values[j]
    mean = total / size
    for j in range(len(values)):
        square += (values[j] - mean) * (values[j] - mean)
    inverse = ONE / np.sqrt(square / size + EPSILON)
    for j in range(len(values)):
        values[j] = (values[j] - mean) * inverse
    return inverse


def standardize_backward(at_normal: np.ndarray, normal: np.ndarray, inverse: np.float32, at_values: np.ndarray) -> None:
    """The gradient before the layer norm, from the gradient after it."""
    size = np.float32(len(normal))
    total, along = ZERO, ZERO
    for j in range(len(normal)):
        total += at_normal[j]
        along += at_normal[j] * normal[j]
    total, along = total / size, along / size
    for j in range(len(normal)):
        at_values[j] = inverse * (at_normal[j] - total - normal[j] * along)
