"""Measures a detector on clips and background: writes ``detection.json``, pictures, page and false alarms."""

from __future__ import annotations

import dataclasses
import datetime
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from speechgru.augment.recordings import Recordings
from speechgru.data.utterance import Utterance
from speechgru.errors import AudioError, ConfigError, DataError
from speechgru.evaluation.detection import Alarm, Background, Detections, Trial
from speechgru.evaluation.detection_hearing import Ears, hear_background, hear_clips
from speechgru.evaluation.detection_picture import detection_picture
from speechgru.evaluation.detection_record import cut_alarms, detection_record
from speechgru.evaluation.detection_report import write_detection_report
from speechgru.evaluation.detection_sources import BackgroundRecording, find_background, find_positives
from speechgru.evaluation.machine import describe_machine
from speechgru.evaluation.results import write_results
from speechgru.plain import Record
from speechgru.recognizer import Recognizer
from speechgru.tokens import is_word

_MOST_ALARMS = 100  # that are cut out as clips to listen to
_NOISE_CACHE_MB = 64

# Shows the progress: items, how many, and what they are.
Progress = Callable[[Iterable[Any], int, str], Iterator[Any]]


@dataclasses.dataclass(frozen=True)
class DetectionSources:
    """What a detector is measured on.

    Attributes:
        positives: folders and lists of clips that say its words.
        background: recordings, folders and lists in which none is said.
        noise: recordings that clips are mixed with; None: quiet only.
        snr_db: at which signal-to-noise ratios, in dB over the clip.
        words: the words that count, separated by commas; empty or None: all that the model detects.
        word: the word that every clip says; empty: the words that lists and folders give.
        split: only these rows of lists; empty: all.
        seed: of the excerpts of noise.
        false_alarms_per_hour: the rate for which the threshold is chosen.
    """

    positives: Sequence[str]
    background: Sequence[str]
    noise: str | None = None
    snr_db: Sequence[float] = (10.0, 5.0, 0.0)
    words: str | None = None
    word: str = ""
    split: str = ""
    seed: int = 0
    false_alarms_per_hour: float = 0.5


def measure_detection(
    recognizer: Recognizer,
    smoothings_ms: Sequence[float],
    refractory_s: float,
    sources: DetectionSources,
    folder: Path,
    about: Record,
    progress: Progress = lambda items, total, what: iter(items),
) -> Record:
    """Hears clips and background and writes ``detection.json``, ``det.png``, ``report.html`` and ``false_alarms/``.

    Args:
        recognizer: a model that classifies.
        smoothings_ms: over how many milliseconds scores are averaged; of several, the one with the fewest misses is
            taken.
        refractory_s: the least time between two detections of a word, in seconds.
        sources: clips, background and noises.
        folder: where to write; it must exist.
        about: ``model`` and ``command``, for the page.
        progress: shows the progress.

    Returns:
        What ``detection.json`` keeps.

    Raises:
        ConfigError: no clip says a word of the model, or nothing can be heard.
        DataError: a list is wrong, or every clip or recording failed.
    """
    began = time.perf_counter()
    words = detected_words(recognizer, sources.words)
    positives = find_positives(sources.positives, words, sources.split, sources.word)
    recordings = find_background(sources.background, words, positives.clips, sources.split)
    noises = _noises(sources.noise)
    snrs_db: list[float | None] = [None, *dict.fromkeys(sources.snr_db if noises else [])]
    errors: list[str] = []
    ears = Ears(recognizer, smoothings_ms, words, noises, sources.seed)
    trials, background = _hear(ears, positives.clips, recordings, snrs_db, progress, errors)
    all_heard = [Detections(words, *one, refractory_s) for one in zip(trials, background, strict=True)]
    missed = [_missed(one, sources.false_alarms_per_hour) for one in all_heard]
    place = min(range(len(missed)), key=lambda one: missed[one])
    heard = all_heard[place]
    own = _own(recognizer, smoothings_ms[place], refractory_s, words)
    record = detection_record(heard, smoothings_ms[place], sources.false_alarms_per_hour, own)
    alarms = _surest(heard, record, own)
    clips_of_alarms = cut_alarms(alarms, folder / "false_alarms", recognizer.sample_rate)
    record = {
        "format": 1,
        "task": "detection",
        "model": about["model"],
        **record,
        "missed_by_smoothing": [[ms, count] for ms, count in zip(smoothings_ms, missed, strict=True)],
        "left_out": positives.left_out,
        "false_alarms": [
            row | {"from_per_hour": _counts_from(alarm.score, record)}
            for alarm, row in zip(alarms, clips_of_alarms, strict=True)
        ],
        "errors": errors,
        "wall_clock_s": round(time.perf_counter() - began, 1),
        "machine": describe_machine(str(recognizer.device)),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": about["command"],
    }
    write_results(folder / "detection.json", record)
    detection_picture(record, folder / "det.png", title=f"{record['model']}: {', '.join(words)}")
    write_detection_report(folder / "report.html", record)
    return record


def _hear(
    ears: Ears,
    clips: Sequence[Utterance],
    recordings: Sequence[BackgroundRecording],
    snrs_db: Sequence[float | None],
    progress: Progress,
    errors: list[str],
) -> tuple[list[list[Trial]], list[list[Background]]]:
    """The clips and the background for each smoothing; raises DataError where nothing of one could be heard."""
    trials = hear_clips(ears, progress(clips, len(clips), "clips"), snrs_db, errors)
    if not trials[0]:
        raise DataError(f"no clip could be heard; the first: {errors[0]}")
    background = hear_background(ears, progress(recordings, len(recordings), "background"), errors)
    if not background[0]:
        raise DataError(f"no background could be heard; the last: {errors[-1]}")
    return trials, background


def detected_words(recognizer: Recognizer, asked: str | None = None) -> list[str]:
    """The words that a model detects, or those of ``asked`` (separated by commas).

    Raises:
        ConfigError: the model does not detect words, or not one of those asked for.
    """
    if recognizer.head.verb != "classify":
        raise ConfigError(f"a model with a {recognizer.task} head detects no words; train one that classifies")
    known = [label for label in recognizer.tokens.names if is_word(label)]
    words = [word.strip() for word in asked.split(",")] if asked else known
    for word in words:
        if word not in known:
            raise ConfigError(f"--words {word}: not among the words of this model ({', '.join(known)})")
    if not words:
        raise ConfigError("this model knows no word: its labels are all such as _unknown_ and _silence_")
    return list(dict.fromkeys(words))


def _noises(path: str | None) -> Recordings | None:
    try:
        return Recordings(path, _NOISE_CACHE_MB) if path else None
    except AudioError as error:
        raise ConfigError(f"--noise {error}") from None


def _missed(heard: Detections, per_hour: float) -> int:
    """Trials missed at the threshold for an expected rate of false alarms; all where there is no such threshold."""
    threshold = heard.threshold_expecting(per_hour)
    return len(heard.trials) if threshold is None else heard.misses(threshold).count


def _own(recognizer: Recognizer, smoothing_ms: float, refractory_s: float, words: list[str]) -> dict[str, float] | None:
    """The thresholds of the model folder, where they are for the same smoothing and refractory time."""
    own = recognizer.config.keywords
    if own is None or (own.smoothing_ms, own.refractory_s) != (smoothing_ms, refractory_s):
        return None
    return {word: own.threshold(word) for word in words}


def _surest(heard: Detections, record: Record, own: dict[str, float] | None) -> list[Alarm]:
    """The false alarms at the highest rate that is reported, at the chosen threshold and at the model's own."""
    points = [*record["points"], record["chosen"]]
    lowest = min((point["threshold"] for point in points if point["threshold"] is not None), default=math.inf)
    return heard.alarms({word: min(lowest, (own or {}).get(word, math.inf)) for word in heard.words})[:_MOST_ALARMS]


def _counts_from(score: float, record: Record) -> float | None:
    """The lowest of the rates at whose threshold an alarm of this score counts."""
    rates = (one["at_most_per_hour"] for one in record["points"] if score >= (one["threshold"] or 2))
    return next(rates, None)
