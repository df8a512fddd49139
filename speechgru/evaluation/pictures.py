"""The pictures of a run: confusion matrix, recall of each class, reliability of confidences, learning curves.

Each function returns a PNG as bytes, for light or dark paper, and writes it to ``path`` if given. Labels are shown as
they are: no mathematics in dollar signs, no line breaks, cut when long.
"""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from speechgru.evaluation.calibration import calibration_error, reliability
from speechgru.evaluation.classification import ClassificationResult, ClassScore, wilson_interval
from speechgru.plain import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIGHT = {"paper": "#ffffff", "ink": "#1f2328", "faint": "#d8dee4"}
LIGHT |= {"blue": "#1f5fa8", "orange": "#c4500a", "green": "#1a7f37"}
DARK = {"paper": "#161b22", "ink": "#e6edf3", "faint": "#3d444d"}
DARK |= {"blue": "#6cb2ff", "orange": "#ffa657", "green": "#56d364"}
ERROR_RATES = ("wer", "cer", "ser")
COUNTS_UP_TO = 20  # classes; beyond that the numbers in the cells are too small to read


def confusion_picture(
    result: ClassificationResult,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Confusion matrix",
    dark: bool = False,
) -> bytes:
    """Rows are the true classes, columns the predicted ones; colour is the share of the row, numbers are clips."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    counts, classes = result.confusion, len(result.labels)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [short(label) for label in result.labels]
    letters = max(len(name) for name in names)
    cell_in = max(0.27, 0.62 - 0.018 * classes)
    margin_in = 0.75 + 0.085 * letters
    side_in = max(cell_in * classes, 2.6)
    with style(colours):
        figure = Figure(figsize=(side_in + margin_in + 1.3, side_in + margin_in + 0.9), layout="constrained")
        axes = figure.subplots()
        ramp = LinearSegmentedColormap.from_list("share", [colours["paper"], colours["blue"]])
        # The square root lets a few per cent of confusions be seen beside a diagonal near 100 %.
        image = axes.imshow(share, cmap=ramp, norm=PowerNorm(0.5, 0, 1), aspect="equal")
        rotation = 0 if letters * 0.085 < cell_in * 0.95 else 90
        axes.set_xticks(range(classes), names, rotation=rotation)
        axes.set_yticks(range(classes), names)
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=colours["faint"], linewidth=0.6)
        axes.tick_params(which="both", length=0)
        axes.set(xlabel="Predicted", ylabel="True")
        axes.set_title(f"{short(title, 70)}\n{_accuracy(result)}", fontsize=11)
        if classes <= COUNTS_UP_TO:
            for row, column in np.argwhere(counts):
                ink = colours["paper"] if share[row, column] > 0.3 else colours["ink"]
                axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=ink, fontsize=8.5)
        bar = figure.colorbar(image, ax=axes, fraction=0.045, pad=0.02, ticks=[0, 0.01, 0.05, 0.1, 0.25, 0.5, 1])
        bar.ax.set_yticklabels(["0", "1", "5", "10", "25", "50", "100"])
        bar.set_label("Share of the true class, %")
        return png(figure, path)


def recall_picture(
    result: ClassificationResult,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Recall of each class",
    dark: bool = False,
) -> bytes:
    """One point per class that occurs, the worst on top, with its 95 % interval; the line is the accuracy over all."""
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    scores = sorted((score for score in result.per_class if score.support), key=_recall)
    recalls = np.array([_recall(score) for score in scores]) * 100
    low, high = (np.array([score.interval[end] for score in scores]) * 100 for end in (0, 1))
    places = range(len(scores))
    with style(colours):
        figure = Figure(figsize=(7.4, 1.4 + 0.26 * max(len(scores), 3)), layout="constrained")
        axes = figure.subplots()
        # Points, not bars: they all lie near 100 %, and a bar that does not begin at zero lies about its length.
        axes.hlines(places, 0, 100, color=colours["faint"], linewidth=0.6)
        axes.hlines(places, low, high, color=colours["blue"], linewidth=2.2, alpha=0.55)
        axes.plot(recalls, places, "o", color=colours["blue"], markersize=6)
        axes.axvline(result.accuracy * 100, color=colours["orange"], linewidth=1.2, linestyle=(0, (4, 3)))
        start = max(0.0, float(np.floor(low.min() / 5)) * 5)
        axes.set_xlim(start, 100 + (100 - start) * 0.015)
        for place, score in enumerate(scores):
            beside = f"{100 * _recall(score):.1f} %  ({score.correct}/{score.support})"
            axes.text(1.015, place, beside, va="center", fontsize=8.5, transform=axes.get_yaxis_transform())
        axes.set_yticks(places, [short(score.label) for score in scores])
        axes.set_ylim(len(scores) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("Recall with 95 % interval, %; dashed line: accuracy over all clips")
        axes.set_title(short(title, 70), fontsize=11)
        axes.spines[["top", "right", "left"]].set_visible(False)
        return png(figure, path)


def _recall(score: ClassScore) -> float:
    return score.recall or 0.0


def reliability_picture(
    confidences: Sequence[float] | np.ndarray,
    correct: Sequence[bool] | np.ndarray,
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Reliability of the confidences",
    dark: bool = False,
) -> bytes:
    """Share of right words over confidence in 15 equally full bins, with 95 % Wilson intervals; below, how many words.

    On the dashed line confidences mean what they say; below it they are too high.

    Args:
        confidences: (words,) in [0, 1].
        correct: (words,) whether each was right.
        path: where to write the PNG as well.
        title: of the picture.
        dark: for dark paper.
    """
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    bins = reliability(confidences, correct, equal_mass=True)
    sure, right = (np.array([100 * getattr(one, name) for one in bins]) for name in ("confidence", "accuracy"))
    ends = np.array([wilson_interval(round(one.accuracy * one.count), one.count) for one in bins]) * 100
    error, other = (100 * calibration_error(confidences, correct, equal_mass=mass) for mass in (False, True))
    with style(colours):
        figure = Figure(figsize=(5.6, 6.2), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 100], [0, 100], color=colours["orange"], linewidth=1.2, linestyle=(0, (4, 3)))
        axes.vlines(sure, ends[:, 0], ends[:, 1], color=colours["blue"], linewidth=2.2, alpha=0.55)
        axes.plot(sure, right, "o", color=colours["blue"], markersize=6)
        axes.set(xlim=(-2, 102), ylim=(-2, 102), ylabel="Right, % (with 95 % interval)")
        axes.grid(color=colours["faint"], linewidth=0.6)
        measured = f"calibration error {error:.2f} % ({other:.2f} % in equal parts)"
        axes.set_title(f"{short(title, 70)}\n{len(correct):,} words, {measured}", fontsize=11)
        below.hist(100 * np.asarray(confidences), bins=np.linspace(0, 100, 41), color=colours["blue"])
        below.set(xlabel="Confidence, %", ylabel="Words")
        for one in (axes, below):
            one.spines[["top", "right"]].set_visible(False)
        return png(figure, path)


def learning_curves(
    rows: Sequence[Record],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str = "Learning curves",
    dark: bool = False,
) -> bytes:
    """The rows of ``metrics.jsonl`` over the epochs: losses, measures (``valid_accuracy``, ...), learning rate.

    A panel without numbers is left out; rows whose value is null (not finite) leave a gap. A line marks the epoch that
    was kept, the last row whose ``best`` is true. Where an epoch has several rows, they are drawn over steps.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    colours = DARK if dark else LIGHT
    unit, kept = _axis(rows)
    panels = [panel for panel in _panels(rows, unit) if panel[1]]
    with style(colours):
        figure = Figure(figsize=(7.6, 0.7 + 2.1 * max(len(panels), 1)), layout="constrained")
        plots = figure.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False)[:, 0]
        figure.suptitle(short(title, 70), fontsize=11)
        for axes, (label, curves) in zip(plots, panels, strict=False):
            _draw_curves(axes, label, curves, (unit, kept), colours)
            if kept is not None:
                axes.axvline(kept, color=colours["ink"], linewidth=0.8, linestyle=(0, (4, 3)))
        if not panels:
            plots[0].text(0.5, 0.5, "no numbers yet", ha="center", transform=plots[0].transAxes)
        about = "" if kept is None else f"; dashed line: the one that was kept, {kept:,}"
        plots[-1].set_xlabel(("Epoch" if unit == "epoch" else "Training step") + about)
        plots[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        plots[-1].xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
        figure.align_ylabels()
        return png(figure, path)


def _axis(rows: Sequence[Record]) -> tuple[str, int | None]:
    """What the curves are drawn over, ``epoch`` or ``step``, and the place of the one that was kept."""
    epochs = [row.get("epoch") for row in rows]
    unit = "epoch" if len(set(epochs)) == len(rows) and None not in epochs else "step"
    return unit, next((row[unit] for row in reversed(rows) if row.get("best") is True), None)


def _draw_curves(axes: Axes, label: str, curves: Curves, axis: tuple[str, int | None], colours: dict[str, str]) -> None:
    """One panel, its legend above it, where no line runs."""
    from matplotlib.ticker import NullFormatter

    unit, kept = axis
    drawn: list[str] = []
    for name, (places, values) in sorted(curves.items(), reverse=True):
        part = "train" if name == "learning_rate" else name.partition("_")[0]
        colour = colours[{"train": "blue", "valid": "orange"}.get(part, "green")]
        points = "" if len(places) > 60 else "o"
        shown = short(name.replace("_", " "))
        if label.endswith("%") and np.isfinite(values).any() and not name.endswith("_share"):
            best = int((np.nanargmin if name.endswith(ERROR_RATES) else np.nanargmax)(values))
            if kept in places and values[places.index(kept)] == values[best]:
                best = places.index(kept)  # of equal ones
            shown += f" (best {values[best]:.2f} at {unit} {places[best]:,})"
        line = ("-", "--", ":")[min(drawn.count(colour), 2)]
        drawn.append(colour)
        axes.plot(places, values, points + line, markersize=3, linewidth=1.5, color=colour, label=shown)
    finite = [value for _, values in curves.values() for value in values if np.isfinite(value)]
    if label == "Loss" and finite and min(finite) > 0 and max(finite) > 20 * min(finite):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(label)
    axes.grid(color=colours["faint"], linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if list(curves) != ["learning_rate"]:
        axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, borderaxespad=0)


Curves = dict[str, tuple[list[int], list[float]]]


def _panels(rows: Sequence[Record], unit: str = "step") -> list[tuple[str, Curves]]:
    """Which curve goes where: (axis label, curves by name) for loss, measures and learning rate, over ``unit``."""
    loss, share, other, rate = Curves(), Curves(), Curves(), Curves()
    for row in rows:
        for name, value in row.items():
            if name == "learning_rate":
                panel = rate
            elif name.endswith("loss"):
                panel = loss
            elif name.endswith(("accuracy", "recall", "f1", *ERROR_RATES, "_share")):
                panel = share
            elif name.startswith(("train_", "valid_")) and not name.endswith("_s"):
                panel = other
            else:
                continue
            if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
                places, values = panel.setdefault(name, ([], []))
                places.append(row[unit])
                scaled = np.nan if value is None else float(value) * (100 if panel is share else 1)
                values.append(scaled)
    measure = _measure(next(iter(share))) if share else ""
    return [("Loss", loss), (f"{measure}, %", share), ("Measure", other), ("Learning rate", rate)]


def _measure(name: str) -> str:
    """``valid_accuracy`` as Accuracy, ``valid_wer`` as Error rate."""
    return "Error rate" if name.endswith(ERROR_RATES) else name.rpartition("_")[2].capitalize()


def _accuracy(result: ClassificationResult) -> str:
    low, high = (100 * end for end in result.interval)
    return f"accuracy {100 * result.accuracy:.2f} % (95 %: {low:.2f} to {high:.2f}), {result.clips:,} clips"


def short(text: str, most: int = 22) -> str:
    """One line of at most ``most`` characters, without what cannot be drawn."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


@contextlib.contextmanager
def style(colours: dict[str, str]) -> Iterator[None]:
    """Matplotlib's settings for LIGHT or DARK ``colours`` until the block ends."""
    import matplotlib

    ink = {f"{part}.color": colours["ink"] for part in ("text", "xtick", "ytick")}
    settings: dict[Any, Any] = ink | {
        "axes.edgecolor": colours["ink"],
        "axes.labelcolor": colours["ink"],
        "axes.facecolor": colours["paper"],
        "figure.facecolor": colours["paper"],
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        # A label may hold dollar signs; they are no mathematics.
        "text.parse_math": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A script the font lacks is drawn as boxes; that is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def png(figure: Figure, path: str | os.PathLike[str] | None) -> bytes:
    """The figure as a PNG, written to ``path`` as well if given."""
    from PIL import Image  # comes with matplotlib

    drawn, buffer = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=130, pil_kwargs={"compress_level": 0})
    # Nothing is transparent: three values per pixel make a smaller file than four. The same numbers give the same
    # bytes.
    Image.open(drawn).convert("RGB").save(buffer, "PNG")
    if path is not None:
        pathlib.Path(path).write_bytes(buffer.getvalue())
    return buffer.getvalue()
