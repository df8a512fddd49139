"""The GRU's training step on a CPU in float32: the loop over frames and its gradient as compiled kernels.

torch.gru spends its backward pass in small operators, and rows of different lengths need copies around it to be
reversed and masked. Here every row is read at its own places, forwards or backwards, and nothing is copied.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import float32
from torch import Tensor
from torch.autograd.function import once_differentiable

_FAST = {"contract", "reassoc"}  # fused multiply-adds and reordered sums; NaN and infinity stay what they are


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


@numba.njit(inline="always")
def _tanh(x):
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
def _sigmoid(x):
    return float32(0.5) * _tanh(float32(0.5) * x) + float32(0.5)


@numba.njit(cache=True, fastmath=_FAST)
def _product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
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


@numba.njit(cache=True, fastmath=_FAST)
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
        _product(state, across, products)
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
                r = _sigmoid(r_gate[j] + r_product[j] + r_bias[j])
                z = _sigmoid(z_gate[j] + z_product[j] + z_bias[j])
                n = _tanh(n_gate[j] + r * inner)
                h = n + z * (old[j] - n)
                r_gate[j], z_gate[j], n_gate[j] = r, z, n
                kept[j], new[j] = inner, h
            old[:] = new


@numba.njit(cache=True, fastmath=_FAST)
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
        _product(across[step], weight, through)
        for row in range(batch):
            for j in range(size):
                state[row, j] = carried[row, j] + through[row, j]
