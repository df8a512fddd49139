"""The gated recurrent unit, reset gate after the recurrent product."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechgru.cells.cell import Cell, Weights, initialize, torch_recurrence
from speechgru.cells.rows import ONE, At, Row, RowFunctions, sigmoid, sigmoid_slope, tanh, tanh_slope
from speechgru.registry import register

_WEIGHTS = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}  # of a GRU without layer norm


@dataclasses.dataclass
class GatedConfig:
    """Settings of a cell with an update gate.

    Attributes:
        orthogonal: start the recurrent matrices orthogonal (Saxe et al., 1312.6120) instead of uniform as torch does.
        update_bias: added to the update gate's bias at the start; above 0 the cell begins with a longer memory.
    """

    orthogonal: bool = True
    update_bias: float = 0.0


@dataclasses.dataclass
class GRUConfig(GatedConfig):
    """Settings of a GRU cell: those of every cell with an update gate, and one more.

    Attributes:
        layer_norm: layer normalisation of the products with the input and with the state.
    """

    layer_norm: bool = False


@register("cell", "gru", GRUConfig)
class GRU(Cell):
    """GRU as PyTorch and cuDNN compute it, with the reset gate behind the recurrent product (Cho et al., 1406.1078v1)::

        r = sigmoid(W_r x + b_r + U_r h + c_r)
        z = sigmoid(W_z x + b_z + U_z h + c_z)
        n = tanh(W_n x + b_n + r * (U_n h + c_n))
        h = (1 - z) * n + z * h

    The parameters are those of ``torch.nn.GRU``: ``weight_ih`` (3 hidden, input), ``weight_hh`` (3 hidden, hidden),
    ``bias_ih`` and ``bias_hh`` (3 hidden), rows in the order r, z, n.

    With ``layer_norm`` each product is normalised before its bias is added (Ba et al., 1607.06450, supplement, the GRU
    of the order embeddings)::

        r, z = sigmoid(LN(W_rz x) + b_rz + LN(U_rz h) + c_rz)
        n = tanh(LN(W_n x) + b_n + r * (LN(U_n h) + c_n))

    LN takes mean and variance over the values it is given, here the two gates together and the candidate alone, and
    has a gain: ``gain_ih`` and ``gain_hh`` (3 hidden). Unlike the batch normalisation of ``li_gru`` it looks at no
    other frame and no other row, so training gives the same values as evaluation, a step as the run, and one row as a
    batch.

    Parameters: 3 H (I + H + 2), and 6 H gains. Multiply-accumulates of a step: 3 H (I + H) + 3 H, and 18 H for the
    normalisation: for each value its square, its scale and its gain.
    """

    framewise = True

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
        self.layer_norm = config.layer_norm
        if config.layer_norm:
            self.gain_ih = nn.Parameter(torch.ones(3 * hidden_size))
            self.gain_hh = nn.Parameter(torch.ones(3 * hidden_size))

    def project(self, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
        if not self.layer_norm:
            return sequence  # torch.gru has the product in it
        return self._normalize(self.linear(sequence, self.weight_ih), self.gain_ih, self.bias_ih)

    def advance(self, frame: Tensor, state: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.layer_norm:
            inputs = frame
            products = self._normalize(F.linear(state, self.weight_hh), self.gain_hh, self.bias_hh)
        else:
            inputs = F.linear(frame, self.weight_ih, self.bias_ih)
            products = F.linear(state, self.weight_hh, self.bias_hh)
        x_r, x_z, x_n = inputs.chunk(3, 1)
        h_r, h_z, h_n = products.chunk(3, 1)
        reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        candidate = torch.tanh(x_n + reset * h_n)
        return (1 - update) * candidate + update * state, {"reset": reset, "update": update, "candidate": candidate}

    def step(self, frame: Tensor, state: Tensor) -> Tensor:
        if self.zoneout or self.layer_norm:
            return super().step(frame, state)
        return torch.gru_cell(frame, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def fused(self, projected: Tensor, lengths: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor] | None:
        if projected.device.type == "cuda" and not self.layer_norm:
            return None  # cuDNN, through torch.gru
        from speechgru.cells.recurrence import recur  # imported here: numba takes half a second

        if self.layer_norm:
            blocks = 2 * self.hidden_size, self.hidden_size
            return recur(
                ROWS, projected, lengths, state, reverse, self.weight_hh, (self.bias_hh,), blocks, self.gain_hh
            )
        inputs = self.linear(projected, self.weight_ih, self.bias_ih)
        return recur(ROWS, inputs, lengths, state, reverse, self.weight_hh, (self.bias_hh,))

    def weights(self) -> Weights | None:
        own = self._own(GRU, _WEIGHTS)
        return (
            None
            if own is None
            else Weights(ROWS, own["weight_ih"], own["bias_ih"], own["weight_hh"], own["bias_hh"], self.hidden_size)
        )

    def run(self, projected: Tensor, state: Tensor) -> Tensor:
        if self.layer_norm or not projected.shape[1]:
            return super().run(projected, state)
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        return torch_recurrence(torch.gru, projected, state[None], weights, self.training)[0]

    def _normalize(self, products: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Layer norm of (..., 3 hidden), over both gates together and over the candidate alone."""
        sizes = [2 * self.hidden_size, self.hidden_size]
        parts = zip(products.split(sizes, -1), gain.split(sizes), bias.split(sizes), sizes, strict=True)
        return torch.cat([F.layer_norm(part, (size,), scale, shift) for part, scale, shift, size in parts], -1)

    @staticmethod
    def parameter_count(input_size: int, hidden_size: int, config: GRUConfig | None = None) -> int:
        gains = 6 * hidden_size if config is not None and config.layer_norm else 0
        return 3 * hidden_size * (input_size + hidden_size + 2) + gains

    @staticmethod
    def multiply_accumulates(input_size: int, hidden_size: int, config: GRUConfig | None = None) -> int:
        normalization = 18 * hidden_size if config is not None and config.layer_norm else 0
        return 3 * hidden_size * (input_size + hidden_size) + 3 * hidden_size + normalization


def forward(row: Row, product: np.ndarray) -> None:
    """One row of a GRU; leaves r, z, n in place of x and keeps U_n h + c_n."""
    size = len(row.new)
    x, old, new, kept, bias = row.x, row.old, row.new, row.kept, row.vectors[0]
    r_x, z_x, n_x = x[:size], x[size : 2 * size], x[2 * size :]
    r_product, z_product, n_product = product[:size], product[size : 2 * size], product[2 * size :]
    r_bias, z_bias, n_bias = bias[:size], bias[size : 2 * size], bias[2 * size :]
    for j in range(size):
        inner = n_product[j] + n_bias[j]
        r = sigmoid(r_x[j] + r_product[j] + r_bias[j])
        z = sigmoid(z_x[j] + z_product[j] + z_bias[j])
        n = tanh(n_x[j] + r * inner)
        r_x[j], z_x[j], n_x[j], kept[j] = r, z, n, inner
        new[j] = n + z * (old[j] - n)


def backward(row: Row, at: At) -> None:
    size = len(row.new)
    x, old, kept, at_x, at_product, at_state, at_bias = (
        row.x,
        row.old,
        row.kept,
        at.x,
        at.product,
        at.state,
        at.vectors[0],
    )
    r_x, z_x, n_x = x[:size], x[size : 2 * size], x[2 * size :]
    at_r, at_z, at_n = at_x[:size], at_x[size : 2 * size], at_x[2 * size :]
    of_r, of_z, of_n = at_product[:size], at_product[size : 2 * size], at_product[2 * size :]
    for j in range(size):
        r, z, n, at_h = r_x[j], z_x[j], n_x[j], at_state[j]
        d_n = at_h * (ONE - z) * tanh_slope(n)
        d_z = at_h * (old[j] - n) * sigmoid_slope(z)
        d_r = d_n * kept[j] * sigmoid_slope(r)
        at_r[j], at_z[j], at_n[j] = d_r, d_z, d_n
        of_r[j], of_z[j], of_n[j] = d_r, d_z, d_n * r
        at_state[j] = at_h * z
    for j in range(3 * size):
        at_bias[j] += at_product[j]


ROWS = RowFunctions(forward, backward, adds_product=False, kept=lambda size: size)
