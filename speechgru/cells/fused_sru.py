"""The SRU on a CPU in float32: gates, recurrence, highway and gradient, each in one pass over the memory."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numba import float32
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled
from speechgru.cells.rows import sigmoid


class _Context(Context, Protocol):
    scale: float


class FusedSRU(torch.autograd.Function):
    """The outputs of an SRU over rows of different lengths, and the last h and c of each row.

    ``apply(gates (batch, time, 3 hidden), skip (batch, time, hidden), scale, lengths (batch,), state (batch, 2 hidden),
    reverse, weight (2 hidden))`` -> hidden (batch, time, hidden), zeros beyond the lengths, and the final h and c side
    by side (batch, 2 hidden).
    """

    @staticmethod
    def forward(
        ctx: _Context,
        gates: Tensor,
        skip: Tensor,
        scale: float,
        lengths: Tensor,
        state: Tensor,
        reverse: bool,
        weight: Tensor,
    ) -> tuple[Tensor, Tensor]:
        gates, skip, state = gates.contiguous(), skip.contiguous(), state.contiguous()
        hidden, cells = torch.empty(2, *skip.shape)
        final = state.clone()
        _states(
            gates.numpy(),
            skip.numpy(),
            scale,
            lengths.numpy(),
            reverse,
            weight.detach().numpy(),
            final.numpy(),
            hidden.numpy(),
            cells.numpy(),
        )
        ctx.save_for_backward(gates, skip, lengths, state, weight)
        ctx.reverse, ctx.scale, ctx.kept = reverse, scale, (cells,)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gates, skip, lengths, state, weight = ctx.saved_tensors
        at_gates, at_skip = torch.empty_like(gates), torch.empty_like(skip)
        at_weight = torch.zeros(skip.shape[0], len(weight))
        at_state = gradients[1].clone(memory_format=torch.contiguous_format)
        _gradients(
            gates.numpy(),
            skip.numpy(),
            ctx.scale,
            lengths.numpy(),
            ctx.reverse,
            weight.detach().numpy(),
            state.numpy(),
            ctx.kept[0].numpy(),
            gradients[0].contiguous().numpy(),
            at_state.numpy(),
            at_gates.numpy(),
            at_skip.numpy(),
            at_weight.numpy(),
        )
        return at_gates, at_skip, None, None, at_state, None, at_weight.sum(0)


@compiled
def _states(
    gates: np.ndarray,
    skip: np.ndarray,
    scale: float,
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    cells: np.ndarray,
) -> None:
    """Runs the cell. In: W x + b, what the highway carries and the first states. Out: the last states, all h, all c."""
    batch, _, size = hidden.shape
    one, factor = float32(1), float32(scale)
    v_z, v_r = weight[:size], weight[size:]
    for row in range(batch):
        length, old, shown = lengths[row], state[row, size:], state[row, :size]
        for step in range(length):
            frame = length - 1 - step if reverse else step
            gate, x, new, cell = gates[row, frame], skip[row, frame], hidden[row, frame], cells[row, frame]
            candidate, x_z, x_r = gate[:size], gate[size : 2 * size], gate[2 * size :]
            for j in range(size):
                n, before = candidate[j], old[j]
                z, r = sigmoid(x_z[j] + v_z[j] * before), sigmoid(x_r[j] + v_r[j] * before)
                c = (one - z) * n + z * before
                cell[j] = c
                new[j] = r * c + (one - r) * factor * x[j]
            old, shown = cell, new
        hidden[row, length:] = 0
        state[row, :size] = shown
        state[row, size:] = old


@compiled
def _gradients(
    gates: np.ndarray,
    skip: np.ndarray,
    scale: float,
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    first: np.ndarray,
    cells: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_gates: np.ndarray,
    at_skip: np.ndarray,
    at_weight: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first; computing the gates again is cheaper than keeping them.

    In: what went in and came out, the gradient at the hidden frames and, in ``state``, at the last states. Out: the
    gradients at W x + b, at what the highway carries, at v for each row and, in ``state``, at the first states.
    """
    batch, _, size = given.shape
    one, factor = float32(1), float32(scale)
    v_z, v_r = weight[:size], weight[size:]
    for row in range(batch):
        length, shown, carry = lengths[row], state[row, :size], state[row, size:]
        w_z, w_r = at_weight[row, :size], at_weight[row, size:]
        for step in range(length - 1, -1, -1):
            frame = length - 1 - step if reverse else step
            old = first[row, size:] if step == 0 else cells[row, frame + 1 if reverse else frame - 1]
            now, x, cell, d_x = given[row, frame], skip[row, frame], cells[row, frame], at_skip[row, frame]
            gate, d_gate = gates[row, frame], at_gates[row, frame]
            candidate, x_z, x_r = gate[:size], gate[size : 2 * size], gate[2 * size :]
            d_candidate, d_z, d_r = d_gate[:size], d_gate[size : 2 * size], d_gate[2 * size :]
            for j in range(size):
                n, before = candidate[j], old[j]
                z, r = sigmoid(x_z[j] + v_z[j] * before), sigmoid(x_r[j] + v_r[j] * before)
                d_h = now[j] + shown[j]
                d_c = carry[j] + d_h * r
                at_r = d_h * (cell[j] - factor * x[j]) * r * (one - r)
                at_z = d_c * (before - n) * z * (one - z)
                d_x[j] = d_h * (one - r) * factor
                d_candidate[j] = d_c * (one - z)
                d_z[j], d_r[j] = at_z, at_r
                w_z[j] += at_z * before
                w_r[j] += at_r * before
                carry[j] = d_c * z + at_z * v_z[j] + at_r * v_r[j]
                shown[j] = 0
        at_gates[row, length:] = 0
        at_skip[row, length:] = 0
