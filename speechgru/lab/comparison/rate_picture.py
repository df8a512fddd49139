"""The picture of searches: the validation figure of every cell over the learning rate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechgru.evaluation.pictures import DARK, LIGHT, png, short, style
from speechgru.lab.comparison.pictures import TRIO_COLOURS
from speechgru.lab.comparison.searches import best_trial, curve, rate_of
from speechgru.plain import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*"


def rate_picture(
    searches: Sequence[Record], path: str | os.PathLike[str] | None = None, *, dark: bool = False
) -> bytes:
    """A panel for each dataset, a line for each cell: validation figure of its trials over the learning rate.

    The best trial of a cell has a large mark; it stands off the line where another setting than the first was better.
    Trials that were stopped early are not joined by the line.
    """
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    cells = list(dict.fromkeys(one["cell"] for one in searches))
    datasets = list(dict.fromkeys(one["dataset"] for one in searches))
    with style(colours):
        figure = Figure(figsize=(max(5.6, 4.6 * len(datasets)), 4.4), layout="constrained")
        for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
            for search in (one for one in searches if one["dataset"] == dataset):
                _line(axes, search, MARKERS[cells.index(search["cell"]) % len(MARKERS)], colours)
            metric = next(one["metric"] for one in searches if one["dataset"] == dataset)
            axes.set_xscale("log")
            axes.set(xlabel="Learning rate", ylabel=f"Validation {metric} of a short training")
            axes.set_title(short(dataset, 40), fontsize=11)
            axes.grid(color=colours["faint"], linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=9)
        return png(figure, path)


def _line(axes: Axes, search: Record, marker: str, colours: dict[str, str]) -> None:
    colour = colours[TRIO_COLOURS.get(search["cell"], "ink")]
    # The three of every text have colours of their own; the others are told apart by their marks and lines.
    line = "-" if search["cell"] in TRIO_COLOURS else "--" if marker in "^D" else ":"
    points = [one for one in curve(search) if one["value"] is not None]
    complete = [one for one in points if one["state"] == "complete"]
    stopped = [one for one in points if one["state"] != "complete"]
    for trials, joined, fill in ((complete, line, colour), (stopped, "", "none")):
        axes.plot(
            [rate_of(one) for one in trials],
            [one["value"] for one in trials],
            color=colour,
            marker=marker,
            markersize=5,
            markerfacecolor=fill,
            linestyle=joined,
            label=short(search["cell"]) if joined else None,
        )
    best = best_trial(search)
    axes.plot(rate_of(best), best["value"], color=colour, marker=marker, markersize=10, linestyle="")
