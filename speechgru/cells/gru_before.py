"""The gated recurrent unit, reset gate before the recurrent product."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, Weights, initialize
from speechgru.cells.gru import GatedConfig
from speechgru.cells.rows import ONE, At, Row, RowFunctions, sigmoid, sigmoid_slope, tanh, tanh_slope
from speechgru.registry import register


@dataclasses.dataclass
class GRUBeforeConfig(GatedConfig):
    """Settings of a GRU cell with the reset gate before the product: those of every cell with an update gate."""


@register("cell", "gru_before", GRUBeforeConfig)
class GRUBefore(Cell):
    """GRU as it was published, with the reset gate before the recurrent product (Cho et al., 1406.1078v3, eq. 5 to 8)::

        r = sigmoid(W_r x + b_r + U_r h)
        z = sigmoid(W_z x + b_z + U_z h)
        n = tanh(W_n x + b_n + U_n (r * h))
        h = (1 - z) * n + z * h

    A value of the old state that is reset does not reach any candidate, while in ``gru`` a candidate drops the whole
    product. Keras calls it ``reset_after=False``, ONNX ``linear_before_reset=0``. Most papers use this form. It is
    slower than ``gru`` where libraries have only the latter; here both take the same time.

    The parameters: ``weight_ih`` (3 hidden, input), ``weight_hh`` (3 hidden, hidden) and ``bias`` (3 hidden), rows in
    the order r, z, n.

    Parameters: 3 H (I + H + 1). Multiply-accumulates of a step: 3 H (I + H) + 3 H.
    """

    framewise = True

    def __init__(self, input_size: int, hidden_size: int, config: GRUBeforeConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        config = config or GRUBeforeConfig()
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        initialize(self, config.orthogonal)
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] += config.update_bias

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.linear(sequence, self.weight_ih, self.bias)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x_r, x_z, x_n = frame.chunk(3, 1)
        u_r, u_z, u_n = self.weight_hh.chunk(3)
        reset = torch.sigmoid(x_r + F.linear(state, u_r))
        update = torch.sigmoid(x_z + F.linear(state, u_z))
        candidate = torch.tanh(x_n + F.linear(reset * state, u_n))
        return (1 - update) * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        return recur(ROWS, projected, lengths, state, reverse, self.weight_hh)

    def weights(self) -> Weights | None:
        own = self._own(GRUBefore, {"weight_ih", "weight_hh", "bias"})
        return (
            None
            if own is None
            else Weights(ROWS, own["weight_ih"], own["bias"], own["weight_hh"], None, self.hidden_size)
        )

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: GRUBeforeConfig | None = None) -> int:
        return 3 * hidden_size * (input_size + hidden_size + 1)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: GRUBeforeConfig | None = None) -> int:
        return 3 * hidden_size * (input_size + hidden_size) + 3 * hidden_size


def reset(row: Row, product: np.ndarray, reset_state: np.ndarray) -> None:
    """The gates of one row, left in place of x, and what the candidate sees of the state."""
    size = len(row.new)
    old, r_x, z_x, r_product, z_product = row.old, row.x[:size], row.x[size : 2 * size], product[:size], product[size:]
    for j in range(size):
        r = sigmoid(r_x[j] + r_product[j])
        r_x[j], z_x[j], reset_state[j] = r, sigmoid(z_x[j] + z_product[j]), r * old[j]


def forward(row: Row, product: np.ndarray) -> None:
    """The candidate, left in place of x behind z, and the new state."""
    size = len(row.new)
    old, new, z_x, n_x = row.old, row.new, row.x[-2 * size : -size], row.x[-size:]
    for j in range(size):
        n = tanh(n_x[j] + product[j])
        n_x[j] = n
        new[j] = n + z_x[j] * (old[j] - n)


def backward(row: Row, at: At) -> None:
    size = len(row.new)
    old, z_x, n_x, at_state = row.old, row.x[-2 * size : -size], row.x[-size:], at.state
    at_z, at_n = at.x[-2 * size : -size], at.x[-size:]
    for j in range(size):
        z, n, at_h = z_x[j], n_x[j], at_state[j]
        at_z[j] = at_h * (old[j] - n) * sigmoid_slope(z)
        at_n[j] = at_h * (ONE - z) * tanh_slope(n)
        at_state[j] = at_h * z


def reset_backward(row: Row, at: At, at_reset_state: np.ndarray) -> None:
    size = len(row.new)
    old, r_x, at_r, at_state = row.old, row.x[:size], at.x[:size], at.state
    for j in range(size):
        r = r_x[j]
        at_r[j] = at_reset_state[j] * old[j] * sigmoid_slope(r)
        at_state[j] += at_reset_state[j] * r


ROWS = RowFunctions(forward, backward, reset, reset_backward)
