"""The minimal GRU whose gate does not look at the state."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.cells.cell import Cell, Weights, initialize
from speechgru.cells.rows import HALF, ONE, ZERO, At, Row, RowFunctions, sigmoid, sigmoid_slope
from speechgru.cells.scan import scan
from speechgru.registry import register


class MinGRUCandidate(enum.Enum):
    """What a frame writes into the state, from the product ``a = W_n x + b_n``."""

    linear = "linear"
    positive = "positive"


@dataclasses.dataclass
class MinGRUConfig:
    """Settings of a minGRU cell.

    Attributes:
        candidate: ``linear`` writes a itself (section 3.1 of the paper); ``positive`` writes g(a) = a + 0.5 for a >= 0
            and sigmoid(a) below, as the paper's form in logarithms requires (appendix B.3), so no state is negative.
        update_bias: added to the update gate's bias at the start; above 0 the cell begins with a longer memory.
    """

    candidate: MinGRUCandidate = MinGRUCandidate.linear
    update_bias: float = 0.0


@register("cell", "min_gru", MinGRUConfig)
class MinGRU(Cell):
    """minGRU (Feng et al., 2410.01201, section 3.1)::

        z = sigmoid(W_z x + b_z)
        n = W_n x + b_n                 or g(W_n x + b_n)
        h = (1 - z) * n + z * h

    The paper's z is 1 - z here: negate W_z and b_z to exchange weights. Only the last line needs the state, so all
    frames share one matrix product and the rest is a linear recurrence: the fastest cell of the family and a third of a
    GRU's parameters or less, for long utterances and deep stacks. One layer alone cannot look at what it remembers; use
    two or three.

    Parameters: ``weight_ih`` (2 hidden, input) and ``bias`` (2 hidden), rows in the order z, n: 2 H (I + 1).
    Multiply-accumulates of a step: 2 H I + 2 H.
    """

    framewise = True

    def __init__(self, input_size: int, hidden_size: int, config: MinGRUConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.config = config = config or MinGRUConfig()
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        initialize(self)
        with torch.no_grad():
            self.bias[:hidden_size] += config.update_bias

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.linear(sequence, self.weight_ih, self.bias)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        update, candidate = self._gates(frame)
        return (1 - update) * candidate + update * state, {"update": update, "candidate": candidate}

    def run(self, projected: Tensor, state: Tensor) -> Tensor:
        update, candidate = self._gates(projected)
        return scan(update, (1 - update) * candidate, state)

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        if projected.device.type == "cuda":
            return None
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        return recur(self._rows, projected, lengths, state, reverse)

    def weights(self) -> Weights | None:
        own = self._own(MinGRU, {"weight_ih", "bias"})
        return None if own is None else Weights(self._rows, own["weight_ih"], own["bias"], None, None, self.hidden_size)

    @property
    def _rows(self) -> RowFunctions:
        return POSITIVE if self.config.candidate is MinGRUCandidate.positive else LINEAR

    def _gates(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        update, candidate = projected.chunk(2, -1)
        if self.config.candidate is MinGRUCandidate.positive:
            candidate = torch.where(candidate < 0, torch.sigmoid(candidate), candidate + 0.5)
        return torch.sigmoid(update), candidate

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: MinGRUConfig | None = None) -> int:
        return 2 * hidden_size * (input_size + 1)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: MinGRUConfig | None = None) -> int:
        return 2 * hidden_size * input_size + 2 * hidden_size


def forward(row: Row, product: np.ndarray) -> None:
    """One row of a minGRU; leaves z in place of its part of x."""
    size = len(row.new)
    z_x, n_x, old, new = row.x[:size], row.x[size:], row.old, row.new
    for j in range(size):
        z = sigmoid(z_x[j])
        z_x[j] = z
        new[j] = (ONE - z) * n_x[j] + z * old[j]


def backward(row: Row, at: At) -> None:
    size = len(row.new)
    z_x, n_x, old, at_z, at_n, at_state = row.x[:size], row.x[size:], row.old, at.x[:size], at.x[size:], at.state
    for j in range(size):
        z, at_h = z_x[j], at_state[j]
        at_z[j] = at_h * (old[j] - n_x[j]) * sigmoid_slope(z)
        at_n[j] = at_h * (ONE - z)
        at_state[j] = at_h * z


def forward_positive(row: Row, product: np.ndarray) -> None:
    """The same with g(x) as candidate; its x stays as it is, for the slope."""
    size = len(row.new)
    z_x, n_x, old, new = row.x[:size], row.x[size:], row.old, row.new
    for j in range(size):
        z, a = sigmoid(z_x[j]), n_x[j]
        n = sigmoid(a) if a < ZERO else a + HALF
        z_x[j] = z
        new[j] = n + z * (old[j] - n)


def backward_positive(row: Row, at: At) -> None:
    size = len(row.new)
    z_x, n_x, old, at_z, at_n, at_state = row.x[:size], row.x[size:], row.old, at.x[:size], at.x[size:], at.state
    for j in range(size):
        z, a, at_h = z_x[j], n_x[j], at_state[j]
        s = sigmoid(a)
        n = s if a < ZERO else a + HALF
        at_z[j] = at_h * (old[j] - n) * sigmoid_slope(z)
        at_n[j] = at_h * (ONE - z) * (sigmoid_slope(s) if a < ZERO else ONE)
        at_state[j] = at_h * z


LINEAR = RowFunctions(forward, backward, recurrent=False)
POSITIVE = RowFunctions(forward_positive, backward_positive, recurrent=False)
