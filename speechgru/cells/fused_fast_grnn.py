"""FastGRNN on a CPU in float32: the loop over frames and its gradient as compiled kernels."""

from __future__ import annotations

import numpy as np
import torch
from numba import float32
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechgru.cells.kernels import Context, compiled, multiply, sigmoid, tanh


class FusedFastGRNN(torch.autograd.Function):
    """All states of a FastGRNN over rows of different lengths, and the last state of each row.

    ``apply(projected (batch, time, hidden), lengths (batch,), state (batch, hidden), reverse, weight (hidden, hidden),
    bias (2 hidden), shares (2))`` -> hidden (batch, time, hidden), zeros beyond the lengths, and the final state
    (batch, hidden); the shares are sigmoid(zeta) and sigmoid(nu).
    """

    @staticmethod
    def forward(
        ctx: Context,
        projected: Tensor,
        lengths: Tensor,
        state: Tensor,
        reverse: bool,
        weight: Tensor,
        bias: Tensor,
        shares: Tensor,
    ) -> tuple[Tensor, Tensor]:
        projected = projected.contiguous()
        batch, time, size = projected.shape
        hidden, gates = torch.empty(batch, time, size), torch.empty(batch, time, 2 * size)
        before, final = torch.empty(time, batch, size), state.clone(memory_format=torch.contiguous_format)
        _states(
            projected.numpy(),
            lengths.numpy(),
            reverse,
            weight.detach().t().contiguous().numpy(),
            bias.detach().numpy(),
            shares.detach().numpy(),
            final.numpy(),
            hidden.numpy(),
            gates.numpy(),
            before.numpy(),
        )
        ctx.save_for_backward(lengths, weight, shares)
        ctx.reverse, ctx.kept = reverse, (gates, before)
        return hidden, final

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        lengths, weight, shares = ctx.saved_tensors
        gates, before = ctx.kept
        time, batch, size = before.shape
        at_projected, across = torch.empty(batch, time, size), torch.empty(time, batch, size)
        at_bias, at_shares = torch.zeros(2 * size), torch.zeros(2, size)
        at_state = gradients[1].clone(memory_format=torch.contiguous_format)
        _gradients(
            gates.numpy(),
            lengths.numpy(),
            ctx.reverse,
            weight.detach().contiguous().numpy(),
            shares.detach().numpy(),
            before.numpy(),
            gradients[0].contiguous().numpy(),
            at_state.numpy(),
            at_projected.numpy(),
            across.numpy(),
            at_bias.numpy(),
            at_shares.numpy(),
        )
        at_weight = torch.mm(across.view(-1, size).t(), before.view(-1, size))
        return at_projected, None, at_state, None, at_weight, at_bias, at_shares.sum(1)


@compiled
def _states(
    projected: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    across: np.ndarray,
    bias: np.ndarray,
    shares: np.ndarray,
    state: np.ndarray,
    hidden: np.ndarray,
    gates: np.ndarray,
    before: np.ndarray,
) -> None:
    """Runs the cell. In: W x and the first states.

    Out: the last states in their place, hidden and the gates z, n (batch, time, .), and by step the state before it.
    """
    batch, time, size = hidden.shape
    one, zeta, nu = float32(1), shares[0], shares[1]
    b_z, b_n = bias[:size], bias[size:]
    products = np.empty((batch, size), np.float32)
    for step in range(time):
        multiply(state, across, products)
        before[step] = state
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                hidden[row, step] = 0
                continue
            frame = length - 1 - step if reverse else step
            x, product, old, new = projected[row, frame], products[row], state[row], hidden[row, frame]
            z_gate, n_gate = gates[row, frame, :size], gates[row, frame, size:]
            for j in range(size):
                total = x[j] + product[j]
                z, n = sigmoid(total + b_z[j]), tanh(total + b_n[j])
                z_gate[j], n_gate[j] = z, n
                new[j] = (zeta * (one - z) + nu) * n + z * old[j]
            old[:] = new


@compiled
def _gradients(
    gates: np.ndarray,
    lengths: np.ndarray,
    reverse: bool,
    weight: np.ndarray,
    shares: np.ndarray,
    before: np.ndarray,
    given: np.ndarray,
    state: np.ndarray,
    at_projected: np.ndarray,
    across: np.ndarray,
    at_bias: np.ndarray,
    at_shares: np.ndarray,
) -> None:
    """The chain rule through :func:`_states`, last step first.

    In: what it left, the gradient at the hidden frames and, in ``state``, at the last states. Out: the gradients at W x
    by frame and at U h by step, at the biases, at the shares for each value of the state, and at the first states.
    """
    batch, time, size = given.shape
    one, zeta, nu = float32(1), shares[0], shares[1]
    b_z, b_n, d_zeta, d_nu = at_bias[:size], at_bias[size:], at_shares[0], at_shares[1]
    carried = np.empty((batch, size), np.float32)
    through = np.empty((batch, size), np.float32)
    for step in range(time - 1, -1, -1):
        for row in range(batch):
            length = lengths[row]
            if step >= length:
                at_projected[row, step] = 0
                across[step, row] = 0
                carried[row] = state[row]
                continue
            frame = length - 1 - step if reverse else step
            now, later, carry, old = given[row, frame], state[row], carried[row], before[step, row]
            z_gate, n_gate = gates[row, frame, :size], gates[row, frame, size:]
            d_x, d_product = at_projected[row, frame], across[step, row]
            for j in range(size):
                z, n = z_gate[j], n_gate[j]
                d_h = now[j] + later[j]
                d_z = d_h * (old[j] - zeta * n) * z * (one - z)
                d_n = d_h * (zeta * (one - z) + nu) * (one - n * n)
                d_x[j] = d_z + d_n
                d_product[j] = d_z + d_n
                b_z[j] += d_z
                b_n[j] += d_n
                d_zeta[j] += d_h * (one - z) * n
                d_nu[j] += d_h * n
                carry[j] = d_h * z
        multiply(across[step], weight, through)
        for row in range(batch):
            for j in range(size):
                state[row, j] = carried[row, j] + through[row, j]
