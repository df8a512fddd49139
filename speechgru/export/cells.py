"""Recurrent cells as a graph: one step each, in a loop; GRU, LSTM and RNN as ONNX's own operators where these fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch

from speechgru.cells import (
    GRU,
    GRU1,
    GRU2,
    GRU3,
    LSTM,
    MGU,
    QRNN,
    RNN,
    SRU,
    Cell,
    FastGRNN,
    GRUBefore,
    IndRNN,
    LiGRU,
    MinGRU,
    MinGRUCandidate,
    SLiGRU,
)
from speechgru.cells.batch_norm import folded
from speechgru.cells.layouts import to_onnx
from speechgru.errors import ModelError
from speechgru.export.graph import Graph, Operand, Value
from speechgru.export.rows import masked, reverse_within, valid_frames, zeros_like_rows

Kind = TypeVar("Kind", bound=Cell)
Project = Callable[[Graph, Kind, Value], Value]  # all frames, (batch, time, input) -> (batch, time, projected)
Step = Callable[[Graph, Kind, Value, Value], Value]  # one projected frame and the state -> the next state


class Writer(NamedTuple):
    """How a kind of cell is written: the part that needs no state, and one step."""

    project: Callable[[Graph, Cell, Value], Value]
    step: Callable[[Graph, Cell, Value, Value], Value]


WRITERS: dict[type[Cell], Writer] = {}


def run_cell(
    g: Graph, cell: Cell, frames: Value, lengths: Value, state: Operand = None, reverse: bool = False
) -> tuple[Value, Value]:
    """The outputs of the cell's own call, and all states: (batch, time, input) -> (batch, time, hidden).

    Returns:
        The outputs in frame order, zeros beyond the lengths, and the states after every frame in the order in which
        the frames were read, (batch, time, state); beyond the lengths the states are not defined.

    Raises:
        ModelError: there is no writer for the cell.
    """
    if has_operator(cell) and cell.state_size == cell.hidden_size and not reverse:
        hidden = states = run_operator(g, [cell], frames, lengths, state)[0]
    else:
        hidden, states = _run_loop(g, cell, frames, lengths, state, reverse)
    if g.watch and not reverse:
        g.watch.cell(g, cell, frames, g.slice(lengths, 0, 1, 0), state, states)
    return hidden, states


def _run_loop(
    g: Graph, cell: Cell, frames: Value, lengths: Value, state: Operand, reverse: bool
) -> tuple[Value, Value]:
    writer = writer_of(cell)
    projected = writer.project(g, cell, frames)
    if reverse:
        projected = reverse_within(g, projected, lengths)
    state = zeros_like_rows(g, frames, cell.state_size) if state is None else g.value(state)
    states = g.scan(lambda body, frame, before: _stepped(body, writer, cell, frame, before), projected, state)
    hidden = states if cell.state_size == cell.hidden_size else g.slice(states, 0, cell.hidden_size, 2)
    hidden = masked(g, hidden, valid_frames(g, lengths, g.size(frames, 1)))
    return (reverse_within(g, hidden, lengths) if reverse else hidden), states


def writer_of(cell: Cell) -> Writer:
    """How this cell is written; ModelError where there is no writer for it."""
    if type(cell) not in WRITERS:
        raise ModelError(
            f"cell {type(cell).__name__} has no ONNX form; known: {', '.join(k.__name__ for k in WRITERS)}"
        )
    return WRITERS[type(cell)]


def _stepped(g: Graph, writer: Writer, cell: Cell, frame: Value, before: Value) -> Value:
    after = writer.step(g, cell, frame, before)
    if not cell.zoneout:
        return after
    # In eval mode each value moves by the share that it would move on average; frames kept in a state are exempt.
    share = torch.full((cell.state_size,), cell.zoneout)
    if isinstance(cell, QRNN):
        share[2 * cell.hidden_size :] = 0
    return g.op("Add", after, g.op("Mul", g.op("Sub", before, after), share))


def has_operator(cell: Cell) -> bool:
    """Whether ONNX has an operator that computes this cell."""
    plain = type(cell) in (GRU, GRUBefore, LSTM, RNN)
    return plain and not cell.zoneout and not getattr(cell, "layer_norm", False)


def run_operator(g: Graph, cells: list[Cell], frames: Value, lengths: Value, state: Operand = None) -> list[Value]:
    """The outputs of one cell, or of a forward and a backward cell, from one node; zeros beyond the lengths.

    Args:
        cells: of the same kind.
        frames: (batch, time, input).
        lengths: of each row.
        state: for one cell whose state is its output, (batch, hidden); None means zeros.
    """
    cell = cells[0]
    arrays = to_onnx(cells)
    kind = {GRU: "GRU", GRUBefore: "GRU", LSTM: "LSTM", RNN: "RNN"}[type(cell)]
    settings: dict[str, object] = {"linear_before_reset": int(type(cell) is GRU)} if kind == "GRU" else {}
    direction = "bidirectional" if len(cells) == 2 else "forward"
    by_time = g.op("Transpose", frames, perm=[1, 0, 2])
    weights = arrays["W"], arrays["R"], arrays["B"]
    counts = g.cast(lengths, np.int32)
    start = None if state is None else g.op("Unsqueeze", state, [0])
    outputs = g.op(
        kind, by_time, *weights, counts, start, hidden_size=cell.hidden_size, direction=direction, **settings
    )
    by_direction = g.op("Transpose", outputs, perm=[1, 2, 0, 3])
    return [g.op("Gather", by_direction, place) for place in range(len(cells))]


def _split(g: Graph, value: Value, sizes: list[int]) -> list[Value]:
    return g.ops("Split", len(sizes), value, sizes, axis=-1)


def _mix(g: Graph, update: Value, candidate: Value, state: Value) -> Value:
    """(1 - z) * n + z * h"""
    return g.op("Add", candidate, g.op("Mul", update, g.op("Sub", state, candidate)))


def _sigmoid_sum(g: Graph, *parts: Value | torch.Tensor) -> Value:
    return g.op("Sigmoid", _sum(g, *parts))


def _sum(g: Graph, first: Value | torch.Tensor, *others: Value | torch.Tensor) -> Value:
    total = g.value(first)
    for one in others:
        total = g.op("Add", total, one)
    return total


# GRU and its relatives


def _project_gru(g: Graph, cell: GRU, frames: Value) -> Value:
    if not cell.layer_norm:
        return g.linear(frames, cell.weight_ih, cell.bias_ih)
    return _gru_norm(g, cell, g.linear(frames, cell.weight_ih), cell.gain_ih, cell.bias_ih)


def _gru_norm(g: Graph, cell: GRU, products: Value, gain: torch.Tensor, bias: torch.Tensor) -> Value:
    """Layer normalisation over both gates together, and over the candidate alone."""
    sizes = [2 * cell.hidden_size, cell.hidden_size]
    parts = zip(_split(g, products, sizes), gain.split(sizes), bias.split(sizes), strict=True)
    return g.op("Concat", *(g.layer_norm(part, scale, shift) for part, scale, shift in parts), axis=-1)


def _step_gru(g: Graph, cell: GRU, frame: Value, state: Value) -> Value:
    thirds = [cell.hidden_size] * 3
    if cell.layer_norm:
        products = _gru_norm(g, cell, g.linear(state, cell.weight_hh), cell.gain_hh, cell.bias_hh)
    else:
        products = g.linear(state, cell.weight_hh, cell.bias_hh)
    (x_r, x_z, x_n), (h_r, h_z, h_n) = _split(g, frame, thirds), _split(g, products, thirds)
    reset, update = _sigmoid_sum(g, x_r, h_r), _sigmoid_sum(g, x_z, h_z)
    return _mix(g, update, g.op("Tanh", _sum(g, x_n, g.op("Mul", reset, h_n))), state)


def _project_linear(g: Graph, cell: GRUBefore | MGU | MinGRU | IndRNN, frames: Value) -> Value:
    return g.linear(frames, cell.weight_ih, cell.bias)


def _step_gru_before(g: Graph, cell: GRUBefore, frame: Value, state: Value) -> Value:
    x_r, x_z, x_n = _split(g, frame, [cell.hidden_size] * 3)
    u_r, u_z, u_n = cell.weight_hh.chunk(3)
    reset, update = _sigmoid_sum(g, x_r, g.linear(state, u_r)), _sigmoid_sum(g, x_z, g.linear(state, u_z))
    candidate = g.op("Tanh", _sum(g, x_n, g.linear(g.op("Mul", reset, state), u_n)))
    return _mix(g, update, candidate, state)


def _project_variant(g: Graph, cell: GRU1 | GRU2 | GRU3, frames: Value) -> Value:
    return g.linear(frames, cell.weight_ih, cell.bias[-cell.hidden_size :])


def _step_variant(g: Graph, cell: GRU1 | GRU2 | GRU3, frame: Value, state: Value) -> Value:
    size = cell.hidden_size
    bias = cell.bias[: 2 * size] if cell.gates_have_bias else torch.zeros(2 * size)
    sums = g.linear(state, cell.weight_hh[: 2 * size], bias) if cell.gates_see_state else g.value(bias[None])
    reset, update = _split(g, g.op("Sigmoid", sums), [size, size])
    product = g.linear(g.op("Mul", reset, state), cell.weight_hh[-size:])
    return _mix(g, update, g.op("Tanh", _sum(g, frame, product)), state)


def _step_mgu(g: Graph, cell: MGU, frame: Value, state: Value) -> Value:
    x_z, x_n = _split(g, frame, [cell.hidden_size] * 2)
    u_z, u_n = cell.weight_hh.chunk(2)
    update = _sigmoid_sum(g, x_z, g.linear(state, u_z))
    kept = g.op("Mul", g.op("Sub", 1.0, update), state)
    return _mix(g, update, g.op("Tanh", _sum(g, x_n, g.linear(kept, u_n))), state)


def _project_light(g: Graph, cell: LiGRU, frames: Value) -> Value:
    """The batch normalisation, with the statistics of training, is folded into the product."""
    factor, shift = folded(cell.normalization)
    return g.linear(frames, (cell.weight_ih.double() * factor[:, None]).float(), shift.float())


def _step_light(g: Graph, cell: LiGRU, frame: Value, state: Value) -> Value:
    halves = [cell.hidden_size] * 2
    (x_z, x_n), products = _split(g, frame, halves), _split(g, g.linear(state, cell.weight_hh), halves)
    if cell.normalize:
        products = [g.layer_norm(one, torch.ones(cell.hidden_size)) for one in products]
    update = _sigmoid_sum(g, x_z, products[0])
    return _mix(g, update, g.op("Relu", _sum(g, x_n, products[1])), state)


# LSTM and RNN


def _project_lstm(g: Graph, cell: LSTM, frames: Value) -> Value:
    bias = cell.bias_ih + cell.bias_hh
    if not cell.layer_norm:
        return g.linear(frames, cell.weight_ih, bias)
    return g.layer_norm(g.linear(frames, cell.weight_ih), cell.gain_ih, bias)


def _step_lstm(g: Graph, cell: LSTM, frame: Value, state: Value) -> Value:
    hidden, memory = _split(g, state, [cell.hidden_size] * 2)
    products = g.linear(hidden, cell.weight_hh)
    if cell.layer_norm:
        products = g.layer_norm(products, cell.gain_hh)
    i, f, n, o = _split(g, _sum(g, frame, products), [cell.hidden_size] * 4)
    kept = g.op("Mul", g.op("Sigmoid", f), memory)
    memory = _sum(g, kept, g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", n)))
    seen = g.layer_norm(memory, cell.gain_cell, cell.bias_cell) if cell.layer_norm else memory
    return g.op("Concat", g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", seen)), memory, axis=-1)


def _project_rnn(g: Graph, cell: RNN, frames: Value) -> Value:
    return g.linear(frames, cell.weight_ih, None if cell.layer_norm else cell.bias_ih + cell.bias_hh)


def _step_rnn(g: Graph, cell: RNN, frame: Value, state: Value) -> Value:
    sums = _sum(g, frame, g.linear(state, cell.weight_hh))
    return g.op("Tanh", g.layer_norm(sums, cell.gain, cell.bias_ih + cell.bias_hh) if cell.layer_norm else sums)


# Cells without a matrix between states


def _step_min_gru(g: Graph, cell: MinGRU, frame: Value, state: Value) -> Value:
    update, candidate = _split(g, frame, [cell.hidden_size] * 2)
    if cell.config.candidate is MinGRUCandidate.positive:
        below = g.op("Sigmoid", candidate)
        candidate = g.op("Where", g.op("Less", candidate, 0.0), below, g.op("Add", candidate, 0.5))
    return _mix(g, g.op("Sigmoid", update), candidate, state)


def _step_ind_rnn(g: Graph, cell: IndRNN, frame: Value, state: Value) -> Value:
    weight = cell.weight_hh.clamp(-cell.bound, cell.bound)
    return g.op("Relu", _sum(g, frame, g.op("Mul", state, weight)))


def _project_sru(g: Graph, cell: SRU, frames: Value) -> Value:
    """The three products with their biases, and what the highway passes on."""
    bias = torch.cat((torch.zeros(cell.hidden_size), cell.bias))
    skip = frames if cell.weight_skip is None else g.linear(frames, cell.weight_skip)
    return g.op("Concat", g.linear(frames, cell.weight_ih, bias), g.op("Mul", skip, float(cell.scale)), axis=-1)


def _step_sru(g: Graph, cell: SRU, frame: Value, state: Value) -> Value:
    candidate, x_z, x_r, skip = _split(g, frame, [cell.hidden_size] * 4)
    _, memory = _split(g, state, [cell.hidden_size] * 2)
    v_z, v_r = cell.weight_hh.chunk(2)
    highway = _sigmoid_sum(g, x_r, g.op("Mul", memory, v_r))
    memory = _mix(g, _sigmoid_sum(g, x_z, g.op("Mul", memory, v_z)), candidate, memory)
    return g.op("Concat", _mix(g, g.op("Sub", 1.0, highway), memory, skip), memory, axis=-1)


def _project_nothing(g: Graph, cell: Cell, frames: Value) -> Value:
    return frames


def _step_qrnn(g: Graph, cell: QRNN, frame: Value, state: Value) -> Value:
    size, kept = cell.hidden_size, (cell.config.window - 1) * cell.input_size
    _, memory, past = _split(g, state, [size, size, kept]) if kept else [*_split(g, state, [size, size]), ""]
    window = g.op("Concat", past, frame, axis=-1) if kept else frame
    candidate, update, output = _split(g, g.linear(window, cell.weight_ih, cell.bias), [size] * 3)
    memory = _mix(g, g.op("Sigmoid", update), g.op("Tanh", candidate), memory)
    parts = [g.op("Mul", g.op("Sigmoid", output), memory), memory]
    if kept:
        parts.append(g.slice(window, cell.input_size, kept + cell.input_size, 1))
    return g.op("Concat", *parts, axis=-1)


def _project_fast(g: Graph, cell: FastGRNN, frames: Value) -> Value:
    return g.linear(frames if cell.reduce_ih is None else g.linear(frames, cell.reduce_ih), cell.weight_ih)


def _step_fast(g: Graph, cell: FastGRNN, frame: Value, state: Value) -> Value:
    product = g.linear(state if cell.reduce_hh is None else g.linear(state, cell.reduce_hh), cell.weight_hh)
    total, (b_z, b_n) = _sum(g, frame, product), cell.bias.chunk(2)
    update, candidate = _sigmoid_sum(g, total, b_z), g.op("Tanh", _sum(g, total, b_n))
    written = g.op("Mul", g.op("Sub", 1.0, update), torch.sigmoid(cell.zeta))
    share = g.op("Mul", _sum(g, written, torch.sigmoid(cell.nu)), candidate)
    return _sum(g, share, g.op("Mul", update, state))


def _know(kind: type[Kind], project: Project[Kind], step: Step[Kind]) -> None:
    WRITERS[kind] = Writer(cast(Project[Cell], project), cast(Step[Cell], step))


_know(GRU, _project_gru, _step_gru)
_know(GRUBefore, _project_linear, _step_gru_before)
_know(GRU1, _project_variant, _step_variant)
_know(GRU2, _project_variant, _step_variant)
_know(GRU3, _project_variant, _step_variant)
_know(MGU, _project_linear, _step_mgu)
_know(LiGRU, _project_light, _step_light)
_know(SLiGRU, _project_light, _step_light)
_know(LSTM, _project_lstm, _step_lstm)
_know(RNN, _project_rnn, _step_rnn)
_know(MinGRU, _project_linear, _step_min_gru)
_know(IndRNN, _project_linear, _step_ind_rnn)
_know(SRU, _project_sru, _step_sru)
_know(QRNN, _project_nothing, _step_qrnn)
_know(FastGRNN, _project_fast, _step_fast)
