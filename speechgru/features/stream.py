"""The same features from chunks of a waveform as from the whole waveform."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechgru.errors import ConfigError
from speechgru.features.convention import Padding
from speechgru.features.deltas import with_deltas
from speechgru.features.normalization import Normalization, normalize_by_sums, window_bounds

if TYPE_CHECKING:
    from speechgru.features.log_mel import LogMel


class FeatureStream:
    """Features of one waveform that arrives in chunks; the state lives here, the module is only read.

    ``feed(chunk)`` returns the frames that no later sample can change, ``flush()`` the rest; one after the other they
    are the frames of the whole waveform. On a CPU they are the same to the bit with the linear algebra library of
    PyTorch's x86 wheels (tests/test_features_stream.py), and to 1e-4 anywhere.

    The lag behind the last sample is how far a window, the deltas (``delta_window // 2`` frames for each order) and
    ``sliding_lookahead_ms`` reach ahead. After ``flush`` the stream has ended; make another for the next waveform.

    Args:
        features: a :class:`LogMel` or :class:`MFCC`, in evaluation mode or without dither.

    Raises:
        ConfigError: a setting of ``features`` needs the whole utterance, or noise (dither) is added in training mode.
    """

    def __init__(self, features: LogMel) -> None:
        config = features.config
        if config.normalization is Normalization.utterance:
            raise ConfigError(
                "normalization=utterance needs the whole utterance; to stream choose sliding, global or none"
            )
        if features.top_db < math.inf:
            raise ConfigError(
                f"top_db={features.top_db:g} needs the whole utterance's maximum; to stream set top_db=.inf"
            )
        if features.training and config.dither > 0:
            raise ConfigError(f"dither={config.dither:g} adds noise in training mode; to stream call features.eval()")
        self._features = features
        self._samples = _Samples(features)
        self._deltas = _Deltas(features)
        self._sliding = _Sliding(features) if config.normalization is Normalization.sliding else None
        self._ended = False

    def feed(self, chunk: Tensor) -> Tensor:
        """Frames ``(time, output_size)``, possibly none, that the samples ``(samples,)`` complete."""
        return feed_together([self], [chunk], [False])[0][0]

    def flush(self) -> Tensor:
        """The last frames ``(time, output_size)``: the waveform has ended here."""
        return feed_together([self], [self._features.spectrum.weights.new_zeros(0)], [True])[0][0]

    def samples_for(self, frames: np.ndarray) -> np.ndarray:
        """How many samples complete the first ``frames`` frames (each 1 or more): integers of any shape -> the same."""
        framing = self._features.framing
        if self._sliding is not None:
            _, lookahead, minimum = self._sliding.bounds
            frames = np.maximum(frames + lookahead, minimum)
        frames = frames + self._deltas.reach
        samples = np.maximum(
            framing.first + (frames - 1) * framing.hop + framing.window, frames * framing.hop - framing.slack
        )
        if framing.padding in (Padding.reflect, Padding.mirror):
            samples = np.maximum(samples, 1 - framing.first)
        return samples

    def _finish(self, frames: Tensor, end: bool) -> Tensor:
        """The steps after the static frames that look at other frames."""
        frames = self._deltas.advance(frames, end)
        return frames if self._sliding is None else self._sliding.advance(frames, end)


@torch.no_grad()
def feed_together(
    streams: Sequence[FeatureStream], chunks: Sequence[Tensor], ended: Sequence[bool]
) -> tuple[Tensor, list[int]]:
    """What :meth:`FeatureStream.feed` returns for each stream and its chunk, computed in one batch.

    Args:
        streams: streams of one module, each only once.
        chunks: samples (samples,) of each stream, possibly none.
        ended: whether these are the stream's last samples; then what :meth:`FeatureStream.flush` returns comes with
            them.

    Returns:
        frames ``(batch, longest, output_size)``, undefined beyond those of a row, and how many each row has.
    """
    features = streams[0]._features
    for stream, end in zip(streams, ended, strict=True):
        assert not stream._ended, "the stream was flushed; make a new one with features.stream()"
        stream._ended = end
    device = features.spectrum.weights.device.type
    # Disabling autocast takes torch microseconds even where it is not enabled.
    with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext():
        taken = [stream._samples.take(chunk, end) for stream, chunk, end in zip(streams, chunks, ended, strict=True)]
        counts = [count for _, count in taken]
        signals = pad_sequence([signal for signal, _ in taken], batch_first=True)
        if any(counts):
            frames = features.static(signals).unflatten(0, (len(signals), max(counts)))
        else:
            frames = signals.new_zeros(len(signals), 0, features.static_size)
        if features.config.deltas or features.config.normalization is Normalization.sliding:
            rows = [
                stream._finish(row[:count], end)
                for stream, row, count, end in zip(streams, frames, counts, ended, strict=True)
            ]
            frames, counts = pad_sequence(rows, batch_first=True), [len(row) for row in rows]
        if features.config.normalization is Normalization["global"]:
            frames = features.normalize_globally(frames)
    return frames, counts


class _Samples:
    """Samples -> the stretch under the next frames. Keeps what a later window, or the reflection at the end, needs."""

    def __init__(self, features: LogMel) -> None:
        self._framing = features.framing
        self._kept = features.spectrum.weights.new_zeros(0)
        self._origin = 0  # index of the first kept sample
        self._frames = 0  # frames given out

    def take(self, chunk: Tensor, end: bool) -> tuple[Tensor, int]:
        """The samples under the frames that a chunk completes, and how many frames these are."""
        framing = self._framing
        self._kept = torch.cat([self._kept, chunk.to(self._kept)])
        samples = self._origin + self._kept.shape[0]
        until = framing.count(samples) if end else framing.ready(samples)
        count = until - self._frames
        if count <= 0:
            return self._kept[:0], 0
        pieces = framing.stretch(self._kept, self._origin, samples, self._frames, until)
        self._frames = until
        needed = min(framing.first + until * framing.hop, samples - 2 * framing.window - 2)
        if needed > self._origin:
            self._kept, self._origin = self._kept[needed - self._origin :].clone(), needed
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0], count


class _Deltas:
    """Static frames -> with deltas. A frame is final once ``reach`` later ones are known."""

    def __init__(self, features: LogMel) -> None:
        config = features.config
        self._order, self._window = config.deltas, config.delta_window
        self.reach = self._order * (self._window // 2)
        self._kept = features.spectrum.weights.new_zeros(0, features.static_size)
        self._given = 0  # how many of the kept frames have been given out

    def advance(self, frames: Tensor, end: bool) -> Tensor:
        if self._order == 0:
            return frames
        kept = torch.cat([self._kept, frames])
        length = torch.tensor([len(kept)], device=kept.device)
        until = len(kept) if end else max(self._given, len(kept) - self.reach)
        ready = with_deltas(kept[None], length, self._order, self._window)[0, self._given : until] if until else None
        drop = max(0, until - self.reach)
        self._kept, self._given = kept[drop:], until - drop
        return kept.new_zeros(0, kept.shape[1] * (1 + self._order)) if ready is None else ready


class _Sliding:
    """Frames -> normalised by a sliding window. Keeps the running sums over the window and the frames not yet final."""

    def __init__(self, features: LogMel) -> None:
        self.bounds = features.sliding_frames()
        self._variance = features.config.normalize_variance
        self._waiting = features.spectrum.weights.new_zeros(0, features.output_size)
        self._sums = features.spectrum.weights.new_zeros(1, 2 * features.output_size, dtype=torch.float64)
        self._origin = 0  # the first kept sum is over this many frames from the start
        self._given = 0  # frames given out

    def advance(self, frames: Tensor, end: bool) -> Tensor:
        past, lookahead, minimum = self.bounds
        wide = frames.double()
        steps = torch.cat([self._sums[-1:], torch.cat([wide, wide.square()], dim=1)])
        self._sums = torch.cat([self._sums[:-1], steps.cumsum(0)])
        self._waiting = torch.cat([self._waiting, frames])
        known = self._given + len(self._waiting)
        until = known if end else (max(self._given, known - lookahead) if known >= minimum else self._given)
        time = torch.arange(self._given, until, device=frames.device)
        low, high = window_bounds(time, known, past, lookahead, minimum)
        between = self._sums[high - self._origin] - self._sums[low - self._origin]
        total, squares = between.chunk(2, dim=1)
        ready, self._waiting = self._waiting[: len(time)], self._waiting[len(time) :]
        ready = normalize_by_sums(ready, total, squares, (high - low)[:, None], self._variance)
        self._given = until
        drop = max(0, until - past) - self._origin
        self._sums, self._origin = self._sums[drop:], self._origin + drop
        return ready
