"""The LSTM with layer norm on a CPU in float32: the loop over frames and its gradient as compiled kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled, multiply, sigmoid, standardize, tanh, through_standardize


class FusedLSTM(torch.autograd.Function):
    """All outputs of an LSTM with layer norm over rows of different lengths, and the last state of each row.

    ``apply(inputs (batch, time, 4 hidden), lengths (batch,), state (batch, 2 hidden), reverse, weight_hh, gain_hh,
    gain_cell, bias_cell)`` -> hidden (batch, time, hidden), zeros beyond the lengths, and the final h and c side by
    side (batch, 2 hidden). ``inputs``, the sums in the gates without the recurrent product, are written over.
    ``gain_hh`` (4 hidden) is that of the layer norm of the recurrent product, ``gain_cell`` and ``bias_cell`` (hidden)
    are those of the memory cell's on its way to the output.
    """

    @staticmethod
    def forward(
        ctx: Context,
        inputs: Tensor,
        lengths: Tensor,
        state: Tensor,
        reverse: bool,
        weight_hh: Tensor,
        gain_hh: Tensor,
        gain_cell: Tensor,
        bias_cell: Tensor,
    ) -> tuple[Tensor, Tensor]:
        batch, time, rows = inputs.shape
        size = rows // 4
        gates, gain, cell_gain = inputs.contiguous(), gain_hh.contiguous(), gain_cell.contiguous()
        hidden, before, cells, squashed = (torch.empty(batch, time, size) for _ in range(4))
        last, cell = (half.clone(memory_format=torch.contiguous_format) for half in state.split(size, 1))
        # The products and the cell after their layer norm, side by side, and what divided each: for the gradient.
        normal, scale = torch.empty(batch, time, 5 * size), torch.empty(batch, time, 2)
        _states(
            gates.numpy(),
            lengths.numpy(),
            reverse,
            weight_hh.t().contiguous().numpy(),
            gain.numpy(),
            cell_gain.numpy(),
            bias_cell.contiguous().numpy(),
            last.numpy(),
            cell.numpy(),
            hidden.numpy(),
            before.numpy(),
            cells.numpy(),
            squashed.numpy(),
            normal.numpy(),
            scale.numpy(),
        )
        ctx.save_for_backward(lengths, weight_hh, gain, cell_gain)
        ctx.reverse, ctx.kept = reverse, (gates, before, cells, squashed, normal, scale)
        return hidden, torch.cat((last, cell), 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        lengths, weight_hh, gain, cell_gain = ctx.saved_tensors
        gates, before, cells, squashed, normal, scale = ctx.kept
        rows, size = weight_hh.shape
        at_gates = torch.empty_like(gates)
        at_products = torch.empty_like(gates)
        at_gain, at_cell_gain, at_cell_bias = (
            torch.zeros_like(gain),
            torch.zeros_like(cell_gain),
            torch.zeros_like(cell_gain),
        )
        last, cell = (half.clone(memory_format=torch.contiguous_format) for half in gradients[1].split(size, 1))
        _gradients(
            gates.numpy(),
            lengths.numpy(),
            ctx.reverse,
            weight_hh.detach().contiguous().numpy(),
            gain.detach().numpy(),
            cell_gain.detach().numpy(),
            cells.numpy(),
            squashed.numpy(),
            normal.numpy(),
            scale.numpy(),
            gradients[0].contiguous().numpy(),
            last.numpy(),
            cell.numpy(),
            at_gates.numpy(),
            at_products.numpy(),
            at_gain.numpy(),
            at_cell_gain.numpy(),
            at_cell_bias.numpy(),
        )
        at_weight = at_products.view(-1, rows).t() @ before.view(-1, size)
        at_state = torch.cat((last, cell), 1)
        return at_gates, None, at_state, None, at_weight, at_gain, at_cell_gain, at_cell_bias


@compiled
def _states(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    across: np.ndarray,
    gain: np.ndarray,
    cell_gain: np.ndarray,
    cell_bias: np.ndarray,
    last: np.ndarray,
    cell: np.ndarray,
    hidden: np.ndarray,
    before: np.ndarray,
    cells: np.ndarray,
    squashed: np.ndarray,
    normal: np.ndarray,
    scale: np.ndarray,
) -> None:
    """Runs the cell. In: the input's part of the gates, the weight with a column per gate value, the first h and c.

    Out: the gates i, f, g, o in their place, the last h and c in theirs, hidden, and for the gradient, by frame, h and
    c before it, the tanh of c behind it, the normalised products and cells and their scales.
    """
    batch, time, size = hidden.shape
    products = np.empty((batch, 4 * size), np.float32)
    for step in range(time):
        multiply(last, across, products)
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                hidden[row, step], before[row, step] = 0, 0
                continue
            frame = length - 1 - step if reverse else step
            gate, product, new, memory = gates[row, frame], products[row], hidden[row, frame], cell[row]
            before[row, frame], cells[row, frame] = last[row], memory
            scale[row, frame, 0] = standardize(product)
            normal[row, frame, : 4 * size] = product
            for j in range(4 * size):
                product[j] *= gain[j]
            i_gate, f_gate, g_gate, o_gate = gate[:size], gate[size : 2 * size], gate[2 * size : -size], gate[-size:]
            # One array at a time: with more of them the compiler would have to prove that none overlaps another.
            for j in range(4 * size):
                gate[j] += product[j]
            for j in range(size):
                i_gate[j] = sigmoid(i_gate[j])
            for j in range(size):
                f_gate[j] = sigmoid(f_gate[j])
            for j in range(size):
                g_gate[j] = tanh(g_gate[j])
            for j in range(size):
                o_gate[j] = sigmoid(o_gate[j])
            for j in range(size):
                memory[j] = f_gate[j] * memory[j] + i_gate[j] * g_gate[j]
            m_now, seen = squashed[row, frame], normal[row, frame, 4 * size :]
            seen[:] = memory
            scale[row, frame, 1] = standardize(seen)
            for j in range(size):
                m_now[j] = tanh(seen[j] * cell_gain[j] + cell_bias[j])
            for j in range(size):
                new[j] = o_gate[j] * m_now[j]
            last[row] = new


@compiled
def _gradients(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    gain: np.ndarray,
    cell_gain: np.ndarray,
    cells: np.ndarray,
    squashed: np.ndarray,
    normal: np.ndarray,
    scale: np.ndarray,
    given: np.ndarray,
    last: np.ndarray,
    cell: np.ndarray,
    at_gates: np.ndarray,
    at_products: np.ndarray,
    at_gain: np.ndarray,
    at_cell_gain: np.ndarray,
    at_cell_bias: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first.

    In: what it left, the weight as it is, the gradient at the hidden frames and, in ``last`` and ``cell``, at the last
    h and c. Out: the gradients by frame at the sums inside the gates and at the recurrent products, at both
    gains and the bias of the cell's norm and, in ``last`` and ``cell``, at the first h and c.
    """
    batch, time, size = given.shape
    one = np.float32(1)
    across, through = np.zeros((batch, 4 * size), np.float32), np.empty((batch, size), np.float32)
    scaled, d_m = np.empty(4 * size, np.float32), np.empty(size, np.float32)
    for step in range(time - 1, -1, -1):
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                at_gates[row, step], at_products[row, step] = 0, 0
                continue
            frame = length - 1 - step if reverse else step
            now, later, carry, old = given[row, frame], last[row], cell[row], cells[row, frame]
            gate, out, m_now = gates[row, frame], at_gates[row, frame], squashed[row, frame]
            i_gate, f_gate, g_gate, o_gate = gate[:size], gate[size : 2 * size], gate[2 * size : -size], gate[-size:]
            i_out, f_out, g_out, o_out = out[:size], out[size : 2 * size], out[2 * size : -size], out[-size:]
            for j in range(size):
                o, m, d_h = o_gate[j], m_now[j], now[j] + later[j]
                o_out[j] = d_h * m * o * (one - o)
                d_m[j] = d_h * o * (one - m * m)
            seen = normal[row, frame, 4 * size :]
            for j in range(size):
                at_cell_gain[j] += d_m[j] * seen[j]
            for j in range(size):
                at_cell_bias[j] += d_m[j]
                scaled[j] = d_m[j] * cell_gain[j]
            through_standardize(scaled[:size], seen, scale[row, frame, 1], d_m)
            for j in range(size):
                i, f, g = i_gate[j], f_gate[j], g_gate[j]
                d_c = carry[j] + d_m[j]
                i_out[j] = d_c * g * i * (one - i)
                f_out[j] = d_c * old[j] * f * (one - f)
                g_out[j] = d_c * i * (one - g * g)
                carry[j] = d_c * f
            product = normal[row, frame, : 4 * size]
            for j in range(4 * size):
                at_gain[j] += out[j] * product[j]
            for j in range(4 * size):
                scaled[j] = out[j] * gain[j]
            through_standardize(scaled, product, scale[row, frame, 0], at_products[row, frame])
            across[row] = at_products[row, frame]
        multiply(across, weight, through)
        for row in range(batch):
            if step < lengths[row]:
                last[row] = through[row]
