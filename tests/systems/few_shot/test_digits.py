"""The digits are those of the UCI set: numbers as documented, and one nearest neighbor is as good as documented."""

import numpy as np

from metaloop.systems.few_shot.digits import digits


def test_numbers_and_ranges():
    data = digits()
    assert data.training_images.shape == (3823, 64)
    assert data.test_images.shape == (1797, 64)
    assert np.bincount(data.training_labels).tolist() == [376, 389, 380, 389, 387, 376, 377, 387, 380, 382]
    assert np.bincount(data.test_labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.training_images.min() == 0
    assert data.training_images.max() == 1


def test_one_nearest_neighbor_is_right_on_98_percent():
    data = digits()
    apart = (data.training_images**2).sum(1) - 2 * data.test_images @ data.training_images.T
    assert abs((data.training_labels[apart.argmin(1)] == data.test_labels).mean() - 0.98) < 5e-4
