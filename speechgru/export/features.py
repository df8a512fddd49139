"""Log-mel and MFCC frames as a graph: framing, window and Fourier transform are one strided convolution."""

from __future__ import annotations

import math

import numpy as np
import torch

from speechgru.errors import ModelError
from speechgru.export.graph import Graph, Value
from speechgru.export.rows import count_of, masked, steps, take, valid_frames
from speechgru.features import MFCC, LogMel, LogMelConfig, Normalization
from speechgru.features.convention import LogScale, Padding
from speechgru.features.frames import Framing
from speechgru.features.normalization import SMALLEST_STD

# 64 MB of cosines; beyond that a matrix is no sensible way to compute the transform.
_MOST_TRANSFORM = 1 << 24


def write_features(g: Graph, features: object, waveforms: Value, lengths: Value) -> tuple[Value, Value]:
    """Frames of padded waveforms: (batch, samples), (batch,) -> (batch, time, feature) and their counts (batch,).

    There is at least one frame: zeros where no row has a frame. Frames beyond a row's own are zeros.

    Raises:
        ModelError: there is no writer for the features.
    """
    if not isinstance(features, LogMel) or type(features) not in (LogMel, MFCC):
        raise ModelError(f"features of the type {type(features).__name__} have no ONNX form; log_mel and mfcc have one")
    config = features.config
    counts, time = _counts(g, features.framing, waveforms, lengths)
    signal = _signal(g, features.framing, waveforms, lengths, time)
    valid = valid_frames(g, counts, time)
    frames = masked(g, write_static(g, features, signal, valid), valid)
    if g.watch:
        g.watch.features(g, frames, g.slice(counts, 0, 1, 0))
    if config.deltas:
        frames = masked(g, with_deltas(g, frames, counts, time, config), valid)
    return _normalized(g, features, frames, counts, time, valid), counts


def _counts(g: Graph, framing: Framing, waveforms: Value, lengths: Value) -> tuple[Value, Value]:
    """Frames of each row, and of a row as long as the waveforms, at least 1: :meth:`Framing.count`."""

    def count(samples: Value) -> Value:
        return g.op("Max", g.op("Div", g.op("Add", samples, framing.slack), framing.hop), 1)

    return g.op("Min", count(lengths), lengths), count(g.size(waveforms, 1))


def _signal(g: Graph, framing: Framing, waveforms: Value, lengths: Value, time: Value) -> Value:
    """The samples under all frames, (batch, samples); beyond each row's own ends, what the padding puts there."""
    reach = framing.first - framing.hop + framing.window
    stop = g.op("Add", g.op("Mul", time, framing.hop), reach)
    places = g.op("Unsqueeze", steps(g, framing.first, stop), [0])
    index = source(g, framing, places, g.op("Unsqueeze", lengths, [1]))
    # One extra sample, so that there is one to take where the waveforms are empty.
    padded = g.op("Pad", waveforms, [0, 0, 0, 1])
    taken = g.op("GatherElements", padded, g.op("Max", index, 0), axis=1)
    return g.op("Where", g.op("Less", index, 0), 0.0, taken)


def source(g: Graph, framing: Framing, index: Value, samples: Value) -> Value:
    """Which of ``samples`` samples is at ``index``, also outside; below 0 means zero: :meth:`Framing.source`."""
    if framing.padding is Padding.reflect:
        last = g.op("Sub", samples, 1)
        period = g.op("Mul", g.op("Max", last, 1), 2)
        index = g.op("Mod", index, period)
        return g.op("Min", g.op("Min", index, g.op("Sub", period, index)), last)
    if framing.padding is Padding.mirror:
        period = g.op("Mul", g.op("Max", samples, 1), 2)
        index = g.op("Mod", index, period)
        return g.op("Min", index, g.op("Sub", g.op("Sub", period, 1), index))
    return g.op("Where", g.op("Less", index, samples), index, -1)


def write_static(g: Graph, features: LogMel, signal: Value, valid: Value | None) -> Value:
    """Frames without deltas, from the samples under them: (batch, samples) -> (batch, time, static_size)."""
    rules = features.config.resolved()
    filters = features.spectrum.filters[_used_bins(features)]
    bins, kernel = len(filters), _transform(g, features)
    spectrum = g.op("Conv", g.op("Unsqueeze", signal, [1]), kernel, strides=[features.framing.hop])
    squares = g.op("Mul", spectrum, spectrum)
    power = g.op("Add", g.slice(squares, 0, bins, 1), g.slice(squares, bins, 2 * bins, 1))
    mel = g.op("Transpose", g.op("MatMul", filters.T, power), perm=[0, 2, 1])
    if rules.log is not LogScale.none:
        mel = g.op("Log", g.op("Max", mel, float(rules.log_floor)))
    unit = features.spectrum.log_unit
    if features.top_db < math.inf:
        assert valid is not None
        loudest = g.op("ReduceMax", masked(g, mel, valid, -math.inf), axes=[1, 2])
        mel = g.op("Max", mel, g.op("Sub", loudest, features.top_db / unit))
    if isinstance(features, MFCC):
        # As the model does it: in silence all frames are the same number, and their deviations are exactly 0.
        return g.cast(g.op("MatMul", g.cast(mel, np.float64), features.transform.T.double()), np.float32)
    return mel if unit == 1 else g.op("Mul", mel, unit)


def _used_bins(features: LogMel) -> np.ndarray:
    """The bins of the transform that a filter uses; at least one."""
    used = np.flatnonzero(features.spectrum.filters.numpy().any(1))
    return used if len(used) else np.zeros(1, np.int64)


def _transform(g: Graph, features: LogMel) -> Value:
    """Mean, pre-emphasis, window and Fourier transform as one kernel: (2 * bins, 1, window), float32.

    All four are linear. Rows are the cosines, then the sines, of the bins that the filters use. The file holds the
    float64 operations that compute the rows, not the numbers, which would be most of a small model; runtimes compute
    them when they load the file.
    """
    config, rules, window = features.config, features.config.resolved(), features.framing.window
    bins, fft_size = _used_bins(features), config.resolved_fft_size()
    if 2 * len(bins) * window > _MOST_TRANSFORM:
        raise ModelError(
            f"window_ms={config.window_ms:g} at {config.sample_rate} Hz: a Fourier transform of {window} samples and "
            f"{len(bins)} bins is too large for an ONNX file; train with a shorter window"
        )
    turns = g.op("Mod", g.op("Mul", bins[:, None], np.arange(window)[None]), fft_size)
    angle = g.op("Mul", g.cast(turns, np.float64), np.array(2 * np.pi / fft_size))
    rows = g.op("Concat", g.op("Cos", angle), g.op("Sin", angle), axis=0)
    rows = g.op("Mul", rows, features.spectrum.weights[:window].double())
    if rules.preemphasis:
        # Sample n goes into the product of place n and, subtracted, into that of n + 1. No sample comes before a
        # window's first one: pre-emphasis takes the first sample itself instead.
        later = g.op("Pad", g.slice(rows, 1, window, 1), [0, 0, 0, 1])
        first = g.op("Pad", g.slice(rows, 0, 1, 1), [0, 0, 0, window - 1])
        rows = g.op("Sub", rows, g.op("Mul", g.op("Add", later, first), np.array(rules.preemphasis, np.float64)))
    if rules.remove_dc:
        rows = g.op("Sub", rows, g.op("ReduceMean", rows, axes=[1]))
    return g.op("Unsqueeze", g.cast(rows, np.float32), [1])


def with_deltas(g: Graph, frames: Value, counts: Value, time: Value, config: LogMelConfig) -> Value:
    """Features, their deltas, the deltas of the deltas, side by side."""
    parts = [frames]
    for _ in range(config.deltas):
        parts.append(_deltas(g, parts[-1], counts, time, config.delta_window))
    return g.op("Concat", *parts, axis=2)


def _deltas(g: Graph, frames: Value, counts: Value, time: Value, window: int) -> Value:
    """Slopes by regression over ``window`` frames; frames beyond an end repeat the end frame.

    Computed from differences, not by a convolution: so the slopes of equal frames are exactly 0.
    """
    reach = window // 2
    places = g.op("Unsqueeze", g.op("Max", steps(g, -reach, g.op("Add", time, reach)), 0), [0])
    last = g.op("Max", g.op("Unsqueeze", g.op("Sub", counts, 1), [1]), 0)
    surrounded = take(g, frames, g.op("Min", places, last))

    def shifted(by: int) -> Value:
        return g.slice(surrounded, reach + by, g.op("Add", time, reach + by), 1)

    slope = g.op("Sub", shifted(1), shifted(-1))
    for n in range(2, reach + 1):
        slope = g.op("Add", slope, g.op("Mul", g.op("Sub", shifted(n), shifted(-n)), float(n)))
    return g.op("Div", slope, reach * (reach + 1) * (2 * reach + 1) / 3)


def _normalized(g: Graph, features: LogMel, frames: Value, counts: Value, time: Value, valid: Value) -> Value:
    kind = features.config.normalization
    if kind is Normalization.none:
        return frames
    if kind is Normalization["global"]:
        return masked(g, write_global(g, features, frames), valid)
    if kind is Normalization.utterance:
        return _by_utterance(g, features.config.normalize_variance, frames, counts, valid)
    total, squares = running_sums(g, frames)
    bounds = features.sliding_frames()
    places = g.op("Unsqueeze", steps(g, 0, time), [0])
    low, high = window_bounds(g, places, g.op("Unsqueeze", counts, [1]), bounds)
    high = g.op("Max", high, g.op("Add", low, 1))  # this changes only frames beyond the length
    high, low = g.op("Min", high, time), g.op("Expand", low, g.op("Shape", high))
    total, squares = (g.op("Sub", take(g, one, high), take(g, one, low)) for one in (total, squares))
    count = g.op("Unsqueeze", g.op("Sub", high, low), [2])
    return masked(g, by_sums(g, frames, total, squares, count, features.config.normalize_variance), valid)


def write_global(g: Graph, features: LogMel, frames: Value) -> Value:
    """Frames normalised by the statistics of the training set."""
    return g.op("Div", g.op("Sub", frames, features.mean), features.std)


def _by_utterance(g: Graph, variance: bool, frames: Value, counts: Value, valid: Value) -> Value:
    """In float64: the deviations of a constant feature are then 0, not rounding errors multiplied by a thousand.

    Frames are zeros beyond the counts and add nothing to the sums.
    """
    wide, count = g.cast(frames, np.float64), g.cast(count_of(g, counts), np.float64)
    mean = g.op("Div", g.op("ReduceSum", wide, [1]), count)
    centred = masked(g, g.cast(g.op("Sub", wide, mean), np.float32), valid)
    if not variance:
        return centred
    squares = g.op("ReduceSum", g.op("Mul", centred, centred), [1])
    spread = g.op("Div", squares, count_of(g, counts))
    return g.op("Div", centred, g.op("Sqrt", g.op("Max", spread, SMALLEST_STD**2)))


def running_sums(g: Graph, frames: Value) -> tuple[Value, Value]:
    """Float64 sums of the first 0, 1, 2, ... frames and of their squares."""
    wide = g.op("Pad", g.cast(frames, np.float64), [0, 1, 0, 0, 0, 0])
    return g.op("CumSum", wide, 1), g.op("CumSum", g.op("Mul", wide, wide), 1)


def window_bounds(g: Graph, places: Value, frames: Value, bounds: tuple[int, int, int]) -> tuple[Value, Value]:
    """See :func:`speechgru.features.normalization.window_bounds`."""
    past, lookahead, minimum = bounds
    low = g.op("Max", g.op("Sub", places, past), 0)
    return low, g.op("Min", g.op("Max", g.op("Add", places, lookahead + 1), minimum), frames)


def by_sums(g: Graph, frames: Value, total: Value, squares: Value, count: Value, variance: bool) -> Value:
    """Frames normalised by the float64 sums of ``count`` frames and of their squares."""
    count = g.cast(count, np.float64)
    mean = g.op("Div", total, count)
    centred = g.op("Sub", g.cast(frames, np.float64), mean)
    if variance:
        spread = g.op("Sub", g.op("Div", squares, count), g.op("Mul", mean, mean))
        smallest = torch.tensor(SMALLEST_STD**2, dtype=torch.float64)
        centred = g.op("Div", centred, g.op("Sqrt", g.op("Max", spread, smallest)))
    return g.cast(centred, np.float32)
