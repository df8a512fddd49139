"""The IndRNN on a CPU in float32: recurrence and gradient, each in one pass over the memory."""

from __future__ import annotations

import numpy as np
import torch
from numba import float32
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled


class FusedIndRNN(torch.autograd.Function):
    """All states of an IndRNN over rows of different lengths, and the last state of each row.

    ``apply(projected (batch, time, hidden), lengths (batch,), state (batch, hidden), reverse, weight (hidden))`` ->
    hidden (batch, time, hidden), zeros beyond the lengths, and the final state (batch, hidden).
    """

    @staticmethod
    def forward(
        ctx: Context, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        projected, state = projected.contiguous(), state.contiguous()
        hidden, final = torch.empty_like(projected), state.clone()
        _states(projected.numpy(), lengths.numpy(), reverse, weight.detach().numpy(), final.numpy(), hidden.numpy())
        ctx.save_for_backward(lengths, state, weight, hidden)
        ctx.reverse = reverse
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        lengths, state, weight, hidden = ctx.saved_tensors
        at_projected = torch.empty_like(hidden)
        at_weight = torch.zeros_like(state)
        at_state = gradients[1].clone(memory_format=torch.contiguous_format)
        _gradients(
            lengths.numpy(),
            ctx.reverse,
            weight.detach().numpy(),
            state.numpy(),
            hidden.numpy(),
            gradients[0].contiguous().numpy(),
            at_state.numpy(),
            at_projected.numpy(),
            at_weight.numpy(),
        )
        return at_projected, None, at_state, None, at_weight.sum(0)


@compiled
def _states(
    projected: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
) -> None:
    """Runs the cell. In: W x + b and the first states. Out: the last states in their place, and all."""
    batch, _, size = hidden.shape
    for row in range(batch):
        length, old = lengths[row], state[row]
        for step in range(length):
            frame = length - 1 - step if reverse else step
            x, new = projected[row, frame], hidden[row, frame]
            for j in range(size):
                a = x[j] + weight[j] * old[j]
                new[j] = float32(0) if a < 0 else a  # a NaN is not below 0 and stays
            old = new
        hidden[row, length:] = 0
        state[row] = old


@compiled
def _gradients(
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    first: np.ndarray,
    hidden: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_projected: np.ndarray,
    at_weight: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first.

    In: what went in and came out, the gradient at the hidden frames and, in ``state``, at the last states. Out: the
    gradients at W x + b, at u for each row and, in ``state``, at the first states.
    """
    batch, _, size = given.shape
    for row in range(batch):
        length, carry, d_weight = lengths[row], state[row], at_weight[row]
        for step in range(length - 1, -1, -1):
            frame = length - 1 - step if reverse else step
            old = first[row] if step == 0 else hidden[row, frame + 1 if reverse else frame - 1]
            now, new, d_x = given[row, frame], hidden[row, frame], at_projected[row, frame]
            for j in range(size):
                d_a = now[j] + carry[j] if new[j] > 0 else float32(0)
                d_x[j] = d_a
                d_weight[j] += d_a * old[j]
                carry[j] = d_a * weight[j]
        at_projected[row, length:] = 0
