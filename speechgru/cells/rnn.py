"""The plain recurrent network, with tanh and without a gate."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, initialize, torch_recurrence
from speechgru.cells.rows import ZERO, At, Row, RowFunctions, standardize, standardize_backward, tanh, tanh_slope
from speechgru.registry import register


@dataclasses.dataclass
class RNNConfig:
    """Settings of a tanh RNN cell.

    Attributes:
        orthogonal: start the recurrent matrix orthogonal (Saxe et al., 1312.6120) instead of uniform as torch does.
        layer_norm: layer normalisation of the sum of both products.
    """

    orthogonal: bool = True
    layer_norm: bool = False


@register("cell", "rnn", RNNConfig)
class RNN(Cell):
    """The recurrent network of Elman (Finding structure in time, 1990) as PyTorch computes it::

        h = tanh(W x + b + U h + c)

    The cell that every text compares the gated cells with: a third of a GRU's size, and gradients that vanish over a
    few dozen frames.

    The parameters are those of ``torch.nn.RNN``: ``weight_ih`` (hidden, input), ``weight_hh`` (hidden, hidden),
    ``bias_ih`` and ``bias_hh`` (hidden).

    With ``layer_norm`` (Ba et al., 1607.06450, section 3.1)::

        h = tanh(LN(W x + U h) + b + c)

    LN takes mean and variance over the hidden values and has a gain, ``gain`` (hidden). It looks at no other frame and
    no other row of the batch, unlike the batch normalisation of ``li_gru``.

    Parameters: H (I + H + 2), and H gains. Multiply-accumulates of a step: H (I + H), and 3 H for the normalisation:
    for each value its square, its scale and its gain.
    """

    framewise = True

    def __init__(self, input_size: int, hidden_size: int, config: RNNConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        config = config or RNNConfig()
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(hidden_size))
        initialize(self, config.orthogonal)
        self.layer_norm = config.layer_norm
        if config.layer_norm:
            self.gain = nn.Parameter(torch.ones(hidden_size))

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        # torch.rnn_tanh has the product in it.
        return self.linear(sequence, self.weight_ih) if self.layer_norm else sequence

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.layer_norm:
            sums = frame + F.linear(state, self.weight_hh)
            return torch.tanh(F.layer_norm(sums, self.gain.shape, self.gain, self.bias_ih + self.bias_hh)), {}
        product = F.linear(state, self.weight_hh, self.bias_hh)
        return torch.tanh(F.linear(frame, self.weight_ih, self.bias_ih) + product), {}

    def run(self, projected: Tensor, state: Tensor) -> Tensor:
        if self.layer_norm or not projected.shape[1]:
            return super().run(projected, state)
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        return torch_recurrence(torch.rnn_tanh, projected, state[None], weights, self.training)[0]

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        if projected.device.type == "cuda" and not self.layer_norm:
            return None  # cuDNN, through torch.rnn_tanh
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        if not self.layer_norm:
            inputs = self.linear(projected, self.weight_ih, self.bias_ih + self.bias_hh)
            return recur(PLAIN, inputs, lengths, state, reverse, self.weight_hh)
        vectors = self.gain, self.bias_ih + self.bias_hh
        return recur(ROWS, projected, lengths, state, reverse, self.weight_hh, vectors)

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: RNNConfig | None = None) -> int:
        gains = hidden_size if config is not None and config.layer_norm else 0
        return hidden_size * (input_size + hidden_size + 2) + gains

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: RNNConfig | None = None) -> int:
        normalization = 3 * hidden_size if config is not None and config.layer_norm else 0
        return hidden_size * (input_size + hidden_size) + normalization


def forward(row: Row, product: np.ndarray) -> None:
    """One row of an RNN with layer norm; leaves the normalised sum in place of x, and keeps its scale."""
    x, new, kept, (gain, bias) = row.x, row.new, row.kept, row.vectors
    for j in range(len(x)):
        x[j] += product[j]
    kept[0] = standardize(x)
    for j in range(len(x)):
        new[j] = tanh(x[j] * gain[j] + bias[j])


def backward(row: Row, at: At) -> None:
    x, new, at_x, at_state, gain, (at_gain, at_bias) = row.x, row.new, at.x, at.state, row.vectors[0], at.vectors
    for j in range(len(x)):
        at_sum = at_state[j] * tanh_slope(new[j])
        at_gain[j] += at_sum * x[j]
        at_bias[j] += at_sum
        at_x[j] = at_sum * gain[j]
        at_state[j] = ZERO
    standardize_backward(at_x, x, row.kept[0], at_x)


ROWS = RowFunctions(forward, backward, kept=lambda size: 1)


def forward_plain(row: Row, product: np.ndarray) -> None:
    """One row of an RNN."""
    x, new = row.x, row.new
    for j in range(len(x)):
        new[j] = tanh(x[j] + product[j])


def backward_plain(row: Row, at: At) -> None:
    new, at_x, at_state = row.new, at.x, at.state
    for j in range(len(new)):
        at_x[j] = at_state[j] * tanh_slope(new[j])
        at_state[j] = ZERO


PLAIN = RowFunctions(forward_plain, backward_plain)
