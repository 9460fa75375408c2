from __future__ import annotations

import numpy as np
import pytest

from metaloop.systems.few_shot import digits


def test_the_sets_are_the_documented_ones():
    seen, new = digits.training(), digits.test()
    assert seen.images.shape == (3823, 8, 8)
    assert len(new) == 1797
    assert np.bincount(seen.labels).tolist() == [376, 389, 380, 389, 387, 376, 377, 387, 380, 382]
    assert np.bincount(new.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert seen.images.min() == 0
    assert seen.images.max() == 1
    known, asked = seen.images.reshape(-1, 64), new.images.reshape(-1, 64)
    assert not {i.tobytes() for i in known} & {i.tobytes() for i in asked}
    nearest = ((known**2).sum(1) - 2 * asked @ known.T).argmin(1)
    # Documented: 98.00 % of the test set by one nearest neighbor.
    assert round(100 * float((seen.labels[nearest] == new.labels).mean()), 1) == 98.0


def test_the_test_set_is_that_of_scikit_learn():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits

    known, new = load_digits(), digits.test()
    np.testing.assert_array_equal(new.images * 16, known.images)
    np.testing.assert_array_equal(new.labels, known.target)
