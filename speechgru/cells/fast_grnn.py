"""FastGRNN: a gate and a candidate that share their matrices, which may be of low rank."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, initialize
from speechgru.cells.rows import ONE, At, Row, RowFunctions, sigmoid, sigmoid_slope, tanh, tanh_slope
from speechgru.errors import ConfigError
from speechgru.registry import register


@dataclasses.dataclass
class FastGRNNConfig:
    """Settings of a FastGRNN cell.

    Attributes:
        input_rank: rank of W, the product of (hidden, rank) and (rank, input); 0 means a full matrix.
        hidden_rank: rank of U, the product of (hidden, rank) and (rank, hidden); 0 means a full matrix.
        orthogonal: start a full U orthogonal (Saxe et al., 1312.6120) instead of uniform.
        update_bias: the update gate's bias at the start; above 0 the cell begins with a longer memory.
        zeta: the share of the candidate at the start, sigmoid(zeta).
        nu: the share of the candidate that passes a closed gate at the start, sigmoid(nu).
    """

    input_rank: int = 0
    hidden_rank: int = 0
    orthogonal: bool = True
    update_bias: float = 1.0
    zeta: float = 1.0
    nu: float = -4.0

    def __post_init__(self) -> None:
        if self.input_rank < 0 or self.hidden_rank < 0:
            raise ConfigError(
                f"input_rank={self.input_rank} hidden_rank={self.hidden_rank}: at least 0 (0 means a full matrix)"
            )


@register("cell", "fast_grnn", FastGRNNConfig)
class FastGRNN(Cell):
    """FastGRNN (Kusupati et al., 1901.02358; z keeps the old state, as here)::

        z = sigmoid(W x + U h + b_z)
        n = tanh(W x + U h + b_n)
        h = (s * (1 - z) + v) * n + z * h       s = sigmoid(zeta), v = sigmoid(nu): two trained numbers from 0 to 1

    A third of a GRU's parameters, less with low ranks (W = W_1 W_2, U = U_1 U_2): for models of a few
    kilobytes. Gate and candidate come from the same sum, so what is written strongly is also what is kept.

    Parameters: ``weight_ih`` (hidden, input) or (hidden, input_rank) with ``reduce_ih`` (input_rank, input),
    ``weight_hh`` and ``reduce_hh`` likewise, ``bias`` (2 hidden), b_z and b_n, ``zeta`` and ``nu`` (1): H (I + H) + 2 H
    + 2; a rank R turns H I into R (H + I), or H H into 2 R H. Multiply-accumulates of a step: the matrices' and 3 H.
    """

    framewise = True

    weight_ih: Tensor
    weight_hh: Tensor
    reduce_ih: Tensor | None
    reduce_hh: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, config: FastGRNNConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.config = config = config or FastGRNNConfig()
        for suffix, columns, rank in (("ih", input_size, config.input_rank), ("hh", hidden_size, config.hidden_rank)):
            self.register_parameter(f"weight_{suffix}", nn.Parameter(torch.empty(hidden_size, rank or columns)))
            self.register_parameter(f"reduce_{suffix}", nn.Parameter(torch.empty(rank, columns)) if rank else None)
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        self.zeta = nn.Parameter(torch.empty(1))
        self.nu = nn.Parameter(torch.empty(1))
        initialize(self, config.orthogonal and not config.hidden_rank)
        with torch.no_grad():
            for reduce in (self.reduce_ih, self.reduce_hh):
                if reduce is not None:
                    # The product then has the variance of a full matrix.
                    bound = math.sqrt(3 / reduce.shape[0])
                    reduce.uniform_(-bound, bound)
            self.bias[:hidden_size] = config.update_bias
            self.bias[hidden_size:] = 0
            self.zeta.fill_(config.zeta)
            self.nu.fill_(config.nu)

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        reduced = sequence if self.reduce_ih is None else self.linear(sequence, self.reduce_ih)
        return self.linear(reduced, self.weight_ih)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        reduced = state if self.reduce_hh is None else F.linear(state, self.reduce_hh)
        total = frame + F.linear(reduced, self.weight_hh)
        b_z, b_n = self.bias.chunk(2)
        update, candidate = torch.sigmoid(total + b_z), torch.tanh(total + b_n)
        share = torch.sigmoid(self.zeta) * (1 - update) + torch.sigmoid(self.nu)
        return share * candidate + update * state, {"update": update, "candidate": candidate}

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        # The two small factors are multiplied once, which costs less than a second product in each of many frames.
        across = self.weight_hh if self.reduce_hh is None else self.weight_hh @ self.reduce_hh
        shares = (torch.sigmoid(share).expand(self.hidden_size) for share in (self.zeta, self.nu))
        return recur(ROWS, projected, lengths, state, reverse, across, (*self.bias.chunk(2), *shares))

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: FastGRNNConfig | None = None) -> int:
        return _matrices(input_size, hidden_size, config) + 2 * hidden_size + 2

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: FastGRNNConfig | None = None) -> int:
        return _matrices(input_size, hidden_size, config) + 3 * hidden_size


def _matrices(input_size: int, hidden_size: int, config: FastGRNNConfig | None) -> int:
    config = config or FastGRNNConfig()
    ranks = ((input_size, config.input_rank), (hidden_size, config.hidden_rank))
    return sum(rank * (hidden_size + columns) if rank else hidden_size * columns for columns, rank in ranks)


def forward(row: Row, product: np.ndarray) -> None:
    """One row of a FastGRNN; leaves z in place of x and keeps n."""
    x, old, new, n_kept, (b_z, b_n, zeta, nu) = row.x, row.old, row.new, row.kept, row.vectors
    for j in range(len(x)):
        total = x[j] + product[j]
        z, n = sigmoid(total + b_z[j]), tanh(total + b_n[j])
        x[j], n_kept[j] = z, n
        new[j] = (zeta[j] * (ONE - z) + nu[j]) * n + z * old[j]


def backward(row: Row, at: At) -> None:
    z_kept, old, n_kept, (_, _, zeta, nu) = row.x, row.old, row.kept, row.vectors
    at_x, at_state, (at_b_z, at_b_n, at_zeta, at_nu) = at.x, at.state, at.vectors
    for j in range(len(at_x)):
        z, n, at_h = z_kept[j], n_kept[j], at_state[j]
        at_z = at_h * (old[j] - zeta[j] * n) * sigmoid_slope(z)
        at_n = at_h * (zeta[j] * (ONE - z) + nu[j]) * tanh_slope(n)
        at_x[j] = at_z + at_n
        at_b_z[j] += at_z
        at_b_n[j] += at_n
        at_zeta[j] += at_h * (ONE - z) * n
        at_nu[j] += at_h * n
        at_state[j] = at_h * z


ROWS = RowFunctions(forward, backward, kept=lambda size: size)
