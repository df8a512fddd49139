"""Rows of different lengths in a graph: the counterpart of :mod:`speechgru.lengths`, which is for torch."""

from __future__ import annotations

import numpy as np

from speechgru.export.graph import Graph, Operand, Value


def steps(g: Graph, start: Operand, stop: Value) -> Value:
    """The whole numbers from ``start`` to before ``stop``, int64 (1,) each, as (stop - start,)."""
    first = start if isinstance(start, int) else g.op("Squeeze", start, [0])
    return g.op("Range", first, g.op("Squeeze", stop, [0]), 1)


def valid_frames(g: Graph, lengths: Value, time: Value) -> Value:
    """True where a frame belongs to its row: (batch,) and how many frames there are -> (batch, time, 1)."""
    places = g.op("Unsqueeze", steps(g, 0, time), [1])
    return g.op("Less", places, g.op("Unsqueeze", lengths, [1, 2]))


def masked(g: Graph, frames: Value, valid: Value, filling: float = 0.0) -> Value:
    """The frames (batch, time, feature), with ``filling`` where they are not valid."""
    return g.op("Where", valid, frames, filling)


def divided(g: Graph, lengths: Value, factor: int) -> Value:
    """How many frames are left where every ``factor`` frames become one, rounded up."""
    return lengths if factor == 1 else g.op("Div", g.op("Add", lengths, factor - 1), factor)


def count_of(g: Graph, lengths: Value) -> Value:
    """The lengths as numbers to divide by: at least 1, float32 (batch, 1, 1)."""
    return g.cast(g.op("Unsqueeze", g.op("Max", lengths, 1), [1, 2]), np.float32)


def take(g: Graph, frames: Value, places: Value) -> Value:
    """Frames of each row by their places: (batch, time, feature), int64 (batch, count) -> (batch, count, feature)."""
    size = g.size(frames, 2)
    shape = g.op("Concat", g.op("Shape", places), size, axis=0)
    return g.op("GatherElements", frames, g.op("Expand", g.op("Unsqueeze", places, [2]), shape), axis=1)


def reverse_within(g: Graph, frames: Value, lengths: Value) -> Value:
    """Each row's first ``lengths`` frames in reverse order, the padding left where it is."""
    places = g.op("Unsqueeze", steps(g, 0, g.size(frames, 1)), [0])
    mirrored = g.op("Sub", g.op("Unsqueeze", g.op("Sub", lengths, 1), [1]), places)
    return take(g, frames, g.op("Where", g.op("Less", mirrored, 0), places, mirrored))


def zeros_like_rows(g: Graph, frames: Value, *shape: int) -> Value:
    """Zeros (batch, *shape) for as many rows as ``frames`` has."""
    sizes = g.op("Concat", g.size(frames, 0), list(shape), axis=0)
    return g.op("Expand", 0.0, sizes)
