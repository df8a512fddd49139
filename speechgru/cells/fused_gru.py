"""The GRU's training step on a CPU in float32: the loop over frames and its gradient as compiled kernels.

torch.gru spends its backward pass in small operators, and rows of different lengths need copies around it to be
reversed and masked. Here every row is read at its own places, forwards or backwards, and nothing is copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import compiled, multiply, sigmoid, tanh


class FusedGRU(torch.autograd.Function):
    """All states of a GRU over rows of different lengths, and the last state of each row.

    ``apply(sequence (batch, time, input), lengths (batch,), state (batch, hidden), reverse, weight_ih, weight_hh,
    bias_ih, bias_hh)`` -> hidden (batch, time, hidden), zeros beyond the lengths, and the final state (batch, hidden).
    """

    @staticmethod
    def forward(
        ctx: Any,
        sequence: Tensor,
        lengths: Tensor,
        state: Tensor,
        reverse: bool,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
    ) -> tuple[Tensor, Tensor]:
        batch, time, inputs = sequence.shape
        size = weight_hh.shape[1]
        flat = sequence.reshape(batch * time, inputs)
        gates = torch.addmm(bias_ih, flat, weight_ih.t()).view(batch, time, 3 * size)
        hidden = torch.empty(batch, time, size)
        before, recurrent = torch.empty(time, batch, size), torch.empty(time, batch, size)
        final = state.clone().contiguous()
        across = weight_hh.t().contiguous()
        _states(
            gates.numpy(),
            lengths.numpy(),
            reverse,
            across.numpy(),
            bias_hh.numpy(),
            final.numpy(),
            hidden.numpy(),
            before.numpy(),
            recurrent.numpy(),
        )
        ctx.save_for_backward(sequence, lengths, weight_ih, weight_hh)
        ctx.reverse, ctx.kept = reverse, (gates, before, recurrent)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sequence, lengths, weight_ih, weight_hh = ctx.saved_tensors
        gates, before, recurrent = ctx.kept
        batch, time, inputs = sequence.shape
        size = weight_hh.shape[1]
        at_gates = torch.empty_like(gates)
        across = torch.empty(time, batch, 3 * size)
        state = gradients[1].clone().contiguous()
        _gradients(
            gates.numpy(),
            lengths.numpy(),
            ctx.reverse,
            weight_hh.detach().contiguous().numpy(),
            before.numpy(),
            recurrent.numpy(),
            gradients[0].contiguous().numpy(),
            state.numpy(),
            at_gates.numpy(),
            across.numpy(),
        )
        flat, steps = at_gates.view(batch * time, 3 * size), across.view(time * batch, 3 * size)
        at_sequence = torch.mm(flat, weight_ih).view(batch, time, inputs) if ctx.needs_input_grad[0] else None
        at_weight_ih = torch.mm(flat.t(), sequence.reshape(batch * time, inputs))
        at_weight_hh = torch.mm(steps.t(), before.view(time * batch, size))
        return at_sequence, None, state, None, at_weight_ih, at_weight_hh, flat.sum(0), steps.sum(0)


@compiled
def _states(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    across: np.ndarray,
    bias: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    before: np.ndarray,
    recurrent: np.ndarray,
) -> None:
    """Runs the cell. In: the input's part of the gates (batch, time, 3 hidden) and the first states (batch, hidden).

    Out: the gates r, z, n in their place, the last states in theirs, hidden (batch, time, hidden), and for the gradient
    by step (time, batch, hidden) the state before it and U_n h + c_n.
    """
    batch, time, size = hidden.shape
    products = np.empty((batch, 3 * size), np.float32)
    for step in range(time):
        multiply(state, across, products)
        before[step] = state
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                hidden[row, step] = 0
                continue
            frame = length - 1 - step if reverse else step
            gate, product, old = gates[row, frame], products[row], state[row]
            new, kept = hidden[row, frame], recurrent[step, row]
            r_gate, z_gate, n_gate = gate[:size], gate[size : 2 * size], gate[2 * size :]
            r_product, z_product, n_product = product[:size], product[size : 2 * size], product[2 * size :]
            r_bias, z_bias, n_bias = bias[:size], bias[size : 2 * size], bias[2 * size :]
            for j in range(size):
                inner = n_product[j] + n_bias[j]
                r = sigmoid(r_gate[j] + r_product[j] + r_bias[j])
                z = sigmoid(z_gate[j] + z_product[j] + z_bias[j])
                n = tanh(n_gate[j] + r * inner)
                h = n + z * (old[j] - n)
                r_gate[j], z_gate[j], n_gate[j] = r, z, n
                kept[j], new[j] = inner, h
            old[:] = new


@compiled
def _gradients(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    before: np.ndarray,
    recurrent: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_gates: np.ndarray,
    across: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first.

    In: what it left, the gradient at the hidden frames and, in ``state``, at the last states. Out: the gradients at the
    input's part of the gates (by frame), at the recurrent products (by step) and, in ``state``, at the first states.
    """
    batch, time, size = given.shape
    carried = np.empty((batch, size), np.float32)
    through = np.empty((batch, size), np.float32)
    one = np.float32(1)
    for step in range(time - 1, -1, -1):
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                at_gates[row, step] = 0
                across[step, row] = 0
                carried[row] = state[row]
                continue
            frame = length - 1 - step if reverse else step
            gate, old, kept = gates[row, frame], before[step, row], recurrent[step, row]
            at_gate, at_product = at_gates[row, frame], across[step, row]
            now, later, carry = given[row, frame], state[row], carried[row]
            r_gate, z_gate, n_gate = gate[:size], gate[size : 2 * size], gate[2 * size :]
            r_out, z_out, n_out = at_gate[:size], at_gate[size : 2 * size], at_gate[2 * size :]
            r_product, z_product, n_product = at_product[:size], at_product[size : 2 * size], at_product[2 * size :]
            for j in range(size):
                r, z, n = r_gate[j], z_gate[j], n_gate[j]
                d_h = now[j] + later[j]
                d_n = d_h * (one - z) * (one - n * n)
                d_z = d_h * (old[j] - n) * z * (one - z)
                d_r = d_n * kept[j] * r * (one - r)
                r_out[j], z_out[j], n_out[j] = d_r, d_z, d_n
                r_product[j], z_product[j], n_product[j] = d_r, d_z, d_n * r
                carry[j] = d_h * z
        multiply(across[step], weight, through)
        for row in range(batch):
            for j in range(size):
                state[row, j] = carried[row, j] + through[row, j]
