"""The QRNN's fo-pooling on a CPU in float32: gates, recurrence and gradient, each in one pass over the memory."""

from __future__ import annotations

import numpy as np
import torch
from numba import float32
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled
from speechgru.cells.rows import sigmoid, tanh


class FusedQRNN(torch.autograd.Function):
    """The outputs of a QRNN over rows of different lengths, and the last h and c of each row.

    ``apply(convolved (batch, time, 3 hidden), lengths (batch,), state (batch, 2 hidden), reverse)`` -> hidden (batch,
    time, hidden), zeros beyond the lengths, and the final h and c side by side (batch, 2 hidden).
    """

    @staticmethod
    def forward(
        ctx: Context, convolved: Tensor, lengths: Tensor, state: Tensor, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        convolved, state = convolved.contiguous(), state.contiguous()
        batch, time, _ = convolved.shape
        hidden, cells = torch.empty(2, batch, time, state.shape[1] // 2)
        final = state.clone()
        _states(convolved.numpy(), lengths.numpy(), reverse, final.numpy(), hidden.numpy(), cells.numpy())
        ctx.save_for_backward(convolved, lengths, state)
        ctx.reverse, ctx.kept = reverse, (cells,)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        convolved, lengths, state = ctx.saved_tensors
        at_convolved = torch.empty_like(convolved)
        at_state = gradients[1].clone(memory_format=torch.contiguous_format)
        _gradients(
            convolved.numpy(),
            lengths.numpy(),
            ctx.reverse,
            state.numpy(),
            ctx.kept[0].numpy(),
            gradients[0].contiguous().numpy(),
            at_state.numpy(),
            at_convolved.numpy(),
        )
        return at_convolved, None, at_state, None


@compiled
def _states(
    convolved: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    state: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
) -> None:
    """Runs the cell. In: W w + b and the first states. Out: the last states in their place, all h and all c."""
    batch, _, size = hidden.shape
    for row in range(batch):
        length, old, shown = lengths[row], state[row, size:], state[row, :size]
        for step in range(length):
            frame = length - 1 - step if reverse else step
            gate, new, cell = convolved[row, frame], hidden[row, frame], cells[row, frame]
            candidate, update, output = gate[:size], gate[size : 2 * size], gate[2 * size :]
            for j in range(size):
                n = tanh(candidate[j])
                c = n + sigmoid(update[j]) * (old[j] - n)
                cell[j] = c
                new[j] = sigmoid(output[j]) * c
            old, shown = cell, new
        hidden[row, length:] = 0
        state[row, :size] = shown
        state[row, size:] = old


@compiled
def _gradients(
    convolved: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    first: np.ndarray,
    cells: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_convolved: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first; computing the gates again is cheaper than keeping them.

    In: what went in and came out, the gradient at the hidden frames and, in ``state``, at the last states. Out: the
    gradients at W w + b and, in ``state``, at the first states.
    """
    batch, _, size = given.shape
    one = float32(1)
    for row in range(batch):
        length, shown, carry = lengths[row], state[row, :size], state[row, size:]
        for step in range(length - 1, -1, -1):
            frame = length - 1 - step if reverse else step
            old = first[row, size:] if step == 0 else cells[row, frame + 1 if reverse else frame - 1]
            now, gate, d_gate = given[row, frame], convolved[row, frame], at_convolved[row, frame]
            candidate, update, output = gate[:size], gate[size : 2 * size], gate[2 * size :]
            d_candidate, d_update, d_output = d_gate[:size], d_gate[size : 2 * size], d_gate[2 * size :]
            for j in range(size):
                n, z, o = tanh(candidate[j]), sigmoid(update[j]), sigmoid(output[j])
                d_h = now[j] + shown[j]
                d_c = carry[j] + d_h * o
                d_output[j] = d_h * (n + z * (old[j] - n)) * o * (one - o)
                d_update[j] = d_c * (old[j] - n) * z * (one - z)
                d_candidate[j] = d_c * (one - z) * (one - n * n)
                carry[j] = d_c * z
                shown[j] = 0
        at_convolved[row, length:] = 0
