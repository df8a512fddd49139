"""Cells without a reset gate on a CPU in float32: their loop and its gradient as compiled kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled, multiply, sigmoid, standardize, tanh, through_standardize


class FusedLight(torch.autograd.Function):
    """All states of ``h = (1 - z) * n + z * h`` over rows of different lengths, and the last state of each row.

    ``apply(inputs, lengths (batch,), state (batch, hidden), reverse, weight_hh, keep, normalize, rectify)`` -> hidden
    (batch, time, hidden), zeros beyond the lengths, and the final state (batch, hidden). The rows of ``weight_hh`` and
    of ``inputs`` (batch, time, rows) are z, n; or n alone where ``keep`` (hidden) stands for z; otherwise it is
    None. ``normalize`` puts a layer norm without weights on each gate's recurrent product; n is a ReLU where
    ``rectify`` says so and a tanh elsewhere.
    """

    @staticmethod
    def forward(
        ctx: Context,
        inputs: Tensor,
        lengths: Tensor,
        state: Tensor,
        reverse: bool,
        weight_hh: Tensor,
        keep: Tensor | None,
        normalize: bool,
        rectify: bool,
    ) -> tuple[Tensor, Tensor]:
        inputs = inputs.contiguous()
        batch, time, rows = inputs.shape
        size = weight_hh.shape[1]
        hidden, before = torch.empty(batch, time, size), torch.empty(batch, time, size)
        gates, final = torch.empty(batch, time, rows), state.clone(memory_format=torch.contiguous_format)
        # The products after their layer norm and what divided them: the gradient needs both.
        normal = torch.empty((batch, time, rows) if normalize else (0, 0, 0))
        scale = torch.empty((batch, time, rows // size) if normalize else (0, 0, 0))
        _states(
            inputs.numpy(),
            lengths.numpy(),
            reverse,
            weight_hh.t().contiguous().numpy(),
            inputs.new_empty(0).numpy() if keep is None else keep.contiguous().numpy(),
            normalize,
            rectify,
            final.numpy(),
            hidden.numpy(),
            before.numpy(),
            gates.numpy(),
            normal.numpy(),
            scale.numpy(),
        )
        ctx.save_for_backward(lengths, weight_hh, keep)
        ctx.reverse, ctx.flags, ctx.kept = reverse, (normalize, rectify), (gates, before, normal, scale)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        lengths, weight_hh, keep = ctx.saved_tensors
        reverse, (normalize, rectify) = ctx.reverse, ctx.flags
        gates, before, normal, scale = ctx.kept
        rows, size = weight_hh.shape
        at_inputs, state = torch.empty_like(gates), gradients[1].clone(memory_format=torch.contiguous_format)
        at_products = torch.empty_like(gates) if normalize else at_inputs
        at_keep = torch.zeros(0 if keep is None else size)
        _gradients(
            gates.numpy(),
            lengths.numpy(),
            reverse,
            weight_hh.contiguous().numpy(),
            at_keep.numpy() if keep is None else keep.contiguous().numpy(),
            normalize,
            rectify,
            before.numpy(),
            normal.numpy(),
            scale.numpy(),
            gradients[0].contiguous().numpy(),
            state.numpy(),
            at_inputs.numpy(),
            at_products.numpy(),
            at_keep.numpy(),
        )
        at_weight = at_products.view(-1, rows).t() @ before.view(-1, size)
        return at_inputs, None, state, None, at_weight, None if keep is None else at_keep, None, None


@compiled
def _states(
    inputs: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    across: np.ndarray,
    keep: np.ndarray,
    normalize: bool,
    rectify: bool,
    state: np.ndarray,
    hidden: np.ndarray,
    before: np.ndarray,
    gates: np.ndarray,
    normal: np.ndarray,
    scale: np.ndarray,
) -> None:
    """Runs the cell. In: the input's part, the weight with a column per gate value, and the first states.

    Out: the last states in their place, hidden, and for the gradient, by frame, the state before it, the gates, the
    normalised products and their scales.
    """
    batch, time, size = hidden.shape
    rows = inputs.shape[2]
    products = np.empty((batch, rows), np.float32)
    zero = np.float32(0)
    for step in range(time):
        multiply(state, across, products)
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                hidden[row, step], before[row, step] = 0, 0
                continue
            frame = length - 1 - step if reverse else step
            product, old, new = products[row], state[row], hidden[row, frame]
            if normalize:
                for block in range(rows // size):
                    values = product[block * size : (block + 1) * size]
                    scale[row, frame, block] = standardize(values)
                normal[row, frame] = product
            x, now = inputs[row, frame], gates[row, frame]
            n_x, n_product, n_now = x[-size:], product[-size:], now[-size:]
            if rectify:
                for j in range(size):
                    total = n_x[j] + n_product[j]
                    n_now[j] = zero if total < zero else total
            else:
                for j in range(size):
                    n_now[j] = tanh(n_x[j] + n_product[j])
            if len(keep):
                for j in range(size):
                    new[j] = n_now[j] + keep[j] * (old[j] - n_now[j])
            else:
                for j in range(size):
                    now[j] = sigmoid(x[j] + product[j])
                    new[j] = n_now[j] + now[j] * (old[j] - n_now[j])
            before[row, frame] = old
            old[:] = new


@compiled
def _gradients(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    keep: np.ndarray,
    normalize: bool,
    rectify: bool,
    before: np.ndarray,
    normal: np.ndarray,
    scale: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_inputs: np.ndarray,
    at_products: np.ndarray,
    at_keep: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first.

    In: what it left, the weight as it is, the gradient at the hidden frames and, in ``state``, at the last states. Out:
    the gradients at the sums inside the gates and at the recurrent products (by frame; the same array without a layer
    norm), at ``keep`` and, in ``state``, at the first states.
    """
    batch, time, size = given.shape
    rows = gates.shape[2]
    one, zero = np.float32(1), np.float32(0)
    across, through = np.zeros((batch, rows), np.float32), np.empty((batch, size), np.float32)
    for step in range(time - 1, -1, -1):
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                at_inputs[row, step], at_products[row, step] = 0, 0
                continue
            frame = length - 1 - step if reverse else step
            now, later, old = given[row, frame], state[row], before[row, frame]
            gate, out = gates[row, frame], at_inputs[row, frame]
            n_now, n_out = gate[-size:], out[-size:]
            z_now = keep if len(keep) else gate[:size]
            if rectify:
                for j in range(size):
                    n_out[j] = (now[j] + later[j]) * (one - z_now[j]) * (one if n_now[j] > zero else zero)
            else:
                for j in range(size):
                    n_out[j] = (now[j] + later[j]) * (one - z_now[j]) * (one - n_now[j] * n_now[j])
            if len(keep):
                for j in range(size):
                    d_h = now[j] + later[j]
                    at_keep[j] += d_h * (old[j] - n_now[j])
                    later[j] = d_h * keep[j]
            else:
                for j in range(size):
                    z, d_h = z_now[j], now[j] + later[j]
                    out[j] = d_h * (old[j] - n_now[j]) * z * (one - z)
                    later[j] = d_h * z
            at_product = at_products[row, frame]
            if normalize:
                for block in range(rows // size):
                    of = slice(block * size, (block + 1) * size)
                    through_standardize(out[of], normal[row, frame, of], scale[row, frame, block], at_product[of])
            across[row] = at_product
        multiply(across, weight, through)
        for row in range(batch):
            if step < lengths[row]:
                for j in range(size):
                    state[row, j] += through[row, j]
