"""The gated recurrent unit, reset gate after the recurrent product."""

from __future__ import annotations

import dataclasses
import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, valid_frames
from speechgru.errors import ConfigError
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
        if input_size < 1 or hidden_size < 1:
            raise ConfigError(f"input_size={input_size} hidden_size={hidden_size}: both are at least 1")
        config = config or GRUConfig()
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)
        with torch.no_grad():
            if config.orthogonal:
                for block in self.weight_hh.chunk(3):
                    nn.init.orthogonal_(block)
            self.bias_ih[hidden_size : 2 * hidden_size] += config.update_bias

    def step(self, frame: Tensor, state: Tensor) -> Tensor:
        return torch.gru_cell(frame, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def forward(
        self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None, reverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        state = self.initial_state(sequence) if state is None else state
        if sequence.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # A bfloat16 GRU is slower than a float32 one on CPU, and rounding would pile up over the frames.
            with torch.autocast("cpu", enabled=False):
                return self.forward(sequence.float(), lengths, state.float(), reverse)
        if not self._fuses(sequence, state):
            return super().forward(sequence, lengths, state, reverse)
        # Imported where it is needed: numba takes half a second, and only training comes here.
        from speechgru.cells.fused_gru import FusedGRU

        if lengths is None:
            lengths = torch.full((sequence.shape[0],), sequence.shape[1])
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        return FusedGRU.apply(sequence, lengths, state, reverse, *weights)

    def _fuses(self, sequence: Tensor, state: Tensor) -> bool:
        """Whether the compiled training step applies: float32 on a CPU, with a gradient to compute."""
        return (
            torch.is_grad_enabled()
            and self.weight_hh.requires_grad
            and sequence.device.type == "cpu"
            and sequence.dtype == state.dtype == self.weight_hh.dtype == torch.float32
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
        )

    def run(self, sequence: Tensor, state: Tensor) -> Tensor:
        if not sequence.shape[1]:
            return sequence.new_zeros(sequence.shape[0], 0, self.hidden_size)
        weights: list[Tensor] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        with warnings.catch_warnings():
            if sequence.device.type == "cuda":
                # cuDNN copies the four into one block at each call, which costs microseconds at these sizes.
                warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
            hidden, _ = torch.gru(sequence, state[None], weights, True, 1, 0.0, self.training, False, True)
        return hidden

    def gates(self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None) -> dict[str, Tensor]:
        state = self.initial_state(sequence) if state is None else state
        inputs = F.linear(sequence, self.weight_ih, self.bias_ih)
        trace: dict[str, list[Tensor]] = {"reset": [], "update": [], "candidate": [], "hidden": []}
        for x in inputs.unbind(1):
            x_r, x_z, x_n = x.chunk(3, 1)
            h_r, h_z, h_n = F.linear(state, self.weight_hh, self.bias_hh).chunk(3, 1)
            reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
            candidate = torch.tanh(x_n + reset * h_n)
            state = (1 - update) * candidate + update * state
            for name, value in zip(trace, (reset, update, candidate, state), strict=True):
                trace[name].append(value)
        nothing = sequence.new_zeros(sequence.shape[0], 0, self.hidden_size)
        stacked = {name: torch.stack(values, 1) if values else nothing for name, values in trace.items()}
        if lengths is None:
            return stacked
        padding = ~valid_frames(lengths, sequence.shape[1])[..., None]
        return {name: values.masked_fill(padding, 0.0) for name, values in stacked.items()}

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int) -> int:
        return 3 * hidden_size * (input_size + hidden_size + 2)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int) -> int:
        return 3 * hidden_size * (input_size + hidden_size) + 3 * hidden_size
