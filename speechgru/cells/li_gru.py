"""The light gated recurrent unit: no reset gate, ReLU candidate, batch normalisation of the input's part."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.batch_norm import FrameBatchNorm
from speechgru.cells.cell import Cell, initialize
from speechgru.cells.gru import GatedConfig
from speechgru.cells.rows import ONE, ZERO, At, Row, RowFunctions, sigmoid, sigmoid_slope
from speechgru.registry import register


@dataclasses.dataclass
class LiGRUConfig(GatedConfig):
    """Settings of a Li-GRU cell: those of every cell with an update gate."""


@register("cell", "li_gru", LiGRUConfig)
class LiGRU(Cell):
    """Li-GRU (Ravanelli et al., 1803.10225, section III)::

        z = sigmoid(BN(W_z x) + U_z h)
        n = relu(BN(W_n x) + U_n h)
        h = (1 - z) * n + z * h

    BN is batch normalisation over the valid frames of all rows, with a learned scale and shift, so there are no other
    biases. While training, rows of a batch therefore affect each other, and :meth:`step` is the same as the run only in
    evaluation mode. A third smaller than a GRU and made for speech. Its states have no bound: with large recurrent
    weights it explodes on long sequences, which ``sli_gru`` fixes.

    The parameters: ``weight_ih`` (2 hidden, input), ``weight_hh`` (2 hidden, hidden), ``normalization.weight`` and
    ``normalization.bias`` (2 hidden), rows in the order z, n; buffers: the running statistics.

    Parameters: 2 H (I + H + 2). Multiply-accumulates of a step: 2 H (I + H) + 4 H, 2 H of them the scales.
    """

    framewise = True
    normalize = False

    def __init__(self, input_size: int, hidden_size: int, config: LiGRUConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        config = config or LiGRUConfig()
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        initialize(self, config.orthogonal)
        self.normalization = FrameBatchNorm(2 * hidden_size)
        with torch.no_grad():
            self.normalization.bias[:hidden_size] += config.update_bias

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.normalization(self.linear(sequence, self.weight_ih), lengths)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x_z, x_n = frame.chunk(2, 1)
        h_z, h_n = F.linear(state, self.weight_hh).chunk(2, 1)
        if self.normalize:
            h_z, h_n = (F.layer_norm(product, (self.hidden_size,)) for product in (h_z, h_n))
        update, candidate = torch.sigmoid(x_z + h_z), torch.relu(x_n + h_n)
        return (1 - update) * candidate + update * state, {"update": update, "candidate": candidate}

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        blocks = (self.hidden_size, self.hidden_size) if self.normalize else ()
        return recur(ROWS, projected, lengths, state, reverse, self.weight_hh, blocks=blocks)

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: LiGRUConfig | None = None) -> int:
        return 2 * hidden_size * (input_size + hidden_size + 2)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: LiGRUConfig | None = None) -> int:
        return 2 * hidden_size * (input_size + hidden_size) + 4 * hidden_size


def forward(row: Row, product: np.ndarray) -> None:
    """One row of a Li-GRU; leaves z, n in place of x."""
    size = len(row.new)
    old, new, z_x, n_x, z_product, n_product = (
        row.old,
        row.new,
        row.x[:size],
        row.x[size:],
        product[:size],
        product[size:],
    )
    for j in range(size):
        total = n_x[j] + n_product[j]
        n_x[j] = ZERO if total < ZERO else total  # a NaN is not below 0 and stays
    for j in range(size):
        z_x[j] = sigmoid(z_x[j] + z_product[j])
        new[j] = n_x[j] + z_x[j] * (old[j] - n_x[j])


def backward(row: Row, at: At) -> None:
    size = len(row.new)
    old, z_x, n_x, at_z, at_n, at_state = row.old, row.x[:size], row.x[size:], at.x[:size], at.x[size:], at.state
    for j in range(size):
        at_n[j] = at_state[j] * (ONE - z_x[j]) * (ONE if n_x[j] > ZERO else ZERO)
    for j in range(size):
        z, at_h = z_x[j], at_state[j]
        at_z[j] = at_h * (old[j] - n_x[j]) * sigmoid_slope(z)
        at_state[j] = at_h * z


ROWS = RowFunctions(forward, backward)
