"""The GRU's training step on a CPU in float32: the loop over frames and its gradient as compiled kernels.

torch.gru spends its backward pass in small operators, and rows of different lengths need copies around it to be
reversed and masked. Here every row is read at its own places, forwards or backwards, and nothing is copied.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled, multiply, sigmoid, standardize, tanh, through_standardize


class FusedGRU(torch.autograd.Function):
    """All states of a GRU over rows of different lengths, and the last state of each row.

    ``apply(inputs (batch, time, 3 hidden), lengths (batch,), state (batch, hidden), reverse, weight_hh, bias_hh,
    gain_hh)`` -> hidden (batch, time, hidden), zeros beyond the lengths, and the final state (batch, hidden).
    ``inputs``, the input's part of the gates, is written over. ``gain_hh`` (3 hidden) is that of the layer norm of the
    recurrent product, over both gates together and over the candidate; None means there is none.
    """

    @staticmethod
    def forward(
        ctx: Context,
        inputs: Tensor,
        lengths: Tensor,
        state: Tensor,
        reverse: bool,
        weight_hh: Tensor,
        bias_hh: Tensor,
        gain_hh: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        batch, time, rows = inputs.shape
        size = weight_hh.shape[1]
        gates, gain = inputs.contiguous(), inputs.new_empty(0) if gain_hh is None else gain_hh.contiguous()
        hidden = torch.empty(batch, time, size)
        before, recurrent = torch.empty(time, batch, size), torch.empty(time, batch, size)
        final = state.clone().contiguous()
        # The products after their layer norm and what divided them: the gradient needs both.
        normal = torch.empty((time, batch, rows) if len(gain) else (0, 0, 0))
        scale = torch.empty((time, batch, 2) if len(gain) else (0, 0, 0))
        across = weight_hh.t().contiguous()
        _states(
            gates.numpy(),
            lengths.numpy(),
            reverse,
            across.numpy(),
            bias_hh.numpy(),
            gain.numpy(),
            final.numpy(),
            hidden.numpy(),
            before.numpy(),
            recurrent.numpy(),
            normal.numpy(),
            scale.numpy(),
        )
        ctx.save_for_backward(lengths, weight_hh, gain)
        ctx.reverse, ctx.kept = reverse, (gates, before, recurrent, normal, scale)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        lengths, weight_hh, gain = ctx.saved_tensors
        gates, before, recurrent, normal, scale = ctx.kept
        batch, time, rows = gates.shape
        at_gates, across = torch.empty_like(gates), torch.empty(time, batch, rows)
        at_products = torch.empty_like(across) if len(gain) else across
        state, at_gain = gradients[1].clone().contiguous(), torch.zeros_like(gain)
        _gradients(
            gates.numpy(),
            lengths.numpy(),
            ctx.reverse,
            weight_hh.detach().contiguous().numpy(),
            gain.detach().numpy(),
            before.numpy(),
            recurrent.numpy(),
            normal.numpy(),
            scale.numpy(),
            gradients[0].contiguous().numpy(),
            state.numpy(),
            at_gates.numpy(),
            across.numpy(),
            at_products.numpy(),
            at_gain.numpy(),
        )
        sums = across.view(time * batch, rows)
        at_weight = torch.mm(at_products.view(time * batch, rows).t(), before.view(time * batch, rows // 3))
        return at_gates, None, state, None, at_weight, sums.sum(0), at_gain if len(gain) else None


@compiled
def _states(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    across: np.ndarray,
    bias: np.ndarray,
    gain: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    before: np.ndarray,
    recurrent: np.ndarray,
    normal: np.ndarray,
    scale: np.ndarray,
) -> None:
    """Runs the cell. In: the input's part of the gates (batch, time, 3 hidden) and the first states (batch, hidden).

    Out: the gates r, z, n in their place, the last states in theirs, hidden (batch, time, hidden), and for the gradient
    by step (time, batch, hidden) the state before it and U_n h + c_n, the normalised products and their scales.
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
            if len(gain):
                scale[step, row, 0] = standardize(product[: 2 * size])
                scale[step, row, 1] = standardize(product[2 * size :])
                normal[step, row] = product
                for j in range(3 * size):
                    product[j] *= gain[j]
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
    gain: np.ndarray,
    before: np.ndarray,
    recurrent: np.ndarray,
    normal: np.ndarray,
    scale: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_gates: np.ndarray,
    across: np.ndarray,
    at_products: np.ndarray,
    at_gain: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first.

    In: what it left, the gradient at the hidden frames and, in ``state``, at the last states. Out: the gradients at the
    input's part of the gates (by frame), by step at the recurrent part and at the products in it (the same array
    without a layer norm), at the gains and, in ``state``, at the first states.
    """
    batch, time, size = given.shape
    carried = np.empty((batch, size), np.float32)
    through = np.empty((batch, size), np.float32)
    scaled = np.empty(3 * size, np.float32)
    one = np.float32(1)
    for step in range(time - 1, -1, -1):
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                at_gates[row, step] = 0
                across[step, row], at_products[step, row] = 0, 0
                carried[row] = state[row]
                continue
            frame = length - 1 - step if reverse else step
            gate, old, kept = gates[row, frame], before[step, row], recurrent[step, row]
            at_gate, at_sum, at_product = at_gates[row, frame], across[step, row], at_products[step, row]
            now, later, carry = given[row, frame], state[row], carried[row]
            r_gate, z_gate, n_gate = gate[:size], gate[size : 2 * size], gate[2 * size :]
            r_out, z_out, n_out = at_gate[:size], at_gate[size : 2 * size], at_gate[2 * size :]
            r_sum, z_sum, n_sum = at_sum[:size], at_sum[size : 2 * size], at_sum[2 * size :]
            for j in range(size):
                r, z, n = r_gate[j], z_gate[j], n_gate[j]
                d_h = now[j] + later[j]
                d_n = d_h * (one - z) * (one - n * n)
                d_z = d_h * (old[j] - n) * z * (one - z)
                d_r = d_n * kept[j] * r * (one - r)
                r_out[j], z_out[j], n_out[j] = d_r, d_z, d_n
                r_sum[j], z_sum[j], n_sum[j] = d_r, d_z, d_n * r
                carry[j] = d_h * z
            if len(gain):
                product = normal[step, row]
                for j in range(3 * size):
                    at_gain[j] += at_sum[j] * product[j]
                for j in range(3 * size):
                    scaled[j] = at_sum[j] * gain[j]
                for block, of in enumerate((slice(0, 2 * size), slice(2 * size, 3 * size))):
                    through_standardize(scaled[of], product[of], scale[step, row, block], at_product[of])
        multiply(at_products[step], weight, through)
        for row in range(batch):
            for j in range(size):
                state[row, j] = carried[row, j] + through[row, j]
