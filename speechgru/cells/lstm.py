"""Long short-term memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru import compiled
from speechgru.cells.cell import Cell, initialize, torch_recurrence
from speechgru.cells.rows import (
    ZERO,
    At,
    Row,
    RowFunctions,
    sigmoid,
    sigmoid_slope,
    standardize,
    standardize_backward,
    tanh,
    tanh_slope,
)
from speechgru.lengths import check_lengths, last_valid, reverse_within, valid_frames
from speechgru.registry import register

# Far beyond where a sigmoid in float32 differs from 0 and 1, and far below the largest number of half precision.
CERTAIN = 1e4


@dataclasses.dataclass
class LSTMConfig:
    """Settings of an LSTM cell.

    Attributes:
        orthogonal: start the recurrent matrices orthogonal (Saxe et al., 1312.6120) instead of uniform as torch does.
        forget_bias: added to the forget gate's bias at the start; above 0 the cell begins with a longer memory, and 1
            is what Jozefowicz et al. (ICML 2015, section 4.2) advise.
        layer_norm: layer normalisation of the products with the input and with the state, and of the memory cell on its
            way to the output.
    """

    orthogonal: bool = True
    forget_bias: float = 1.0
    layer_norm: bool = False


@register("cell", "lstm", LSTMConfig)
class LSTM(Cell):
    """LSTM with a forget gate and without peepholes (Gers et al., Learning to forget, 2000) as PyTorch computes it::

        i = sigmoid(W_i x + b_i + U_i h + c_i)
        f = sigmoid(W_f x + b_f + U_f h + c_f)
        g = tanh(W_g x + b_g + U_g h + c_g)
        o = sigmoid(W_o x + b_o + U_o h + c_o)
        c = f * c + i * g
        h = o * tanh(c)

    The state is h beside c, (batch, 2 hidden). What the GRU is compared with: a third more parameters, a memory cell
    that no gate can replace and rewrite at once, and the fastest kernels of every library.

    The parameters are those of ``torch.nn.LSTM``: ``weight_ih`` (4 hidden, input), ``weight_hh`` (4 hidden, hidden),
    ``bias_ih`` and ``bias_hh`` (4 hidden), rows in the order i, f, g, o.

    With ``layer_norm`` (Ba et al., 1607.06450, supplement, the LSTM of the attentive reader), where W and U are those
    of all gates::

        i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of LN(W x) + b + LN(U h) + c
        h = o * tanh(LN(c) + d)

    LN takes mean and variance over all the values it is given, the four gates together, and has a gain: ``gain_ih``,
    ``gain_hh`` (4 hidden) and ``gain_cell`` (hidden); d is ``bias_cell`` (hidden). The state holds c as it was before
    the normalisation. The layer norm looks at no other frame and no other row of the batch, unlike the batch
    normalisation of ``li_gru``.

    Parameters: 4 H (I + H + 2), and 10 H of the normalisation. Multiply-accumulates of a step: 4 H (I + H) + 3 H, and
    27 H for the normalisation: for each value its square, its scale and its gain.
    """

    framewise = True

    def __init__(self, input_size: int, hidden_size: int, config: LSTMConfig | None = None) -> None:
        super().__init__(input_size, hidden_size)
        config = config or LSTMConfig()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        initialize(self, config.orthogonal)
        with torch.no_grad():
            self.bias_ih[hidden_size : 2 * hidden_size] += config.forget_bias
        self.layer_norm = config.layer_norm
        if config.layer_norm:
            self.gain_ih = nn.Parameter(torch.ones(4 * hidden_size))
            self.gain_hh = nn.Parameter(torch.ones(4 * hidden_size))
            self.gain_cell = nn.Parameter(torch.ones(hidden_size))
            self.bias_cell = nn.Parameter(torch.zeros(hidden_size))

    @property
    def state_size(self) -> int:
        return 2 * self.hidden_size

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        if not self.layer_norm:
            return sequence  # torch.lstm has the product in it
        products = self.linear(sequence, self.weight_ih)
        return F.layer_norm(products, self.gain_ih.shape, self.gain_ih, self.bias_ih + self.bias_hh)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        h, c = state.chunk(2, 1)
        if self.layer_norm:
            sums = frame + F.layer_norm(F.linear(h, self.weight_hh), self.gain_hh.shape, self.gain_hh)
        else:
            sums = F.linear(frame, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = sums.chunk(4, 1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        c = f * c + i * g
        gates = {"input": i, "forget": f, "candidate": g, "output": o, "cell": c}
        seen = F.layer_norm(c, self.gain_cell.shape, self.gain_cell, self.bias_cell) if self.layer_norm else c
        return torch.cat((o * torch.tanh(seen), c), 1), gates

    def step(self, frame: Tensor, state: Tensor) -> Tensor:
        if self.zoneout or self.layer_norm:
            return super().step(frame, state)
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        return torch.cat(torch.lstm_cell(frame, state.chunk(2, 1), *weights), 1)

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        if not self.layer_norm:
            inputs = self.linear(projected, self.weight_ih, self.bias_ih + self.bias_hh)
            return recur(PLAIN, inputs, lengths, state, reverse, self.weight_hh)
        vectors, blocks = (self.gain_cell, self.bias_cell), (4 * self.hidden_size,)
        return recur(ROWS, projected, lengths, state, reverse, self.weight_hh, vectors, blocks, self.gain_hh)

    def forward(
        self, sequence: Tensor, lengths: Tensor | None = None, state: Tensor | None = None, reverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        # Otherwise cuDNN on a GPU, and torch's own loop in another precision.
        on_cpu = sequence.device.type == "cpu" and (
            torch.is_autocast_enabled("cpu") or compiled.usable(sequence, self.weight_ih)
        )
        if self.layer_norm or self.zoneout or on_cpu or torch.compiler.is_compiling() or not sequence.shape[1]:
            return super().forward(sequence, lengths, state, reverse)
        h, c = (self.initial_state(sequence) if state is None else state).chunk(2, 1)
        weight_ih: Tensor = self.weight_ih
        padded = sequence
        if lengths is not None:
            check_lengths(lengths, sequence)
            # torch.lstm returns c only after the last frame, so padding must leave c as it is: a feature that is 1 in
            # the padding closes the input gate and opens the forget gate. c = 1 * c + 0 * g to the bit, with gradients
            # of 1 and 0.
            padding = ~valid_frames(lengths, sequence.shape[1])[..., None]
            padded = torch.cat((sequence.masked_fill(padding, 0.0), padding.to(sequence.dtype)), 2)
            shut = weight_ih.new_tensor([-CERTAIN, CERTAIN, 0.0, 0.0]).repeat_interleave(self.hidden_size)
            weight_ih = torch.cat((weight_ih, shut[:, None]), 1)
        if reverse:
            padded = reverse_within(padded, lengths)
        weights = [weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        start = h[None].contiguous(), c[None].contiguous()
        hidden, _, last = torch_recurrence(torch.lstm, padded, start, weights, self.training)
        # Not last[0]: under torch.export the oneDNN LSTM gives one dimension more.
        final = torch.cat((last_valid(hidden, lengths, h), last.reshape(c.shape)), 1)
        if lengths is not None:
            hidden = hidden.masked_fill(padding, 0.0)
        return reverse_within(hidden, lengths) if reverse else hidden, final

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: LSTMConfig | None = None) -> int:
        normalization = 10 * hidden_size if config is not None and config.layer_norm else 0
        return 4 * hidden_size * (input_size + hidden_size + 2) + normalization

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: LSTMConfig | None = None) -> int:
        normalization = 27 * hidden_size if config is not None and config.layer_norm else 0
        return 4 * hidden_size * (input_size + hidden_size) + 3 * hidden_size + normalization


def forward(row: Row, product: np.ndarray) -> None:
    """One row of an LSTM with layer norm; leaves i, f, g, o in place of x, and keeps tanh(LN(c) + d) and LN(c)."""
    size = len(row.new)
    x, new, memory, m, seen, inverse = row.x, row.new, row.memory, row.kept[:size], row.kept[size:-1], row.kept[-1:]
    i, f, g, o = x[:size], x[size : 2 * size], x[2 * size : -size], x[-size:]
    gain, bias = row.vectors
    # One array at a time: with more of them the compiler would have to prove that none overlaps another.
    for j in range(4 * size):
        x[j] += product[j]
    for j in range(2 * size):
        x[j] = sigmoid(x[j])
    for j in range(size):
        g[j] = tanh(g[j])
    for j in range(size):
        o[j] = sigmoid(o[j])
    for j in range(size):
        memory[j] = f[j] * memory[j] + i[j] * g[j]
    for j in range(size):
        seen[j] = memory[j]
    inverse[0] = standardize(seen)
    for j in range(size):
        m[j] = tanh(seen[j] * gain[j] + bias[j])
    for j in range(size):
        new[j] = o[j] * m[j]


def backward(row: Row, at: At) -> None:
    size = len(row.new)
    x, old, m, seen, at_x, at_state, at_memory = (
        row.x,
        row.memory,
        row.kept[:size],
        row.kept[size:-1],
        at.x,
        at.state,
        at.memory,
    )
    i, f, g, o = x[:size], x[size : 2 * size], x[2 * size : -size], x[-size:]
    at_i, at_f, at_g, at_o = at_x[:size], at_x[size : 2 * size], at_x[2 * size : -size], at_x[-size:]
    gain, (at_gain, at_bias) = row.vectors[0], at.vectors
    for j in range(size):
        at_o[j] = at_state[j] * m[j] * sigmoid_slope(o[j])
        at_state[j] *= o[j] * tanh_slope(m[j])  # from here the gradient at LN(c) + d, then at c
    for j in range(size):
        at_gain[j] += at_state[j] * seen[j]
    for j in range(size):
        at_bias[j] += at_state[j]
        at_state[j] *= gain[j]
    standardize_backward(at_state, seen, row.kept[-1], at_state)
    for j in range(size):
        at_c = at_memory[j] + at_state[j]
        at_i[j] = at_c * g[j] * sigmoid_slope(i[j])
        at_f[j] = at_c * old[j] * sigmoid_slope(f[j])
        at_g[j] = at_c * i[j] * tanh_slope(g[j])
        at_memory[j] = at_c * f[j]
        at_state[j] = ZERO  # the old output is only in the product


ROWS = RowFunctions(forward, backward, memory=True, kept=lambda size: 2 * size + 1)


def forward_plain(row: Row, product: np.ndarray) -> None:
    """One row of an LSTM; leaves i, f, g, o in place of x, and keeps tanh(c)."""
    size = len(row.new)
    x, new, memory, m = row.x, row.new, row.memory, row.kept
    i, f, g, o = x[:size], x[size : 2 * size], x[2 * size : -size], x[-size:]
    for j in range(4 * size):
        x[j] += product[j]
    for j in range(2 * size):
        x[j] = sigmoid(x[j])
    for j in range(size):
        g[j] = tanh(g[j])
    for j in range(size):
        o[j] = sigmoid(o[j])
    for j in range(size):
        memory[j] = f[j] * memory[j] + i[j] * g[j]
    for j in range(size):
        m[j] = tanh(memory[j])
    for j in range(size):
        new[j] = o[j] * m[j]


def backward_plain(row: Row, at: At) -> None:
    size = len(row.new)
    x, old, m, at_x, at_state, at_memory = row.x, row.memory, row.kept, at.x, at.state, at.memory
    i, f, g, o = x[:size], x[size : 2 * size], x[2 * size : -size], x[-size:]
    at_i, at_f, at_g, at_o = at_x[:size], at_x[size : 2 * size], at_x[2 * size : -size], at_x[-size:]
    for j in range(size):
        at_o[j] = at_state[j] * m[j] * sigmoid_slope(o[j])
        at_memory[j] += at_state[j] * o[j] * tanh_slope(m[j])
    for j in range(size):
        at_i[j] = at_memory[j] * g[j] * sigmoid_slope(i[j])
        at_g[j] = at_memory[j] * i[j] * tanh_slope(g[j])
    for j in range(size):
        at_f[j] = at_memory[j] * old[j] * sigmoid_slope(f[j])
        at_memory[j] *= f[j]
        at_state[j] = ZERO


PLAIN = RowFunctions(forward_plain, backward_plain, memory=True, kept=lambda size: size)
