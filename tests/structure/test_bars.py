from dataclasses import replace

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.bars import Bars, improve, ten_bars
from metaloop.structure.problem import cantilever
from metaloop.structure.topology import evaluate

PAIR = Bars((30, 20), [(3.2, 4.1), (25.3, 6.2), (12.4, 17.3)], [(0, 1), (1, 2)], [3.3, 4.7])


def test_a_bar_covers_its_area():
    long = Bars((60, 20), [(-20, 10), (80, 10)], [(0, 1)], [6.0])
    assert long.densities().sum() == pytest.approx(60 * 6, rel=1e-9)
    stump = Bars((40, 40), [(20, 20), (20, 20)], [(0, 1)], [20.0])
    assert stump.densities().sum() == pytest.approx(np.pi * 100, rel=0.01)


def test_gradients_are_finite_differences():
    weight = np.random.default_rng(0).normal(size=PAIR.shape)
    widths, joints = PAIR.pull(weight)
    h = 1e-6
    for k in range(2):
        step = np.eye(2)[k] * h
        up, down = (replace(PAIR, widths=PAIR.widths + s * step).densities() for s in (1, -1))
        assert widths[k] == pytest.approx(((up - down) * weight).sum() / (2 * h), rel=1e-5)
    for place in np.ndindex(3, 2):
        step = np.zeros((3, 2))
        step[place] = h
        up, down = (replace(PAIR, joints=PAIR.joints + s * step).densities() for s in (1, -1))
        assert joints[place] == pytest.approx(((up - down) * weight).sum() / (2 * h), rel=1e-5)


def test_widths_are_scaled_to_the_area_and_cells_counted():
    assert PAIR.filled(200).densities().sum() == pytest.approx(200)
    cells = PAIR.cells(150)
    assert cells.sum() == 150
    inside = PAIR.distances()[0].min(0)
    thin = replace(PAIR, widths=np.array([4.0, 0.5]))
    assert np.array_equal(thin.cells(80), replace(PAIR, bars=PAIR.bars[:1], widths=np.array([4.0])).cells(80))
    assert inside[cells == 1].max() <= inside[cells == 0].min()


def test_larger_classes_are_never_worse():
    problem = cantilever((48, 24), 0.4)
    count = round(0.4 * 48 * 24)

    def judge(bars):
        return float(evaluate(problem, bars.cells(count), tolerance=1e-4).values[0])

    hand, movable = ten_bars(problem.shape, count)
    sized = improve(problem, hand, judge, iterations=30)
    shaped = improve(problem, sized.bars, judge, movable=movable, iterations=40)
    assert judge(hand) == sized.start
    assert sized.value < 0.9 * sized.start
    assert shaped.start == pytest.approx(sized.value)
    assert shaped.value < 0.97 * sized.value
    assert np.array_equal(sized.bars.joints, hand.joints)
    assert np.array_equal(shaped.bars.joints[~movable], hand.joints[~movable])
    assert shaped.bars.densities().sum() < count * 1.1


@pytest.mark.parametrize(("call", "says"), [
    (lambda: Bars((9, 9), [(0, 0)], [(0, 1)], [1.0]), "bars"),
    (lambda: Bars((9, 9), [0, 0], [(0, 1)], [1.0]), "joints"),
    (lambda: Bars((9, 9), [(0, 0), (1, 1)], [(0, 1)], [-1.0]), "widths"),
    (lambda: improve(cantilever((9, 9)), PAIR, lambda b: 0.0), "grid"),
    (lambda: improve(cantilever((30, 20)), PAIR, lambda b: 0.0, movable=np.ones((2, 2), bool)), "movable"),
])  # fmt: skip
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
