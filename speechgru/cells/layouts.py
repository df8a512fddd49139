"""The weights of GRU, LSTM and RNN cells as ONNX and Keras lay them out, as NumPy arrays.

Both have the update gate of this package (z keeps the old state), so only positions change: each gate's rows move,
Keras has the transpose, and ONNX puts an axis of directions in front. Every function has its inverse beside it.

============  ==========  ==========  ==========
rows          here        ONNX        Keras
============  ==========  ==========  ==========
GRU           r z n       z r h       z r h
LSTM          i f g o     i o f c     i f c o
============  ==========  ==========  ==========
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from speechgru.cells.cell import Cell
from speechgru.cells.gru import GRU
from speechgru.cells.gru_before import GRUBefore
from speechgru.cells.lstm import LSTM
from speechgru.cells.rnn import RNN
from speechgru.errors import ConfigError

# Which of our blocks of rows stands at each place of the other layout.
ONNX_ORDERS: dict[type[Cell], list[int]] = {GRU: [1, 0, 2], GRUBefore: [1, 0, 2], LSTM: [0, 3, 1, 2], RNN: [0]}
KERAS_ORDERS: dict[type[Cell], list[int]] = {GRU: [1, 0, 2], GRUBefore: [1, 0, 2], LSTM: [0, 1, 2, 3], RNN: [0]}


def to_onnx(cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    """The inputs of an ONNX GRU, LSTM or RNN node that computes what one cell does, or two cells as its directions.

    The node of a ``gru`` needs linear_before_reset=1, that of a ``gru_before`` 0 (onnx.ai/onnx/operators/onnx__GRU).

    Args:
        cells: one cell, or the forward and the backward one.

    Returns:
        W (directions, gates * hidden, input), R (directions, gates * hidden, hidden) and B (directions, 2 * gates *
        hidden), the biases of the input before those of the recurrence.

    Raises:
        ConfigError: a cell that ONNX has no node for.
    """
    arrays = [_arrays(cell, ONNX_ORDERS) for cell in cells]
    biases = [np.concatenate((one["bias_ih"], one["bias_hh"])) for one in arrays]
    return {
        "W": np.stack([one["weight_ih"] for one in arrays]),
        "R": np.stack([one["weight_hh"] for one in arrays]),
        "B": np.stack(biases),
    }


def from_onnx(cells: Sequence[Cell], arrays: dict[str, np.ndarray]) -> None:
    """Copies W, R and B of :func:`to_onnx` into cells of the same kind and sizes, one for each direction.

    Raises:
        ConfigError: a cell that ONNX has no node for, or arrays of other shapes.
    """
    for index, cell in enumerate(cells):
        own = _arrays(cell, ONNX_ORDERS)
        half = len(own["bias_ih"])
        _check("B", arrays["B"], (len(cells), 2 * half))
        bias_ih, bias_hh = arrays["B"][index, :half], arrays["B"][index, half:]
        for name, key in (("weight_ih", "W"), ("weight_hh", "R")):
            _check(key, arrays[key], (len(cells), *own[name].shape))
        given = {"weight_ih": arrays["W"][index], "weight_hh": arrays["R"][index]}
        _fill(cell, {**given, "bias_ih": bias_ih, "bias_hh": bias_hh}, ONNX_ORDERS)


def to_keras(cell: Cell) -> list[np.ndarray]:
    """The weights of a Keras layer that computes what the cell computes: kernel, recurrent kernel, bias.

    A ``gru`` is a Keras GRU with reset_after=True, its default, and has a bias (2, 3 hidden), a row for the input and
    one for the recurrence; a ``gru_before`` is one with reset_after=False. The others have one bias (gates * hidden).

    Raises:
        ConfigError: a cell that Keras has no layer for.
    """
    own = _arrays(cell, KERAS_ORDERS)
    two = isinstance(cell, GRU)
    bias = np.stack((own["bias_ih"], own["bias_hh"])) if two else own["bias_ih"] + own["bias_hh"]
    return [np.ascontiguousarray(own["weight_ih"].T), np.ascontiguousarray(own["weight_hh"].T), bias]


def from_keras(cell: Cell, weights: Sequence[np.ndarray]) -> None:
    """Copies the weights of :func:`to_keras`, in the order of Keras' ``get_weights``, into a cell of the same kind.

    Raises:
        ConfigError: a cell that Keras has no layer for, or arrays of other shapes.
    """
    for name, one, other in zip(("kernel", "recurrent kernel", "bias"), weights, to_keras(cell), strict=True):
        _check(name, one, other.shape)
    kernel, recurrent, bias = weights
    bias_ih, bias_hh = bias if isinstance(cell, GRU) else (bias, np.zeros_like(bias))
    _fill(cell, {"weight_ih": kernel.T, "weight_hh": recurrent.T, "bias_ih": bias_ih, "bias_hh": bias_hh}, KERAS_ORDERS)


def _arrays(cell: Cell, orders: dict[type[Cell], list[int]]) -> dict[str, np.ndarray]:
    """The four arrays of torch's layout with their rows in the other order; with one bias, ``bias_hh`` is zeros."""
    order = _order(cell, orders)
    arrays = {name: parameter.detach().cpu().numpy() for name, parameter in cell.named_parameters()}
    if "bias" in arrays:
        bias = arrays.pop("bias")
        arrays |= {"bias_ih": bias, "bias_hh": np.zeros_like(bias)}
    return {name: np.concatenate([np.split(one, len(order))[at] for at in order]) for name, one in arrays.items()}


def _fill(cell: Cell, arrays: dict[str, np.ndarray], orders: dict[type[Cell], list[int]]) -> None:
    order = _order(cell, orders)
    back = [order.index(at) for at in range(len(order))]
    rows = {name: np.concatenate([np.split(one, len(order))[at] for at in back]) for name, one in arrays.items()}
    if isinstance(cell, GRUBefore):
        rows["bias"] = rows.pop("bias_ih") + rows.pop("bias_hh")
    with torch.no_grad():
        for name, one in rows.items():
            cell.get_parameter(name).copy_(torch.from_numpy(np.ascontiguousarray(one)))


def _order(cell: Cell, orders: dict[type[Cell], list[int]]) -> list[int]:
    if type(cell) not in orders:
        known = ", ".join(kind.__name__ for kind in orders)
        raise ConfigError(f"{type(cell).__name__}: ONNX and Keras have no such cell (they have {known})")
    if getattr(cell, "layer_norm", False):
        raise ConfigError(f"{type(cell).__name__} with layer_norm=true: ONNX and Keras have no such cell")
    return orders[type(cell)]


def _check(name: str, given: np.ndarray, shape: tuple[int, ...]) -> None:
    if given.shape != shape:
        raise ConfigError(f"{name} of shape {given.shape}: the cell takes {shape}")
