"""Streams: samples in as they come, words and labels out. Any number of them share one model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from speechgru.decoding.operating_point import KeywordConfig
from speechgru.errors import ConfigError
from speechgru.streaming.event import Event
from speechgru.streaming.keywords import KeywordSpotter
from speechgru.streaming.phrases import Phrases
from speechgru.streaming.samples import Samples
from speechgru.streaming.scores import ScoreTrack, WindowConfig, advance, goes_by_frames, keywords_of, score_stream
from speechgru.streaming.segments import Segments

if TYPE_CHECKING:
    from speechgru.contracts import Decoder
    from speechgru.streaming.model import StreamedModel


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """How a model listens.

    Attributes:
        windows: for a classifier that does not score every frame.
        pause_s: for a transcript: the silence in seconds that ends a phrase, 0.05 to 10.
        longest_s: for a transcript: seconds after which a phrase is ended without a pause, 1 to 600.
        keywords: for a classifier: when a score over time is a detection; None takes what was chosen for the model, or
            the threshold 0.5 where nothing was chosen (:func:`speechgru.streaming.scores.keywords_of`).
    """

    windows: WindowConfig = dataclasses.field(default_factory=WindowConfig)
    pause_s: float = 0.5
    longest_s: float = 20.0
    keywords: KeywordConfig | None = None

    def __post_init__(self) -> None:
        for name, low, high in (("pause_s", 0.05, 10.0), ("longest_s", 1.0, 600.0)):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"{name}={value}: from {low:g} to {high:g} seconds")


class _Ear(Protocol):
    """Turns the waveform of one stream into events; several of a kind are computed together."""

    def hear_together(self, ears: Sequence[_Ear], chunks: Sequence[Tensor], ended: Sequence[bool]) -> list[list[Event]]:
        """Takes each of ``ears``, of the same kind as this one, a chunk (samples,) further."""


class Stream:
    """One stream of sound through a model: ``feed`` it chunks, ``flush`` it at the end; both return events.

    The stream keeps the state and only reads the model: any number of streams may share one model, in any threads (only
    one thread at a time may feed a stream). Any chunks give the same events: the same words, and numbers to 1e-5.

    - A classifier gives labels, each final: smoothed scores, a threshold and a refractory time for each word
      (:class:`speechgru.streaming.keywords.KeywordSpotter`). One that does not score every frame hears windows.
    - A transcript by a model that goes step by step has partial words while a phrase goes on, once they are settled,
      and final ones at its end (:class:`speechgru.streaming.phrases.Phrases`).
    - A model that needs whole recordings transcribes each segment of speech at the pause after it, as ``transcribe``
      does of that segment (:class:`speechgru.streaming.segments.Segments`); all its words are final.

    Args:
        model: a recognizer.
        config: how it listens.
        decoder: of a transcript; None takes the model's own.

    Attributes:
        seconds: how much was fed.
    """

    def __init__(
        self, model: StreamedModel, config: StreamConfig | None = None, decoder: Decoder | None = None
    ) -> None:
        self._samples = Samples(model.sample_rate)
        self._ear = _ear(model, config or StreamConfig(), decoder)
        self._ended = False

    @property
    def seconds(self) -> float:
        """How much was fed, in seconds."""
        return self._samples.taken / self._samples.rate if self._samples.rate else 0.0

    def feed(self, samples: np.ndarray | Tensor, rate: int) -> list[Event]:
        """The events that a chunk brings, in order of time.

        Args:
            samples: ``(samples,)`` or ``(channels, samples)``, which are averaged: float of full scale 1, or integers.
            rate: samples per second and channel, the same for all chunks.

        Raises:
            AudioError: NaN, another shape, or another rate than before; the stream can go on with the next chunk.
        """
        return feed_together([self], [samples], rate)[0]

    def flush(self) -> list[Event]:
        """The last events: the stream has ended. For what comes after that, make another stream."""
        return flush_together([self])[0]


def feed_together(streams: Sequence[Stream], chunks: Sequence[np.ndarray | Tensor], rate: int) -> list[list[Event]]:
    """What :meth:`Stream.feed` gives for each stream and its chunk, computed in one batch.

    Args:
        streams: of one model, with one configuration, each once.
        chunks: one for each stream; an empty one where there is nothing new.
        rate: of all chunks.

    Raises:
        AudioError: as in :meth:`Stream.feed`; then no stream has taken its chunk.
        ConfigError: a stream was flushed.
    """
    _check_open(streams)
    checked = [stream._samples.check(chunk, rate) for stream, chunk in zip(streams, chunks, strict=True)]
    waveforms = [stream._samples.take(values, rate) for stream, values in zip(streams, checked, strict=True)]
    ears = [stream._ear for stream in streams]
    return ears[0].hear_together(ears, waveforms, [False] * len(ears)) if ears else []


def flush_together(streams: Sequence[Stream]) -> list[list[Event]]:
    """What :meth:`Stream.flush` gives for each stream, computed in one batch."""
    _check_open(streams)
    for stream in streams:
        stream._ended = True
    waveforms = [stream._samples.flush() for stream in streams]
    ears = [stream._ear for stream in streams]
    return ears[0].hear_together(ears, waveforms, [True] * len(ears)) if ears else []


def _check_open(streams: Sequence[Stream]) -> None:
    if any(stream._ended for stream in streams):
        raise ConfigError("a stream was flushed and takes no more; make a new one with recognizer.stream()")


def _ear(model: StreamedModel, config: StreamConfig, decoder: Decoder | None) -> _Ear:
    if not model.head.scores_frames:
        return _Scored(model, config.windows, _Labels(model, config))
    decoder = decoder or model.decoder()
    if goes_by_frames(model):
        return _Scored(model, config.windows, _Words(Phrases(model, decoder, config.pause_s, config.longest_s)))
    return _Segmented(model, config, decoder)


class _Reader(Protocol):
    """Turns scores into events."""

    def read(self, track: ScoreTrack, ended: bool) -> list[Event]:
        """The events of the next scores."""


class _Labels:
    def __init__(self, model: StreamedModel, config: StreamConfig) -> None:
        self._spotter = KeywordSpotter(model.tokens.names, config.keywords or keywords_of(model))

    def read(self, track: ScoreTrack, ended: bool) -> list[Event]:
        return [
            Event("label", found.label, found.start_s, found.end_s, found.confidence)
            for found in self._spotter.feed(track.end_s, track.scores)
        ]


class _Words:
    def __init__(self, phrases: Phrases) -> None:
        self._phrases = phrases

    def read(self, track: ScoreTrack, ended: bool) -> list[Event]:
        events = self._phrases.feed(track.scores)
        return events + self._phrases.flush() if ended else events


class _Scored:
    """An ear that scores frames or windows, of several streams in one batch."""

    def __init__(self, model: StreamedModel, windows: WindowConfig, reader: _Reader) -> None:
        self._model, self._reader = model, reader
        self._scores = score_stream(model, windows)

    def hear_together(self, ears: Sequence[_Ear], chunks: Sequence[Tensor], ended: Sequence[bool]) -> list[list[Event]]:
        scored = cast(Sequence[_Scored], ears)
        tracks = advance(self._model, [ear._scores for ear in scored], chunks, ended)
        return [ear._reader.read(track, end) for ear, track, end in zip(scored, tracks, ended, strict=True)]


class _Segmented:
    """An ear that transcribes segments of speech, each by itself: other streams change no bit of the result."""

    def __init__(self, model: StreamedModel, config: StreamConfig, decoder: Decoder) -> None:
        self._model, self._decoder = model, decoder
        self._segments = Segments(model.sample_rate, config.pause_s, config.longest_s)

    def hear_together(self, ears: Sequence[_Ear], chunks: Sequence[Tensor], ended: Sequence[bool]) -> list[list[Event]]:
        segmented = cast(Sequence[_Segmented], ears)
        return [ear._hear(chunk, end) for ear, chunk, end in zip(segmented, chunks, ended, strict=True)]

    def _hear(self, chunk: Tensor, ended: bool) -> list[Event]:
        segments = self._segments.feed(chunk)
        if ended:
            segments += self._segments.flush()
        events = []
        for segment in segments:
            with torch.no_grad():
                (heard,) = self._model.transcribe_waveforms([segment.waveform], self._decoder)
            at_s, familiar = segment.start_s, heard.familiar
            events += [
                Event("word", word.word, at_s + word.start_s, at_s + word.end_s, word.confidence, familiar=familiar)
                for word in heard.words
            ]
        return events
