"""A model that goes step by step as ONNX: a chunk of samples and the state in, scores and the next state out.

Everything a stream keeps is an input and an output of the graph: samples, frames and states of cells. At the beginning
all of it is zeros. The time axis of what a part passes on is never empty, because runtimes refuse that; a number beside
it says how many frames count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from speechgru.encoders import Convolution, LatencyControlledEncoder, LookAheadEncoder, RecurrentEncoder
from speechgru.encoders.recurrent import RecurrentLayer
from speechgru.errors import ModelError
from speechgru.export.cells import run_cell
from speechgru.export.chunks import run_chunks
from speechgru.export.encoders import adds_input, convolve, look_ahead
from speechgru.export.features import by_sums, source, window_bounds, with_deltas, write_global, write_static
from speechgru.export.graph import Graph, Value, Watch
from speechgru.export.heads import write_frame_scores, write_log_probabilities
from speechgru.export.layers import finish
from speechgru.export.onnx_model import finished
from speechgru.export.rows import divided, steps
from speechgru.features import LogMel, Normalization
from speechgru.features.convention import Padding
from speechgru.heads.ctc import CTCHead
from speechgru.heads.keyword import KeywordHead
from speechgru.recognizer import Recognizer
from speechgru.streaming.scores import goes_by_frames

_END = np.iinfo(np.int64).max  # of a slice that goes on to the end
BATCH = -1


class Kept(NamedTuple):
    """One thing that a stream keeps: its name, its shape at the beginning (-1 is the batch) and its type."""

    name: str
    shape: list[int]
    dtype: type[np.generic]


class Frames(NamedTuple):
    """Frames (batch, time, ...), of which the first ``number``, int64 (1,), are there; time is at least 1."""

    values: Value
    number: Value


class Stream:
    """A graph with a state, while it is written.

    Attributes:
        g: the graph.
        ended: whether the chunk is the stream's last, bool (1,).
        kept: what the state is made of.

    Args:
        watch: is given frames and states, and adds outputs.
    """

    def __init__(self, watch: Watch | None = None) -> None:
        self.g = Graph(watch=watch)
        self.ended = "ended"
        self.kept: list[Kept] = []

    def take(self, name: str, shape: list[int], dtype: type[np.generic] = np.float32) -> Value:
        """What the last step gave under this name."""
        self.kept.append(Kept(name, shape, dtype))
        return f"state.{name}"

    def give(self, name: str, value: Value) -> None:
        """Hands a value to the next step under this name."""
        self.g.nodes.append(helper.make_node("Identity", [value], [f"next.{name}"], f"next.{name}"))

    def number(self, name: str) -> Value:
        """A count that is kept, int64 (1,)."""
        return self.take(name, [1], np.int64)

    def where_ended(self, one: Value, other: Value) -> Value:
        """``one`` at the end of the stream, else ``other``."""
        return self.g.op("Where", self.ended, one, other)

    def slide(self, name: str, frames: Frames, window: tuple[int, int, int], shape: list[int]) -> tuple[Frames, Value]:
        """The frames under all windows that are complete: see :class:`speechgru.encoders.stepping.Windows`.

        Args:
            name: of what is kept.
            frames: the new ones.
            window: the width of a window, the distance to the next, and how many frames come before its place.
            shape: of a frame.

        Returns:
            The stretch under the windows, at least under one, with their count; and how many frames there were.
        """
        g, (width, stride, before) = self.g, window
        waiting = self.take(name, [BATCH, before, *shape])
        known = g.op("Concat", waiting, g.slice(frames.values, 0, frames.number, 1), axis=1)
        have = g.size(known, 1)
        complete = g.op("Div", g.op("Max", g.op("Add", have, stride - width), 0), stride)
        last = divided(g, g.op("Max", g.op("Sub", have, before), 0), stride)
        count = self.where_ended(last, complete)
        read = g.op("Mul", count, stride)
        needed = g.op("Add", g.op("Max", g.op("Sub", read, stride), 0), width)
        missing = g.op("Max", g.op("Sub", needed, have), 0)
        pads = g.op("Concat", [0] * (len(shape) + 3), missing, [0] * len(shape), axis=0)
        stretch = g.slice(g.op("Pad", known, pads), 0, needed, 1)
        self.give(name, g.slice(known, read, _END, 1))
        return Frames(stretch, count), have


def streams(model: Recognizer) -> bool:
    """Whether the model has a streaming form: it works frame by frame, and no stride skips frames."""
    front_end = getattr(model.encoder, "front_end", None)
    jumps = isinstance(front_end, Convolution) and max(front_end.config.stride_time) > front_end.config.kernel_time
    return goes_by_frames(model) and not jumps and isinstance(model.head, CTCHead | KeywordHead)


@torch.no_grad()
def write_stream(model: Recognizer, metadata: Mapping[str, str], watch: Watch | None = None) -> onnx.ModelProto:
    """The model from a chunk of samples to the scores that it completes.

    Inputs: ``samples`` float32 (batch, samples), any number of them, also none; ``ended`` bool (1,), whether these are
    the last samples of the streams; and ``state.NAME`` for all that the metadata lists under ``states``. Outputs:
    ``scores`` float32 (batch, frames, labels), natural logarithms for CTC and probabilities otherwise; and
    ``next.NAME``. All rows of a batch are at the same place in their streams.

    Args:
        model: one for which :func:`streams` is true, in eval mode.
        metadata: what the file says of itself.
        watch: adds its outputs to those of the graph.

    Raises:
        ModelError: a part of the model has no ONNX form.
    """
    s = Stream(watch)
    assert isinstance(model.features, LogMel)
    assert isinstance(model.encoder, RecurrentEncoder)
    frames = _features(s, model.features)
    hidden = _encoder(s, model.encoder, frames)
    if isinstance(model.head, CTCHead):
        scores = write_log_probabilities(s.g, model.head, hidden.values)
    elif isinstance(model.head, KeywordHead):
        scores = write_frame_scores(s.g, model.head, hidden.values)
    else:
        raise ModelError(f"head {type(model.head).__name__} has no streaming form; ctc and keyword have one")
    s.g.nodes.append(helper.make_node("Identity", [s.g.slice(scores, 0, hidden.number, 1)], ["scores"]))
    described = [{"name": one.name, "shape": one.shape, "dtype": np.dtype(one.dtype).name} for one in s.kept]
    return finished(_graph(s, len(model.tokens)), {**metadata, "states": json.dumps(described)})


def _graph(s: Stream, labels: int) -> onnx.GraphProto:
    def state(prefix: str, one: Kept) -> onnx.ValueInfoProto:
        # The first axis of what a row keeps is the batch, the second grows and shrinks.
        rank = len(one.shape)
        shape = [1] if rank == 1 else ["batch", f"{one.name}.count" if rank > 2 or one.shape[1] == 0 else one.shape[1]]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(one.dtype))
        return helper.make_tensor_value_info(f"{prefix}.{one.name}", kind, [*shape, *one.shape[2:]])

    inputs = [
        helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["batch", "samples"]),
        helper.make_tensor_value_info("ended", TensorProto.BOOL, [1]),
    ]
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "frames", labels])
    return helper.make_graph(
        s.g.nodes,
        "speechgru_stream",
        inputs + [state("state", one) for one in s.kept],
        [scores] + [state("next", one) for one in s.kept] + (s.g.watch.outputs if s.g.watch else []),
        s.g.constants,
    )


def _features(s: Stream, features: LogMel) -> Frames:
    """The frames, as :class:`speechgru.features.stream.FeatureStream` gives them."""
    frames = _static(s, features)
    if features.config.deltas:
        frames = _deltas(s, features, frames)
    if features.config.normalization is Normalization.sliding:
        return _sliding(s, features, frames)
    if features.config.normalization is Normalization["global"]:
        return Frames(write_global(s.g, features, frames.values), frames.number)
    return frames


def _static(s: Stream, features: LogMel) -> Frames:
    """The frames that no later sample can change. Keeps the samples that a later one, or the end, still needs."""
    g, framing = s.g, features.framing
    seen, given = s.number("seen"), s.number("frames")
    known = g.op("Concat", s.take("samples", [BATCH, 0]), "samples", axis=1)
    total = g.op("Add", seen, g.size("samples", 1))
    origin = g.op("Sub", total, g.size(known, 1))
    fitting = g.op("Div", g.op("Max", g.op("Add", total, framing.slack), 0), framing.hop)
    inside = g.op("Div", g.op("Max", g.op("Add", total, framing.hop - framing.first - framing.window), 0), framing.hop)
    ready = g.op("Min", inside, fitting)
    if framing.padding in (Padding.reflect, Padding.mirror):
        ready = g.op("Where", g.op("Less", -framing.first, total), ready, 0)
    count = g.op("Min", g.op("Max", fitting, 1), total)
    until = g.op("Max", s.where_ended(count, ready), given)
    new = g.op("Sub", until, given)
    begin = g.op("Add", g.op("Mul", given, framing.hop), framing.first)
    reach = g.op("Add", g.op("Mul", g.op("Sub", g.op("Max", new, 1), 1), framing.hop), framing.window)
    index = source(g, framing, steps(g, begin, g.op("Add", begin, reach)), total)
    places = g.op("Min", g.op("Max", g.op("Sub", index, origin), 0), g.size(known, 1))
    taken = g.op("Gather", g.op("Pad", known, [0, 0, 0, 1]), places, axis=1)
    signal = g.op("Where", g.op("Less", index, 0), 0.0, taken)
    needed = g.op("Add", g.op("Mul", until, framing.hop), framing.first)
    needed = g.op("Min", needed, g.op("Sub", total, 2 * framing.window + 2))
    s.give("samples", g.slice(known, g.op("Max", g.op("Sub", needed, origin), 0), _END, 1))
    s.give("seen", total)
    s.give("frames", until)
    frames = write_static(g, features, signal, None)
    if g.watch:
        g.watch.features(g, frames, new)
    return Frames(frames, new)


def _deltas(s: Stream, features: LogMel, frames: Frames) -> Frames:
    """The frames with deltas. A frame is final once ``reach`` later frames are known."""
    g, config = s.g, features.config
    reach = config.deltas * (config.delta_window // 2)
    kept, given = s.take("static", [BATCH, 0, features.static_size]), s.number("static_given")
    known = g.op("Concat", kept, g.slice(frames.values, 0, frames.number, 1), axis=1)
    have = g.size(known, 1)
    until = s.where_ended(have, g.op("Max", given, g.op("Sub", have, reach)))
    padded = _longer(g, known)
    counts = g.op("Expand", have, g.size(known, 0))
    ready = g.slice(with_deltas(g, padded, counts, g.size(padded, 1), config), given, until, 1)
    drop = g.op("Max", g.op("Sub", until, reach), 0)
    s.give("static", g.slice(known, drop, _END, 1))
    s.give("static_given", g.op("Sub", until, drop))
    return Frames(_longer(g, ready), g.op("Sub", until, given))


def _sliding(s: Stream, features: LogMel, frames: Frames) -> Frames:
    """The frames normalised by the statistics of a sliding window, from running sums."""
    g, size, (past, lookahead, minimum) = s.g, features.output_size, features.sliding_frames()
    sums, waiting = s.take("sums", [BATCH, 1, 2 * size], np.float64), s.take("waiting", [BATCH, 0, size])
    origin, given = s.number("sums_from"), s.number("normalized")
    new = g.slice(frames.values, 0, frames.number, 1)
    wide = g.cast(new, np.float64)
    both = g.op("Concat", wide, g.op("Mul", wide, wide), axis=2)
    added = g.op("CumSum", g.op("Concat", g.slice(sums, -1, _END, 1), both, axis=1), 1)
    sums = g.op("Concat", g.slice(sums, 0, -1, 1), added, axis=1)
    waiting = g.op("Concat", waiting, new, axis=1)
    known = g.op("Add", given, g.size(waiting, 1))
    final = g.op("Max", given, g.op("Sub", known, lookahead))
    until = s.where_ended(known, g.op("Where", g.op("Less", known, minimum), given, final))
    low, high = window_bounds(g, steps(g, given, until), known, (past, lookahead, minimum))
    ends = (g.op("Gather", sums, g.op("Sub", place, origin), axis=1) for place in (high, low))
    total, squares = g.ops("Split", 2, g.op("Sub", *ends), [size, size], axis=2)
    count = g.op("Sub", until, given)
    frames_in = g.op("Unsqueeze", g.op("Sub", high, low), [0, 2])
    ready = by_sums(g, g.slice(waiting, 0, count, 1), total, squares, frames_in, features.config.normalize_variance)
    drop = g.op("Sub", g.op("Max", g.op("Sub", until, past), 0), origin)
    s.give("sums", g.slice(sums, drop, _END, 1))
    s.give("sums_from", g.op("Add", origin, drop))
    s.give("waiting", g.slice(waiting, count, _END, 1))
    s.give("normalized", until)
    return Frames(_longer(g, ready), count)


def _longer(g: Graph, frames: Value) -> Value:
    """The frames and a frame of zeros at the end, so that there is at least one."""
    return g.op("Pad", frames, [0, 0, 0, 0, 1, 0])


def _encoder(s: Stream, encoder: RecurrentEncoder, frames: Frames) -> Frames:
    """The hidden frames, as the encoder's own step gives them."""
    if encoder.front_end is not None:
        assert isinstance(encoder.front_end, Convolution)
        frames = _front_end(s, encoder.front_end, frames)
    if isinstance(encoder, LatencyControlledEncoder):
        return _chunks(s, encoder, frames)
    for place, layer in enumerate(encoder.layers):
        assert isinstance(layer, RecurrentLayer)
        frames = _layer(s, layer, place, frames)
    if isinstance(encoder, LookAheadEncoder):
        window = (encoder.config.context + 1, 1, 0)
        ahead, _ = s.slide("ahead", frames, window, [encoder.output_size])
        return Frames(look_ahead(s.g, encoder, ahead.values), ahead.number)
    return frames


def _front_end(s: Stream, front_end: Convolution, frames: Frames) -> Frames:
    g, config, size = s.g, front_end.config, front_end.input_size
    planes, channels = Frames(g.op("Unsqueeze", frames.values, [2]), frames.number), 1
    before = config.kernel_time // 2
    for place, (stride, stride_feature) in enumerate(zip(config.stride_time, config.stride_feature, strict=True)):
        window = (config.kernel_time, stride, before)
        stretch, _ = s.slide(f"front_end.{place}", planes, window, [channels, size])
        by_channel = g.op("Transpose", stretch.values, perm=[0, 2, 1, 3])
        found = g.op("Transpose", convolve(g, front_end, place, by_channel, 0), perm=[0, 2, 1, 3])
        if adds_input(front_end, place):
            end = g.op("Add", g.size(found, 1), before)
            found = g.op("Add", found, g.slice(stretch.values, before, end, 1))
        planes, channels, size = Frames(found, stretch.number), config.channels[place], -(-size // stride_feature)
    return Frames(g.op("Reshape", planes.values, [0, 0, channels * size]), planes.number)


def _layer(s: Stream, layer: RecurrentLayer, place: int, frames: Frames) -> Frames:
    g, cell, size = s.g, layer.forward_cell, layer.forward_cell.input_size
    if layer.factor > 1:
        window = (layer.factor, layer.factor, 0)
        joined, _ = s.slide(f"joined.{place}", frames, window, [size // layer.factor])
        frames = Frames(g.op("Reshape", joined.values, [0, -1, size]), joined.number)
    before = s.take(f"cell.{place}", [BATCH, cell.state_size])
    counts = g.op("Expand", frames.number, g.size(frames.values, 0))
    hidden, states = run_cell(g, cell, frames.values, counts, before)
    s.give(f"cell.{place}", _after(g, before, states, frames.number))
    return Frames(finish(g, layer, frames.values, [hidden], None), frames.number)


def _after(g: Graph, before: Value, states: Value, count: Value) -> Value:
    """The state after ``count`` steps: (batch, state), (batch, time, state), (1,) -> (batch, state)."""
    every = g.op("Concat", g.op("Unsqueeze", before, [1]), states, axis=1)
    return g.op("Gather", every, g.op("Squeeze", count, [0]), axis=1)


def _chunks(s: Stream, encoder: LatencyControlledEncoder, frames: Frames) -> Frames:
    """The chunks whose right context has come, side by side."""
    g, joined = s.g, math.prod(encoder.factors)
    chunk, width = encoder.config.chunk, encoder.config.chunk + encoder.config.right
    first = encoder.layers[0]
    assert isinstance(first, RecurrentLayer)
    size = first.forward_cell.input_size // first.factor
    stretch, have = s.slide("chunks", frames, (width * joined, chunk * joined, 0), [size])
    starts = g.op("Mul", steps(g, 0, g.op("Max", stretch.number, 1)), chunk * joined)
    index = g.op("Add", g.op("Unsqueeze", starts, [1]), np.arange(width * joined)[None])
    windows = g.op("Gather", stretch.values, index, axis=1)
    left = g.op("Unsqueeze", g.op("Max", g.op("Sub", have, starts), 0), [0])
    left = g.op("Where", g.op("Less", stretch.number, 1), 0, left)  # without a chunk there are no frames
    left = g.op("Expand", left, g.op("Concat", g.size(stretch.values, 0), [1], axis=0))
    before = []
    for place, layer in enumerate(encoder.layers):
        assert isinstance(layer, RecurrentLayer)
        before.append(s.take(f"cell.{place}", [BATCH, layer.forward_cell.state_size]))
    hidden, ends = run_chunks(g, encoder, windows, left, before)
    for place, (state, after) in enumerate(zip(before, ends, strict=True)):
        s.give(f"cell.{place}", _after(g, state, after, stretch.number))
    found = s.where_ended(divided(g, have, joined), g.op("Mul", stretch.number, chunk))
    return Frames(hidden, found)
