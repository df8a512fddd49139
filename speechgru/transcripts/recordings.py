"""Transcribes any number of recordings of any length, with a use of memory that depends on neither."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechgru.errors import ConfigError
from speechgru.recordings.parts import Part, Stretch, compute_parts
from speechgru.transcripts.joining import join
from speechgru.transcripts.pieces import PiecesConfig, pieces
from speechgru.transcripts.segments import segments
from speechgru.transcripts.transcript import Transcript

if TYPE_CHECKING:
    from speechgru.contracts import Decoder
    from speechgru.decoding.familiarity import FamiliarityConfig
    from speechgru.decoding.transcription import Transcription, Word
    from speechgru.recognizer import Recognizer


def transcribe_recordings(
    recognizer: Recognizer,
    items: Iterable[tuple[str, str] | Stretch],
    *,
    decoder: Decoder | None = None,
    batch_size: int = 16,
    config: PiecesConfig | None = None,
    heard: Callable[[Sequence[Word], float], None] | None = None,
    compiled_from_s: float = 0.0,
) -> Iterator[Transcript]:
    """Transcripts of recordings in their order; one that cannot be read or computed has its ``error`` instead.

    Each is read in blocks and cut in pieces (:func:`speechgru.transcripts.pieces`). The pieces of one recording or of
    many are computed in batches: at most ``batch_size`` of them and ``longest_s`` of the recording being read are held.

    Args:
        recognizer: a model with a CTC head.
        items: (path, error) of files, or ``-`` for standard input; an item that has an error already keeps it.
        decoder: as for ``Recognizer.transcribe``.
        batch_size: pieces read ahead and computed together, at least 1.
        config: how long recordings are cut; its defaults where None.
        heard: called after each piece with the words of its recording so far and the time, in seconds, up to which it
            was transcribed. The words that end ``overlap_s`` before this time stay as they are.
        compiled_from_s: as for :func:`speechgru.recordings.parts.compute_parts`.

    Raises:
        ConfigError: ``batch_size`` is below 1.
        ModelError: the model has no CTC head.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: at least 1")
    recognizer.require("transcribe", "ctc")
    rate, cut = recognizer.sample_rate, config or PiecesConfig()

    def compute(waveforms: list[np.ndarray]) -> list[Transcription]:
        return recognizer.transcribe(waveforms, source_rate=rate, batch_size=len(waveforms), decoder=decoder)

    parts: Iterator[Part[Transcription]] = compute_parts(
        items, rate, lambda blocks: pieces(blocks, rate, cut), compute, batch_size, compiled_from_s
    )
    recording = _Recording()
    for part in parts:
        recording.add(part, rate)
        if heard:
            heard(recording.words, recording.duration_s)
        if part.last:
            yield recording.transcript(part.path, recognizer.config.familiarity)
            recording = _Recording()


class _Recording:
    """The words of a recording so far."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.entropy, self.tokens = 0.0, 0  # the sum over all recognised tokens, and their number
        self.duration_s = 0.0
        self.error = ""

    def add(self, part: Part[Transcription], sample_rate: int) -> None:
        """Appends the words of the next piece."""
        self.error = self.error or part.error
        if self.error or not part.piece or part.result is None:
            return
        start_s, overlap_s = part.piece.start_s, part.piece.overlap_s
        self.entropy += part.result.entropy * len(part.result.tokens)
        self.tokens += len(part.result.tokens)
        words = [_later(word, start_s) for word in part.result.words]
        if overlap_s:
            self.words = join(self.words, words, start_s, start_s + overlap_s)
        else:
            self.words += words
        self.duration_s = start_s + part.samples / sample_rate

    def transcript(self, path: str, known: FamiliarityConfig | None) -> Transcript:
        """All words, and whether the recording sounds like what the model knows."""
        if self.error:
            return Transcript(path, error=self.error)
        entropy = self.entropy / self.tokens if self.tokens else None
        familiar = None if known is None or entropy is None else entropy <= known.most_entropy
        return Transcript(path, segments(self.words), self.duration_s, entropy=entropy, familiar=familiar)


def _later(word: Word, by_s: float) -> Word:
    return dataclasses.replace(word, start_s=by_s + word.start_s, end_s=by_s + word.end_s)
