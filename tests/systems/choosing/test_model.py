import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop import InputError
from metaloop.systems.choosing.loop import grid
from metaloop.systems.choosing.model import Boxes, ball_volume, missed_region, shapes, tuning_table

TABLES = ("svm-digits", "boosting-diabetes")


@pytest.fixture(scope="module")
def maker():
    pytest.importorskip("sklearn")
    path = Path(__file__).parents[3] / "benchmarks" / "make_tuning_table.py"
    spec = importlib.util.spec_from_file_location("make_tuning_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def disjoint(boxes):
    pairs = itertools.combinations(range(len(boxes.lower)), 2)
    return all(((boxes.upper[i] <= boxes.lower[j]) | (boxes.upper[j] <= boxes.lower[i])).any() for i, j in pairs)


@given(st.integers(2, 40), st.integers(1, 3), st.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_a_grid_misses_its_region_whatever_its_size(levels, dim, fraction):
    region = missed_region(min(levels, {1: 40, 2: 40, 3: 12}[dim]), dim, fraction)
    levels = min(levels, {1: 40, 2: 40, 3: 12}[dim])
    assert not region.contains(grid(levels, dim)).any()
    assert region.volume == pytest.approx(fraction, rel=1e-9)
    assert ((region.lower >= 0) & (region.upper <= 1)).all()
    assert disjoint(region)
    # As few boxes as there can be: each has to fit between two levels.
    assert len(region.lower) == min(math.floor(fraction * (levels - 1)) + 1, levels - 1)


def test_a_very_fine_grid_misses_it_too():
    points = grid(20_001, 1)
    assert len(points) == 20_001
    assert not missed_region(20_001, 1, 0.5).contains(points).any()
    assert missed_region(20_000, 1, 0.5).contains(points).any(), "another grid does not"


@pytest.mark.parametrize("bad", [(1, 2, 0.1), (3, 0, 0.1), (3, 2, 0.0), (3, 2, 1.0)])
def test_a_region_that_cannot_be_is_refused(bad):
    with pytest.raises(InputError):
        missed_region(*bad)


@pytest.mark.parametrize(("dim", "fraction"), [(1, 0.3), (2, 0.05), (3, 0.2), (6, 0.05)])
def test_the_volume_of_every_shape_is_exact(dim, fraction):
    points = np.random.default_rng(1).random((200_000, dim))
    for name, region in shapes(dim, fraction, 4).items():
        assert region.volume == pytest.approx(fraction, rel=1e-12), name
        # Six standard errors: one in 10^9 by chance.
        assert abs(region.contains(points).mean() - fraction) < 6 * math.sqrt(fraction / 200_000), name
        if isinstance(region, Boxes):
            assert disjoint(region), name
            assert region.lower.min() >= 0, name
            assert region.upper.max() <= 1 + 1e-12, name


def test_the_unit_ball():
    assert [ball_volume(d) for d in (1, 2, 3)] == pytest.approx([2, math.pi, 4 * math.pi / 3])


@pytest.mark.parametrize(("dim", "fraction"), [(6, 0.1), (2, 0.0), (1, 0.6)])
def test_a_volume_that_does_not_fit_is_refused(dim, fraction):
    with pytest.raises(InputError, match="fraction"):
        shapes(dim, fraction, 4)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_it_says(name):
    table = tuning_table(name)
    n, splits, holdouts = table.losses.shape
    assert n == np.prod(table.space.cells) >= 2000
    assert splits >= 10
    assert holdouts == len(table.holdouts) == 4
    assert (table.losses >= 0).all()
    assert table.regret(int(table.truth.argmin())) == 0
    assert np.median(table.regret(np.arange(n))) == pytest.approx(1)
    assert 0 < table.resolution < 0.05, "regrets of a twentieth of the range can be told from 0"
    noise = [table.noise(level) for level in range(4)]
    assert noise == sorted(noise, reverse=True), "larger validation sets are less noisy"
    # The validation sets are nested: no smaller one can hold more loss than a larger one.
    sums = table.losses * table.holdouts
    assert (np.diff(sums, axis=2) > -1e-6).all()


@pytest.mark.parametrize(
    ("name", "best", "median"), [("svm-digits", 0.04346, 0.27893), ("boosting-diabetes", 0.52326, 0.64846)]
)
def test_summary_numbers(name, best, median):
    table = tuning_table(name)
    assert table.truth.min() == pytest.approx(best, abs=5e-5)
    assert np.median(table.truth) == pytest.approx(median, abs=5e-5)


@pytest.mark.parametrize(("name", "chosen"), [("svm-digits", (1700, 2411)), ("boosting-diabetes", (1003, 1246))])
def test_a_table_is_made_again_by_its_script(maker, name, chosen):
    table = tuning_table(name)
    found = maker.evaluate(name, 3, lambda k: k in chosen)
    settings_of = table.space.decode((np.stack(np.unravel_index(chosen, table.space.cells.astype(int)), 1) + 0.5)
                                     / table.space.cells)  # fmt: skip
    assert sorted(found) == list(chosen)
    for k, config in zip(chosen, settings_of, strict=True):
        levels = maker.MAKERS[name].settings
        assert list(config) == list(levels)
        assert k == np.ravel_multi_index(
            [levels[s].index(v) for s, v in config.items()], [len(v) for v in levels.values()]
        )
        stored = table.losses[k, 3] * table.holdouts
        again = found[k] * maker.MAKERS[name].unit
        # Another version of LAPACK or LIBSVM may move a case that lies on the boundary.
        np.testing.assert_allclose(again, stored, atol=2 if name == "svm-digits" else 0.02)


def test_noise_is_drawn_from_the_splits_one_after_the_other():
    table = tuning_table("svm-digits")
    config = table.space.decode(np.full((1, 3), 0.5))[0]
    k = int(table.index(table.space.encode(config))[0])
    splits = table.losses.shape[1]
    draw, same, other = table.objective(0, 1), table.objective(0, 1), table.objective(0, 2)
    seen = [draw(config) for _ in range(splits)]
    assert sorted(seen) == sorted(table.losses[k, :, 0]), "every split once"
    assert seen == [same(config) for _ in range(splits)], "the same for everybody"
    assert seen != [other(config) for _ in range(splits)]
    assert table.objective(None, 1)(config) == table.truth[k]


def test_an_unknown_table_is_refused():
    with pytest.raises(InputError, match="svm-digits"):
        tuning_table("nothing")
