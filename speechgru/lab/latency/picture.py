"""The picture of latency: accuracy against the time that a frame waits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speechgru.evaluation.pictures import LIGHT, png, short, style
from speechgru.lab.comparison.comparison import judged_by
from speechgru.lab.labels import Named, place_names
from speechgru.plain import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"latency_controlled": "blue", "look_ahead": "orange", "gru": "ink"}


def latency_picture(summary: Sequence[Record], path: str | os.PathLike[str] | None = None) -> bytes:
    """A panel for each dataset, a line for each encoder through its contexts; better is up and to the left."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    datasets = list(dict.fromkeys(one["dataset"] for one in summary))
    with style(LIGHT):
        figure = Figure(figsize=(5.2 * len(datasets), 4.6), layout="constrained")
        plots = figure.subplots(1, len(datasets), squeeze=False)[0]
        for axes, dataset in zip(plots, datasets, strict=True):
            entries = [one for one in summary if one["dataset"] == dataset]
            measure = judged_by(entries[0])
            for kind in dict.fromkeys(one["encoder"] for one in entries):
                _draw(axes, [one for one in entries if one["encoder"] == kind], measure.key)
            axes.set_xscale("log")
            axes.margins(x=0.12, y=0.12)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.grid(color=LIGHT["faint"], linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlabel("\N{LEFTWARDS ARROW} better      A frame waits on average, ms")
            axes.set_ylabel(f"{measure.name.capitalize()}, %      better \N{RIGHTWARDS ARROW}")
            axes.set_title(short(dataset, 40), fontsize=11)
            if not measure.higher_is_better:
                axes.invert_yaxis()
            handles, kinds = axes.get_legend_handles_labels()
            bars = [handle.lines[0] for handle in handles]  # without their error bars
            axes.legend(
                bars, kinds, loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8, frameon=False, ncols=4
            )
        figure.draw_without_rendering()  # the layout is now final
        for axes, dataset in zip(plots, datasets, strict=True):
            _write_names(axes, [one for one in summary if one["dataset"] == dataset])
        return png(figure, path)


def _draw(axes: Axes, entries: list[Record], measure: str) -> None:
    kind = entries[0]["encoder"]
    colour = LIGHT[COLOURS.get(kind, "green")]
    waits, heights = [one["wait_ms"] for one in entries], [100 * one[measure] for one in entries]
    deviations = [100 * (one[f"{measure}_std"] or 0) for one in entries]
    axes.errorbar(waits, heights, deviations, fmt="o-", color=colour, markersize=5, linewidth=1, label=kind)


def _write_names(axes: Axes, entries: list[Record]) -> None:
    """The context of every point; points of one kind at one place share a name."""
    measure = judged_by(entries[0]).key
    names: dict[tuple[str, float, float], list[str]] = {}
    lines: dict[str, list[tuple[float, float]]] = {}
    bars = []
    for one in entries:
        wait, height = one["wait_ms"], 100 * one[measure]
        names.setdefault((one["encoder"], wait, height), []).append(one["context"])
        lines.setdefault(one["encoder"], []).append((wait, height))
        deviation = 100 * (one[f"{measure}_std"] or 0)
        bars.append([(wait, height - deviation), (wait, height + deviation)])
    points = [
        Named(wait, height, ", ".join(contexts), LIGHT[COLOURS.get(kind, "green")])
        for (kind, wait, height), contexts in names.items()
    ]
    place_names(axes, points, [*lines.values(), *bars])
