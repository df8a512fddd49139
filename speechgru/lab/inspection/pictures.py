"""The picture of an inspection: the gates of every layer over a recording, on one time axis."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from speechgru.evaluation.pictures import LIGHT, png, short, style
from speechgru.lab.inspection.memory import keeping_gate, unit_order
from speechgru.lab.inspection.replay import LayerTrace, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap

# Between panels; above the directions, for their names; below the directions, for their times.
GAP_IN, WAYS_IN, TIMES_IN = 0.3, 0.32, 0.14
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
# Everybody can tell them apart (Okabe & Ito without yellow and black).
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
ORDER = "Each row of a gate is a unit, sorted by the mean of the gate that keeps: the longest memory is on top."


def meaning(gate: str) -> str:
    """What a gate means, for somebody who sees one for the first time."""
    return MEANINGS.get(gate, gate)


class Colours(NamedTuple):
    """The values that the ends of a ramp stand for: ``share`` (none to blue), ``state`` (orange to blue, none at 0) or
    ``loudness`` (none to ink)."""

    ramp: str
    low: float
    high: float


def colours_of(gate: str, values: np.ndarray) -> Colours:
    """From 0 to 1 for a gate; symmetric about 0 for a state, or from 0 where no value is below.

    The colours of a state end at the value that only a hundredth of its values exceed: a few large ones would make
    the others pale.
    """
    if gate in _SHARES:
        return Colours("share", 0.0, 1.0)
    largest = max(float(np.percentile(np.abs(values), 99)), 1e-6) if values.size else 1.0
    if values.size and values.min() < 0:
        return Colours("state", -largest, largest)
    return Colours("share", 0.0, largest)


def feature_colours(trace: Trace) -> Colours:
    """From the value that 1 % of the features are below to the value that 0.5 % are above."""
    low, high = np.percentile(trace.features, (1, 99.5)) if trace.features.size else (0.0, 1.0)
    return Colours("loudness", float(low), float(high))


def gate_order(layer: LayerTrace) -> list[str]:
    """The names of a layer's gates as they are shown: first the one that keeps the state, the hidden state last."""
    names = sorted(layer.gates, key=[*MEANINGS, *layer.gates].index)
    keeping = keeping_gate(layer.gates)
    return sorted(names, key=lambda name: (name != keeping, name == "hidden"))


def strongest(trace: Trace) -> list[int]:
    """The columns of the evidence that are shown: the most probable labels, at most MOST_LABELS."""
    assert trace.probabilities is not None
    return [trace.tokens.index(name) for name in list(trace.probabilities)[:MOST_LABELS]]


def xray_picture(
    trace: Trace,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "",
    gates: Collection[str] | None = None,
) -> bytes:
    """What went in, every gate of every layer with a column for each direction, and what came out, over the seconds.

    Rows of a gate are units, sorted by the mean of the gate that keeps the state, the longest memory on top. ``gates``
    are the names of the gates to show, all if it is None. Returns a PNG and writes it to ``path`` if given.
    """
    from matplotlib.figure import Figure

    ways = list(dict.fromkeys(layer.direction for layer in trace.layers))
    first, last = _heard(trace), _told(trace)
    columns = [list(_gates(trace, way, gates)) for way in ways]
    panels = [first, *columns[0], *last]
    width_in = min(max(4.8, trace.duration_s), 9.0) * (1 if len(ways) > 1 else 1.4)
    # Places in inches: letting matplotlib find them would take longer than all the drawing.
    left_in, right_in, between_in, top_in, bottom_in = 0.5, 0.55, 0.45, 0.75 + _lift(trace) / 72, 0.5
    size = (
        left_in + right_in + width_in * len(ways) + between_in * (len(ways) - 1),
        top_in + bottom_in + sum(panel.height_in + GAP_IN for panel in panels) + WAYS_IN + TIMES_IN - GAP_IN,
    )
    with style(LIGHT):
        figure = Figure(figsize=size)
        top = size[1] - top_in
        for number, panel in enumerate(panels):
            own = 0 < number <= len(columns[0])  # a panel for each direction; the other panels are for both
            if number in (1, len(columns[0]) + 1):
                top -= WAYS_IN if number == 1 else TIMES_IN
            for column in range(len(ways) if own else 1):
                left = left_in + column * (width_in + between_in)
                width = width_in if own else size[0] - left_in - right_in
                place = (left / size[0], (top - panel.height_in) / size[1], width / size[0], panel.height_in / size[1])
                axes = figure.add_axes(place)
                axes.set_xlim(0, trace.duration_s)
                _draw(axes, columns[column][number - 1] if own else panel, trace)
                if number == 1:
                    end = "start" if ways[column] == "forward" else "end"
                    axes.set_title(
                        f"{ways[column]}: reads the recording from its {end}\n", fontsize=11, weight="bold", pad=2
                    )
                # Times below what was heard, below the last panel of the directions, and at the bottom.
                axes.tick_params(labelbottom=number in (0, len(columns[0]), len(panels) - 1))
            if panel is panels[-1]:
                axes.set_xlabel("Seconds")
            _bar(axes, width, panels[:number], panel)
            top -= panel.height_in + GAP_IN
        figure.suptitle(f"{short(title, 60)}   {heading(trace)}".strip(), fontsize=12, y=1 - 0.12 / size[1], va="top")
        figure.text(0.5, 1 - 0.42 / size[1], ORDER, fontsize=8.5, ha="center", va="top")
        return png(figure, path)


def heading(trace: Trace) -> str:
    """What the model recognised in the recording, in a few words."""
    if trace.words:
        return short("heard: " + " ".join(word.word for word in trace.words), 90)
    if trace.probabilities:
        best = list(trace.probabilities.items())[:2]
        return "heard: " + ", ".join(f"{short(name)} {100 * value:.0f} %" for name, value in best)
    return ""


class _Panel(NamedTuple):
    """One row of a column: an image (rows, time) with the values at the ends of its colours, or lines (time, line)."""

    title: str
    values: np.ndarray
    frame_s: float
    colours: Colours | None = None  # of an image; None for lines
    names: Sequence[str] = ()  # of the lines
    height_in: float = 0.85


def _heard(trace: Trace) -> _Panel:
    title = "what the model hears: its features, low to high"
    return _Panel(title, trace.features.T, trace.feature_frame_s, feature_colours(trace))


def _gates(trace: Trace, way: str, gates: Collection[str] | None) -> Iterator[_Panel]:
    for layer in (layer for layer in trace.layers if layer.direction == way):
        order = unit_order(layer)
        for name in (name for name in gate_order(layer) if gates is None or name in gates):
            if name == "hidden":
                norm = np.linalg.norm(layer.gates["hidden"], axis=1)[:, None]
                yield _Panel(f"layer {layer.layer}  length of the hidden state", norm, layer.frame_s, height_in=0.5)
                continue
            image = layer.gates[name].T[order[::-1]]  # an image's first row is drawn at the bottom
            yield _Panel(f"layer {layer.layer}  {meaning(name)}", image, layer.frame_s, colours_of(name, image))


def _told(trace: Trace) -> list[_Panel]:
    """What came out of both directions together."""
    panels = []
    if trace.posteriors is not None:
        panels.append(_Panel("probability of each token", trace.posteriors, trace.frame_s, names=trace.tokens))
    if trace.attention is not None:
        heads = [f"head {number}" for number in range(1, trace.attention.shape[1] + 1)]
        title = "attention: the share of each frame in the answer"
        panels.append(_Panel(title, trace.attention, trace.frame_s, names=heads))
    if trace.evidence is not None:
        shown = strongest(trace)
        names = [short(trace.tokens[index], 12) for index in shown]
        title = "evidence: what each frame adds to the score of a label"
        panels.append(_Panel(title, trace.evidence[:, shown], trace.frame_s, names=names, height_in=1.1))
    return panels


def _draw(axes: Axes, panel: _Panel, trace: Trace) -> None:
    axes.set_title(panel.title, loc="left", fontsize=8.5, pad=2)
    for word in trace.words:
        for edge_s in (word.start_s, word.end_s):
            axes.axvline(edge_s, color=LIGHT["orange"], linewidth=0.6, alpha=0.7)
    axes.tick_params(labelsize=7.5)
    if panel.colours is not None:
        extent = (0, panel.values.shape[1] * panel.frame_s, 0, len(panel.values))
        # Frames and units keep sharp edges; where there are more units than dots, several share one.
        shown = "nearest" if len(panel.values) <= 100 else "auto"
        ramp, low, high = panel.colours
        image = axes.imshow(panel.values, cmap=_ramp(ramp), vmin=low, vmax=high, aspect="auto", origin="lower")
        image.set(extent=extent, interpolation=shown)
        axes.set_xlim(0, trace.duration_s)
        axes.set_yticks([])
        if panel.title.startswith("what"):
            for word in trace.words:
                middle_s = (word.start_s + word.end_s) / 2
                axes.text(middle_s, 1.02, short(word.word, 14), ha="center", va="bottom", fontsize=9,
                          color=LIGHT["orange"], transform=axes.get_xaxis_transform())  # fmt: skip
            axes.set_title(panel.title, loc="left", fontsize=8.5, pad=_lift(trace))
        return
    starts_s = (np.arange(len(panel.values)) + 0.5) * panel.frame_s
    axes.spines[["top", "right"]].set_visible(False)
    if panel.title.startswith("probability"):
        _draw_posteriors(axes, panel, starts_s)
        return
    axes.set_prop_cycle(color=LINES if panel.names else [LIGHT["blue"]])
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


def _draw_posteriors(axes: Axes, panel: _Panel, starts_s: np.ndarray) -> None:
    """The blank as a grey area, every other token as a line with its name at each peak."""
    axes.fill_between(starts_s, panel.values[:, 0], color=LIGHT["faint"], linewidth=0)
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


def _ramp(name: str) -> LinearSegmentedColormap:
    from matplotlib.colors import LinearSegmentedColormap

    ends = {"share": ["paper", "blue"], "state": ["orange", "paper", "blue"], "loudness": ["paper", "ink"]}
    return LinearSegmentedColormap.from_list(name, [LIGHT[one] for one in ends[name]])


def _bar(axes: Axes, width_in: float, before: Sequence[_Panel], panel: _Panel) -> None:
    """Shows what the colours mean, beside every panel whose colours no panel before it has."""
    colours = panel.colours
    if colours is None or colours in [one.colours for one in before]:
        return
    place = axes.inset_axes((1 + 0.07 / width_in, 0, 0.08 / width_in, 1))
    bar = axes.figure.colorbar(axes.images[0], cax=place)
    bar.outline.set_visible(False)
    if colours.ramp == "loudness":
        bar.set_ticks([colours.low, colours.high], labels=["low", "high"])
    else:
        ticks = [colours.low, (colours.low + colours.high) / 2, colours.high]
        bar.set_ticks(ticks, labels=[f"{tick:.2g}" for tick in ticks])
    bar.ax.tick_params(labelsize=7, length=0)
