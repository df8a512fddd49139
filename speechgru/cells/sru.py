"""The simple recurrent unit: gates that see the memory value by value, and a highway around it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, initialize
from speechgru.cells.rows import ONE, ZERO, At, Row, RowFunctions, sigmoid, sigmoid_slope
from speechgru.registry import register


@dataclasses.dataclass
class SRUConfig:
    """Settings of an SRU cell.

    Attributes:
        update_bias: the update gate's bias at the start; above 0 the cell begins with a longer memory.
        highway_bias: the highway gate's bias at the start; below 0 a deep stack begins nearer to passing its input on.
    """

    update_bias: float = 0.0
    highway_bias: float = 0.0


@register("cell", "sru", SRUConfig)
class SRU(Cell):
    """SRU (Lei et al., 1709.02755v5; the paper's f is z here: both keep the old state)::

        z = sigmoid(W_z x + v_z * c + b_z)          c is the memory after the frame before
        c = z * c + (1 - z) * (W_n x)
        r = sigmoid(W_r x + v_r * c' + b_r)         c' is that same memory before the frame
        h = r * c + (1 - r) * a x

    a = sqrt(1 + 2 exp(highway_bias)) keeps the variance of deep stacks at the start of training, as the paper
    initializes them. Where input and hidden size differ, x of the last line is W_skip x, a fourth matrix, as in the
    authors' implementation.

    No matrix multiplies the state, so it trains at the speed of minGRU, yet its gates see what the memory holds; the
    highway is made for stacks of four layers and more. The state is h, c.

    Parameters: ``weight_ih`` (3 hidden, input), rows in the order n, z, r; ``weight_hh`` (2 hidden), v_z and v_r;
    ``bias`` (2 hidden), b_z and b_r; ``weight_skip`` (hidden, input) where the sizes differ: 3 H I + 4 H, and H I more
    where they differ. Multiply-accumulates of a step: 3 H I + 7 H, and H I more where they differ.
    """

    framewise = True

    weight_skip: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, config: SRUConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.config = config = config or SRUConfig()
        self.scale = math.sqrt(1 + 2 * math.exp(config.highway_bias))
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        skip = nn.Parameter(torch.empty(hidden_size, input_size)) if input_size != hidden_size else None
        self.register_parameter("weight_skip", skip)
        initialize(self)
        bound = math.sqrt(3 / input_size)  # variance 1 / input, as the paper initializes
        with torch.no_grad():
            for weight in (self.weight_ih, self.weight_skip):
                if weight is not None:
                    weight.uniform_(-bound, bound)
            self.bias[:hidden_size] = config.update_bias
            self.bias[hidden_size:] = config.highway_bias

    @property
    def state_size(self) -> int:
        return 2 * self.hidden_size

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        cell = state[:, self.hidden_size :]
        candidate, x_z, x_r = F.linear(frame, self.weight_ih).chunk(3, 1)
        v_z, v_r = self.weight_hh.chunk(2)
        b_z, b_r = self.bias.chunk(2)
        update = torch.sigmoid(x_z + v_z * cell + b_z)
        highway = torch.sigmoid(x_r + v_r * cell + b_r)
        new = update * cell + (1 - update) * candidate
        hidden = highway * new + (1 - highway) * self.scale * self._skip(frame)
        gates = {"update": update, "highway": highway, "candidate": candidate, "cell": new}
        return torch.cat((hidden, new), 1), gates

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        bias = torch.cat((self.bias.new_zeros(self.hidden_size), self.bias))
        gates = self.linear(projected, self.weight_ih, bias)
        inputs = torch.cat((gates, self.scale * self._skip(projected)), 2)
        return recur(ROWS, inputs, lengths, state, reverse, vectors=self.weight_hh.chunk(2))

    def _skip(self, frames: Tensor) -> Tensor:
        return frames if self.weight_skip is None else self.linear(frames, self.weight_skip)

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: SRUConfig | None = None) -> int:
        matrices = 3 if input_size == hidden_size else 4
        return matrices * hidden_size * input_size + 4 * hidden_size

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: SRUConfig | None = None) -> int:
        matrices = 3 if input_size == hidden_size else 4
        return matrices * hidden_size * input_size + 7 * hidden_size


def forward(row: Row, product: np.ndarray) -> None:
    """One row of an SRU; what the highway carries is in x behind the gates; leaves z and r in place of their parts."""
    size = len(row.new)
    n, z_x, r_x, carried = row.x[:size], row.x[size : 2 * size], row.x[2 * size : -size], row.x[-size:]
    new, memory, (v_z, v_r) = row.new, row.memory, row.vectors
    for j in range(size):
        z_x[j] = sigmoid(z_x[j] + v_z[j] * memory[j])
    for j in range(size):
        r_x[j] = sigmoid(r_x[j] + v_r[j] * memory[j])
    for j in range(size):
        memory[j] = n[j] + z_x[j] * (memory[j] - n[j])
        new[j] = carried[j] + r_x[j] * (memory[j] - carried[j])


def backward(row: Row, at: At) -> None:
    size = len(row.new)
    n, z, r, carried = row.x[:size], row.x[size : 2 * size], row.x[2 * size : -size], row.x[-size:]
    at_n, at_z, at_r, at_carried = at.x[:size], at.x[size : 2 * size], at.x[2 * size : -size], at.x[-size:]
    old, (v_z, v_r), at_state, at_memory, (at_v_z, at_v_r) = row.memory, row.vectors, at.state, at.memory, at.vectors
    for j in range(size):
        at_carried[j] = at_state[j] * (ONE - r[j])
        c = n[j] + z[j] * (old[j] - n[j])
        at_r[j] = at_state[j] * (c - carried[j]) * sigmoid_slope(r[j])
    for j in range(size):
        at_c = at_memory[j] + at_state[j] * r[j]
        at_n[j] = at_c * (ONE - z[j])
        at_z[j] = at_c * (old[j] - n[j]) * sigmoid_slope(z[j])
        at_memory[j] = at_c * z[j]
    for j in range(size):
        at_memory[j] += at_z[j] * v_z[j] + at_r[j] * v_r[j]
        at_state[j] = ZERO  # no gate sees the old output
    for j in range(size):
        at_v_z[j] += at_z[j] * old[j]
        at_v_r[j] += at_r[j] * old[j]


ROWS = RowFunctions(forward, backward, recurrent=False, memory=True)
