"""The picture of a detector: misses over false alarms an hour."""

from __future__ import annotations

import os

from speechgru.evaluation.pictures import DARK, LIGHT, png, short, style
from speechgru.plain import Record


def detection_picture(
    record: Record, path: str | os.PathLike[str] | None = None, *, title: str = "", dark: bool = False
) -> bytes:
    """The trade-off of each condition as a DET curve, both axes logarithmic, with the chosen threshold on it.

    The rates that the background is too short to show are shaded.

    Args:
        record: of :func:`speechgru.evaluation.detection_record.detection_record`.
        path: where to write the PNG as well.
        title: of the picture.
        dark: for dark paper.
    """
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    lines = [("blue", "-"), ("green", "-"), ("orange", "-"), ("blue", "--"), ("green", "--"), ("orange", "--")]
    least_rate = min(0.05, 0.5 / max(record["hours"], 1e-4))
    with style(colours):
        figure = Figure(figsize=(7.4, 5.6), layout="constrained")
        axes = figure.subplots()
        least_share = _lowest(record)
        for place, condition in enumerate(record["conditions"]):
            points = [(max(one["per_hour"], least_rate), one[condition]) for one in record["curve"]]
            colour, dash = lines[place % len(lines)]
            axes.step(
                [rate for rate, _ in points],
                [100 * max(share, least_share) for _, share in points],
                where="post",
                color=colours[colour],
                linestyle=dash,
                linewidth=1.6,
                label=condition,
            )
            chosen = record["chosen"]
            if chosen["threshold"] is not None:
                rate, share = max(chosen["per_hour"], least_rate), chosen["misses"][condition]["share"]
                axes.plot(rate, 100 * max(share, least_share), "o", color=colours[colour], markersize=6)
        axes.set(xscale="log", yscale="log")
        known = record["knowable_per_hour"]
        shown = f"{known:.0f}" if known >= 9.95 else f"{known:.2g}"
        axes.axvspan(least_rate * 0.5, known, color=colours["faint"], alpha=0.5, linewidth=0)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_yticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"], minor=False)
        axes.set_yticks([], minor=True)
        axes.set(xlim=(least_rate * 0.85, 110), ylim=(75 * least_share, 115))
        axes.grid(which="major", color=colours["faint"], linewidth=0.6)
        axes.set_xlabel(
            f"False alarms an hour, in {record['hours']:.3g} h; none at the left edge.\n"
            f"Shaded: under {shown} an hour, which so few hours cannot tell (95 %)"
        )
        axes.set_ylabel("Missed, %; none at the lower edge")
        axes.legend(frameon=False, title="Points: the chosen threshold", alignment="left")
        axes.spines[["top", "right"]].set_visible(False)
        if title:
            axes.set_title(short(title, 70), fontsize=11)
        return png(figure, path)


def _lowest(record: Record) -> float:
    """Where the picture draws a share of 0, below every other share."""
    shares = [one[condition] for one in record["curve"] for condition in record["conditions"]]
    return min((share for share in shares if share > 0), default=0.1) * (0.5 if 0 in shares else 0.9)
