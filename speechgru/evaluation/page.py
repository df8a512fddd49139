"""A page to open in a browser: one HTML file, pictures inside, nothing fetched, no script.

Labels, transcripts, file names, settings and error messages come from other people's data, so every piece of text is
escaped. The clips to listen to are not copied in: the page points to the files where they are.
"""

from __future__ import annotations

import base64
import html
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Iterable, Sequence

from speechgru.data.utterance import Utterance
from speechgru.files import write_atomically
from speechgru.plain import Record
from speechgru.wording import duration

# The browser gets the same rules: only the pictures inside, the style inside and local sound.
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
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td, li { overflow-wrap: anywhere; } td { min-width: 6rem; } td .soft { display: block; min-width: 12rem; }
td.number { white-space: nowrap; overflow-wrap: normal; min-width: 0; }
audio { height: 2rem; width: 15rem; display: block; } pre { background: color-mix(in srgb, var(--ink) 6%, transparent);
  padding: .8rem; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: .4rem; }
"""


def write_page(path: str | os.PathLike[str], title: str, sections: Sequence[str], style: str = "") -> None:
    """Write the page of finished HTML ``sections`` in one move; ``title`` is text, ``style`` more CSS."""
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<h1>{escaped(title)}</h1>\n"
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )
    # A file name may hold bytes that are no UTF-8 (surrogates): show them as question marks.
    write_atomically(path, page.encode("utf-8", errors="replace"))


def escaped(value: object) -> str:
    """``value`` as text that is no HTML, also inside an attribute."""
    return html.escape(str(value), quote=True)


def section(title: str, *parts: str) -> str:
    """Finished HTML under a title, which is text."""
    return f"<section><h2>{escaped(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def picture(name: str, draw: Callable[[bool], bytes]) -> str:
    """Both versions of a picture; the browser shows the one that suits its page."""
    light, dark = (f"data:image/png;base64,{base64.b64encode(draw(night)).decode()}" for night in (False, True))
    return (
        f'<picture><source srcset="{dark}" media="(prefers-color-scheme: dark)">'
        f'<img src="{light}" alt="{escaped(name)}"></picture>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """A table of finished HTML cells; its last ``numbers`` columns hold numbers."""
    style = ["" if place < len(head) - numbers else ' class="number"' for place in range(len(head))]
    lines = ["<tr>" + "".join(f"<th{one}>{cell}</th>" for one, cell in zip(style, head, strict=True)) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td{one}>{cell}</td>" for one, cell in zip(style, row, strict=True)) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(lines) + "\n</table></div>"


def percent(share: float | None, digits: int = 1) -> str:
    """A share in per cent, without the sign; a dash for None."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def error_list(errors: Sequence[str], most: int = 100) -> str:
    """One line each for the files that could not be used."""
    rest = f"<p>... and {len(errors) - most:,} more</p>" if len(errors) > most else ""
    return "<ul>" + "".join(f"<li>{escaped(line)}</li>" for line in errors[:most]) + "</ul>" + rest


def origin(record: Record, settings: str) -> str:
    """How the numbers of a ``results.json`` were obtained, and the settings (YAML) if given."""
    facts = {
        "Command": record.get("command"),
        "Date": record.get("date"),
        "Seed": record.get("seed"),
        "Decoder": record.get("decoder"),
        "Held out": record.get("fold"),
        "Training took": duration(record.get("train_wall_clock_s")),
        "Evaluation took": duration(record.get("wall_clock_s")),
        "Machine": ", ".join(f"{key} {value}" for key, value in (record.get("machine") or {}).items()),
    }
    rows = [(name, escaped(value)) for name, value in facts.items() if value not in (None, "")]
    shown = f"<h2>Settings</h2>\n<pre>{escaped(settings)}</pre>" if settings else ""
    return table(("", ""), rows, numbers=0) + shown


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
