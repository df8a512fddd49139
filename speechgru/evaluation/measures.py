"""The measures of an evaluation as plain rounded values, in a fixed order: the middle of a ``results.json``."""

from __future__ import annotations

import functools
import math
import statistics
from typing import Any

from speechgru.evaluation.classification import ClassificationResult
from speechgru.evaluation.transcription import ErrorCounts, TranscriptionResult


def rounded(value: float | None, digits: int = 6) -> float | None:
    """None also for what is not finite: JSON has no word for it."""
    return round(float(value), digits) if value is not None and math.isfinite(value) else None


@functools.singledispatch
def measures(result: Any) -> dict[str, Any]:
    """What is kept of ``result``, a :class:`ClassificationResult` or a :class:`TranscriptionResult`."""
    raise AssertionError(type(result))


@measures.register
def _classification(result: ClassificationResult) -> dict[str, Any]:
    low, high = result.interval
    speakers = [score.accuracy for score in result.per_speaker]
    return {
        "n": result.clips,
        "failed": len(result.errors),
        "correct": result.correct,
        "accuracy": rounded(result.accuracy),
        "interval": [rounded(low), rounded(high)],
        "macro_recall": rounded(result.macro_recall),
        "macro_f1": rounded(result.macro_f1),
        "top_2_accuracy": rounded(result.top_k_accuracy(2)),
        "cross_entropy": rounded(result.cross_entropy),
        "calibration_error": rounded(result.calibration_error()),
        "speakers": {
            "n": len(speakers),
            "mean_accuracy": rounded(statistics.fmean(speakers)) if speakers else None,
            "worst_accuracy": rounded(min(speakers)) if speakers else None,
        },
        "per_class": {
            score.label: {
                "support": score.support,
                "precision": rounded(score.precision),
                "recall": rounded(score.recall),
                "f1": rounded(score.f1),
            }
            for score in result.per_class
        },
        "confusion": {"labels": list(result.labels), "counts": result.confusion.tolist()},
    }


@measures.register
def _transcription(result: TranscriptionResult) -> dict[str, Any]:
    counts = result.counts
    return {
        "n": counts.utterances,
        "failed": len(result.errors),
        "words": counts.words,
        "characters": counts.characters,
        "wer": rounded(result.wer),
        "interval": [rounded(end) for end in result.interval] if result.interval else None,
        "interval_over": result.interval_over,
        "cer": rounded(result.cer),
        "ser": rounded(result.ser),
        "substitutions": counts.substitutions,
        "insertions": counts.insertions,
        "deletions": counts.deletions,
        "calibration_error": rounded(result.calibration_error()),
        "calibration_error_equal_mass": rounded(result.calibration_error(equal_mass=True)),
        "calibration_noise": rounded(result.calibration_noise()),
        "normalized_cross_entropy": rounded(result.normalized_cross_entropy),
        "confused": [[one.reference, one.hypothesis, one.count] for one in result.confused(20)],
        "inserted": [list(pair) for pair in result.inserted(20)],
        "deleted": [list(pair) for pair in result.deleted(20)],
        "worst": [
            {
                "reference": one.reference,
                "hypothesis": one.hypothesis,
                "speaker": one.utterance.speaker,
                "errors": one.counts.errors,
            }
            for one in result.worst(10)
        ],
        "per_speaker": {name: _speaker(one) for name, one in result.per_speaker},
    }


def _speaker(counts: ErrorCounts) -> dict[str, Any]:
    return {
        "n": counts.utterances,
        "words": counts.words,
        "wer": rounded(counts.wer),
        "substitutions": counts.substitutions,
        "insertions": counts.insertions,
        "deletions": counts.deletions,
    }
