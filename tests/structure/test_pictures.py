import matplotlib.pyplot as plt
import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.structure.pictures import plane, seen
from metaloop.structure.problem import beam, cantilever


def test_a_block_is_seen_where_it_is():
    density = np.zeros((40, 20, 10))
    density[10:30, 5:15, 2:8] = 1
    picture = seen(density, azimuth=0, elevation=0, pixels=220)
    solid = picture[..., 3] > 0
    height, width = solid.shape
    assert width / height == pytest.approx(43 / 23, rel=0.03)
    assert solid.mean() == pytest.approx(20 * 10 / (43 * 23), rel=0.08)
    assert solid[height // 2, width // 2]
    assert not solid[2].any()
    face = picture[height // 2 - 5 : height // 2 + 5, width // 2 - 5 : width // 2 + 5, :3]
    assert np.ptp(face, axis=(0, 1)).max() < 0.05  # a flat face is evenly lit


def test_the_nearer_hides_the_farther():
    density = np.zeros((20, 20, 20))
    density[5:15, 5:15, 15:18] = 1
    front = seen(density, azimuth=0, elevation=0, pixels=64)
    density[8:12, 8:12, 2:5] = 1  # behind
    assert np.allclose(seen(density, azimuth=0, elevation=0, pixels=64), front, atol=0.02)


def test_the_plane_has_axes_and_marks():
    figure, axes = plt.subplots()
    plane(axes, beam(12, 4), np.ones((12, 4)), unit="m")
    assert axes.get_xlabel() == "x (m)"
    assert len(axes.lines) == 1
    assert len(axes.texts) == 1  # the load's arrow
    plt.close(figure)


def test_bad_input():
    with pytest.raises(InputError, match="pixels"):
        seen(np.ones((3, 3, 3)), pixels=2)
    with pytest.raises(InputError, match="two dimensions"):
        plane(None, cantilever((4, 3, 2)), np.ones((4, 3, 2)))
