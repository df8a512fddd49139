"""A report one opens in a browser: one HTML file, pictures inside, nothing fetched, no script.

Labels, file names, settings and error messages come from other people's data, so every piece of text is escaped. The
clips to listen to are not copied in: the page points to the files where they are.
"""

from __future__ import annotations

import base64
import html
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from speechgru.data.utterance import Utterance
from speechgru.evaluation.classification import ClassificationResult
from speechgru.evaluation.pictures import confusion_picture, learning_curves, recall_picture
from speechgru.evaluation.results import duration

# The browser is told as well: only the pictures inside, the style inside and local sound.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; media-src 'self' file:"

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1f2328; --faint: #d8dee4; --soft: #59636e; --blue: #1f5fa8; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161b22; --ink: #e6edf3; --faint: #3d444d; --soft: #9198a1; --blue: #6cb2ff; }
}
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.soft { color: var(--soft); } .big { font-size: 2.4rem; font-weight: 600; color: var(--blue); margin: .4rem 0 0; }
img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--faint); text-align: left;
  vertical-align: middle; }
th { color: var(--soft); font-weight: 600; } .number { text-align: right; font-variant-numeric: tabular-nums; }
td, li { overflow-wrap: anywhere; } .number, th { white-space: nowrap; overflow-wrap: normal; }
audio { height: 2rem; width: 15rem; display: block; } pre { background: color-mix(in srgb, var(--ink) 6%, transparent);
  padding: .8rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: .4rem; }
"""


def write_report(
    path: str | os.PathLike[str],
    result: ClassificationResult,
    record: dict[str, Any],
    *,
    curves: Sequence[dict[str, Any]] = (),
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
        worst: how many of the clips the model was wrongly sure of are listed.
    """
    file = pathlib.Path(path)
    title = f"{record['model']} on {record['dataset']}, {record['split']}"
    confusion = _picture("Confusion matrix", lambda dark: confusion_picture(result, title=title, dark=dark))
    recall = _picture("Recall of each class", lambda dark: recall_picture(result, dark=dark))
    sections = [
        _summary(result, record),
        _section("Confusion", confusion),
        _section("Classes", recall, _classes(result)),
        _section("Most frequent confusions", _pairs(result)),
        _section("Clips to listen to", _worst(result, file.parent, worst)),
    ]
    if result.per_speaker:
        sections.append(_section("Speakers, the worst first", _speakers(result)))
    if result.errors:
        sections.append(_section(f"Failed files: {len(result.errors):,}", _errors(result.errors)))
    if curves:
        learning = _picture("Learning curves", lambda dark: learning_curves(curves, dark=dark))
        sections.append(_section("Training", learning))
    sections.append(_section("How it was obtained", _origin(record, settings)))
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{_text(title)}</h1>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )
    fresh = file.with_name(file.name + ".tmp")
    # A file name may hold bytes that are no UTF-8 (surrogates): show them as question marks.
    fresh.write_bytes(page.encode("utf-8", errors="replace"))
    os.replace(fresh, file)


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{_text(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def _picture(name: str, draw: Callable[[bool], bytes]) -> str:
    """Both versions of a picture; the browser shows the one that suits its page."""
    light, dark = (f"data:image/png;base64,{base64.b64encode(draw(night)).decode()}" for night in (False, True))
    return (
        f'<picture><source srcset="{dark}" media="(prefers-color-scheme: dark)"><img src="{light}" alt="{_text(name)}">'
        "</picture>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """A table of finished HTML cells; its last ``numbers`` columns hold numbers."""
    style = ["" if place < len(head) - numbers else ' class="number"' for place in range(len(head))]
    lines = ["<tr>" + "".join(f"<th{one}>{cell}</th>" for one, cell in zip(style, head, strict=True)) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td{one}>{cell}</td>" for one, cell in zip(style, row, strict=True)) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}"


def _summary(result: ClassificationResult, record: dict[str, Any]) -> str:
    low, high = result.interval
    facts = [
        f"{result.correct:,} of {result.clips:,} clips right",
        f"mean recall of the classes {_percent(result.macro_recall, 2)} %",
        f"right answer among the first two {_percent(result.top_k_accuracy(2), 2)} %",
        f"cross entropy {result.cross_entropy:.4f} nats",
        f"expected calibration error {_percent(result.calibration_error(), 2)} %",
    ]
    if record.get("parameters"):
        facts.append(f"{record['parameters']:,} parameters")
    if result.errors:
        facts.append(f"failed files, not counted: {len(result.errors):,}")
    return (
        f'<p class="big">{_percent(result.accuracy, 2)} %</p>\n'
        f'<p class="soft">accuracy; 95 % interval {_percent(low, 2)} to {_percent(high, 2)} % (Wilson, clips taken as '
        f"independent)</p>\n<ul>" + "".join(f"<li>{_text(fact)}</li>" for fact in facts) + "</ul>"
    )


def _classes(result: ClassificationResult) -> str:
    rows = [
        (
            _text(score.label),
            f"{score.support:,}",
            _percent(score.precision),
            _percent(score.recall),
            "{} to {}".format(*map(_percent, score.interval)) if score.support else "–",
            _percent(score.f1),
        )
        for score in result.per_class
    ]
    return _table(("Class", "Clips", "Precision, %", "Recall, %", "95 % interval", "F1, %"), rows, numbers=5)


def _pairs(result: ClassificationResult) -> str:
    pairs = result.confused_pairs()
    if not pairs:
        return "<p>No errors.</p>"
    rows = [(_text(one.reference), _text(one.prediction), f"{one.count:,}", _percent(one.share)) for one in pairs]
    return _table(("True", "Predicted", "Clips", "Share of the class, %"), rows, numbers=2)


def _worst(result: ClassificationResult, folder: pathlib.Path, most: int) -> str:
    mistakes = result.worst_clips(most)
    if not mistakes:
        return "<p>No errors.</p>"
    rows = [
        (
            f'<audio controls preload="none" src="{_text(audio_address(one.utterance, folder))}"></audio>',
            _text(one.reference),
            _text(one.prediction),
            f'<span class="soft">{_text(one.utterance.audio)}</span>',
            _percent(one.confidence),
            _percent(one.reference_probability),
        )
        for one in mistakes
    ]
    head = ("Clip", "True", "Predicted", "File", "Confidence, %", "Probability of the true class, %")
    note = (
        f'<p class="soft">The {len(mistakes)} of {result.clips - result.correct:,} errors the model was surest of: '
        "wrong labels and broken recordings gather here.</p>\n"
    )
    return note + _table(head, rows, numbers=2)


def _speakers(result: ClassificationResult, most: int = 20) -> str:
    scores = result.per_speaker
    rows = [(_text(one.speaker), f"{one.clips:,}", f"{one.correct:,}", _percent(one.accuracy)) for one in scores[:most]]
    rest = f'<p class="soft">{len(scores) - most:,} more did better.</p>' if len(scores) > most else ""
    return _table(("Speaker", "Clips", "Right", "Accuracy, %"), rows, numbers=3) + rest


def _errors(errors: Sequence[str], most: int = 100) -> str:
    rest = f"<p>... and {len(errors) - most:,} more</p>" if len(errors) > most else ""
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in errors[:most]) + "</ul>" + rest


def _origin(record: dict[str, Any], settings: str) -> str:
    facts = {
        "Command": record.get("command"),
        "Date": record.get("date"),
        "Seed": record.get("seed"),
        "Held out": record.get("fold"),
        "Training took": duration(record.get("train_wall_clock_s")),
        "Evaluation took": duration(record.get("wall_clock_s")),
        "Machine": ", ".join(f"{key} {value}" for key, value in (record.get("machine") or {}).items()),
    }
    rows = [(name, _text(value)) for name, value in facts.items() if value not in (None, "")]
    shown = f"<h2>Settings</h2>\n<pre>{_text(settings)}</pre>" if settings else ""
    return _table(("", ""), rows, numbers=0) + shown


def audio_address(utterance: Utterance, folder: pathlib.Path) -> str:
    """Where a page in ``folder`` finds the clip: a relative address where there is one, with the slice in seconds."""
    try:
        relative = os.path.relpath(os.path.abspath(utterance.audio), os.path.abspath(folder))
    except ValueError:  # Windows: another drive
        address = pathlib.Path(utterance.audio).absolute().as_uri()
    else:
        # Everything but the slashes is quoted: a folder called "javascript:" or "a?b#c" stays a folder.
        address = urllib.parse.quote(os.fsencode(pathlib.PurePath(relative).as_posix()), safe="/")
    if utterance.start_s or utterance.duration_s is not None:
        end = f",{utterance.start_s + utterance.duration_s:.3f}" if utterance.duration_s is not None else ""
        address += f"#t={utterance.start_s:.3f}{end}"
    return address
