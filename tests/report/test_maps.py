import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from metaloop import InputError
from metaloop.report import figures
from metaloop.report.maps import Cell, heat_map, projections
from metaloop.report.style import DATA

pytest.importorskip("matplotlib")
WORDS = {"sides": ("a better", "b better"), "framed": "sure", "bound": 1.0, "x_label": "budget", "y_label": "noise"}
CELLS = [[Cell(-2.0, "0.1\n0 to 1", True), Cell(0.5, "1.6"), Cell(0.0, "$1")]]
POINTS = np.array([[0.0, 0.25], [0.5, 1.0]])


def cells():
    return heat_map({"only": CELLS}, rows=["r"], columns=["1", "2", "3"], **WORDS)


def points():
    boxes = (np.array([[0.1, 0.0]]), np.array([[0.2, 1.0]]))
    return projections({"grid": POINTS, "random": POINTS}, labels=("x", "y"), boxes=boxes, region="good")


@pytest.mark.parametrize("make", [cells, points])
def test_figures_take_their_ink_from_the_page(make):
    svg = figures.svg(make())
    assert svg == figures.svg(make())
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= set(DATA)
    for tag in re.findall(r"<text [^>]*>", svg):
        assert "fill: currentColor" in tag
    assert not re.search(r"fill: (white|black)", svg)


def test_a_map_leans_to_its_sides():
    figure = cells()
    (axes,) = figure.axes
    filled = [p for p in axes.patches if p.get_fill()]
    assert [p.get_alpha() for p in filled] == pytest.approx([0.7, 0.35, 0.0]), "beyond the bound is as deep as at it"
    assert [tuple(np.round(p.get_facecolor()[:3], 2)) for p in filled[:2]] == [(0.18, 0.5, 0.82), (0.81, 0.35, 0.09)]
    assert len(axes.patches) - len(filled) == 1, "one frame"
    texts = [e.text for e in ElementTree.fromstring(figures.svg(figure)).iter("{http://www.w3.org/2000/svg}text")]
    assert {"0.1", "0 to 1", "1.6", "$1", "a better", "b better", "sure", "budget", "noise"} <= set(texts)


def test_projections_show_each_coordinate():
    axes = points().axes[1]
    dots, top, right = axes.collections
    np.testing.assert_array_equal(dots.get_offsets(), POINTS)
    assert [s[0][0] for s in top.get_segments()] == [0.0, 0.5]
    assert [s[0][1] for s in right.get_segments()] == [0.25, 1.0]
    (box,) = axes.patches
    assert (box.get_xy(), box.get_width(), box.get_height()) == ((0.1, 0.0), pytest.approx(0.1), 1.0)


def test_bad_arguments_get_one_line():
    for call in (
        lambda: heat_map({"x": CELLS}, rows=["r", "s"], columns=["1", "2", "3"], **WORDS),
        lambda: heat_map({"x": CELLS}, rows=["r"], columns=["1", "2"], **WORDS),
        lambda: projections({"a": np.zeros((3, 3))}, labels=("x", "y")),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
