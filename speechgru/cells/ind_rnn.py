"""The independently recurrent network: each value of the state sees only itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn

from speechgru.cells.cell import Cell, initialize
from speechgru.cells.rows import ZERO, At, Row, RowFunctions
from speechgru.errors import ConfigError
from speechgru.registry import register


@dataclasses.dataclass
class IndRNNConfig:
    """Settings of an IndRNN cell.

    Attributes:
        doubling_frames: frames in which a state may at most double by itself, at least 1: this bounds \\|u\\| by
            2^(1/frames). Choose about as many as an utterance has.
    """

    doubling_frames: int = 200

    def __post_init__(self) -> None:
        if self.doubling_frames < 1:
            raise ConfigError(f"doubling_frames={self.doubling_frames}: at least 1 frame")


@register("cell", "ind_rnn", IndRNNConfig)
class IndRNN(Cell):
    """IndRNN with ReLU (Li et al., 1803.04831), u a vector::

        h = relu(W x + u * h + b)           \\|u\\| <= 2^(1/doubling_frames)

    The bound is the paper's gamma^(1/T) with gamma = 2: beyond it gradients explode. A u outside of the bound acts as
    the bound and still receives the gradient, so it can come back. There is no gate: every value keeps a history of one
    fixed length, from none (u = 0) to all (u = 1), and u is drawn uniformly from 0 to 1 at the start.
    The smallest cell; the values meet in the next layer only, so stack it deep.

    Parameters: ``weight_ih`` (hidden, input), ``weight_hh`` (hidden), u, and ``bias`` (hidden): H (I + 2).
    Multiply-accumulates of a step: H I + H.
    """

    framewise = True

    def __init__(self, input_size: int, hidden_size: int, config: IndRNNConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.config = config = config or IndRNNConfig()
        self.bound = 2.0 ** (1 / config.doubling_frames)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        initialize(self)
        nn.init.uniform_(self.weight_hh, 0, 1)

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.linear(sequence, self.weight_ih, self.bias)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.relu(frame + self._recurrent() * state), {}

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        return recur(ROWS, projected, lengths, state, reverse, vectors=(self._recurrent(),))

    def _recurrent(self) -> Tensor:
        weight = self.weight_hh
        return weight + (weight.clamp(-self.bound, self.bound) - weight).detach()

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: IndRNNConfig | None = None) -> int:
        return hidden_size * (input_size + 2)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: IndRNNConfig | None = None) -> int:
        return hidden_size * input_size + hidden_size


def forward(row: Row, product: np.ndarray) -> None:
    """One row of an IndRNN, whose u is the vector."""
    x, old, new, u = row.x, row.old, row.new, row.vectors[0]
    for j in range(len(x)):
        total = x[j] + u[j] * old[j]
        new[j] = ZERO if total < ZERO else total  # a NaN is not below 0 and stays


def backward(row: Row, at: At) -> None:
    old, new, u, at_x, at_state, at_u = row.old, row.new, row.vectors[0], at.x, at.state, at.vectors[0]
    for j in range(len(at_x)):
        at_sum = at_state[j] if new[j] > ZERO else ZERO
        at_x[j] = at_sum
        at_u[j] += at_sum * old[j]
        at_state[j] = at_sum * u[j]


ROWS = RowFunctions(forward, backward, recurrent=False)
