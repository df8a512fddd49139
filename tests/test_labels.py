"""Names in pictures: none over another, over a point, or outside of the axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from speechgru.lab.labels import Named, place_names


@pytest.mark.parametrize("seed", range(4))
def test_names_do_not_cover_each_other_nor_points(seed: int) -> None:
    """Oracle: matplotlib's own extents of what it has drawn. Twelve points in a third of the picture, one twice."""
    draw = np.random.default_rng(seed)
    places = draw.uniform(0.3, 0.65, (11, 2)).tolist()
    points = [Named(x, y, f"name_{number}", "black") for number, (x, y) in enumerate([*places, places[0]])]
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot([one.x for one in points], [one.y for one in points], "o", markersize=5)
    figure.draw_without_rendering()
    place_names(axes, points)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    names = [text for text in axes.texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in names] == [one.name for one in points]
    boxes = [Text.get_window_extent(text, renderer) for text in names]
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    frame = axes.get_window_extent(renderer)
    for box in boxes:
        assert frame.contains(box.x0, box.y0)
        assert frame.contains(box.x1, box.y1)
        assert not any(box.contains(*axes.transData.transform((one.x, one.y))) for one in points)


def test_a_name_keeps_clear_of_a_line() -> None:
    """Oracle: the first place offered is right above; a line there moves the name to another side."""
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    place_names(axes, [Named(0.5, 0.5, "name", "black")])
    place_names(axes, [Named(0.5, 0.5, "name", "black")], [[(0.5, 0.5), (0.7, 0.6)]])
    (free, moved) = ((text.get_ha(), text.get_va()) for text in axes.texts)
    assert free == ("left", "bottom")
    assert moved != free
