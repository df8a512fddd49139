"""Transcribes recordings of any length and number in a memory that depends on neither."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from speechgru.audio import read_blocks
from speechgru.errors import ConfigError, ModelError, SpeechGRUError
from speechgru.transcripts.joining import join
from speechgru.transcripts.pieces import Piece, PiecesConfig, pieces
from speechgru.transcripts.segments import segments
from speechgru.transcripts.transcript import Transcript

if TYPE_CHECKING:
    from speechgru.decoding.transcription import Word
    from speechgru.recognizer import Recognizer

# Pieces computed together are padded to at most this multiple of the shortest one's length.
_MOST_PADDING = 1.5
_BLOCK_S = 10.0


def transcribe_recordings(
    recognizer: Recognizer,
    items: Iterable[tuple[str, str]],
    *,
    decoder: Any = None,
    batch_size: int = 16,
    config: PiecesConfig | None = None,
) -> Iterator[Transcript]:
    """Transcripts of recordings in their order; one that cannot be read or computed has its ``error`` instead.

    Each is read in blocks and cut in pieces (:func:`speechgru.transcripts.pieces`). The pieces of one recording or of
    many are computed in batches: at most ``batch_size`` of them and ``longest_s`` of the recording being read are held.

    Args:
        recognizer: a model with a CTC head.
        items: (path, error) of files, or ``-`` for standard input; one that has an error already keeps it.
        decoder: as for ``Recognizer.transcribe``.
        batch_size: pieces read ahead and computed together, at least 1.
        config: how long recordings are cut; its defaults where None.

    Raises:
        ConfigError: ``batch_size`` is below 1.
        ModelError: the model has no CTC head.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: at least 1")
    if recognizer.task != "ctc":
        raise ModelError(f"this model has a {recognizer.task} head; transcribe needs one with a ctc head")
    recording = _Recording()
    for batch in _batches(_steps(items, recognizer.sample_rate, config or PiecesConfig()), batch_size):
        _compute(recognizer, [step for step in batch if step.piece], decoder)
        for step in batch:
            recording.add(step, recognizer.sample_rate)
            if step.last:
                yield recording.transcript(step.path)
                recording = _Recording()


@dataclasses.dataclass
class _Step:
    """What comes next of a recording: a piece and, once computed, its words; an error; or its end (``last``)."""

    path: str
    piece: Piece | None = None
    words: Sequence[Word] = ()
    error: str = ""
    last: bool = False


def _steps(items: Iterable[tuple[str, str]], sample_rate: int, config: PiecesConfig) -> Iterator[_Step]:
    for path, error in items:
        try:
            if not error:
                blocks = (block for block, _ in read_blocks(path, sample_rate, block_s=_BLOCK_S))
                for piece in pieces(blocks, sample_rate, config):
                    yield _Step(path, piece)
        except SpeechGRUError as failure:
            error = str(failure)
        yield _Step(path, error=error, last=True)


def _batches(steps: Iterable[_Step], batch_size: int) -> Iterator[list[_Step]]:
    """Steps until ``batch_size`` are pieces; earlier where many files without one come together."""
    batch: list[_Step] = []
    for step in steps:
        batch.append(step)
        if sum(one.piece is not None for one in batch) == batch_size or len(batch) > 4 * batch_size:
            yield batch
            batch = []
    yield batch


def _compute(recognizer: Recognizer, steps: list[_Step], decoder: Any) -> None:
    """Gives each step its words, or its error; pieces of similar length are computed together."""
    group: list[_Step] = []
    for step in sorted(steps, key=_samples):
        if group and _samples(step) > _MOST_PADDING * _samples(group[0]):
            _compute_group(recognizer, group, decoder)
            group = []
        group.append(step)
    if group:
        _compute_group(recognizer, group, decoder)


def _samples(step: _Step) -> int:
    assert step.piece
    return len(step.piece.waveform)


def _compute_group(recognizer: Recognizer, group: list[_Step], decoder: Any) -> None:
    waveforms = [step.piece.waveform for step in group if step.piece]
    try:
        results = recognizer.transcribe(
            waveforms, source_rate=recognizer.sample_rate, batch_size=len(group), decoder=decoder
        )
    except (SpeechGRUError, RuntimeError) as error:  # RuntimeError: torch is out of memory, for one
        if len(group) == 1:
            group[0].error = str(error) or type(error).__name__
        else:  # one by one: the piece at fault fails alone
            for step in group:
                _compute_group(recognizer, [step], decoder)
        return
    for step, result in zip(group, results, strict=True):
        step.words = result.words


class _Recording:
    """The words of a recording so far."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.duration_s = 0.0
        self.error = ""

    def add(self, step: _Step, sample_rate: int) -> None:
        """Appends the words of the next piece."""
        self.error = self.error or step.error
        if self.error or not step.piece:
            return
        start_s, overlap_s = step.piece.start_s, step.piece.overlap_s
        words = [_later(word, start_s) for word in step.words]
        if overlap_s:
            self.words = join(self.words, words, start_s, start_s + overlap_s)
        else:
            self.words += words
        self.duration_s = start_s + _samples(step) / sample_rate

    def transcript(self, path: str) -> Transcript:
        """All of them."""
        if self.error:
            return Transcript(path, error=" ".join(self.error.removeprefix(f"{path}: ").splitlines()))
        return Transcript(path, segments(self.words), self.duration_s)


def _later(word: Word, by_s: float) -> Word:
    return dataclasses.replace(word, start_s=by_s + word.start_s, end_s=by_s + word.end_s)
