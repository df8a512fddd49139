"""The picture of an inspection: the gates of every layer over a recording, on one time axis."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from speechgru.evaluation.pictures import DARK, LIGHT, png, short, style
from speechgru.lab.inspection.memory import keeping_gate, unit_order
from speechgru.lab.inspection.replay import LayerTrace, Trace

MEANINGS = {
    "update": "update gate: 1 keeps the old state, 0 takes the candidate",
    "reset": "reset gate: 0 hides the old state from the candidate",
    "forget": "forget gate: 1 keeps the cell's memory, 0 clears it",
    "input": "input gate: 1 writes the candidate into the memory",
    "output": "output gate: 1 shows the memory outside",
    "highway": "highway gate: 1 shows the memory outside, 0 the input",
    "candidate": "candidate: the new state on offer",
    "cell": "memory of the cell",
    "hidden": "hidden state",
}
_SHARES = ("update", "reset", "forget", "input", "output", "highway")
MOST_LABELS = 6
# Told apart by everybody on light and dark paper (Okabe & Ito without yellow and black).
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
ORDER = "Each row of a gate is a unit, sorted by the mean of the gate that keeps: the longest memory is on top."


def meaning(gate: str) -> str:
    """What a gate says, for somebody who sees one for the first time."""
    return MEANINGS.get(gate, gate)


def limits(gate: str, values: np.ndarray) -> tuple[float, float]:
    """The values the ends of the colours stand for: 0 and 1 for a gate, symmetric about 0 for a state."""
    if gate in _SHARES:
        return 0.0, 1.0
    largest = float(np.abs(values).max(initial=1e-6))
    return -largest, largest


def gate_order(layer: LayerTrace) -> list[str]:
    """The names of a layer's gates in the order they are shown: first the one that keeps; the hidden state last."""
    names = sorted(layer.gates, key=[*MEANINGS, *layer.gates].index)
    keeping = keeping_gate(layer.gates)
    return sorted(names, key=lambda name: (name != keeping, name == "hidden"))


def strongest(trace: Trace) -> list[int]:
    """The columns of the evidence that are shown: the most probable labels, at most MOST_LABELS."""
    assert trace.probabilities is not None
    return [trace.tokens.index(name) for name in list(trace.probabilities)[:MOST_LABELS]]


def xray_picture(
    trace: Trace, path: str | os.PathLike[str] | None = None, *, title: str = "", dark: bool = False
) -> bytes:
    """A column for each direction: what went in, every gate of every layer, what came out, over the same seconds.

    Rows of a gate are units, sorted by the mean of the gate that keeps, the longest memory on top. Returns a PNG and
    writes it to ``path`` if given.
    """
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    ways = list(dict.fromkeys(layer.direction for layer in trace.layers))
    rows = [list(_panels(trace, way)) for way in ways]
    heights = [panel.height_in for panel in rows[0]]
    width_in = min(max(6.2, trace.duration_s), 9.0) * (1 if len(ways) > 1 else 1.4)
    # Places in inches: letting matplotlib find them would take longer than all the drawing.
    left_in, right_in, between_in, top_in, bottom_in = 0.5, 0.55, 0.45, 1.0 + _lift(trace) / 72, 0.5
    size = (
        left_in + right_in + width_in * len(ways) + between_in * (len(ways) - 1),
        top_in + bottom_in + sum(heights) + 0.3 * (len(heights) - 1),
    )
    with style(colours):
        figure = Figure(figsize=size)
        plots = figure.subplots(len(heights), len(ways), sharex=True, squeeze=False, height_ratios=heights)
        figure.subplots_adjust(
            left=left_in / size[0],
            right=1 - right_in / size[0],
            top=1 - top_in / size[1],
            bottom=bottom_in / size[1],
            hspace=0.3 * len(heights) / sum(heights),
            wspace=between_in / width_in,
        )
        for column, panels in enumerate(rows):
            for axes, panel in zip(plots[:, column], panels, strict=True):
                _draw(axes, panel, trace, colours)
            end = "start" if ways[column] == "forward" else "end"
            plots[0, column].set_title(  # above the panel's own title and the words
                f"{ways[column]}: reads the recording from its {end}\n", pad=_lift(trace), fontsize=11, weight="bold"
            )
            plots[-1, column].set_xlabel("Seconds")
            plots[0, column].set_xlim(0, trace.duration_s)
        _bars(figure, plots, rows[0])
        figure.suptitle(f"{short(title, 60)}   {heading(trace)}".strip(), fontsize=12, y=1 - 0.12 / size[1], va="top")
        figure.text(0.5, 1 - 0.42 / size[1], ORDER, fontsize=8.5, ha="center", va="top")
        return png(figure, path)


def heading(trace: Trace) -> str:
    """What the model made of the recording, in a few words."""
    if trace.words:
        return short("heard: " + " ".join(word.word for word in trace.words), 90)
    if trace.probabilities:
        best = list(trace.probabilities.items())[:2]
        return "heard: " + ", ".join(f"{short(name)} {100 * value:.0f} %" for name, value in best)
    return ""


class _Panel(NamedTuple):
    """One row of a column: an image (rows, time) with the values its colours end at, or lines (time, line)."""

    title: str
    values: np.ndarray
    frame_s: float
    ends: tuple[float, float] | None = None  # of an image; None for lines
    names: Sequence[str] = ()  # of the lines
    height_in: float = 0.85


def _panels(trace: Trace, way: str) -> Iterator[_Panel]:
    features = trace.features.T
    low, high = np.percentile(features, (1, 99.5)) if features.size else (0.0, 1.0)
    yield _Panel("what the model hears: its features, low to high", features, trace.feature_frame_s, (low, high))
    for layer in (layer for layer in trace.layers if layer.direction == way):
        order = unit_order(layer)
        for name in gate_order(layer):
            if name == "hidden":
                norm = np.linalg.norm(layer.gates["hidden"], axis=1)[:, None]
                yield _Panel(f"layer {layer.layer}  length of the hidden state", norm, layer.frame_s, height_in=0.5)
                continue
            image = layer.gates[name].T[order[::-1]]  # an image's first row is drawn at the bottom
            yield _Panel(f"layer {layer.layer}  {meaning(name)}", image, layer.frame_s, limits(name, image))
    if trace.posteriors is not None:
        yield _Panel("probability of each token", trace.posteriors, trace.frame_s, names=trace.tokens)
    if trace.attention is not None:
        heads = [f"head {number}" for number in range(1, trace.attention.shape[1] + 1)]
        yield _Panel("attention: the share of each frame in the answer", trace.attention, trace.frame_s, names=heads)
    if trace.evidence is not None:
        shown = strongest(trace)
        names = [short(trace.tokens[index], 12) for index in shown]
        title = "evidence: what each frame adds to the score of a label"
        yield _Panel(title, trace.evidence[:, shown], trace.frame_s, names=names, height_in=1.1)


def _draw(axes: Any, panel: _Panel, trace: Trace, colours: dict[str, str]) -> None:
    axes.set_title(panel.title, loc="left", fontsize=8.5, pad=2)
    for word in trace.words:
        for edge_s in (word.start_s, word.end_s):
            axes.axvline(edge_s, color=colours["orange"], linewidth=0.6, alpha=0.7)
    axes.tick_params(labelsize=7.5)
    if panel.ends is not None:
        extent = (0, panel.values.shape[1] * panel.frame_s, 0, len(panel.values))
        # Frames and units keep their edges; of more units than dots several share one.
        shown = "nearest" if len(panel.values) <= 100 else "auto"
        options = {"aspect": "auto", "origin": "lower", "extent": extent, "interpolation": shown}
        axes.imshow(panel.values, cmap=_ramp(panel.ends, colours), vmin=panel.ends[0], vmax=panel.ends[1], **options)
        axes.set_yticks([])
        if panel.title.startswith("what"):
            for word in trace.words:
                middle_s = (word.start_s + word.end_s) / 2
                axes.text(middle_s, 1.02, short(word.word, 14), ha="center", va="bottom", fontsize=9,
                          color=colours["orange"], transform=axes.get_xaxis_transform())  # fmt: skip
            axes.set_title(panel.title, loc="left", fontsize=8.5, pad=_lift(trace))
        return
    starts_s = (np.arange(len(panel.values)) + 0.5) * panel.frame_s
    axes.spines[["top", "right"]].set_visible(False)
    if panel.title.startswith("probability"):
        _draw_posteriors(axes, panel, starts_s, colours)
        return
    axes.set_prop_cycle(color=LINES if panel.names else [colours["blue"]])
    lines = axes.plot(starts_s, panel.values, linewidth=1.3)
    if panel.names:
        axes.legend(lines, panel.names, frameon=False, fontsize=7, ncols=6, loc="upper left", handlelength=1.2,
                    borderaxespad=0.1, columnspacing=1.0)  # fmt: skip
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.3 * (high - low))
    else:
        axes.set_ylim(bottom=0)


def _lift(trace: Trace) -> float:
    """Points between the first panel and its title: room for the words."""
    return 14.0 if trace.words else 2.0


def _draw_posteriors(axes: Any, panel: _Panel, starts_s: np.ndarray, colours: dict[str, str]) -> None:
    """The blank as a grey area, every other token as a line with its name at each peak."""
    axes.fill_between(starts_s, panel.values[:, 0], color=colours["faint"], linewidth=0)
    axes.text(0.005, 0.75, "grey: blank", fontsize=7, transform=axes.transAxes)
    for index in range(1, panel.values.shape[1]):
        line = panel.values[:, index]
        if line.max(initial=0) < 0.2:
            continue
        axes.plot(starts_s, line, color=LINES[index % len(LINES)], linewidth=1.2)
        padded = np.concatenate(([0.0], line, [0.0]))
        peaks = np.flatnonzero((line >= 0.3) & (line > padded[:-2]) & (line >= padded[2:]))
        for peak in peaks:
            axes.text(starts_s[peak], line[peak] + 0.03, short(panel.names[index], 5), ha="center", fontsize=7)
    axes.set_ylim(0, 1.3)
    axes.set_yticks([0, 1])


def _ramp(ends: tuple[float, float], colours: dict[str, str]) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    if ends == (0.0, 1.0):
        return LinearSegmentedColormap.from_list("share", [colours["paper"], colours["blue"]])
    if ends[0] == -ends[1]:
        return LinearSegmentedColormap.from_list("state", [colours["orange"], colours["paper"], colours["blue"]])
    return LinearSegmentedColormap.from_list("loudness", [colours["paper"], colours["ink"]])


def _bars(figure: Any, plots: np.ndarray, panels: list[_Panel]) -> None:
    """What the colours mean, beside the first panel of each kind."""
    seen: set[str] = set()
    for axes, panel in zip(plots[:, -1], panels, strict=True):
        if panel.ends is None:
            continue
        kind = "share" if panel.ends == (0.0, 1.0) else "state" if panel.ends[0] == -panel.ends[1] else "loudness"
        if kind in seen and kind != "state":
            continue
        seen.add(kind)
        bar = figure.colorbar(axes.images[0], cax=axes.inset_axes((1.012, 0, 0.012, 1)))
        bar.outline.set_visible(False)
        if kind == "loudness":
            bar.set_ticks(list(panel.ends), labels=["low", "high"])
        else:
            low, high = panel.ends
            bar.set_ticks(
                [low, (low + high) / 2, high], labels=[f"{low:.2g}", f"{(low + high) / 2:.2g}", f"{high:.2g}"]
            )
        bar.ax.tick_params(labelsize=7, length=0)
