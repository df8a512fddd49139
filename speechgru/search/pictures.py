"""The pictures of a search: which settings mattered, and the trials as lines over all settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from speechgru.evaluation.pictures import LIGHT, png, short, style
from speechgru.search.ranges import Choices, Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna.trial import FrozenTrial


def importance_picture(importances: Mapping[str, float], *, title: str) -> bytes:
    """One bar per setting: its share in how far the best trials differ from all trials; the most important on top.

    Args:
        importances: by key, together 1.
        title: above it.
    """
    from matplotlib.figure import Figure

    ranked = sorted(importances.items(), key=lambda pair: pair[1])
    with style(LIGHT):
        figure = Figure(figsize=(7.4, 1.2 + 0.34 * max(len(ranked), 2)), layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(ranked)), [100 * value for _, value in ranked], color=LIGHT["blue"], height=0.6)
        for place, (_, value) in enumerate(ranked):
            axes.text(100 * value + 1, place, f"{100 * value:.0f}", va="center")
        axes.set_yticks(range(len(ranked)), [short(key, 40) for key, _ in ranked])
        axes.set(xlabel="Share of the importance, %", xlim=(0, 108))
        axes.set_title(short(title, 70), fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        return png(figure, None)


def coordinates_picture(
    trials: Sequence[FrozenTrial],
    ranges: Mapping[str, Range],
    metric: str,
    higher: bool,
    *,
    title: str,
) -> bytes:
    """Parallel coordinates: one axis per setting and one for the value; one line per complete trial, the best orange.

    Args:
        trials: complete ones, at least one.
        ranges: what was tried, by key.
        metric: name of the value.
        higher: whether more of it is better.
        title: above it.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    ranked = sorted(trials, key=lambda one: one.values[0] if higher else -one.values[0])  # the best is drawn last
    values = np.array([one.values[0] for one in ranked])
    least, most = float(values.min()), float(values.max())
    worth = (values - least) / ((most - least) or 1.0)
    shade = LinearSegmentedColormap.from_list("worth", [LIGHT["faint"], LIGHT["blue"]])
    with style(LIGHT):
        figure = Figure(figsize=(max(5.0, 1.6 * (len(ranges) + 1)), 4.4), layout="constrained")
        axes = figure.subplots()
        columns = [[place(one.params[key], wanted) for one in ranked] for key, wanted in ranges.items()]
        rows = np.array([*columns, worth]).T
        for number, row in enumerate(rows):
            best = number == len(rows) - 1
            colour = LIGHT["orange"] if best else shade(float(worth[number] if higher else 1 - worth[number]))
            axes.plot(range(len(row)), row, color=colour, linewidth=2.2 if best else 1.2)
        for column, (key, wanted) in enumerate(ranges.items()):
            _axis(axes, column, ticks(wanted))
            axes.text(column, 1.06, short(key.rpartition(".")[2], 22), ha="center")
        _axis(axes, len(ranges), [(0.0, f"{least:.4g}"), (1.0, f"{most:.4g}")])
        axes.text(len(ranges), 1.06, metric, ha="center")
        axes.set(xlim=(-0.3, len(ranges) + 0.4), ylim=(-0.05, 1.14))
        axes.axis("off")
        axes.set_title(short(title, 70), fontsize=11)
        return png(figure, None)


def place(value: object, wanted: Range) -> float:
    """Where a value is on the axis of its range, 0 to 1."""
    if isinstance(wanted, Choices):
        return wanted.values.index(str(value)) / max(1, len(wanted.values) - 1)
    number, low, high = float(str(value)), float(wanted.low), float(wanted.high)
    if wanted.log:
        number, low, high = math.log(number), math.log(low), math.log(high)
    return (number - low) / (high - low) if high > low else 0.0


def ticks(wanted: Range) -> list[tuple[float, str]]:
    """Places on an axis with their labels: the ends, or every choice."""
    if isinstance(wanted, Choices):
        return [(place(value, wanted), short(value, 14)) for value in wanted.values]
    ends = [(0.0, f"{wanted.low:.4g}")]
    return ends if wanted.low == wanted.high else [*ends, (1.0, f"{wanted.high:.4g}")]


def _axis(axes: Axes, column: int, marks: list[tuple[float, str]]) -> None:
    axes.plot([column, column], [0, 1], color=LIGHT["ink"], linewidth=0.9, zorder=0)
    for height, text in marks:
        axes.text(column + 0.03, height, text, va="center", fontsize=8.5)
