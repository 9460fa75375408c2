"""Random search gives the guarantee that is its point."""

import numpy as np

from metaloop import Float, RandomSearch, Space
from metaloop.study.assurance import Assurance, trials_needed
from metaloop.testing import check_optimizer


def test_keeps_the_protocol():
    check_optimizer(RandomSearch())


def test_hits_a_region_of_volume_alpha_as_often_as_the_formula_says():
    space = Space(x=Float(0, 1), y=Float(0, 1))
    n, alpha, runs = 20, 0.05, 4000
    state = RandomSearch().init(space, 0)
    points, _ = RandomSearch().ask(state, n * runs)
    corner = np.sqrt(alpha)
    hit = (points < corner).all(axis=1).reshape(runs, n).any(axis=1).mean()
    expected = Assurance(n).confidence(alpha)
    assert abs(expected - (1 - (1 - alpha) ** n)) < 1e-12
    assert abs(hit - expected) < 4 * np.sqrt(expected * (1 - expected) / runs)


def test_assurance_inverts_itself():
    for fraction in (0.3, 0.05, 1e-4):
        for confidence in (0.5, 0.95, 0.999):
            n = trials_needed(fraction, confidence)
            assert Assurance(n).confidence(fraction) >= confidence
            assert Assurance(n).top_fraction(confidence) <= fraction
            if n > 1:
                assert Assurance(n - 1).confidence(fraction) < confidence
    assert trials_needed(0.05, 0.95) == 59
    assert Assurance(0).top_fraction() == 1
