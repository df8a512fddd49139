"""Names beside the points of a picture, moved until none covers another name, a point or a line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# The places of a name beside its dot, in typographic points, preferred ones first; far names get a thin line to it.
NEAR_PT, FAR_PT = (5.0,), (13.0, 21.0, 30.0, 40.0)
SIDES = ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
OVER_NAME, OVER_POINT, OVER_LINE = 100.0, 30.0, 3.0


class Named(NamedTuple):
    """A point in the units of the axes, what it is called, and its colour."""

    x: float
    y: float
    name: str
    colour: str


def place_names(axes: Axes, points: Sequence[Named], lines: Sequence[Sequence[tuple[float, float]]] = ()) -> None:
    """Writes every point's name where it covers least.

    Each name in turn takes the place with the smallest cost: names it would cover count most, then points, then lines,
    then distance. To be called when the limits and scales of ``axes`` and the layout of its figure are final.

    Args:
        axes: where the points are drawn.
        points: in the order in which names are placed.
        lines: courses of lines (error bars, curves) that names should keep clear of, in the units of the axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    dots = [tuple(axes.transData.transform((one.x, one.y))) for one in points]
    ways = [dot for line in lines for dot in _along(axes.transData.transform(line).tolist())]
    taken: list[Bbox] = []
    for point in points:
        best: tuple[float, Annotation, Bbox] | None = None
        for rank, place in enumerate(_places()):
            offer = _offer(axes, point, place)
            offer.update_positions(renderer)
            box = Text.get_window_extent(offer, renderer)  # of the text, without the line to the point
            covered = (
                OVER_NAME * (sum(map(box.overlaps, taken)) + (not _inside(axes, box, renderer)))
                + OVER_POINT * sum(box.padded(4).contains(*dot) for dot in dots)
                + OVER_LINE * sum(box.contains(*dot) for dot in ways)
            )
            if best is None or covered + rank / 4 < best[0]:
                if best:
                    best[1].remove()
                best = covered + rank / 4, offer, box
            else:
                offer.remove()
            if not covered:
                break
        if best:
            taken.append(best[2])


def _places() -> Iterator[tuple[float, float, bool]]:
    """Offsets (right, up) in points, and whether a line to the point is wanted."""
    for distance_pt, (right, up) in itertools.product(NEAR_PT + FAR_PT, SIDES):
        yield right * distance_pt, up * distance_pt, distance_pt in FAR_PT


def _offer(axes: Axes, point: Named, place: tuple[float, float, bool]) -> Annotation:
    right, up, far = place
    offer = axes.annotate(
        point.name,
        (point.x, point.y),
        (right, up),
        textcoords="offset points",
        ha="left" if right > 0 else "right" if right < 0 else "center",
        va="bottom" if up > 0 else "top" if up < 0 else "center",
        fontsize=7.5,
        color=point.colour,
        arrowprops={"arrowstyle": "-", "color": point.colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        if far
        else None,
    )
    offer.set_in_layout(False)
    return offer


def _inside(axes: Axes, box: Bbox, renderer: RendererBase) -> bool:
    frame = axes.get_window_extent(renderer)
    return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def _along(corners: Sequence[Sequence[float]]) -> Iterator[tuple[float, float]]:
    """Dots on a line through ``corners``, a few screen dots apart."""
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        steps = max(1, round(max(abs(x1 - x0), abs(y1 - y0)) / 4))
        for step in range(steps + 1):
            yield x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps
