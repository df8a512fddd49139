"""The gate that keeps the state, for all frames at once: an output to look at, in addition to those of the cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

from speechgru.cells import (
    GRU,
    GRU1,
    GRU2,
    GRU3,
    LSTM,
    MGU,
    QRNN,
    SRU,
    Cell,
    FastGRNN,
    GRUBefore,
    LiGRU,
    MinGRU,
    SLiGRU,
)
from speechgru.cells.batch_norm import folded
from speechgru.export.graph import Graph, Value

Kind = TypeVar("Kind", bound=Cell)
# Frames (batch, time, input) and the states before each (batch, time, state) -> (batch, time, hidden).
Gate = Callable[[Graph, Kind, Value, Value], Value]

GATES: dict[type[Cell], tuple[str, Callable[[Graph, Cell, Value, Value], Value]]] = {}


def keeping_gate(g: Graph, cell: Cell, frames: Value, states: Value) -> tuple[str, Value] | None:
    """The gate that keeps the old state: its name and values, as :meth:`Cell.gates` has them; None without such a gate.

    Args:
        g: the graph that is written.
        cell: a cell of any kind.
        frames: what the cell reads, (batch, time, input).
        states: the state before each frame, (batch, time, state).
    """
    if type(cell) not in GATES:
        return None
    name, gate = GATES[type(cell)]
    return name, g.op("Sigmoid", gate(g, cell, frames, states))


def _row(weight: torch.Tensor, place: int, size: int) -> torch.Tensor:
    """The rows of one gate in the weights of all gates."""
    return weight[place * size : (place + 1) * size]


def _gru(g: Graph, cell: GRU, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    products = []
    for value, weight, bias in (
        (frames, cell.weight_ih, cell.bias_ih),
        (states, cell.weight_hh, cell.bias_hh),
    ):
        if not cell.layer_norm:
            products.append(g.linear(value, _row(weight, 1, size), _row(bias, 1, size)))
            continue
        gain = cell.gain_ih if weight is cell.weight_ih else cell.gain_hh
        both = g.layer_norm(g.linear(value, weight[: 2 * size]), gain[: 2 * size], bias[: 2 * size])
        products.append(g.slice(both, size, 2 * size, 2))
    return g.op("Add", *products)


def _second(g: Graph, cell: GRUBefore, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    own = g.linear(frames, _row(cell.weight_ih, 1, size), _row(cell.bias, 1, size))
    return g.op("Add", own, g.linear(states, _row(cell.weight_hh, 1, size)))


def _first(g: Graph, cell: MGU, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    own = g.linear(frames, _row(cell.weight_ih, 0, size), _row(cell.bias, 0, size))
    return g.op("Add", own, g.linear(states, _row(cell.weight_hh, 0, size)))


def _variant(g: Graph, cell: GRU1 | GRU2 | GRU3, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    bias = _row(cell.bias, 1, size) if cell.gates_have_bias else torch.zeros(size)
    weight = _row(cell.weight_hh, 1, size) if cell.gates_see_state else torch.zeros(size, size)
    return g.linear(states, weight, bias)


def _light(g: Graph, cell: LiGRU, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    factor, shift = (one[:size] for one in folded(cell.normalization))
    own = g.linear(frames, (cell.weight_ih[:size].double() * factor[:, None]).float(), shift.float())
    product = g.linear(states, cell.weight_hh[:size])
    return g.op("Add", own, g.layer_norm(product, torch.ones(size)) if cell.normalize else product)


def _lstm(g: Graph, cell: LSTM, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    hidden = g.slice(states, 0, size, 2)
    if not cell.layer_norm:
        bias = _row(cell.bias_ih, 1, size) + _row(cell.bias_hh, 1, size)
        own = g.linear(frames, _row(cell.weight_ih, 1, size), bias)
        return g.op("Add", own, g.linear(hidden, _row(cell.weight_hh, 1, size)))
    own = g.layer_norm(g.linear(frames, cell.weight_ih), cell.gain_ih, cell.bias_ih + cell.bias_hh)
    sums = g.op("Add", own, g.layer_norm(g.linear(hidden, cell.weight_hh), cell.gain_hh))
    return g.slice(sums, size, 2 * size, 2)


def _min_gru(g: Graph, cell: MinGRU, frames: Value, states: Value) -> Value:
    return g.linear(frames, _row(cell.weight_ih, 0, cell.hidden_size), _row(cell.bias, 0, cell.hidden_size))


def _sru(g: Graph, cell: SRU, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    memory = g.slice(states, size, 2 * size, 2)
    own = g.linear(frames, _row(cell.weight_ih, 1, size), _row(cell.bias, 0, size))
    return g.op("Add", own, g.op("Mul", memory, _row(cell.weight_hh, 0, size)))


def _qrnn(g: Graph, cell: QRNN, frames: Value, states: Value) -> Value:
    size = cell.hidden_size
    past = g.slice(states, 2 * size, cell.state_size, 2)
    window = g.op("Concat", past, frames, axis=2) if cell.state_size > 2 * size else frames
    return g.linear(window, _row(cell.weight_ih, 1, size), _row(cell.bias, 1, size))


def _fast(g: Graph, cell: FastGRNN, frames: Value, states: Value) -> Value:
    across = cell.weight_hh if cell.reduce_hh is None else cell.weight_hh @ cell.reduce_hh
    inward = cell.weight_ih if cell.reduce_ih is None else cell.weight_ih @ cell.reduce_ih
    own = g.linear(frames, inward, cell.bias[: cell.hidden_size])
    return g.op("Add", own, g.linear(states, across))


def _know(kind: type[Kind], gate: Gate[Kind], name: str = "update") -> None:
    GATES[kind] = name, cast(Gate[Cell], gate)


_know(GRU, _gru)
_know(GRUBefore, _second)
_know(GRU1, _variant)
_know(GRU2, _variant)
_know(GRU3, _variant)
_know(MGU, _first)
_know(LiGRU, _light)
_know(SLiGRU, _light)
_know(LSTM, _lstm, "forget")
_know(MinGRU, _min_gru)
_know(SRU, _sru)
_know(QRNN, _qrnn)
_know(FastGRNN, _fast)
