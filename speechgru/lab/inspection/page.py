"""The gates over a recording as one HTML page to scroll and to hover over: nothing is fetched, no other file is needed.

The numbers travel as one byte each, compressed; labels and words come from other people's data, so they reach the page
as JSON that cannot end its own element, and only the page's own script may run.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from speechgru.evaluation.page import STYLE, escaped
from speechgru.files import write_atomically
from speechgru.lab.inspection.memory import unit_order
from speechgru.lab.inspection.pictures import (
    ORDER,
    Colours,
    colours_of,
    feature_colours,
    gate_order,
    heading,
    meaning,
    strongest,
)
from speechgru.lab.inspection.replay import Trace
from speechgru.lab.inspection.sound import sound_address
from speechgru.plain import Record

_HELP = (
    "Move the mouse over a panel, or step into one with Tab and use the arrow keys (with Shift ten steps, Home, End), "
    "to read values; + and - zoom. "
)
_HELP_SOUND = "A click on a panel, or Enter, puts the sound there; the space bar plays it. "
_COLOURS = "No colour is 0, blue is 1 or the largest value. "
_COLOURS_SIGNED = "No colour is 0, blue is 1 or above zero, orange is below zero. "


def write_xray_page(trace: Trace, path: str | os.PathLike[str], *, title: str) -> None:
    """Writes the page of one recording atomically; ``title`` is text, such as the name of the file.

    The sound is inside the page (:func:`speechgru.lab.inspection.sound.sound_address`). Values are rounded to 255 steps
    between the least and the largest of their panel.
    """
    panels = list(_panels(trace))
    sound, note = sound_address(trace.waveform, trace.sample_rate)
    about = _HELP + _HELP_SOUND * bool(sound) + ORDER
    about += " " + (_COLOURS_SIGNED if any(panel["ramp"] == "state" for panel, _ in panels) else _COLOURS) + note
    levels = b"".join(_levels(values, panel["low"], panel["high"]) for panel, values in panels)
    data = {
        "duration_s": trace.duration_s,
        "words": [dataclasses.asdict(word) for word in trace.words],
        "panels": [panel for panel, _ in panels],
        "levels": base64.b64encode(zlib.compress(levels, 9)).decode(),
    }
    here = pathlib.Path(__file__)
    style = STYLE + here.with_name("xray.css").read_text(encoding="utf-8")
    script = here.with_name("xray.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; media-src data:; script-src 'sha256-{digest}'"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>{style}</style>
</head>
<body>
<h1>{escaped(title)}</h1>
<p>{escaped(heading(trace))}</p>
<p class="soft">{escaped(about)}</p>
<div id="bar"><button id="out" aria-label="zoom out">&minus;</button><button id="in" aria-label="zoom in">+</button>
<audio id="sound" controls{f' src="{sound}"' if sound else " hidden"}></audio>
<span id="readout" role="status" aria-live="polite"></span></div>
<div id="view"><div id="tracks"><div id="words"></div><div id="ruler"></div><div id="cursor"></div>
<div id="playhead"></div></div></div>
<noscript><p>The panels are drawn by a script inside this page; the PNG beside it shows them without.</p></noscript>
<script type="application/json" id="data">{_harmless(data)}</script>
<script>{script}</script>
</body>
</html>
"""
    write_atomically(path, page.encode("utf-8", errors="replace"))


def _harmless(data: Record) -> str:
    """JSON in which nothing looks like HTML."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _levels(values: np.ndarray, low: float, high: float) -> bytes:
    """(rows, time) as bytes: 0 stands for ``low``, 255 for ``high``."""
    span = max(high - low, 1e-9)
    return np.rint(np.clip((values - low) / span, 0, 1) * 255).astype(np.uint8).tobytes()


def _panels(trace: Trace) -> Iterator[tuple[Record, np.ndarray]]:
    """What the script needs to know of each panel, and its values (rows, time)."""
    features = trace.features.T[::-1]
    names = [f"feature {number}" for number in range(len(features), 0, -1)]
    yield _image("what the model hears", "its features", features, trace.feature_frame_s, feature_colours(trace), names)
    for layer in trace.layers:
        order = unit_order(layer)
        units = [f"unit {unit + 1}" for unit in order]
        for gate in gate_order(layer):
            values = layer.gates[gate].T[order]
            yield _image(f"{layer.name}: {gate}", meaning(gate), values, layer.frame_s, colours_of(gate, values), units)
        norm = np.linalg.norm(layer.gates["hidden"], axis=1)[None]
        yield _lines(f"{layer.name}: length", "length of the hidden state", norm, layer.frame_s, [""])
    if trace.posteriors is not None:
        yield _lines("posteriors", "probability of each token", trace.posteriors.T, trace.frame_s, trace.tokens)
    if trace.attention is not None:
        heads = [f"head {number}" for number in range(1, trace.attention.shape[1] + 1)]
        yield _lines("attention", "the share of each frame in the answer", trace.attention.T, trace.frame_s, heads)
    if trace.evidence is not None:
        shown = strongest(trace)
        names = [trace.tokens[index] for index in shown]
        about = "what each frame adds to the score of a label"
        yield _lines("evidence", about, trace.evidence.T[shown], trace.frame_s, names)


def _image(
    name: str, about: str, values: np.ndarray, frame_s: float, colours: Colours, names: Sequence[str]
) -> tuple[Record, np.ndarray]:
    """Colours may end before the values do: values beyond get the colour of the end, but are read out as they are."""
    low, high = min(float(values.min()), colours.low), max(float(values.max()), colours.high)
    shape = {"rows": values.shape[0], "frames": values.shape[1], "frame_s": frame_s, "low": low, "high": high}
    ends = {"ramp": colours.ramp, "ends": [colours.low, colours.high]}
    return {"kind": "image", "name": name, "about": about, "names": list(names), **ends, **shape}, values


def _lines(
    name: str, about: str, values: np.ndarray, frame_s: float, names: Sequence[str]
) -> tuple[Record, np.ndarray]:
    ends = Colours("", min(float(values.min()), 0.0), max(float(values.max()), 1e-9))
    panel, _ = _image(name, about, values, frame_s, ends, names)
    return {**panel, "kind": "lines"}, values
