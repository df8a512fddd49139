"""The gated recurrent unit, reset gate before the recurrent product."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, initialize
from speechgru.cells.gru import GatedConfig
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
    product. Keras calls it ``reset_after=False``, ONNX ``linear_before_reset=0``. It is the form of most papers, and
    slower than ``gru`` where libraries have only the other; here both take the same time.

    The parameters: ``weight_ih`` (3 hidden, input), ``weight_hh`` (3 hidden, hidden) and ``bias`` (3 hidden), rows in
    the order r, z, n.

    Parameters: 3 H (I + H + 1). Multiply-accumulates of a step: 3 H (I + H) + 3 H.
    """

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
        return F.linear(sequence, self.weight_ih, self.bias)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x_r, x_z, x_n = frame.chunk(3, 1)
        u_r, u_z, u_n = self.weight_hh.chunk(3)
        reset = torch.sigmoid(x_r + F.linear(state, u_r))
        update = torch.sigmoid(x_z + F.linear(state, u_z))
        candidate = torch.tanh(x_n + F.linear(reset * state, u_n))
        return (1 - update) * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.fused_reset_before import FusedResetBefore

        return FusedResetBefore.apply(projected, lengths, state, reverse, self.weight_hh, None)

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: GRUBeforeConfig | None = None) -> int:
        return 3 * hidden_size * (input_size + hidden_size + 1)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: GRUBeforeConfig | None = None) -> int:
        return 3 * hidden_size * (input_size + hidden_size) + 3 * hidden_size
