import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.mapped import Membrane
from metaloop.structure.shape import Hole, Profile, Star, improve


@pytest.mark.parametrize(("one", "parameters"), [
    (Profile(4.0, 5), np.array([1.0, 0.9, 0.8, 0.9, 0.4])), (Star(3), np.array([1.0, 0, 0.1, 0.05, 0, 0.1, -0.1])),
    (Hole(2, 20.0), np.array([0.1, 0.2, -0.1])),
])  # fmt: skip
def test_gradients_are_finite_differences(one, parameters):
    rng = np.random.default_rng(0)
    weight, way = rng.normal(size=(one.mesh.nodes, 2)), rng.normal(size=parameters.shape)
    h = 1e-6
    numeric = ((one.places(parameters + h * way) - one.places(parameters - h * way)) * weight).sum() / (2 * h)
    assert one.pull(parameters, weight) @ way == pytest.approx(numeric, rel=1e-7)
    assert one.mesh.area(one.places(parameters))[0] > 0


def test_the_lowest_drum_is_round():
    # Faber & Krahn: of all membranes of an area, the disk has the lowest first frequency.
    star = Star(4, 4, 16)
    drum = Membrane(star.mesh, star.rim)

    def judge(places):
        level, _, slope = drum.lowest(places)
        return level, slope

    start = np.array([1.0, 0, 0.15, 0.1, 0, 0, 0.1, 0, 0.05])
    found = improve(star, judge, start, area=float(np.pi), iterations=60)
    assert found.value == pytest.approx(5.783186, rel=2e-3)  # the square of the first zero of the Bessel function J0
    assert found.value < found.start * 0.98
    assert found.area == pytest.approx(np.pi, rel=1e-6)
    assert np.abs(found.parameters[[2, 3, 4, 6, 7, 8]]).max() < 0.01


def test_a_uniform_stress_loads_the_rim():
    hole = Hole(1, 5.0)
    load = hole.outer_load((2.0, 3.0))
    assert load.sum(0) == pytest.approx([2.0 * 5, 3.0 * 5], rel=1e-4)  # stress times the quarter's projections


@pytest.mark.parametrize(("call", "says"), [
    (lambda: Profile(1.0, 1), "stations"), (lambda: Star(0), "order"), (lambda: Hole(1, 0), "outer"),
    (lambda: improve(Star(1), lambda p: (0.0, p), np.ones(3), bounds=(-0.5, 0.5)), "start"),
])  # fmt: skip
def test_bad_input(call, says):
    with pytest.raises(InputError, match=says):
        call()
