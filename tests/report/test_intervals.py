import numpy as np
import pytest
from scipy.stats import binomtest

from metaloop.report import intervals


@pytest.mark.parametrize(("hits", "runs", "confidence"), [(0, 20, 0.95), (20, 20, 0.95), (3, 40, 0.99), (1, 1, 0.9)])
def test_clopper_and_pearson(hits, runs, confidence):
    expected = binomtest(hits, runs).proportion_ci(confidence, method="exact")
    found = intervals.clopper_pearson(np.array(hits), runs, confidence)
    assert found == pytest.approx((expected.low, expected.high))


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        seed = rng.gamma(4.0, size=60)
        above, below = 2.0 * seed * rng.gamma(9.0, size=60), seed * rng.gamma(9.0, size=60)
        found, (low, high) = intervals.ratio_of_means(above, below)
        assert low <= found <= high
        covered += low <= 2.0 <= high
    assert 86 <= covered < 100


def test_a_ratio_over_cells_is_a_geometric_mean():
    found, ends = intervals.ratio_of_means(np.array([[2.0, 2.0], [8.0, 8.0]]), np.ones((2, 2)))
    assert [found, *ends] == pytest.approx([4.0] * 3)


def test_pairs_are_drawn_together():
    # Above is twice below, pair by pair: no resample can give another ratio.
    below = np.array([1.0, 10.0, 100.0])
    found, ends = intervals.ratio_of_means(2 * below, below)
    assert [found, *ends] == pytest.approx([2.0] * 3)


@pytest.mark.parametrize(
    ("ours", "theirs", "at"),
    [([1, 1, 1], [2, 2, 2], 5), ([3, 1, 1], [2, 2, 2], 10), ([1, 3, 1], [2, 2, 2], 20), ([3, 3, 3], [2, 2, 2], 40)],
)
def test_the_crossover_is_where_the_lead_begins_to_last(ours, theirs, at):
    found = intervals.crossover(
        [5, 10, 20], *(np.repeat(np.array(v, dtype=float)[:, None], 6, 1) for v in (ours, theirs))
    )
    assert (found == at).all()
    assert intervals.interval(found) == (at, (at, at))


def test_luck_in_one_half_is_scored_in_the_other():
    lucky = np.array([0.5, 3.0] * 3)
    name, scored = intervals.best_without_hindsight({"steady": np.full(6, 1.0), "lucky": lucky})
    assert name == "steady"
    # By the even entries it is the lucky one, which is then scored on the odd ones.
    assert scored.tolist() == [1.0, 3.0] * 3
