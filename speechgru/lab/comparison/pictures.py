"""The pictures of a comparison of cells: accuracy with every run, and accuracy against what it costs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from speechgru.evaluation.pictures import LIGHT, png, short, style
from speechgru.evaluation.task import Measure
from speechgru.lab.comparison.comparison import Comparison, by_dataset, judged_by
from speechgru.lab.labels import Named, place_names
from speechgru.plain import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = {"step_ms": "Training step of 32 x 1 s, ms", "latency_ms": "Answer to 1 s, ms"}
TRIO_COLOURS = {"gru": "blue", "lstm": "orange", "rnn": "green"}


def accuracy_picture(comparison: Comparison, path: str | os.PathLike[str] | None = None) -> bytes:
    """A panel for each dataset, a line for each cell, the best on top: every run a dot, their mean a bar.

    Better is to the right everywhere.
    """
    from matplotlib.figure import Figure

    panels = by_dataset(comparison)
    most = max(map(len, panels.values()))
    with style(LIGHT):
        figure = Figure(figsize=(3.9 * len(panels), 1.3 + 0.26 * max(most, 3)), layout="constrained")
        plots = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (dataset, entries) in zip(plots, panels.items(), strict=True):
            measure = judged_by(entries[0])
            for place, one in enumerate(entries):
                colour = LIGHT[TRIO_COLOURS.get(one["model"], "ink")]
                runs = [
                    100 * run[measure.key]
                    for run in comparison["runs"]
                    if (run["dataset"], run["model"]) == (dataset, one["model"])
                ]
                # Each run a little lower than the one before, so that equal ones do not cover each other.
                lower = [place + 0.2 * (number - (len(runs) - 1) / 2) for number in range(len(runs))]
                axes.plot(runs, lower, "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
                axes.plot(100 * one[measure.key], place, "|", color=colour, markersize=15, markeredgewidth=2)
            axes.set_yticks(range(len(entries)), [short(one["model"]) for one in entries])
            axes.set_ylim(max(len(entries), 3) - 0.4, -0.6)
            axes.grid(axis="x", color=LIGHT["faint"], linewidth=0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.set_xlabel(f"{measure.name.capitalize()}, %      better \N{RIGHTWARDS ARROW}")
            axes.set_title(short(dataset, 40), fontsize=11)
            if not measure.higher_is_better:
                axes.invert_xaxis()
        return png(figure, path)


def cost_picture(comparison: Comparison, path: str | os.PathLike[str] | None = None) -> bytes:
    """Accuracy against the time of a training step (above) and of an answer (below); better is up and to the left."""
    from matplotlib.figure import Figure

    panels = by_dataset(comparison)
    with style(LIGHT):
        figure = Figure(figsize=(4.6 * len(panels), 8.4), layout="constrained")
        grid = figure.subplots(len(AXES), len(panels), squeeze=False)
        scatters = []
        for row, (cost, label) in zip(grid, AXES.items(), strict=True):
            for axes, (dataset, entries) in zip(row, panels.items(), strict=True):
                timed = [one for one in entries if one.get(cost) is not None]
                scatters.append((axes, timed, cost, judged_by(entries[0])))
                _scatter(*scatters[-1])
                axes.set_xlabel(f"\N{LEFTWARDS ARROW} better      {label}")
                axes.set_title(short(dataset, 40), fontsize=11)
        figure.draw_without_rendering()  # the layout is now final
        for scatter in scatters:
            _write_names(*scatter)
        return png(figure, path)


def _scatter(axes: Axes, entries: list[Record], cost: str, measure: Measure) -> None:
    for one in entries:
        colour = LIGHT[TRIO_COLOURS.get(one["model"], "ink")]
        deviation = one[f"{measure.key}_std"]
        error = None if deviation is None else 100 * deviation
        axes.errorbar(one[cost], 100 * one[measure.key], error, fmt="o", color=colour, markersize=5, linewidth=1)
    axes.set_ylabel(f"{measure.name.capitalize()}, %      better \N{RIGHTWARDS ARROW}")
    axes.margins(x=0.18, y=0.1)
    axes.grid(color=LIGHT["faint"], linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if not measure.higher_is_better:
        axes.invert_yaxis()


def _write_names(axes: Axes, entries: list[Record], cost: str, measure: Measure) -> None:
    points, bars = [], []
    for one in sorted(entries, key=lambda entry: float(entry[cost])):
        x, y, deviation = one[cost], 100 * one[measure.key], 100 * (one[f"{measure.key}_std"] or 0)
        points.append(Named(x, y, short(one["model"]), LIGHT[TRIO_COLOURS.get(one["model"], "ink")]))
        bars.append([(x, y - deviation), (x, y + deviation)])
    place_names(axes, points, bars)
