"""What is kept of the measurement of a detector: ``detection.json``, and clips of its false alarms."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechgru.data.reading import read_utterance
from speechgru.data.utterance import Utterance
from speechgru.decoding.operating_point import KeywordConfig
from speechgru.errors import DataError
from speechgru.evaluation.detection import Alarm, Detections, Rate, Share, hours_needed
from speechgru.evaluation.rounding import rounded
from speechgru.plain import Record

# The rates, in false alarms an hour, that every measurement reports.
RATES = (0.1, 0.5, 1.0, 2.0)
_BEFORE_S, _AFTER_S = 1.75, 0.5  # around an alarm, in its clip


def detection_record(
    found: Detections, smoothing_ms: float, asked_per_hour: float, own: Mapping[str, float] | None = None
) -> Record:
    """The numbers of a measurement as plain values.

    Args:
        found: the trials and the background as they were heard.
        smoothing_ms: of the scores.
        asked_per_hour: the rate of false alarms for which a threshold is chosen.
        own: the thresholds that the model folder has, to be measured too; None where it has none.
    """
    rates = sorted({*RATES, asked_per_hour})
    points = [_point(found, found.threshold_for(rate), rate) for rate in rates]
    chosen = _found_at(found, found.threshold_expecting(asked_per_hour))
    return {
        "words": found.words,
        "smoothing_ms": smoothing_ms,
        "refractory_s": found.refractory_s,
        "conditions": found.conditions,
        "clips": len(found.trials) // len(found.conditions),
        "hours": round(found.hours, 4),
        "recordings": len(found.background),
        "sound_hours": round(sum(one.sound_s for one in found.background) / 3600, 4),
        "knowable_per_hour": rounded(found.knowable_per_hour(), 3),
        "asked_per_hour": asked_per_hour,
        "points": points,
        "chosen": chosen,
        "own": None if own is None else _found_at(found, own),
        "by_word": [_word(found, word, chosen["threshold"]) for word in found.words],
        "by_source": [_source(found, source, chosen["threshold"]) for source in _sources(found)],
        "curve": _curve(found),
    }


def _point(found: Detections, threshold: float | None, per_hour: float) -> Record:
    """What the best threshold for a rate gives in this background."""
    return {
        "at_most_per_hour": per_hour,
        "allowed": found.allowed(per_hour),
        "enough": found.hours >= hours_needed(per_hour),
        **_found_at(found, threshold),
    }


def _found_at(found: Detections, thresholds: Mapping[str, float] | float | None) -> Record:
    """Alarms, misses and confusions at thresholds."""
    if thresholds is None:
        return {"threshold": None}
    # A word without a threshold is never detected; JSON knows no infinity.
    if isinstance(thresholds, Mapping):
        shown: object = {word: one for word, one in thresholds.items() if one < math.inf}
    else:
        shown = thresholds
    return {
        "threshold": shown,
        **_rate(found.rate(thresholds)),
        "misses": {one: _share(found.misses(thresholds, one)) for one in found.conditions},
        "confusions": {one: _share(found.confusions(thresholds, one)) for one in found.conditions},
    }


def _word(found: Detections, word: str, threshold: float | None) -> Record:
    row: Record = {"word": word}
    if threshold is None:
        return row
    alone = Detections([word], found.trials, found.background, found.refractory_s)
    return row | {
        **_rate(alone.rate(threshold)),
        "misses": {one: _share(found.misses(threshold, one, word)) for one in found.conditions},
        "confusions": {one: _share(found.confusions(threshold, one, word)) for one in found.conditions},
    }


def _sources(found: Detections) -> list[str]:
    return list(dict.fromkeys(one.source for one in found.background))


def _source(found: Detections, source: str, threshold: float | None) -> Record:
    background = [one for one in found.background if one.source == source]
    row: Record = {"source": source, "recordings": len(background)}
    alone = Detections(found.words, found.trials, background, found.refractory_s)
    return row | (_rate(alone.rate(threshold)) if threshold is not None else {})


def _curve(found: Detections) -> list[Record]:
    """Misses of each condition over false alarms an hour."""
    return [
        {
            "threshold": rounded(threshold),
            "per_hour": rounded(alarms / found.hours, 4),
            **{one: rounded(found.misses(threshold, one).share) for one in found.conditions},
        }
        for threshold, alarms in found.curve()
    ]


def _share(share: Share) -> Record:
    return {
        "count": share.count,
        "total": share.total,
        "share": rounded(share.share),
        "interval": [rounded(end) for end in share.interval],
    }


def _rate(rate: Rate) -> Record:
    return {
        "alarms": rate.count,
        "hours": round(rate.hours, 4),
        "per_hour": rounded(rate.per_hour, 4),
        "interval": [rounded(end, 4) for end in rate.interval],
    }


def operating_point(record: Record) -> KeywordConfig:
    """What a model folder keeps: the threshold that was chosen, and on what.

    Raises:
        DataError: nothing could be chosen, or the background is mostly silence.
    """
    chosen = record["chosen"]
    if chosen["threshold"] is None or record["sound_hours"] < record["hours"] / 2:
        raise DataError(f"nothing is kept in the model folder: {remarks(record)[-1]}")
    quiet = chosen["misses"][record["conditions"][0]]
    return KeywordConfig(
        record["smoothing_ms"],
        record["refractory_s"],
        thresholds=dict.fromkeys(record["words"], chosen["threshold"]),
        chosen_on={
            "false_alarms_per_hour": record["asked_per_hour"],
            "hours": record["hours"],
            "alarms": chosen["alarms"],
            "clips": quiet["total"],
            "misses": quiet["count"],
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        },
    )


def remarks(record: Record) -> list[str]:
    """What the reader of the numbers has to know, a sentence each."""
    hours, known, asked = record["hours"], record["knowable_per_hour"], record["asked_per_hour"]
    found = []
    if known > asked:
        found.append(
            f"{hours:.2f} h of background are too short to tell {asked:g} false alarms an hour: none in them "
            f"bounds the rate only under {_figure(known)} an hour (95 %); that takes "
            f"{_figure(hours_needed(asked))} h without any"
        )
    if record["sound_hours"] < hours / 2:
        found.append(
            f"only {record['sound_hours']:.2f} of {hours:.2f} h of the background are louder than -60 dBFS: silence "
            "tells nothing of false alarms; add running speech"
        )
    if record["chosen"]["threshold"] is None:
        found.append(f"no threshold keeps to {asked:g} false alarms an hour: the score of some is 1")
    return found


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def interval_text(interval: Sequence[float], scale: float = 1.0) -> str:
    """The ends of an interval."""
    low, high = (end * scale for end in interval)
    return f"{_figure(low)} to {_figure(high)}"


def rate_text(point: Record) -> str:
    """Alarms an hour, with the interval."""
    return f"{point['per_hour']:.2f} ({interval_text(point['interval'])})"


def heard_words(record: Record) -> list[Record]:
    """The rows of the words that clips say or that gave false alarms."""
    quiet = record["conditions"][0]
    return [one for one in record["by_word"] if one["misses"][quiet]["total"] or one["alarms"]]


def share_text(share: Record) -> str:
    """A share in per cent, with the interval; a dash where there are no clips."""
    return f"{100 * share['share']:.1f} ({interval_text(share['interval'], 100)})" if share["total"] else "-"


def cut_alarms(alarms: Sequence[Alarm], folder: Path, sample_rate: int) -> list[Record]:
    """Writes the sound around each alarm into a folder as 16-bit WAV; returns one record each, the surest first.

    Files of this kind from an earlier measurement are removed.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if re.fullmatch(r"\d{3}_.*\.wav", old.name):
            old.unlink()
    rows = []
    for number, alarm in enumerate(alarms, 1):
        recording = alarm.recording
        start_s = recording.start_s + max(0.0, alarm.end_s - _BEFORE_S)
        name = f"{number:03d}_{re.sub(r'[^0-9A-Za-z-]+', '_', alarm.word)}.wav"
        around = Utterance(
            recording.audio, start_s=start_s, duration_s=alarm_length_s(alarm), gain_db=recording.gain_db
        )
        samples = read_utterance(around, sample_rate).clamp(-1, 1).numpy()
        soundfile.write(folder / name, samples, sample_rate, subtype="PCM_16")
        rows.append(
            {
                "word": alarm.word,
                "audio": recording.audio,
                "source": recording.source,
                "end_s": round(recording.start_s + alarm.end_s, 3),
                "score": rounded(alarm.score),
                "clip": f"{folder.name}/{name}",
            }
        )
    return rows


def alarm_length_s(alarm: Alarm) -> float:
    """How long the clip of an alarm is."""
    end_s = min(alarm.end_s + _AFTER_S, alarm.recording.duration_s)
    return end_s - max(0.0, alarm.end_s - _BEFORE_S)
