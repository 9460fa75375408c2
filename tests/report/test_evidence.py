import re

import numpy as np
import pytest

from metaloop import InputError
from metaloop.report import figures
from metaloop.report.evidence import measured_and_predicted, observed_and_true
from metaloop.report.style import DATA

pytest.importorskip("matplotlib")


def law(k=2):
    y = np.array([5.0, 50.0])[:, None] + np.zeros((2, k))
    measured = {"ball": (y, y - 1, y + 2)}
    return measured_and_predicted(np.array([1, 10]), np.array([5, 49]), measured, x_label="n", y_label="%")


def ghosts():
    run = (np.array([1.0, 0.0]), np.array([0.5, 0.5]), {"best": 1})
    return observed_and_true({"a": run, "b": run}, best=0.4, x_label="trial", y_label="loss")


@pytest.mark.parametrize("make", [law, ghosts])
def test_figures_take_their_ink_from_the_page(make):
    svg = figures.svg(make())
    assert svg == figures.svg(make())
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= set(DATA)
    for tag in re.findall(r"<text [^>]*>", svg):
        assert "fill: currentColor" in tag
    assert not re.search(r"fill: (white|black)", svg)


def test_deviations_are_drawn_with_their_intervals():
    below = law(1).axes[1]
    (bars,) = below.containers
    np.testing.assert_allclose(bars[0].get_ydata(), [0, 1])
    np.testing.assert_allclose([s[:, 1] for s in bars[2][0].get_segments()], [[-1, 2], [0, 3]])


def test_what_was_observed_is_joined_to_what_is_true():
    axes = ghosts().axes[0]
    assert [s[:, 1].tolist() for s in axes.collections[0].get_segments()] == [[1.0, 0.5], [0.0, 0.5]]
    assert axes.collections[-1].get_offsets().tolist() == [[2.0, 0.0]], "the mark"


def test_bad_arguments_get_one_line():
    three, run = np.zeros(3), (np.zeros(2), np.zeros(2), {"best": 2})
    for call in (
        lambda: measured_and_predicted(three, three, {"a": (np.zeros((2, 1)),) * 3}, x_label="", y_label=""),
        lambda: observed_and_true({"a": run}, best=0.0, x_label="", y_label=""),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
