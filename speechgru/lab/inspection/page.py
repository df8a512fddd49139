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
from typing import Any

import numpy as np

from speechgru.evaluation.page import STYLE, escaped
from speechgru.files import write_atomically
from speechgru.lab.inspection.memory import unit_order
from speechgru.lab.inspection.pictures import ORDER, gate_order, heading, limits, meaning, strongest
from speechgru.lab.inspection.replay import Trace

_HELP = (
    "Move the mouse over a panel, or step into one with Tab and use the arrow keys (with Shift ten steps, Home, End), "
    "to read values; + and - zoom. No colour is 0, blue is 1 (or above zero), orange is below zero. "
)


def write_xray_page(trace: Trace, path: str | os.PathLike[str], *, title: str) -> None:
    """Writes the page of one recording in one move; ``title`` is text, such as the name of the file.

    Values are rounded to 255 steps between the ends of their panel's colours.
    """
    panels = list(_panels(trace))
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
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
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
<p class="soft">{escaped(_HELP + ORDER)}</p>
<div id="bar"><button id="out" aria-label="zoom out">&minus;</button><button id="in" aria-label="zoom in">+</button>
<span id="readout" role="status" aria-live="polite"></span></div>
<div id="view"><div id="tracks"><div id="words"></div><div id="ruler"></div><div id="cursor"></div></div></div>
<noscript><p>The panels are drawn by a script inside this page; the PNG beside it shows them without.</p></noscript>
<script type="application/json" id="data">{_harmless(data)}</script>
<script>{script}</script>
</body>
</html>
"""
    write_atomically(path, page.encode("utf-8", errors="replace"))


def _harmless(data: dict[str, Any]) -> str:
    """JSON in which nothing looks like HTML."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _levels(values: np.ndarray, low: float, high: float) -> bytes:
    """(rows, time) as bytes: 0 stands for ``low``, 255 for ``high``."""
    span = max(high - low, 1e-9)
    return np.rint(np.clip((values - low) / span, 0, 1) * 255).astype(np.uint8).tobytes()


def _panels(trace: Trace) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """What the script needs to know of each panel, and its values (rows, time)."""
    features = trace.features.T[::-1]
    low, high = (float(end) for end in np.percentile(features, (1, 99.5)))
    names = [f"feature {number}" for number in range(len(features), 0, -1)]
    yield _image(
        "what the model hears", "its features", features, trace.feature_frame_s, (low, high), "loudness", names
    )
    for layer in trace.layers:
        order = unit_order(layer)
        units = [f"unit {unit + 1}" for unit in order]
        for gate in gate_order(layer):
            values = layer.gates[gate].T[order]
            ends = limits(gate, values)
            ramp = "share" if ends == (0.0, 1.0) else "state"
            yield _image(f"{layer.name}: {gate}", meaning(gate), values, layer.frame_s, ends, ramp, units)
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
    name: str,
    about: str,
    values: np.ndarray,
    frame_s: float,
    ends: tuple[float, float],
    ramp: str,
    names: Sequence[str],
) -> tuple[dict[str, Any], np.ndarray]:
    shape = {"rows": values.shape[0], "frames": values.shape[1], "frame_s": frame_s, "low": ends[0], "high": ends[1]}
    return {"kind": "image", "name": name, "about": about, "ramp": ramp, "names": list(names), **shape}, values


def _lines(
    name: str, about: str, values: np.ndarray, frame_s: float, names: Sequence[str]
) -> tuple[dict[str, Any], np.ndarray]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-9)
    panel, _ = _image(name, about, values, frame_s, (low, high), "", names)
    return {**panel, "kind": "lines"}, values
