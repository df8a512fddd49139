"""What an inspection measures as curves: half-lives of units, gradients over the lag, the problems of memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from speechgru.evaluation.pictures import LIGHT, png, style
from speechgru.lab.inspection.gradients import GradientFlow
from speechgru.lab.inspection.pictures import LINES
from speechgru.plain import Record

SMALLEST = 1e-8  # shares of a gradient below it are not drawn


def half_life_picture(half_lives_s: Mapping[str, np.ndarray], path: str | os.PathLike[str] | None = None) -> bytes:
    """A histogram of the units' half-lives for each layer on one logarithmic axis; the line is the median."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    kept = {name: np.clip(values, 1e-3, 1e3) for name, values in half_lives_s.items()}
    everything = np.concatenate(list(kept.values()))
    bins = np.geomspace(everything.min() / 1.05, everything.max() * 1.05, 31)
    with style(LIGHT):
        figure = Figure(figsize=(7.4, 0.9 + 1.15 * len(kept)), layout="constrained")
        plots = figure.subplots(len(kept), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (name, values) in zip(plots, kept.items(), strict=True):
            middle = float(np.quantile(values, 0.5, method="lower"))  # a unit's value; the mean of two may be infinite
            axes.hist(values, bins=bins.tolist(), color=LIGHT["blue"])
            axes.axvline(middle, color=LIGHT["orange"], linewidth=1.4)
            told = f"{name}: median {readable_s(middle)}, longest {readable_s(float(values.max()))}"
            axes.set_title(told, loc="left", fontsize=9, pad=2)
            axes.set_ylabel("Units")
            axes.set_xscale("log")
            axes.spines[["top", "right"]].set_visible(False)
        plots[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        plots[-1].xaxis.set_minor_formatter(NullFormatter())
        plots[-1].xaxis.set_major_formatter(lambda value, _: readable_s(value))
        plots[-1].set_xlabel("Half-life: when half of what a unit held is left, by the gate that keeps its state")
        figure.suptitle("How long units remember", fontsize=11)
        return png(figure, path)


def gradient_picture(flows: Sequence[GradientFlow], path: str | os.PathLike[str] | None = None) -> bytes:
    """The median of what is left at each lag, with the middle 80 % of samples as a band, on a logarithmic axis."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    with style(LIGHT):
        figure = Figure(figsize=(7.4, 4.4), layout="constrained")
        axes = figure.subplots()
        for place, flow in enumerate(flows):
            frame = 1 if flow.frame_s is None else 1000 * flow.frame_s
            lags = np.arange(flow.norms.shape[1]) * frame
            colour, dashes = LINES[place % len(LINES)], ("-", "--", ":")[place // len(LINES) % 3]
            low, middle, high = (flow.quantile(share) for share in (0.1, 0.5, 0.9))
            seen = middle >= SMALLEST
            axes.fill_between(lags, low, high, where=seen, color=colour, alpha=0.15, linewidth=0)
            middle = np.where(seen, middle, np.nan)
            axes.plot(lags, middle, dashes, color=colour, linewidth=1.6, label=flow.name)
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(SMALLEST, axes.get_ylim()[0]))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.axhline(1, color=LIGHT["faint"], linewidth=1)
        axes.set(ylabel="Gradient left, as a share of that at lag 0")
        axes.set_xlabel("Lag in " + ("frames" if flows[0].frame_s is None else "ms"))
        axes.legend(frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("How much of a gradient arrives", fontsize=11)
        return png(figure, path)


def problem_picture(records: Sequence[Record], path: str | os.PathLike[str] | None = None) -> bytes:
    """A plot for each problem and lag: the loss on unseen sequences over the training steps, a line for each cell.

    The dashed line is the loss of the best answer without memory; the dotted line is a tenth of it: there the problem
    counts as solved.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    places = list(dict.fromkeys((record["task"], record["lag"]) for record in records))
    cells = list(dict.fromkeys(record["cell"] for record in records))
    # Where possible, each problem fills whole rows of plots.
    lags = len({lag for _, lag in places})
    columns = next((columns for columns in (4, 3, 5) if lags % columns == 0), min(len(places), 4))
    rows = -(-len(places) // columns)
    with style(LIGHT):
        figure = Figure(figsize=(1.2 + 2.6 * columns, 0.9 + 2.4 * rows), layout="constrained")
        plots = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in plots[len(places) :]:
            axes.set_visible(False)
        for axes, (task, lag) in zip(plots, places, strict=False):
            here = [record for record in records if (record["task"], record["lag"]) == (task, lag)]
            for record in here:
                steps, losses = zip(*record["curve"], strict=True)
                colour = LINES[cells.index(record["cell"]) % len(LINES)]
                label = record["cell"] if record["seed"] == here[0]["seed"] else None
                axes.plot(steps, losses, color=colour, linewidth=1.5, label=label)
            level = here[0]["baseline"]
            axes.axhline(level, color=LIGHT["ink"], linewidth=1, linestyle=(0, (4, 3)))
            axes.axhline(level / 10, color=LIGHT["ink"], linewidth=1, linestyle=":")
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(f"{task}, lag {lag}", fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
        for axes in plots[: len(places)][-columns:]:
            axes.set_xlabel("Training step")
        plots[0].set_ylabel("Loss, never seen sequences")
        plots[0].legend(frameon=False, fontsize=9)
        figure.suptitle("Adding and copying", fontsize=11)
        return png(figure, path)


def readable_s(value_s: float) -> str:
    """A duration for people to read: 35 ms, 1.2 s."""
    return f"{1000 * value_s:.3g} ms" if value_s < 0.9995 else f"{value_s:.3g} s"
