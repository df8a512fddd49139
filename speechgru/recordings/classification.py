"""Labels any number of recordings of any length, with a use of memory that depends on neither."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from speechgru.recordings.parts import MOST_S, Part, Piece, Stretch, compute_parts
from speechgru.tokens import is_word

if TYPE_CHECKING:
    from speechgru.classification import Classification
    from speechgru.recognizer import Recognizer

# The label of a recording in which no word is sure enough.
UNKNOWN = "_unknown_"
_LAST_S = 1.0  # less than this at the end stays with the window before it


@dataclasses.dataclass(frozen=True)
class ClassifiedRecording:
    """The outcome for one recording.

    Attributes:
        audio: the path as it was given.
        result: its labels, best first; None where there is an error.
        error: why there is no result; empty where there is one.
        windows: in how many windows the recording was classified.
        rejected: the most likely label, if it is a word below its threshold: the label is then ``_unknown_``.
    """

    audio: str
    result: Classification | None = None
    error: str = ""
    windows: int = 1
    rejected: str = ""


def classify_recordings(
    recognizer: Recognizer,
    items: Iterable[tuple[str, str] | Stretch],
    *,
    top_k: int = 1,
    batch_size: int = 32,
    threshold: Callable[[str], float] | None = None,
    compiled_from_s: float = 0.0,
) -> Iterator[ClassifiedRecording]:
    """Labels recordings in their order; one that cannot be read or computed has its ``error`` instead.

    A recording of up to ten minutes is classified as a whole. A longer one is cut in windows of ten minutes, of which
    the last may be shorter; its scores are the mean of theirs, each weighted by its length.

    Args:
        recognizer: a model with a classification head.
        items: (path, error) of files, or ``-`` for standard input; an item that has an error already keeps it.
        top_k: number of labels of each recording, at least 1.
        batch_size: recordings computed together, at least 1.
        threshold: gives the confidence that a word must reach; below it the label is ``_unknown_``. None accepts any.
        compiled_from_s: as for :func:`speechgru.recordings.parts.compute_parts`.
    """
    import torch

    labels, rate = len(recognizer.tokens), recognizer.sample_rate

    def compute(waveforms: list[np.ndarray]) -> list[Classification]:
        return recognizer.classify_waveforms([torch.from_numpy(waveform) for waveform in waveforms], labels)

    parts: Iterator[Part[Classification]] = compute_parts(
        items, rate, lambda blocks: windows(blocks, rate), compute, batch_size, compiled_from_s
    )
    results: list[Classification] = []
    error = ""
    for part in parts:
        error = error or part.error
        if part.result:
            results.append(part.result)
        if part.last:
            found = None if error else _mean(results, top_k)
            record = ClassifiedRecording(part.path, found, error, max(1, len(results)))
            yield _judged(record, threshold) if threshold else record
            results, error = [], ""


def threshold_of(recognizer: Recognizer, asked: float | None) -> Callable[[str], float] | None:
    """The threshold that the confidence of a word must reach: as asked for, else as chosen for the model."""
    if asked is not None:
        return lambda label: asked
    own = recognizer.config.keywords
    return own.threshold if own is not None else None


def _judged(record: ClassifiedRecording, threshold: Callable[[str], float]) -> ClassifiedRecording:
    """The record, with a word below its threshold rejected; confidence and scores stay as they are."""
    result = record.result
    if result is None or not is_word(result.label) or result.confidence >= threshold(result.label):
        return record
    return dataclasses.replace(record, result=dataclasses.replace(result, label=UNKNOWN), rejected=result.label)


def windows(blocks: Iterable[np.ndarray], sample_rate: int, longest_s: float = MOST_S) -> Iterator[Piece]:
    """Cuts a recording that comes in blocks into windows of ``longest_s``; less than a second is no window of its own.

    One window and one block are held in memory.
    """
    longest, start, held = round(longest_s * sample_rate), 0, 0
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        held += len(block)
        while held >= longest + round(_LAST_S * sample_rate):
            joined = np.concatenate(waiting)
            yield Piece(joined[:longest], start / sample_rate)
            start, waiting, held = start + longest, [joined[longest:]], held - longest
    if held:
        yield Piece(waiting[0] if len(waiting) == 1 else np.concatenate(waiting), start / sample_rate)


def _mean(results: list[Classification], top_k: int) -> Classification:
    """The mean of the results of windows, weighted by their lengths; that of a single window is its own result."""
    duration_s = sum(one.duration_s for one in results)
    scores = dict(results[0].scores)
    if len(results) > 1:
        scores = {label: sum(one.scores[label] * one.duration_s for one in results) / duration_s for label in scores}
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])[:top_k]
    return dataclasses.replace(
        results[0], label=ranked[0][0], confidence=ranked[0][1], scores=dict(ranked), duration_s=duration_s
    )
