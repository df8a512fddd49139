"""Cells whose reset gate stands before the recurrent product, on a CPU in float32: their loop and its gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled, multiply, sigmoid, tanh


class FusedResetBefore(torch.autograd.Function):
    """All states of such a cell over rows of different lengths, and the last state of each row.

    ``apply(inputs, lengths (batch,), state (batch, hidden), reverse, weight_hh, bias)`` -> hidden (batch, time,
    hidden), zeros beyond the lengths, and the final state (batch, hidden). The rows of ``weight_hh`` are r, z, n (3
    hidden), or z, n (2 hidden) where r = 1 - z. ``inputs`` (batch, time, rows) are the input's part of all gates, or
    that of n alone (batch, time, hidden); then the gates get ``bias`` (rows - hidden), which is None otherwise.
    """

    @staticmethod
    def forward(
        ctx: Context,
        inputs: Tensor,
        lengths: Tensor,
        state: Tensor,
        reverse: bool,
        weight_hh: Tensor,
        bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        inputs = inputs.contiguous()
        batch, time, _ = inputs.shape
        rows, size = weight_hh.shape
        hidden, before, reset = (torch.empty(batch, time, size) for _ in range(3))
        gates, final = torch.empty(batch, time, rows), state.clone(memory_format=torch.contiguous_format)
        to_gates, to_candidate = weight_hh.split((rows - size, size))
        _states(
            inputs.numpy(),
            lengths.numpy(),
            reverse,
            to_gates.t().contiguous().numpy(),
            to_candidate.t().contiguous().numpy(),
            inputs.new_empty(0).numpy() if bias is None else bias.contiguous().numpy(),
            final.numpy(),
            hidden.numpy(),
            before.numpy(),
            reset.numpy(),
            gates.numpy(),
        )
        ctx.save_for_backward(lengths, weight_hh, bias)
        ctx.reverse, ctx.kept = reverse, (gates, before, reset)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        lengths, weight_hh, bias = ctx.saved_tensors
        gates, before, reset = ctx.kept
        rows, size = weight_hh.shape
        at_gates, state = torch.empty_like(gates), gradients[1].clone(memory_format=torch.contiguous_format)
        to_gates, to_candidate = weight_hh.split((rows - size, size))
        _gradients(
            gates.numpy(),
            lengths.numpy(),
            ctx.reverse,
            to_gates.contiguous().numpy(),
            to_candidate.contiguous().numpy(),
            before.numpy(),
            gradients[0].contiguous().numpy(),
            state.numpy(),
            at_gates.numpy(),
        )
        of_gates, of_candidate = at_gates.view(-1, rows).split((rows - size, size), 1)
        at_weight = torch.cat((of_gates.t() @ before.view(-1, size), of_candidate.t() @ reset.view(-1, size)))
        if bias is None:
            return at_gates, None, state, None, at_weight, None
        return at_gates[..., rows - size :], None, state, None, at_weight, of_gates.sum(0)


@compiled
def _states(
    inputs: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    to_gates: np.ndarray,
    to_candidate: np.ndarray,
    bias: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    before: np.ndarray,
    reset: np.ndarray,
    gates: np.ndarray,
) -> None:
    """Runs the cell. In: the input's part, the weights with a column per gate value, and the first states.

    Out: the last states in their place, hidden, and for the gradient, by frame, the state before it, that state behind
    the reset gate, and the gates and the candidate.
    """
    batch, time, size = hidden.shape
    width = to_gates.shape[1]
    one = np.float32(1)
    products, behind = np.empty((batch, width), np.float32), np.zeros((batch, size), np.float32)
    recurrent = np.empty((batch, size), np.float32)
    for step in range(time):
        multiply(state, to_gates, products)
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                continue
            frame = length - 1 - step if reverse else step
            given, product, old, passed = inputs[row, frame], products[row], state[row], behind[row]
            x = bias if len(bias) else given[:width]
            now = gates[row, frame]
            if width == size:
                z_now = now[:size]
                for j in range(size):
                    z = sigmoid(x[j] + product[j])
                    z_now[j], passed[j] = z, (one - z) * old[j]
            else:
                r_now, z_now = now[:size], now[size : 2 * size]
                r_x, z_x, r_product, z_product = x[:size], x[size:], product[:size], product[size:]
                for j in range(size):
                    r = sigmoid(r_x[j] + r_product[j])
                    r_now[j], z_now[j], passed[j] = r, sigmoid(z_x[j] + z_product[j]), r * old[j]
            before[row, frame] = old
            reset[row, frame] = passed
        multiply(behind, to_candidate, recurrent)
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                hidden[row, step], before[row, step], reset[row, step] = 0, 0, 0
                continue
            frame = length - 1 - step if reverse else step
            x, product, old, new = inputs[row, frame, -size:], recurrent[row], state[row], hidden[row, frame]
            z_now, n_now = gates[row, frame, width - size : width], gates[row, frame, width:]
            for j in range(size):
                n = tanh(x[j] + product[j])
                n_now[j] = n
                new[j] = n + z_now[j] * (old[j] - n)
            old[:] = new


@compiled
def _gradients(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    to_gates: np.ndarray,
    to_candidate: np.ndarray,
    before: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_gates: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first.

    In: what it left, the weights as they are, the gradient at the hidden frames and, in ``state``, at the last states.
    Out: the gradients at the sums inside the gates (by frame) and, in ``state``, at the first states.
    """
    batch, time, size = given.shape
    width = to_gates.shape[0]
    one = np.float32(1)
    candidate, behind = np.zeros((batch, size), np.float32), np.empty((batch, size), np.float32)
    across, through = np.zeros((batch, width), np.float32), np.empty((batch, size), np.float32)
    for step in range(time - 1, -1, -1):
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                at_gates[row, step] = 0
                continue
            frame = length - 1 - step if reverse else step
            now, later, old, d_n = given[row, frame], state[row], before[row, frame], candidate[row]
            z_now, n_now = gates[row, frame, width - size : width], gates[row, frame, width:]
            z_out, n_out = at_gates[row, frame, width - size : width], at_gates[row, frame, width:]
            for j in range(size):
                z, n = z_now[j], n_now[j]
                d_h = now[j] + later[j]
                d_n[j] = d_h * (one - z) * (one - n * n)
                n_out[j] = d_n[j]
                z_out[j] = d_h * (old[j] - n)
                later[j] = d_h * z
        multiply(candidate, to_candidate, behind)
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                continue
            frame = length - 1 - step if reverse else step
            later, old, d_behind, d_gates = state[row], before[row, frame], behind[row], across[row]
            now, out = gates[row, frame], at_gates[row, frame]
            if width == size:
                for j in range(size):
                    z = now[j]
                    d_gates[j] = (out[j] - d_behind[j] * old[j]) * z * (one - z)
                    later[j] += d_behind[j] * (one - z)
            else:
                r_now, z_now, z_out = now[:size], now[size:width], out[size:width]
                d_r, d_z = d_gates[:size], d_gates[size:]
                for j in range(size):
                    r, z = r_now[j], z_now[j]
                    d_r[j] = d_behind[j] * old[j] * r * (one - r)
                    d_z[j] = z_out[j] * z * (one - z)
                    later[j] += d_behind[j] * r
            out[:width] = d_gates
        multiply(across, to_gates, through)
        for row in range(batch):
            if step < lengths[row]:
                for j in range(size):
                    state[row, j] += through[row, j]
