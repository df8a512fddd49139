"""The quasi-recurrent network: gates from a window of frames, then pooling."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, initialize
from speechgru.cells.rows import ONE, ZERO, At, Row, RowFunctions, sigmoid, sigmoid_slope, tanh, tanh_slope
from speechgru.cells.scan import scan
from speechgru.errors import ConfigError
from speechgru.registry import register


@dataclasses.dataclass
class QRNNConfig:
    """Settings of a QRNN cell.

    Attributes:
        window: frames the gates see, the present one and those before it, at least 1.
        update_bias: added to the update gate's bias at the start; above 0 the cell begins with a longer memory.
    """

    window: int = 2
    update_bias: float = 0.0

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"window={self.window}: at least 1 frame")


@register("cell", "qrnn", QRNNConfig)
class QRNN(Cell):
    """QRNN with fo-pooling (Bradbury et al., 1611.01576) over w = [x_{t-window+1}, ..., x_t]::

        n = tanh(W_n w + b_n)               the paper's z
        z = sigmoid(W_z w + b_z)            the paper's f
        o = sigmoid(W_o w + b_o)
        c = z * c + (1 - z) * n
        h = o * c

    The convolution is causal, and zeros stand before the first frame. As in minGRU, no gate looks at the state, and the
    cell is one matrix product and a linear recurrence. Its window sees a change between neighbouring frames, and its
    output gate hides what it keeps, as an LSTM's does.

    The state is h, c and all frames of the window but the last, oldest first: 2 H + (window - 1) I values, so that a
    sequence in pieces gives the same as the whole.

    Parameters: ``weight_ih`` (3 hidden, window * input), a window's frames oldest first, and ``bias`` (3 hidden),
    rows in the order n, z, o: 3 H (window I + 1). Multiply-accumulates of a step: 3 H window I + 3 H.
    """

    def __init__(self, input_size: int, hidden_size: int, config: QRNNConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        self.config = config = config or QRNNConfig()
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, config.window * input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        initialize(self)
        with torch.no_grad():
            self.bias[hidden_size : 2 * hidden_size] += config.update_bias

    @property
    def state_size(self) -> int:
        return 2 * self.hidden_size + (self.config.window - 1) * self.input_size

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        cell, past = self._memory(state)
        window = torch.cat((past.flatten(1), frame), 1)
        candidate, update, output = self._gates(window)
        new = (1 - update) * candidate + update * cell
        gates = {"update": update, "output": output, "candidate": candidate, "cell": new}
        return torch.cat((output * new, new, window[:, self.input_size :]), 1), gates

    def zone_out(self, new: Tensor, old: Tensor) -> Tensor:
        """Zoneout of h and c; the window's frames are the input and stay."""
        kept = 2 * self.hidden_size
        return torch.cat((super().zone_out(new[:, :kept], old[:, :kept]), new[:, kept:]), 1)

    def run(self, projected: Tensor, state: Tensor) -> Tensor:
        cell, past = self._memory(state)
        windows = _windows(torch.cat((past, projected), 1), self.config.window)
        candidate, update, output = self._gates(windows)
        cells = scan(update, (1 - update) * candidate, cell)
        return torch.cat((output * cells, cells, windows[..., self.input_size :]), 2)

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        if projected.device.type == "cuda":
            return None
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        frames, last = _with_past(projected, lengths, self._memory(state)[1], reverse)
        convolved = self.linear(_windows(frames, self.config.window, reverse), self.weight_ih, self.bias)
        hidden, final = recur(ROWS, convolved, lengths, state[:, : 2 * self.hidden_size], reverse)
        return hidden, torch.cat((final, last), 1)

    def _memory(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """c (batch, hidden) and the frames before, (batch, window - 1, input), of a state."""
        past = state[:, 2 * self.hidden_size :].unflatten(1, (self.config.window - 1, self.input_size))
        return state[:, self.hidden_size : 2 * self.hidden_size], past

    def _gates(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        candidate, update, output = F.linear(windows, self.weight_ih, self.bias).chunk(3, -1)
        return torch.tanh(candidate), torch.sigmoid(update), torch.sigmoid(output)

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: QRNNConfig | None = None) -> int:
        return 3 * hidden_size * ((config or QRNNConfig()).window * input_size + 1)

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: QRNNConfig | None = None) -> int:
        return 3 * hidden_size * (config or QRNNConfig()).window * input_size + 3 * hidden_size


def _with_past(sequence: Tensor, lengths: Tensor, past: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """The frames with those read before them, in frame order, and the last ones read, oldest first, (batch, values)."""
    count = past.shape[1]
    places = (lengths[:, None] + torch.arange(count))[..., None].expand_as(past)
    if not reverse:
        frames = torch.cat((past, sequence), 1)
        return frames, frames.gather(1, places).flatten(1)
    # A row read backwards has its past behind its own last frame.
    frames = F.pad(sequence, (0, 0, 0, count)).scatter(1, places, past.flip(1))
    return frames, frames[:, :count].flip(1).flatten(1)


def _windows(frames: Tensor, window: int, reverse: bool = False) -> Tensor:
    """Each ``window`` neighbours side by side in the order in which they are read: (batch, time, window * input)."""
    time = frames.shape[1] - window + 1
    starts = reversed(range(window)) if reverse else range(window)
    return torch.cat([frames[:, start : start + time] for start in starts], 2)


def forward(row: Row, product: np.ndarray) -> None:
    """One row of a QRNN, x the product with the window; leaves n, z, o in place of x."""
    size = len(row.new)
    n_x, z_x, o_x, new, memory = row.x[:size], row.x[size : 2 * size], row.x[2 * size :], row.new, row.memory
    for j in range(size):
        n_x[j] = tanh(n_x[j])
    for j in range(size):
        z_x[j] = sigmoid(z_x[j])
    for j in range(size):
        o_x[j] = sigmoid(o_x[j])
        memory[j] = n_x[j] + z_x[j] * (memory[j] - n_x[j])
        new[j] = o_x[j] * memory[j]


def backward(row: Row, at: At) -> None:
    size = len(row.new)
    n_x, z_x, o_x, old = row.x[:size], row.x[size : 2 * size], row.x[2 * size :], row.memory
    at_n, at_z, at_o, at_state, at_memory = at.x[:size], at.x[size : 2 * size], at.x[2 * size :], at.state, at.memory
    for j in range(size):
        n, z, o, at_h = n_x[j], z_x[j], o_x[j], at_state[j]
        at_c = at_memory[j] + at_h * o
        at_o[j] = at_h * (n + z * (old[j] - n)) * sigmoid_slope(o)
        at_z[j] = at_c * (old[j] - n) * sigmoid_slope(z)
        at_n[j] = at_c * (ONE - z) * tanh_slope(n)
        at_memory[j] = at_c * z
        at_state[j] = ZERO  # no gate sees the old output


ROWS = RowFunctions(forward, backward, recurrent=False, memory=True)
