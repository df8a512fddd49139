"""GRU1, GRU2 and GRU3: gated recurrent units whose gates see less than input, state and bias."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, initialize
from speechgru.cells.gru import GatedConfig
from speechgru.cells.gru_before import ROWS
from speechgru.cells.rows import ONE, At, Row, RowFunctions, tanh, tanh_slope
from speechgru.registry import register


@dataclasses.dataclass
class GRU1Config(GatedConfig):
    """Settings of a GRU1 cell: those of every cell with an update gate."""


@dataclasses.dataclass
class GRU2Config(GatedConfig):
    """Settings of a GRU2 cell: ``update_bias`` does nothing, because its gates have no bias."""


@dataclasses.dataclass
class GRU3Config(GatedConfig):
    """Settings of a GRU3 cell: those of every cell with an update gate."""


class GRUVariant(Cell):
    """A GRU with reset before the product (Dey & Salem, 1701.05923) whose gates do not see the input::

        n = tanh(W x + b + U (r * h))
        h = (1 - z) * n + z * h

    The paper's z lets the new state in, ours keeps the old one (see cell.py). The rows of the parameters are in the
    order r, z, n; each variant has those it needs.
    """

    framewise = True
    gates_see_state: ClassVar[bool]
    gates_have_bias: ClassVar[bool]

    def __init__(self, input_size: int, hidden_size: int, config: GatedConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        config = config or GatedConfig()
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty((3 if self.gates_see_state else 1) * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty((3 if self.gates_have_bias else 1) * hidden_size))
        initialize(self, config.orthogonal)
        if self.gates_have_bias:
            with torch.no_grad():
                self.bias[hidden_size : 2 * hidden_size] += config.update_bias

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.linear(sequence, self.weight_ih, self.bias[-self.hidden_size :])

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        gates = self._gate_bias().expand(state.shape[0], -1)
        if self.gates_see_state:
            gates = gates + F.linear(state, self.weight_hh[: 2 * self.hidden_size])
        reset, update = torch.sigmoid(gates).chunk(2, 1)
        candidate = torch.tanh(frame + F.linear(reset * state, self.weight_hh[-self.hidden_size :]))
        return (1 - update) * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        if self.gates_see_state:
            inputs = torch.cat((self._gate_bias().expand(*projected.shape[:2], -1), projected), 2)
            return recur(ROWS, inputs, lengths, state, reverse, self.weight_hh)
        # With a constant r, U (r * h) is the product of h with one matrix.
        reset, update = torch.sigmoid(self._gate_bias()).chunk(2)
        return recur(CONSTANT_GATES, projected, lengths, state, reverse, self.weight_hh * reset, (update,))

    def _gate_bias(self) -> Tensor:
        if self.gates_have_bias:
            return self.bias[: 2 * self.hidden_size]
        return self.bias.new_zeros(2 * self.hidden_size)

    @classmethod
    def parameter_count(cls, input_size: int, hidden_size: int, config: GatedConfig | None = None) -> int:
        matrices, biases = 3 if cls.gates_see_state else 1, 3 if cls.gates_have_bias else 1
        return hidden_size * (input_size + matrices * hidden_size + biases)

    @classmethod
    def multiply_accumulates(cls, input_size: int, hidden_size: int, config: GatedConfig | None = None) -> int:
        return hidden_size * (input_size + (3 if cls.gates_see_state else 1) * hidden_size) + 3 * hidden_size


@register("cell", "gru1", GRU1Config)
class GRU1(GRUVariant):
    """GRU1, whose gates see state and bias (Dey & Salem, 1701.05923)::

        r = sigmoid(U_r h + b_r)
        z = sigmoid(U_z h + b_z)

    and the rest as in :class:`GRUVariant`. For inputs much wider than the state it saves most of the parameters; the
    paper found it as good as the GRU on word-level tasks. An input opens a gate only one frame later.

    Parameters: H (I + 3 H + 3). Multiply-accumulates of a step: H (I + 3 H) + 3 H.
    """

    gates_see_state = True
    gates_have_bias = True


@register("cell", "gru2", GRU2Config)
class GRU2(GRUVariant):
    """GRU2, whose gates see the state alone (Dey & Salem, 1701.05923)::

        r = sigmoid(U_r h)
        z = sigmoid(U_z h)

    and the rest as in :class:`GRUVariant`. From a state of zeros both gates begin half open.

    Parameters: H (I + 3 H + 1). Multiply-accumulates of a step: H (I + 3 H) + 3 H.
    """

    gates_see_state = True
    gates_have_bias = False


@register("cell", "gru3", GRU3Config)
class GRU3(GRUVariant):
    """GRU3, whose gates are constants that training finds (Dey & Salem, 1701.05923)::

        r = sigmoid(b_r)
        z = sigmoid(b_z)

    and the rest as in :class:`GRUVariant`: a tanh RNN in which every unit has its own fixed time constant,
    -1 / log(z) frames. The smallest of the three, and the baseline that a gate which looks at something has to beat.

    Parameters: H (I + H + 3). Multiply-accumulates of a step: H (I + H) + 3 H.
    """

    gates_see_state = False
    gates_have_bias = True


def forward(row: Row, product: np.ndarray) -> None:
    """One row of a GRU3, whose update gate is the vector; leaves n in place of x."""
    x, old, new, z = row.x, row.old, row.new, row.vectors[0]
    for j in range(len(x)):
        x[j] = tanh(x[j] + product[j])
    for j in range(len(x)):
        new[j] = x[j] + z[j] * (old[j] - x[j])


def backward(row: Row, at: At) -> None:
    x, old, z, at_x, at_state, at_z = row.x, row.old, row.vectors[0], at.x, at.state, at.vectors[0]
    for j in range(len(x)):
        at_x[j] = at_state[j] * (ONE - z[j]) * tanh_slope(x[j])
    for j in range(len(x)):
        at_z[j] += at_state[j] * (old[j] - x[j])
        at_state[j] *= z[j]


CONSTANT_GATES = RowFunctions(forward, backward)
