"""The latency-controlled encoder as a graph: the chunks of an utterance side by side."""

from __future__ import annotations

import math

import numpy as np

from speechgru.encoders import LatencyControlledEncoder
from speechgru.encoders.recurrent import RecurrentLayer
from speechgru.export.cells import run_cell
from speechgru.export.graph import Graph, Value
from speechgru.export.layers import finish
from speechgru.export.rows import divided, steps, valid_frames


def write_chunks(g: Graph, encoder: LatencyControlledEncoder, frames: Value, counts: Value) -> tuple[Value, Value]:
    """The recurrent layers over the front end's output: (batch, time, feature) -> (batch, shorter time, hidden)."""
    joined = math.prod(encoder.factors)
    step, width = encoder.config.chunk * joined, (encoder.config.chunk + encoder.config.right) * joined
    time = divided(g, g.size(frames, 1), joined)
    chunks = divided(g, time, encoder.config.chunk)
    windows, left = cut(g, frames, counts, chunks, step, width)
    hidden, _ = run_chunks(g, encoder, windows, left)
    for factor in encoder.factors:
        counts = divided(g, counts, factor)
    return g.slice(hidden, 0, time, 1), counts


def cut(g: Graph, frames: Value, counts: Value, chunks: Value, step: int, width: int) -> tuple[Value, Value]:
    """Windows of ``width`` frames, one every ``step``, zeros beyond the frames: (batch, chunks, width, feature).

    Returns:
        The windows, and how many frames each row's utterance has from the start of each window on, (batch, chunks).
    """
    reach = g.op("Add", g.op("Mul", g.op("Sub", chunks, 1), step), width)
    missing = g.op("Max", g.op("Sub", reach, g.size(frames, 1)), 0)
    padded = g.op("Pad", frames, g.op("Concat", [0, 0, 0, 0], missing, [0], axis=0))
    starts = g.op("Mul", steps(g, 0, chunks), step)
    index = g.op("Add", g.op("Unsqueeze", starts, [1]), np.arange(width)[None])
    left = g.op("Max", g.op("Sub", g.op("Unsqueeze", counts, [1]), g.op("Unsqueeze", starts, [0])), 0)
    return g.op("Gather", padded, index, axis=1), left


def run_chunks(
    g: Graph, encoder: LatencyControlledEncoder, windows: Value, left: Value, states: list[Value] | None = None
) -> tuple[Value, list[Value]]:
    """All layers over windows; ``states`` are the forward cells' states before the first window, None means zeros.

    Returns:
        The frames of the chunks without their right contexts, (batch, chunks * chunk, hidden), and for each layer the
        states of its forward cell at the end of each chunk, (batch, chunks, state).
    """
    chunk, width = encoder.config.chunk, encoder.config.chunk + encoder.config.right
    joined, after = math.prod(encoder.factors), []
    for place, (layer, factor) in enumerate(zip(encoder.layers, encoder.factors, strict=True)):
        assert isinstance(layer, RecurrentLayer)
        joined //= factor
        size = layer.forward_cell.input_size
        flat = g.op("Reshape", windows, [-1, width * joined, size])
        left = divided(g, left, factor)
        before = states[place] if states is not None else None
        windows, ends = _run_layer(g, layer, flat, left, chunk * joined, width * joined, before)
        after.append(ends)
    size = encoder.output_size
    chunks = g.op("Concat", g.op("Shape", left), [width, size], axis=0)
    answered = g.slice(g.op("Reshape", windows, chunks), 0, chunk, 2)
    return g.op("Reshape", answered, g.op("Concat", g.size(left, 0), [-1, size], axis=0)), after


def _run_layer(
    g: Graph, layer: RecurrentLayer, flat: Value, left: Value, chunk: int, width: int, state: Value | None
) -> tuple[Value, Value]:
    """One layer over every window: (batch * chunks, width, feature), and the frames left for each, (batch, chunks)."""
    forward, backward = layer.forward_cell, layer.backward_cell
    assert backward is not None
    size, hidden_size, rows = forward.input_size, forward.hidden_size, g.size(left, 0)
    pieces = g.op("Reshape", g.slice(flat, 0, chunk, 1), g.op("Concat", rows, [-1, size], axis=0))
    whole = g.op("Min", g.op("Gather", left, 0, axis=1), g.size(pieces, 1))
    hidden, states = run_cell(g, forward, pieces, whole, state)
    hidden = g.op("Reshape", hidden, [-1, chunk, hidden_size])
    ends = g.op("Gather", g.op("Reshape", states, [0, -1, chunk, forward.state_size]), chunk - 1, axis=2)
    if width > chunk:
        beyond = g.op("Reshape", g.op("Min", g.op("Max", g.op("Sub", left, chunk), 0), width - chunk), [-1])
        begin = g.op("Reshape", ends, [-1, forward.state_size])
        ahead, _ = run_cell(g, forward, g.slice(flat, chunk, width, 1), beyond, begin)
        hidden = g.op("Concat", hidden, ahead, axis=1)
    lengths = g.op("Reshape", g.op("Min", left, width), [-1])
    behind, _ = run_cell(g, backward, flat, lengths, reverse=True)
    return finish(g, layer, flat, [hidden, behind], valid_frames(g, lengths, g.value(np.array([width])))), ends
