"""The report of a classifier: accuracy, classes, confusions, clips to listen to, one HTML file."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from speechgru.evaluation.classification import ClassificationResult
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
from speechgru.evaluation.pictures import confusion_picture, learning_curves, recall_picture
from speechgru.plain import Record


def write_report(
    path: str | os.PathLike[str],
    result: ClassificationResult,
    record: Record,
    *,
    curves: Sequence[Record] = (),
    settings: str = "",
    worst: int = 20,
) -> None:
    """Write the report of one evaluation.

    Args:
        path: the HTML file.
        result: the evaluation.
        record: what ``results.json`` keeps of it (:func:`speechgru.evaluation.results.result_record`).
        curves: rows of ``metrics.jsonl``, for the learning curves; none leaves them out.
        settings: the settings of the run as text (YAML); empty leaves them out.
        worst: how many of the errors the model was surest of are listed.
    """
    file = pathlib.Path(path)
    title = f"{record['model']} on {record['dataset']}, {record['split']}"
    sections = [_summary(result, record)]
    if result.shows_classes:
        confusion = picture("Confusion matrix", lambda dark: confusion_picture(result, title=title, dark=dark))
        recall = picture("Recall of each class", lambda dark: recall_picture(result, dark=dark))
        sections += [section("Confusion", confusion), section("Classes", recall, _classes(result))]
    sections += [
        section("Most frequent confusions", _pairs(result)),
        section("Clips to listen to", _worst(result, file.parent, worst)),
    ]
    if result.per_speaker:
        sections.append(section("Speakers, the worst first", _speakers(result)))
    if result.errors:
        sections.append(section(f"Failed files: {len(result.errors):,}", error_list(result.errors)))
    if curves:
        learning = picture("Learning curves", lambda dark: learning_curves(curves, dark=dark))
        sections.append(section("Training", learning))
    sections.append(section("How it was obtained", origin(record, settings)))
    write_page(path, title, sections)


def _summary(result: ClassificationResult, record: Record) -> str:
    low, high = result.interval
    facts = [
        f"{result.correct:,} of {result.clips:,} clips right",
        f"mean recall of the classes {percent(result.macro_recall, 2)} %",
        f"right answer among the first two {percent(result.top_k_accuracy(2), 2)} %",
        f"cross entropy {result.cross_entropy:.4f} nats",
        f"expected calibration error {percent(result.calibration_error(), 2)} %",
    ]
    if record.get("parameters"):
        facts.append(f"{record['parameters']:,} parameters")
    if result.errors:
        facts.append(f"failed files, not counted: {len(result.errors):,}")
    return (
        f'<p class="big">{percent(result.accuracy, 2)} %</p>\n'
        f'<p class="soft">accuracy; 95 % interval {percent(low, 2)} to {percent(high, 2)} % (Wilson, clips taken as '
        f"independent)</p>\n<ul>" + "".join(f"<li>{escaped(fact)}</li>" for fact in facts) + "</ul>"
    )


def _classes(result: ClassificationResult) -> str:
    rows = [
        (
            escaped(score.label),
            f"{score.support:,}",
            percent(score.precision),
            percent(score.recall),
            "{} to {}".format(*map(percent, score.interval)) if score.support else "–",
            percent(score.f1),
        )
        for score in result.per_class
    ]
    return table(("Class", "Clips", "Precision, %", "Recall, %", "95 % interval", "F1, %"), rows, numbers=5)


def _pairs(result: ClassificationResult) -> str:
    pairs = result.confused_pairs()
    if not pairs:
        return "<p>No errors.</p>"
    rows = [(escaped(one.reference), escaped(one.prediction), f"{one.count:,}", percent(one.share)) for one in pairs]
    return table(("True", "Predicted", "Clips", "Share of the class, %"), rows, numbers=2)


def _worst(result: ClassificationResult, folder: pathlib.Path, most: int) -> str:
    mistakes = result.worst_clips(most)
    if not mistakes:
        return "<p>No errors.</p>"
    rows = [
        (
            f'<audio controls preload="none" src="{escaped(audio_address(one.utterance, folder))}"></audio>',
            escaped(one.reference),
            escaped(one.prediction),
            f'<span class="soft">{escaped(one.utterance.audio)}</span>',
            percent(one.confidence),
            percent(one.reference_probability),
        )
        for one in mistakes
    ]
    head = ("Clip", "True", "Predicted", "File", "Confidence, %", "Probability of the true class, %")
    note = (
        f'<p class="soft">The {len(mistakes)} of {result.clips - result.correct:,} errors the model was surest of: '
        "wrong labels and broken recordings gather here.</p>\n"
    )
    return note + table(head, rows, numbers=2)


def _speakers(result: ClassificationResult, most: int = 20) -> str:
    scores = result.per_speaker
    rows = [
        (escaped(one.speaker), f"{one.clips:,}", f"{one.correct:,}", percent(one.accuracy)) for one in scores[:most]
    ]
    rest = f'<p class="soft">{len(scores) - most:,} more did better.</p>' if len(scores) > most else ""
    return table(("Speaker", "Clips", "Right", "Accuracy, %"), rows, numbers=3) + rest
