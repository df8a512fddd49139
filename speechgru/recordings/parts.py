"""Recordings in parts, computed in batches: one failure affects no other part, memory does not grow with the input."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from speechgru.audio import read_blocks
from speechgru.compiled import disabled
from speechgru.errors import SpeechGRUError
from speechgru.recordings.lines import brief

Result = TypeVar("Result")

# A batch also ends at this much audio, so that 32 long recordings do not fill the memory.
MOST_S = 600.0
# Pieces that are computed together are padded to at most this multiple of the shortest one's length.
_MOST_PADDING = 1.5
_BLOCK_S = 10.0


class Stretch(NamedTuple):
    """A recording that was named, or a stretch of one.

    Attributes:
        path: the file, or ``-`` for standard input.
        error: why it cannot be read, if that is known already.
        start_s: where the stretch begins, in seconds.
        duration_s: how long it lasts; None: to the end.
    """

    path: str
    error: str = ""
    start_s: float = 0.0
    duration_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a recording.

    Attributes:
        waveform: float32 samples (samples,).
        start_s: where it begins in the recording, in seconds.
        overlap_s: how much of its beginning is in the piece before it too; 0 where it begins in a pause.
    """

    waveform: np.ndarray
    start_s: float = 0.0
    overlap_s: float = 0.0


@dataclasses.dataclass
class Part(Generic[Result]):
    """The next part of a recording: a piece and, once computed, its result; or an error. The last part is marked."""

    path: str
    piece: Piece | None = None
    result: Result | None = None
    error: str = ""
    last: bool = False

    @property
    def samples(self) -> int:
        """Samples of its piece."""
        return len(self.piece.waveform) if self.piece else 0


def compute_parts(
    items: Iterable[tuple[str, str] | Stretch],
    sample_rate: int,
    cut: Callable[[Iterator[np.ndarray]], Iterable[Piece]],
    compute: Callable[[list[np.ndarray]], Sequence[Result]],
    batch_size: int,
    compiled_from_s: float = 0.0,
) -> Iterator[Part[Result]]:
    """The parts of recordings, in their order, each piece with its result or its error; at least one for a recording.

    A batch is ``batch_size`` pieces or ten minutes of sound, whichever is less, but at least one piece.

    Args:
        items: (path, error) of files, or ``-`` for standard input, or stretches (:class:`Stretch`); an item that has an
            error already keeps it.
        sample_rate: the rate at which they are read, in Hz.
        cut: gives the pieces of a recording that comes in blocks.
        compute: gives the results of waveforms of similar length, in their order.
        batch_size: pieces read ahead, at least 1.
        compiled_from_s: seconds of sound that torch's operators compute, before compiled code is worth the time that it
            takes to load. The piece or batch that goes beyond this is already computed by the compiled code.
    """
    compute = _torch_first(compute, compiled_from_s * sample_rate)
    batch: list[Part[Result]] = []
    part: Part[Result]
    pieces, samples = 0, 0
    for part in _read(items, sample_rate, cut):
        if pieces and samples + part.samples > MOST_S * sample_rate:
            yield from _computed(batch, compute)
            batch, pieces, samples = [], 0, 0
        batch.append(part)
        pieces, samples = pieces + (part.piece is not None), samples + part.samples
        if pieces == batch_size or len(batch) > 4 * batch_size:  # many files without a piece come together
            yield from _computed(batch, compute)
            batch, pieces, samples = [], 0, 0
    yield from _computed(batch, compute)


def _torch_first(
    compute: Callable[[list[np.ndarray]], Sequence[Result]], samples: float
) -> Callable[[list[np.ndarray]], Sequence[Result]]:
    """Uses torch's operators until ``samples`` samples were computed."""
    seen = 0

    def count(waveforms: list[np.ndarray]) -> Sequence[Result]:
        nonlocal seen
        seen += sum(map(len, waveforms))
        with disabled() if seen <= samples else contextlib.nullcontext():
            return compute(waveforms)

    return count


def _read(
    items: Iterable[tuple[str, str] | Stretch],
    sample_rate: int,
    cut: Callable[[Iterator[np.ndarray]], Iterable[Piece]],
) -> Iterator[Part[Result]]:
    for item in items:
        path, error, start_s, duration_s = item if isinstance(item, Stretch) else Stretch(*item)
        last: Piece | None = None
        try:
            if not error:
                read = read_blocks(path, sample_rate, block_s=_BLOCK_S, start_s=start_s, duration_s=duration_s)
                blocks = (block for block, _ in read)
                last = yield from _all_but_the_last(path, cut(blocks))
        except (SpeechGRUError, MemoryError) as failure:
            error = str(failure) or "no memory left"
        yield Part(path, None if error else last, error=brief(path, error), last=True)


def _all_but_the_last(path: str, pieces: Iterable[Piece]) -> Generator[Part[Result], None, Piece | None]:
    """All parts of a recording but the last; returns its last piece, which is known to be the last only at the end."""
    waiting: Piece | None = None
    for piece in pieces:
        if waiting:
            yield Part(path, waiting)
        waiting = piece
    return waiting


def _computed(batch: list[Part[Result]], compute: Callable[[list[np.ndarray]], Sequence[Result]]) -> list[Part[Result]]:
    """Gives each piece its result, or its error; those of similar length are computed together."""
    group: list[Part[Result]] = []
    for part in sorted((part for part in batch if part.piece), key=lambda part: part.samples):
        if group and part.samples > _MOST_PADDING * group[0].samples:
            _compute_group(group, compute)
            group = []
        group.append(part)
    if group:
        _compute_group(group, compute)
    return batch


def _compute_group(group: list[Part[Result]], compute: Callable[[list[np.ndarray]], Sequence[Result]]) -> None:
    try:
        results = compute([part.piece.waveform for part in group if part.piece])
    except (SpeechGRUError, RuntimeError, MemoryError) as error:  # RuntimeError: torch is out of memory, for one
        if len(group) == 1:
            group[0].error = brief(group[0].path, str(error)) or type(error).__name__
        else:  # one by one: the piece at fault fails alone
            for part in group:
                _compute_group([part], compute)
        return
    for part, result in zip(group, results, strict=True):
        part.result = result
