"""The pictures of a comparison of cells: accuracy with every run, and accuracy against what it costs."""

from __future__ import annotations

import os
from typing import Any

from speechgru.evaluation.pictures import DARK, LIGHT, png, short, style
from speechgru.lab.comparison.comparison import Comparison, by_dataset, judged_by

AXES = {"step_ms": "Training step of 32 x 1 s, ms", "latency_ms": "Answer to 1 s, ms"}
TRIO_COLOURS = {"gru": "blue", "lstm": "orange", "rnn": "green"}


def accuracy_picture(
    comparison: Comparison, path: str | os.PathLike[str] | None = None, *, dark: bool = False
) -> bytes:
    """A panel for each dataset, a line for each cell, the best on top: every run a dot, their mean a bar."""
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    panels = by_dataset(comparison)
    most = max(map(len, panels.values()))
    with style(colours):
        figure = Figure(figsize=(3.9 * len(panels), 1.3 + 0.26 * max(most, 3)), layout="constrained")
        plots = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (dataset, entries) in zip(plots, panels.items(), strict=True):
            measure = judged_by(entries[0])
            for place, one in enumerate(entries):
                colour = colours[TRIO_COLOURS.get(one["model"], "ink")]
                runs = [
                    100 * run[measure]
                    for run in comparison["runs"]
                    if (run["dataset"], run["model"]) == (dataset, one["model"])
                ]
                axes.plot(runs, [place] * len(runs), "o", color=colour, markersize=4.5, alpha=0.55)
                axes.plot(100 * one[measure], place, "|", color=colour, markersize=13, markeredgewidth=2)
            axes.set_yticks(range(len(entries)), [short(one["model"]) for one in entries])
            axes.set_ylim(max(len(entries), 3) - 0.4, -0.6)
            axes.grid(axis="x", color=colours["faint"], linewidth=0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.set_xlabel("Word error rate, %" if measure == "wer" else "Accuracy, %")
            axes.set_title(short(dataset, 40), fontsize=11)
            if measure == "wer":
                axes.invert_xaxis()  # better is to the right everywhere
        return png(figure, path)


def cost_picture(comparison: Comparison, path: str | os.PathLike[str] | None = None, *, dark: bool = False) -> bytes:
    """Accuracy against the time of a training step (above) and of an answer (below); better is up and to the left."""
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    panels = by_dataset(comparison)
    with style(colours):
        figure = Figure(figsize=(4.2 * len(panels), 7.2), layout="constrained")
        grid = figure.subplots(len(AXES), len(panels), squeeze=False)
        for row, (cost, label) in zip(grid, AXES.items(), strict=True):
            for axes, (dataset, entries) in zip(row, panels.items(), strict=True):
                _scatter(axes, [one for one in entries if one.get(cost) is not None], cost, colours)
                axes.set_xlabel(label)
                axes.set_title(short(dataset, 40), fontsize=11)
        return png(figure, path)


def _scatter(axes: Any, entries: list[dict[str, Any]], cost: str, colours: dict[str, str]) -> None:
    measure = judged_by(entries[0]) if entries else "accuracy"
    heights: list[float] = []
    for one in sorted(entries, key=lambda entry: float(entry[cost])):
        colour = colours[TRIO_COLOURS.get(one["model"], "ink")]
        deviation = one[f"{measure}_std"]
        error = None if deviation is None else 100 * deviation
        # Names of points at one height stand above each other, the leftmost lowest.
        above = sum(abs(height - one[measure]) < 1e-3 for height in heights)
        heights.append(one[measure])
        axes.errorbar(one[cost], 100 * one[measure], error, fmt="o", color=colour, markersize=5, linewidth=1)
        axes.annotate(
            short(one["model"]),
            (one[cost], 100 * one[measure]),
            (4, 4 + 8 * above),
            textcoords="offset points",
            fontsize=7,
            color=colour,
        )
    axes.set_ylabel("Word error rate, %" if measure == "wer" else "Accuracy, %")
    costs = [float(one[cost]) for one in entries] or [0.0, 1.0]
    least, most = min(costs), max(costs)
    span = most - least or most
    axes.set_xlim(least - 0.1 * span, most + 0.35 * span)  # room for the last name
    axes.grid(color=colours["faint"], linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if measure == "wer":
        axes.invert_yaxis()
