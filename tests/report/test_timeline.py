"""The picture of a run: who asked what is where it belongs, and nothing that was told is lost."""

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.report.figures import svg
from metaloop.report.timeline import NOBODY, timeline


def test_every_solver_has_a_row_with_its_turns_and_their_number():
    figure = timeline([3.0, 2.0, 2.5, 1.0], ["a", "", "b", "a"], [0, 2])
    above, below = figure.axes
    labels = [t.get_text() for t in below.get_yticklabels()]
    assert labels == ["a: 2", "b: 1", f"{NOBODY}: 1"]
    turns = [[segment[0][0] for segment in c.get_segments()] for c in below.collections]
    assert turns == [[1, 4], [3], [2]]
    assert [list(c.get_offsets()[:, 1]) for c in above.collections] == [[3.0, 1.0], [2.5], [2.0]]
    np.testing.assert_array_equal(above.lines[0].get_ydata(), [3.0, 2.0, 2.0, 1.0])
    assert [t.get_text() for t in above.texts] == ["1", "2"]


def test_one_solver_has_no_rows():
    assert len(timeline([1.0, 2.0]).axes) == 1


def test_decisions_that_would_touch_share_a_place():
    above = timeline(np.arange(200.0), ["a"] * 200, [0, 1, 2, 100]).axes[0]
    assert [t.get_text() for t in above.texts] == ["1–3", "4"]


@pytest.mark.parametrize("maximize", [False, True])
def test_far_worse_values_are_drawn_at_the_edge_and_the_axis_says_so(maximize):
    sign = -1.0 if maximize else 1.0
    values = sign * np.array([*np.linspace(-1.0, 1.0, 30), 1e6])
    above = timeline(values, maximize=maximize).axes[0]
    shown = sign * above.collections[0].get_offsets()[:, 1]
    assert shown.max() <= 1.0
    assert shown.min() == -1.0
    assert "at the edge" in above.get_ylabel()
    assert above.lines[0].get_ydata()[-1] == sign * -1.0


def test_a_run_without_values_says_so():
    assert "no trial has a value" in svg(timeline([np.nan, np.nan], ["a", "b"]))


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"askers was .*1 names"):
        timeline([1.0, 2.0], ["a"])
