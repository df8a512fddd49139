"""The gated recurrent unit, reset gate after the recurrent product."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, initialize, torch_recurrence
from speechgru.registry import register


@dataclasses.dataclass
class GRUConfig:
    """Settings of a GRU cell.

    Attributes:
        orthogonal: start the recurrent matrices orthogonal (Saxe et al., 1312.6120) instead of uniform as torch does.
        update_bias: added to the update gate's bias at the start; above 0 the cell begins with a longer memory.
    """

    orthogonal: bool = True
    update_bias: float = 0.0


@register("cell", "gru", GRUConfig)
class GRU(Cell):
    """GRU as PyTorch and cuDNN compute it, with the reset gate behind the recurrent product (Cho et al., 1406.1078v1)::

        r = sigmoid(W_r x + b_r + U_r h + c_r)
        z = sigmoid(W_z x + b_z + U_z h + c_z)
        n = tanh(W_n x + b_n + r * (U_n h + c_n))
        h = (1 - z) * n + z * h

    The parameters are those of ``torch.nn.GRU``: ``weight_ih`` (3 hidden, input), ``weight_hh`` (3 hidden, hidden),
    ``bias_ih`` and ``bias_hh`` (3 hidden), rows in the order r, z, n.

    Parameters: 3 H (I + H + 2). Multiply-accumulates of a step: 3 H (I + H) + 3 H.
    """

    def __init__(self, input_size: int, hidden_size: int, config: GRUConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        config = config or GRUConfig()
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        initialize(self, config.orthogonal)
        with torch.no_grad():
            self.bias_ih[hidden_size : 2 * hidden_size] += config.update_bias

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        x_r, x_z, x_n = F.linear(frame, self.weight_ih, self.bias_ih).chunk(3, 1)
        h_r, h_z, h_n = F.linear(state, self.weight_hh, self.bias_hh).chunk(3, 1)
        reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        candidate = torch.tanh(x_n + reset * h_n)
        return (1 - update) * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}

    def step(self, frame: Tensor, state: Tensor) -> Tensor:
        if self.zoneout:
            return super().step(frame, state)
        return torch.gru_cell(frame, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        if not (torch.is_grad_enabled() and self.weight_hh.requires_grad):
            return None
        # Imported where it is needed: numba takes half a second, and only training comes here.
        from speechgru.cells.fused_gru import FusedGRU

        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        return FusedGRU.apply(projected, lengths, state, reverse, *weights)

    def run(self, projected: Tensor, state: Tensor) -> Tensor:
        if not projected.shape[1]:
            return super().run(projected, state)
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        return torch_recurrence(torch.gru, projected, state[None], weights, self.training)[0]

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: GRUConfig | None = None) -> int:
        return 3 * hidden_size * (input_size + hidden_size + 2)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: GRUConfig | None = None) -> int:
        return 3 * hidden_size * (input_size + hidden_size) + 3 * hidden_size
