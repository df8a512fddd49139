"""The report of transcripts: error rates, every text with its errors coloured, confusions, reliability, one HTML file.

No script: the speaker is chosen in a list, and the style sheet hides the texts of the others.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from speechgru.evaluation.error_rate import Edit
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
from speechgru.evaluation.pictures import learning_curves, reliability_picture
from speechgru.evaluation.transcription import ComparedText, TranscriptionResult
from speechgru.plain import Record

# The two words of a pair are one above the other, what was said on top. No error is shown by its colour alone: what was
# not heard is struck out, what was not said is underlined, and another word is in a box.
STYLE = """
:root { --wrong: #c4500a; --more: #1a7f37; --less: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --wrong: #ffa657; --more: #56d364; --less: #ff7b72; } }
article { border-bottom: 1px solid var(--faint); padding: .7rem 0; }
article header { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: center; overflow-wrap: anywhere; }
.text { line-height: 1.35; margin: .4rem 0 0; }
.text > span { display: inline-flex; flex-direction: column; margin: 0 .5rem .4rem 0; vertical-align: top;
  overflow-wrap: anywhere; }
.text > span > span { min-height: 1.35em; padding: 0 .2rem; border-radius: .2rem; }
.text .substitute > span { color: var(--wrong); background: color-mix(in srgb, var(--wrong) 12%, transparent);
  outline: 1px solid color-mix(in srgb, var(--wrong) 45%, transparent); }
.text .insert > span:last-child { color: var(--more); background: color-mix(in srgb, var(--more) 12%, transparent);
  text-decoration: underline; }
.text .delete > span:first-child { color: var(--less); background: color-mix(in srgb, var(--less) 12%, transparent);
  text-decoration: line-through; }
.text .equal > span:last-child { color: var(--soft); }
.columns { display: flex; flex-wrap: wrap; gap: 0 3rem; } .columns > div { min-width: 0; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; }
select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--faint); padding: .2rem; }
"""


def write_transcript_report(
    path: str | os.PathLike[str],
    result: TranscriptionResult,
    record: Record,
    *,
    curves: Sequence[Record] = (),
    settings: str = "",
    most: int = 1000,
) -> None:
    """Write the report of one evaluation.

    Args:
        path: the HTML file.
        result: the evaluation.
        record: what ``results.json`` keeps of it (:func:`speechgru.evaluation.results.result_record`).
        curves: rows of ``metrics.jsonl``, for the learning curves; none leaves them out.
        settings: the settings of the run as text (YAML); empty leaves them out.
        most: how many texts are shown, the worst first.
    """
    file = pathlib.Path(path)
    title = f"{record['model']} on {record['dataset']}, {record['split']}"
    # Each speaker is a number in the page: a name may hold characters that end a style sheet.
    speakers = {name: place for place, name in enumerate(sorted({one.speaker for one in result.utterances} - {""}))}
    sections = [
        _summary(result, record),
        section("Words", _words(result)),
    ]
    if result.per_speaker:
        sections.append(section("Speakers, the worst first", _speakers(result)))
    sure, right = result.word_confidences
    if len(sure):
        shown = picture("Reliability of the confidences", lambda dark: reliability_picture(sure, right, dark=dark))
        sections.append(section("Confidence", shown))
    if curves:
        learning = picture("Learning curves", lambda dark: learning_curves(curves, dark=dark))
        sections.append(section("Training", learning))
    if result.errors:
        sections.append(section(f"Failed files: {len(result.errors):,}", error_list(result.errors)))
    sections.append(section("How it was obtained", origin(record, settings)))
    sections.append(section("Texts, the worst first", _texts(result, file.parent, speakers, most)))
    hide = "".join(
        f'\nsection:has(option[value="{place}"]:checked) article:not([data-speaker="{place}"]) {{ display: none; }}'
        for place in speakers.values()
    )
    write_page(file, title, sections, STYLE + hide)


def _summary(result: TranscriptionResult, record: Record) -> str:
    counts = result.counts
    facts = [
        f"{counts.errors:,} errors in {counts.words:,} words: {counts.substitutions:,} substituted, "
        f"{counts.insertions:,} inserted, {counts.deletions:,} deleted",
        f"character error rate {percent(result.cer, 2)} %",
        f"{counts.wrong:,} of {counts.utterances:,} utterances have an error ({percent(result.ser, 2)} %)",
    ]
    if (error := result.calibration_error()) is not None:
        facts.append(
            f"calibration error of the word confidences {percent(error, 2)} % "
            f"({percent(result.calibration_error(equal_mass=True), 2)} % in bins of as many words each); chance alone "
            f"would show {percent(result.calibration_noise(), 2)} %"
        )
    if (told := result.normalized_cross_entropy) is not None:
        facts.append(f"normalized cross entropy of the word confidences {told:.3f} (1 tells all, 0 nothing)")
    if result.marked is not None:
        facts.append(f"marked as not sounding like what the model knows: {result.marked:,} utterances")
    for one in record.get("foreign") or ():
        facts.append(
            f"of {one['n']:,} foreign recordings of {one['name']} marked: {one['marked']:,}, without text: "
            f"{one['without_text']:,}"
        )
    if record.get("parameters"):
        facts.append(f"{record['parameters']:,} parameters")
    if result.errors:
        facts.append(f"failed files, not counted: {len(result.errors):,}")
    interval = "one utterance, so no interval"
    if result.interval:
        low, high = result.interval
        units = len(result.per_speaker) if result.interval_over == "speakers" else counts.utterances
        interval = (
            f"95 % interval {percent(low, 2)} to {percent(high, 2)} % (bootstrap over {units:,} {result.interval_over})"
        )
    return (
        f'<p class="big">{percent(result.wer, 2)} %</p>\n<p class="soft">word error rate; {interval}</p>\n<ul>'
        + "".join(f"<li>{escaped(fact)}</li>" for fact in facts)
        + "</ul>"
    )


def _words(result: TranscriptionResult) -> str:
    parts = []
    pairs = result.confused()
    if pairs:
        rows = [
            (escaped(one.reference), escaped(one.hypothesis), f"{one.count:,}", percent(one.share)) for one in pairs
        ]
        head = ("Said", "Heard", "Times", "Share of the word, %")
        parts.append("<div><h3>Confused</h3>" + table(head, rows, numbers=2) + "</div>")
    for name, found in (("Heard but not said", result.inserted()), ("Said but not heard", result.deleted())):
        if found:
            rows_of = [(escaped(word), f"{count:,}") for word, count in found]
            parts.append(f"<div><h3>{name}</h3>" + table(("Word", "Times"), rows_of, numbers=1) + "</div>")
    return '<div class="columns">' + "\n".join(parts) + "</div>" if parts else "<p>No errors.</p>"


def _speakers(result: TranscriptionResult, most: int = 50) -> str:
    scores = result.per_speaker
    rows = [
        (
            escaped(name),
            f"{one.utterances:,}",
            f"{one.words:,}",
            f"{one.substitutions:,}",
            f"{one.insertions:,}",
            f"{one.deletions:,}",
            percent(one.wer),
            percent(one.cer),
        )
        for name, one in scores[:most]
    ]
    head = ("Speaker", "Utterances", "Words", "Substituted", "Inserted", "Deleted", "WER, %", "CER, %")
    rest = f'<p class="soft">{len(scores) - most:,} more did better.</p>' if len(scores) > most else ""
    return table(head, rows, numbers=7) + rest


def _texts(result: TranscriptionResult, folder: pathlib.Path, speakers: dict[str, int], most: int) -> str:
    wrong = result.worst()
    ordered = wrong + [one for one in result.texts if not one.counts.errors]
    note = "What was said stands above what was heard; point at a word to learn more."
    if len(ordered) > most:
        note += f" The first {most:,} of {len(ordered):,}."
    chooser = ""
    if len(speakers) > 1:
        options = [(str(place), name) for name, place in speakers.items()]
        chooser = "<p><label>Speaker <select>" + "".join(
            f'<option value="{value}">{escaped(name)}</option>' for value, name in [("all", "all"), *options]
        )
        chooser += "</select></label></p>\n"
    texts = "\n".join(_text(one, folder, speakers) for one in ordered[:most])
    return f'<p class="soft">{note}</p>\n{chooser}{texts}'


def _text(one: ComparedText, folder: pathlib.Path, speakers: dict[str, int]) -> str:
    counts = one.counts
    rate = f" ({percent(counts.wer, 0)} %)" if counts.errors and counts.words else ""
    facts = f"{counts.errors:,} of {counts.words:,} words wrong{rate}" if counts.errors else "no error"
    if one.utterance.speaker:
        facts += f", {one.utterance.speaker}"
    confidences = iter(one.confidences)
    words = "".join(_pair(edit, None if edit.kind == "delete" else next(confidences, None)) for edit in one.edits)
    return (
        f'<article data-speaker="{speakers.get(one.utterance.speaker, "")}"><header>'
        f'<audio controls preload="none" src="{escaped(audio_address(one.utterance, folder))}"></audio>'
        f'<span>{escaped(facts)}</span><span class="soft">{escaped(one.utterance.audio)}</span></header>\n'
        f'<p class="text">{words}</p></article>'
    )


def _pair(edit: Edit, confidence: float | None) -> str:
    title = {
        "equal": "right",
        "substitute": f"“{edit.reference}” was heard as “{edit.hypothesis}”",
        "insert": f"“{edit.hypothesis}” was heard but not said",
        "delete": f"“{edit.reference}” was said but not heard",
    }[edit.kind]
    if confidence is not None:
        title += f", confidence {percent(confidence)} %"
    above, below = escaped(edit.reference), escaped(edit.hypothesis)
    return f'<span class="{edit.kind}" title="{escaped(title)}"><span>{above}</span><span>{below}</span></span>\n'
