"""The minimal gated unit: one gate that both resets and updates."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, Weights, initialize
from speechgru.cells.gru import GatedConfig
from speechgru.cells.gru_before import backward, forward
from speechgru.cells.rows import ONE, At, Row, RowFunctions, sigmoid, sigmoid_slope
from speechgru.registry import register


@dataclasses.dataclass
class MGUConfig(GatedConfig):
    """Settings of an MGU cell: those of every cell with an update gate."""


@register("cell", "mgu", MGUConfig)
class MGU(Cell):
    """MGU (Zhou et al., 1603.09420, table 2), a GRU with one gate::

        z = sigmoid(W_z x + b_z + U_z h)
        n = tanh(W_n x + b_n + U_n ((1 - z) * h))
        h = (1 - z) * n + z * h

    The paper writes it with the forget gate f = 1 - z, which is 1 where the candidate sees the old state and replaces
    it; its weights of f are ours negated (see cell.py). Two thirds of a GRU's parameters and time, and often as
    accurate; it cannot look at the old state without replacing it.

    The parameters: ``weight_ih`` (2 hidden, input), ``weight_hh`` (2 hidden, hidden) and ``bias`` (2 hidden), rows in
    the order z, n.

    Parameters: 2 H (I + H + 1). Multiply-accumulates of a step: 2 H (I + H) + 3 H.
    """

    framewise = True

    def __init__(self, input_size: int, hidden_size: int, config: MGUConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        config = config or MGUConfig()
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        initialize(self, config.orthogonal)
        with torch.no_grad():
            self.bias[:hidden_size] += config.update_bias

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.linear(sequence, self.weight_ih, self.bias)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x_z, x_n = frame.chunk(2, 1)
        u_z, u_n = self.weight_hh.chunk(2)
        update = torch.sigmoid(x_z + F.linear(state, u_z))
        reset = 1 - update
        candidate = torch.tanh(x_n + F.linear(reset * state, u_n))
        return reset * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        return recur(ROWS, projected, lengths, state, reverse, self.weight_hh)

    def weights(self) -> Weights | None:
        own = self._own(MGU, {"weight_ih", "weight_hh", "bias"})
        return (
            None
            if own is None
            else Weights(ROWS, own["weight_ih"], own["bias"], own["weight_hh"], None, self.hidden_size)
        )

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: MGUConfig | None = None) -> int:
        return 2 * hidden_size * (input_size + hidden_size + 1)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: MGUConfig | None = None) -> int:
        return 2 * hidden_size * (input_size + hidden_size) + 3 * hidden_size


def reset(row: Row, product: np.ndarray, reset_state: np.ndarray) -> None:
    """The gate of one row, left in place of x, and what the candidate sees of the state."""
    size = len(row.new)
    old, z_x = row.old, row.x[:size]
    for j in range(size):
        z = sigmoid(z_x[j] + product[j])
        z_x[j], reset_state[j] = z, (ONE - z) * old[j]


def reset_backward(row: Row, at: At, at_reset_state: np.ndarray) -> None:
    size = len(row.new)
    old, z_x, at_z, at_state = row.old, row.x[:size], at.x[:size], at.state
    for j in range(size):
        z = z_x[j]
        at_z[j] -= at_reset_state[j] * old[j] * sigmoid_slope(z)
        at_state[j] += at_reset_state[j] * (ONE - z)


ROWS = RowFunctions(forward, backward, reset, reset_backward)
