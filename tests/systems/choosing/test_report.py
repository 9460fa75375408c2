import numpy as np
import pytest

from metaloop.optimizers.protocol import Decision
from metaloop.systems.choosing import report


def test_decisions_in_short():
    def decision(chosen):
        return Decision(0, "", "", chosen, "")

    both = [decision("a Gaussian process starts, from evenly spread points"), decision("CMA-ES takes over")]
    assert report.in_short(both) == "GP + CMA-ES"
    assert report.in_short([decision("something new")]) == "?"


def test_the_law_is_refuted_by_counts_that_break_it():
    trials, runs = (1, 10), 20_000
    predicted = 1 - 0.95 ** np.array(trials)
    right = np.round(runs * predicted).astype(int)[:, None]
    claim, _ = report.law({"a": right, "b": right}, trials, 0.05, runs)
    assert claim.holds
    assert claim.measured < 0.01
    assert claim.ci[0] == 0
    wrong, _ = report.law({"a": right, "b": right + 600}, trials, 0.05, runs)
    assert not wrong.holds
    assert wrong.measured == pytest.approx(3.0, abs=0.01)
    assert 2 < wrong.ci[0] < 3 < wrong.ci[1]
