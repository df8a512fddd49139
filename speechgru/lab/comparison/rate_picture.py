"""The picture of searches: the validation figure of every cell over the learning rate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechgru.evaluation.pictures import LIGHT, png, short, style
from speechgru.lab.comparison.pictures import TRIO_COLOURS
from speechgru.lab.comparison.searches import best_trial, curve, rate_of
from speechgru.plain import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*"


def rate_picture(searches: Sequence[Record], path: str | os.PathLike[str] | None = None) -> bytes:
    """A panel for each dataset, a line for each cell: validation figure of its trials over the learning rate.

    The best trial of a cell has a large mark; it is off the line where its other settings are not those of the first
    trial. Trials that were stopped early are left out: their figure is of an earlier epoch, where all trials are worse.
    """
    from matplotlib.figure import Figure

    cells = list(dict.fromkeys(one["cell"] for one in searches))
    datasets = list(dict.fromkeys(one["dataset"] for one in searches))
    with style(LIGHT):
        figure = Figure(figsize=(max(5.6, 4.6 * len(datasets)), 4.4), layout="constrained")
        for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
            shown = [one for one in searches if one["dataset"] == dataset]
            for search in shown:
                _line(axes, search, MARKERS[cells.index(search["cell"]) % len(MARKERS)])
            rates = sorted({rate_of(trial) for one in shown for trial in one["trials"] if trial["state"] == "complete"})
            axes.set_xscale("log")
            axes.set_xticks(rates, [f"{rate:.4g}" for rate in rates], rotation=45)
            axes.minorticks_off()
            axes.set(xlabel="Learning rate", ylabel=f"Validation {shown[0]['metric']} of a short training")
            axes.set_title(short(dataset, 40), fontsize=11)
            axes.grid(color=LIGHT["faint"], linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize=9)
        return png(figure, path)


def _line(axes: Axes, search: Record, marker: str) -> None:
    colour = LIGHT[TRIO_COLOURS.get(search["cell"], "ink")]
    # LSTM, GRU and RNN have colours of their own; the other cells differ by their marks and lines.
    line = "-" if search["cell"] in TRIO_COLOURS else "--" if marker in "^D" else ":"
    complete = [one for one in curve(search) if one["state"] == "complete"]
    rates, values = [rate_of(one) for one in complete], [one["value"] for one in complete]
    axes.plot(rates, values, color=colour, marker=marker, markersize=5, linestyle=line, label=short(search["cell"]))
    best = best_trial(search)
    axes.plot(rate_of(best), best["value"], color=colour, marker=marker, markersize=10, linestyle="")
