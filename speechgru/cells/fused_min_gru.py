"""minGRU on a CPU in float32: gates, recurrence and gradient, each in one pass over the memory."""

from __future__ import annotations

import numpy as np
import torch
from numba import float32
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled
from speechgru.cells.rows import sigmoid


class FusedMinGRU(torch.autograd.Function):
    """All states of a minGRU over rows of different lengths, and the last state of each row.

    ``apply(projected (batch, time, 2 hidden), lengths (batch,), state (batch, hidden), reverse, positive)`` -> hidden
    (batch, time, hidden), zeros beyond the lengths, and the final state (batch, hidden).
    """

    @staticmethod
    def forward(
        ctx: Context, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool, positive: bool
    ) -> tuple[Tensor, Tensor]:
        projected, state = projected.contiguous(), state.contiguous()
        batch, time, _ = projected.shape
        hidden, final = torch.empty(batch, time, state.shape[1]), state.clone()
        _states(projected.numpy(), lengths.numpy(), reverse, positive, final.numpy(), hidden.numpy())
        ctx.save_for_backward(projected, lengths, state, hidden)
        ctx.reverse, ctx.flags = reverse, (positive,)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        projected, lengths, state, hidden = ctx.saved_tensors
        at_projected = torch.empty_like(projected)
        at_state = gradients[1].clone(memory_format=torch.contiguous_format)
        _gradients(
            projected.numpy(),
            lengths.numpy(),
            ctx.reverse,
            ctx.flags[0],
            state.numpy(),
            hidden.numpy(),
            gradients[0].contiguous().numpy(),
            at_state.numpy(),
            at_projected.numpy(),
        )
        return at_projected, None, at_state, None, None


@compiled
def _states(
    projected: np.ndarray, lengths: np.ndarray, reverse: bool, positive: bool, state: np.ndarray, hidden: np.ndarray
) -> None:
    """Runs the cell. In: W x + b and the first states. Out: the last states in their place, and all."""
    batch, _, size = hidden.shape
    half, one = float32(0.5), float32(1)
    for row in range(batch):
        length, old = lengths[row], state[row]
        for step in range(length):
            frame = length - 1 - step if reverse else step
            update, candidate, new = projected[row, frame, :size], projected[row, frame, size:], hidden[row, frame]
            if positive:
                for j in range(size):
                    a, z = candidate[j], sigmoid(update[j])
                    n = sigmoid(a) if a < 0 else a + half
                    new[j] = n + z * (old[j] - n)
            else:
                for j in range(size):
                    n, z = candidate[j], sigmoid(update[j])
                    new[j] = (one - z) * n + z * old[j]
            old = new
        hidden[row, length:] = 0
        state[row] = old


@compiled
def _gradients(
    projected: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    positive: bool,
    first: np.ndarray,
    hidden: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_projected: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first; computing the gates again is cheaper than keeping them.

    In: what went in and came out, the gradient at the hidden frames and, in ``state``, at the last states. Out: the
    gradients at W x + b and, in ``state``, at the first states.
    """
    batch, _, size = given.shape
    half, one = float32(0.5), float32(1)
    for row in range(batch):
        length, carry = lengths[row], state[row]
        for step in range(length - 1, -1, -1):
            frame = length - 1 - step if reverse else step
            old = first[row] if step == 0 else hidden[row, frame + 1 if reverse else frame - 1]
            now, update, candidate = given[row, frame], projected[row, frame, :size], projected[row, frame, size:]
            d_update, d_candidate = at_projected[row, frame, :size], at_projected[row, frame, size:]
            if positive:
                for j in range(size):
                    a, z, d_h = candidate[j], sigmoid(update[j]), now[j] + carry[j]
                    s = sigmoid(a)
                    n = s if a < 0 else a + half
                    slope = s * (one - s) if a < 0 else one
                    d_update[j] = d_h * (old[j] - n) * z * (one - z)
                    d_candidate[j] = d_h * (one - z) * slope
                    carry[j] = d_h * z
            else:
                for j in range(size):
                    n, z, d_h = candidate[j], sigmoid(update[j]), now[j] + carry[j]
                    d_update[j] = d_h * (old[j] - n) * z * (one - z)
                    d_candidate[j] = d_h * (one - z)
                    carry[j] = d_h * z
        at_projected[row, length:] = 0
