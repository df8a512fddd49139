"""The picture of latency: accuracy against the time that a frame waits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from speechgru.evaluation.pictures import DARK, LIGHT, png, short, style
from speechgru.lab.comparison.comparison import judged_by

COLOURS = {"latency_controlled": "blue", "look_ahead": "orange", "gru": "ink"}


def latency_picture(
    summary: Sequence[dict[str, Any]], path: str | os.PathLike[str] | None = None, *, dark: bool = False
) -> bytes:
    """A panel for each dataset, a line for each encoder through its contexts; better is up and to the left."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    colours = DARK if dark else LIGHT
    datasets = list(dict.fromkeys(one["dataset"] for one in summary))
    with style(colours):
        figure = Figure(figsize=(5.2 * len(datasets), 4.2), layout="constrained")
        for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
            entries = [one for one in summary if one["dataset"] == dataset]
            measure = judged_by(entries[0])
            for kind in dict.fromkeys(one["encoder"] for one in entries):
                _draw(axes, [one for one in entries if one["encoder"] == kind], measure, colours)
            axes.set_xscale("log")
            axes.margins(x=0.15)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.grid(color=colours["faint"], linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlabel("A frame waits on average, ms")
            axes.set_ylabel("Word error rate, %" if measure == "wer" else "Accuracy, %")
            axes.set_title(short(dataset, 40), fontsize=11)
            if measure == "wer":
                axes.invert_yaxis()
            axes.legend(loc="lower right", fontsize=8, frameon=False)
        return png(figure, path)


def _draw(axes: Any, entries: list[dict[str, Any]], measure: str, colours: dict[str, str]) -> None:
    kind = entries[0]["encoder"]
    colour = colours[COLOURS.get(kind, "green")]
    waits, heights = [one["wait_ms"] for one in entries], [100 * one[measure] for one in entries]
    deviations = [100 * (one[f"{measure}_std"] or 0) for one in entries]
    axes.errorbar(waits, heights, deviations, fmt="o-", color=colour, markersize=5, linewidth=1, label=kind)
    # Lines rise to the right: the names of one kind stand to the left above them, those of the others below.
    place, side = ((-4, 4), "right") if kind == "latency_controlled" else ((4, -9), "left")
    words: dict[str, Any] = {"textcoords": "offset points", "ha": side, "fontsize": 7, "color": colour}
    for one, wait, height in zip(entries, waits, heights, strict=True):
        axes.annotate(one["context"], (wait, height), place, **words)
