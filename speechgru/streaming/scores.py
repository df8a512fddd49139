"""Scores of a waveform that comes in chunks: of every frame where the model goes step by step, else of windows.

Any chunks give the same scores (to 1e-5, from rounding). A stream keeps its state itself; the model keeps none, so any
number of streams can share one model. :func:`advance` takes several streams a chunk further in one batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.encoders.stepping import split, stack
from speechgru.errors import ConfigError, ModelError
from speechgru.features.stream import feed_together
from speechgru.streaming.model import FrameScoringHead, SteppedEncoder, StreamedFeatures, StreamedModel

# Windows computed together: a second of each is a batch of classify.
_MOST_WINDOWS = 32


@dataclasses.dataclass(frozen=True)
class WindowConfig:
    """How a model that does not go step by step hears a stream.

    Attributes:
        length_s: seconds of a window, which the model hears as if it were a recording: the length of its training
            clips.
        hop_s: seconds from one window to the next. The cost is ``length_s / hop_s`` times that of the sound itself.
    """

    length_s: float = 1.0
    hop_s: float = 0.1

    def __post_init__(self) -> None:
        if not 0.05 <= self.length_s <= 60:
            raise ConfigError(f"length_s={self.length_s}: from 0.05 to 60 seconds")
        if not 0.01 <= self.hop_s <= self.length_s:
            raise ConfigError(f"hop_s={self.hop_s}: from 0.01 to length_s={self.length_s:g} seconds")


class ScoreTrack(NamedTuple):
    """Scores along a recording.

    Attributes:
        end_s: float64 (frames,): for each, the time in the recording, in seconds, up to which the model has heard at
            least.
        scores: float32 (frames, label): probabilities; of a CTC head their natural logarithms.
    """

    end_s: np.ndarray
    scores: np.ndarray


class FrameScores:
    """One stream of a model that goes step by step: the scores of each frame as soon as its look-ahead has arrived."""

    def __init__(self, model: StreamedModel) -> None:
        self.features = cast(StreamedFeatures, model.features).stream()
        self.start = cast(SteppedEncoder, model.encoder).start()
        (self.state,) = split(self.start)
        self.samples = 0  # taken in
        self.frames = 0  # hidden frames given


class WindowScores:
    """One stream of any other classifier: the scores of each window as if it were a recording.

    Window i covers ``length_s`` from ``i * hop_s`` on. The last window ends with the stream; a stream shorter than a
    window is heard whole.
    """

    def __init__(self, model: StreamedModel, config: WindowConfig) -> None:
        self._length = round(config.length_s * model.sample_rate)
        self._hop = round(config.hop_s * model.sample_rate)
        self._held = torch.zeros(0)
        self._origin = 0  # sample at which the held ones begin
        self._next = 0  # sample at which the next window begins

    def windows(self, chunk: Tensor, ended: bool) -> Iterator[tuple[int, Tensor]]:
        """The windows that the chunk completes, each with the sample at which it ends."""
        self._held = torch.cat([self._held, chunk])
        known = self._origin + len(self._held)
        while self._next + self._length <= known:
            start = self._next - self._origin
            yield self._next + self._length, self._held[start : start + self._length]
            self._next += self._hop
        if ended and known > max(0, self._next - self._hop + self._length if self._next else 0):
            yield known, self._held[-self._length :]
        # The samples that a last window may reach back to are kept too.
        drop = max(0, min(self._next, known - self._length) - self._origin)
        self._held, self._origin = self._held[drop:].clone(), self._origin + drop


ScoreStream = FrameScores | WindowScores


def keywords_of(model: StreamedModel) -> KeywordConfig:
    """When a score of a classifier is a detection: as chosen for the model, else from 0.5 on for each word.

    Where nothing was chosen, scores of frames are averaged over 100 ms and those of windows over 300 ms. At half a
    false alarm an hour the model ``commands``, which hears windows, missed 1,133 of 1,600 clips with 100 ms and 689
    with 300 ms.
    """
    return model.config.keywords or KeywordConfig(smoothing_ms=100.0 if goes_by_frames(model) else 300.0)


def goes_by_frames(model: StreamedModel) -> bool:
    """Whether the model scores every frame by itself: features, encoder and head all go step by step."""
    if not (getattr(model.head, "streams", False) or model.head.scores_frames):
        return False
    if not getattr(model.encoder, "streams", False):
        return False
    try:
        cast(StreamedFeatures, model.features).stream()
    except (AttributeError, ConfigError):
        return False
    return True


def score_stream(model: StreamedModel, config: WindowConfig | None = None) -> ScoreStream:
    """A new stream of a model, for :func:`advance`; windows are those of ``config``.

    Raises:
        ModelError: a CTC model that needs the whole utterance.
    """
    if goes_by_frames(model):
        return FrameScores(model)
    if model.head.scores_frames:
        raise ModelError(
            "this model needs whole recordings; to score a stream train one with encoder=look_ahead or "
            "latency_controlled, and normalization=sliding or global"
        )
    return WindowScores(model, config or WindowConfig())


def advance(
    model: StreamedModel, streams: Sequence[ScoreStream], chunks: Sequence[Tensor], ended: Sequence[bool]
) -> list[ScoreTrack]:
    """Takes each stream a chunk further, all in one batch.

    Args:
        model: the model of all the streams.
        streams: of :func:`score_stream`, each once.
        chunks: float32 samples (samples,) at the model's rate for each, possibly none.
        ended: for each, whether this chunk was the stream's end.

    Returns:
        The new scores of each.

    Raises:
        ModelError: scores that are no numbers.
    """
    with model.in_eval_mode(), torch.inference_mode():
        if isinstance(streams[0], FrameScores):
            return _frames(model, cast(Sequence[FrameScores], streams), chunks, ended)
        return _windows(model, cast(Sequence[WindowScores], streams), chunks, ended)


def _frames(
    model: StreamedModel, streams: Sequence[FrameScores], chunks: Sequence[Tensor], ended: Sequence[bool]
) -> list[ScoreTrack]:
    for stream, chunk in zip(streams, chunks, strict=True):
        stream.samples += chunk.shape[0]
    frames, lengths = feed_together([stream.features for stream in streams], chunks, ended)
    if not (any(lengths) or any(ended)):
        return [ScoreTrack(np.zeros(0), np.zeros((0, len(model.tokens)), np.float32)) for _ in streams]
    state = stack([stream.state for stream in streams], streams[0].start)
    hidden, counts, state = cast(SteppedEncoder, model.encoder).step(frames, state, lengths, list(ended))
    if model.head.scores_frames:
        scores = model.head(hidden, torch.tensor(counts, device=hidden.device))
    else:
        scores = cast(FrameScoringHead, model.head).frame_scores(hidden)
    rows = scores.float().cpu().numpy()
    _check_finite(rows[np.arange(rows.shape[1]) < np.array(counts)[:, None]])
    end_s = _times(model, streams, rows.shape[1], ended)
    for stream, count, kept in zip(streams, counts, split(state), strict=True):
        stream.state = kept
        stream.frames += count
    # Copies: whoever keeps the scores of one stream must not keep those of all streams.
    return [ScoreTrack(time[:count], row[:count].copy()) for time, row, count in zip(end_s, rows, counts, strict=True)]


def _times(model: StreamedModel, streams: Sequence[FrameScores], count: int, ended: Sequence[bool]) -> np.ndarray:
    """``end_s`` of the next ``count`` frames of each stream, (stream, count)."""
    encoder = cast(SteppedEncoder, model.encoder)
    frames = np.array([[stream.frames] for stream in streams]) + np.arange(count)
    heard = streams[0].features.samples_for(frames * encoder.subsampling + encoder.least_look_ahead + 1)
    if any(ended):
        samples = np.array([[stream.samples] for stream in streams])
        heard = np.where(np.array(ended)[:, None], np.minimum(heard, samples), heard)
    return heard / model.sample_rate


def _check_finite(scores: np.ndarray) -> None:
    if not np.isfinite(scores).all():
        raise ModelError("the model's scores are no numbers: its weights are damaged, or its training diverged")


def _windows(
    model: StreamedModel, streams: Sequence[WindowScores], chunks: Sequence[Tensor], ended: Sequence[bool]
) -> list[ScoreTrack]:
    ends: list[list[int]] = [[] for _ in streams]
    rows: list[list[np.ndarray]] = [[] for _ in streams]
    batch: list[tuple[int, Tensor]] = []  # the place of its stream, and a window

    def compute() -> None:
        windows = [window for _, window in batch]
        lengths = torch.tensor([len(window) for window in windows], device=model.device)
        scores, _ = model(pad_sequence(windows, batch_first=True).to(model.device), lengths)
        found = scores.float().softmax(1).cpu().numpy()
        _check_finite(found)
        for (place, _), row in zip(batch, found, strict=True):
            rows[place].append(row)
        batch.clear()

    for place, (stream, chunk, end) in enumerate(zip(streams, chunks, ended, strict=True)):
        for end_sample, window in stream.windows(chunk.cpu(), end):
            ends[place].append(end_sample)
            batch.append((place, window))
            if len(batch) == _MOST_WINDOWS:
                compute()
    if batch:
        compute()
    labels = len(model.tokens)
    return [
        ScoreTrack(
            np.array(own_ends, np.float64) / model.sample_rate, np.array(own_rows, np.float32).reshape(-1, labels)
        )
        for own_ends, own_rows in zip(ends, rows, strict=True)
    ]


def score_track(
    model: StreamedModel,
    waveform: np.ndarray | Tensor | Iterable[np.ndarray],
    block_s: float = 10.0,
    config: WindowConfig | None = None,
) -> ScoreTrack:
    """The scores along a recording of any length: the same numbers as a stream gives.

    Args:
        model: a recognizer.
        waveform: float samples (samples,) at the model's rate, or an iterable of such blocks, as of
            :func:`speechgru.audio.read_blocks`, of which one is held at a time.
        block_s: seconds of an array that are computed together, above 0.
        config: of the windows.

    Raises:
        ConfigError: ``block_s`` is not above 0.
        ModelError: as in :func:`score_stream`, or scores that are no numbers.
    """
    if not (math.isfinite(block_s) and block_s > 0):
        raise ConfigError(f"block_s={block_s}: a time in seconds above 0")
    tracks = score_blocks(model, _blocks(waveform, max(1, round(block_s * model.sample_rate))), config)
    return ScoreTrack(*(np.concatenate(parts) for parts in zip(*tracks, strict=True)))


def score_blocks(
    model: StreamedModel, blocks: Iterable[Tensor | np.ndarray], config: WindowConfig | None = None
) -> Iterator[ScoreTrack]:
    """As :func:`score_track`, a part for each block and one for the end, so that no more than one block is held."""
    stream = score_stream(model, config)
    for block in blocks:
        yield advance(model, [stream], [torch.as_tensor(block, dtype=torch.float32)], [False])[0]
    yield advance(model, [stream], [torch.zeros(0)], [True])[0]


def _blocks(waveform: np.ndarray | Tensor | Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray | Tensor]:
    if isinstance(waveform, np.ndarray | Tensor):
        yield from (waveform[start : start + samples] for start in range(0, len(waveform), samples))
    else:
        yield from waveform
