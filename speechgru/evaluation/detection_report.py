"""The page of a detector: misses at rates of false alarms, the curve, words, and every false alarm to listen to."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from speechgru.data.utterance import Utterance
from speechgru.evaluation.detection_picture import detection_picture
from speechgru.evaluation.detection_record import heard_words, interval_text, rate_text, remarks, share_text
from speechgru.evaluation.page import (
    audio_address,
    error_list,
    escaped,
    origin,
    percent,
    picture,
    section,
    table,
    write_page,
)
from speechgru.plain import Record


def write_detection_report(path: str | os.PathLike[str], record: Record) -> None:
    """Writes the page of what ``detection.json`` keeps (with its ``false_alarms`` and ``errors``)."""
    file = pathlib.Path(path)
    title = f"{record['model']} as a detector of words"
    curve = picture("Misses over false alarms an hour", lambda dark: detection_picture(record, dark=dark))
    sections = [
        _summary(record),
        section("Misses at a rate of false alarms", _points(record)),
        section("Trade-off", curve),
        section("Words, at the chosen threshold", _words(record)),
        section("Background, at the chosen threshold", _sources(record)),
        section("False alarms to listen to", _alarms(record["false_alarms"], file.parent)),
    ]
    if record["errors"]:
        sections.append(section(f"Failed files: {len(record['errors']):,}", error_list(record["errors"])))
    sections.append(section("How it was obtained", origin(record, "")))
    write_page(path, title, sections)


def _summary(record: Record) -> str:
    chosen, quiet = record["chosen"], record["conditions"][0]
    facts = [
        f"words: {', '.join(record['words'])}",
        f"{record['clips']:,} clips, heard between silences; background: "
        f"{record['recordings']:,} recordings, {record['hours']:.2f} h",
        f"scores smoothed over {record['smoothing_ms']:g} ms{_tried(record)}; a word is detected again after "
        f"{record['refractory_s']:g} s at the earliest",
        *remarks(record),
    ]
    big = "–"
    about = f"no threshold for {record['asked_per_hour']:g} false alarms an hour"
    if chosen["threshold"] is not None:
        missed = chosen["misses"][quiet]
        big = f"{percent(missed['share'])} % missed"
        about = (
            f"{quiet}, {interval_text(missed['interval'], 100)} % (95 %), at threshold {chosen['threshold']:g}, where "
            f"{record['asked_per_hour']:g} false alarms an hour are to be expected; here {chosen['alarms']:,} in "
            f"{chosen['hours']:.2f} h: {chosen['per_hour']:.2f} an hour, {interval_text(chosen['interval'])} (95 %)"
        )
    return (
        f'<p class="big">{escaped(big)}</p>\n<p class="soft">{escaped(about)}</p>\n<ul>'
        + "".join(f"<li>{escaped(fact)}</li>" for fact in facts)
        + "</ul>"
    )


def _tried(record: Record) -> str:
    """What each smoothing misses, where several were tried."""
    tried = record["missed_by_smoothing"]
    missed = ", ".join(f"{smoothing_ms:g} ms: {count:,}" for smoothing_ms, count in tried)
    return f" (misses in all conditions with {missed})" if len(tried) > 1 else ""


def _points(record: Record) -> str:
    rows = [_point(point, record["conditions"], f"{point['at_most_per_hour']:g}") for point in record["points"]]
    rows.append(_point(record["chosen"], record["conditions"], "chosen"))
    if record["own"]:
        rows.append(_point(record["own"], record["conditions"], "the model’s own"))
    head = ["At most, an hour", "Threshold", "Alarms", "An hour (95 %)"]
    head += [f"Missed, {escaped(one)}, % (95 %)" for one in record["conditions"]]
    note = (
        '<p class="soft">* The background is too short to vouch for this rate. Intervals are exact: of a Poisson rate '
        "(Garwood) and of a share (Clopper and Pearson), clips taken as independent.</p>"
    )
    return table(head, rows, numbers=len(head) - 1) + note


def _point(point: Record, conditions: Sequence[str], name: str) -> list[str]:
    mark = "" if point.get("enough", True) else " *"
    threshold = point["threshold"]
    if threshold is None:
        return [name + mark, "–", "", "", *("" for _ in conditions)]
    shown = f"{threshold:g}" if isinstance(threshold, float) else "its own"
    return [
        name + mark,
        shown,
        f"{point['alarms']:,}",
        rate_text(point),
        *(share_text(point["misses"][one]) for one in conditions),
    ]


def _words(record: Record) -> str:
    if record["chosen"]["threshold"] is None:
        return "<p>No threshold.</p>"
    conditions = record["conditions"]
    rows = []
    for one in heard_words(record):
        shares = [share_text(one["misses"][condition]) for condition in conditions]
        confused = one["confusions"][conditions[0]]
        rows.append(
            [
                escaped(one["word"]),
                f"{one['misses'][conditions[0]]['total']:,}",
                *shares,
                percent(confused["share"]),
                f"{one['alarms']:,}",
                rate_text(one),
            ]
        )
    head = ["Word", "Clips", *(f"Missed, {escaped(one)}, % (95 %)" for one in conditions)]
    head += ["Another word heard, %", "False alarms", "An hour (95 %)"]
    return table(head, rows, numbers=len(head) - 1)


def _sources(record: Record) -> str:
    if record["chosen"]["threshold"] is None:
        return "<p>No threshold.</p>"
    rows = [
        [escaped(one["source"]), f"{one['recordings']:,}", f"{one['hours']:.2f}", f"{one['alarms']:,}", rate_text(one)]
        for one in record["by_source"]
    ]
    return table(["Source", "Recordings", "Hours", "False alarms", "An hour (95 %)"], rows, numbers=4)


def _alarms(alarms: Sequence[Record], folder: pathlib.Path) -> str:
    if not alarms:
        return "<p>None.</p>"
    rows = [
        (
            '<audio controls preload="none" src="'
            + escaped(audio_address(Utterance(str(folder / one["clip"])), folder))
            + '"></audio>',
            escaped(one["word"]),
            f'<span class="soft">{escaped(one["audio"])}</span>',
            _clock(one["end_s"]),
            f"{one['score']:.4f}",
            escaped(one["from_per_hour"]),
        )
        for one in alarms
    ]
    head = ("Clip", "Heard as", "File", "At", "Score", "Counts from so many an hour on")
    note = '<p class="soft">The surest first. The clips lie beside this page.</p>'
    return note + table(head, rows, numbers=3)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{rest:04.1f}"
