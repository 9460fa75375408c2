"""The density is one: it integrates to one over mixed and conditional spaces, and its draws follow it."""

import itertools

import numpy as np
import pytest
from scipy.stats import truncnorm

from metaloop.optimizers.parzen import Layout, Parzen
from metaloop.space import Categorical, Float, Int, Space

SPACE = Space(
    c=Categorical(list("abc")),
    k=Int(1, 4, log=True),
    x=Float(0.0, 1.0),
    y=Float(1.0, 9.0, log=True, when={"c": "b"}),
    d=Categorical([False, True], when={"c": ["a", "b"]}),
)
NODES, WEIGHTS = (0.5 * (np.polynomial.legendre.leggauss(64)[i] + (1 - i)) for i in (0, 1))


def edges(space, j):
    """Where the cells of a discrete column end, in the cube."""
    line = space.columns[j].parameter.line
    v = np.arange(line.first - 0.5, line.last + 1)
    return np.log(v / v[0]) / np.log(v[-1] / v[0]) if line.log else (v - v[0]) / (v[-1] - v[0])


def everything(space):
    """All cells and quadrature nodes of a space as rows, and what each stands for in an integral."""
    axes = []
    for j, (cells, plain) in enumerate(zip(space.cells, space.categorical, strict=True)):
        if np.isinf(cells):
            axes.append((NODES, WEIGHTS))
        else:
            ends = edges(space, j)
            axes.append((0.5 * (ends[1:] + ends[:-1]), np.ones(int(cells)) if plain else np.diff(ends)))
    rows = np.array(list(itertools.product(*[a for a, _ in axes])))
    parts = np.array(list(itertools.product(*[w for _, w in axes])))
    active = space.active(rows)
    # An inactive column is not integrated over: of all its places the first stands for all.
    first = (rows == [a[0] for a, _ in axes]) | active
    kept = first.all(axis=1)
    return space.snap(rows[kept]), np.where(active, parts, 1.0)[kept].prod(axis=1)


def mixture(space, n, seed=0, **settings):
    rng = np.random.default_rng(seed)
    rows = space.sample(rng, n)
    return Parzen(Layout(space), rows, rng.uniform(0.1, 2.0, n), **{"prior": 1.0, "factor": 1.0, **settings})


@pytest.mark.parametrize(("n", "factor"), [(0, 1.0), (1, 0.5), (2, 3.0), (25, 0.3), (25, 1.0)])
def test_integrates_to_one(n, factor):
    rows, parts = everything(SPACE)
    density = np.exp(mixture(SPACE, n, factor=factor).log_density(rows))
    assert parts @ density == pytest.approx(1.0, abs=1e-6)


def test_integrates_to_one_after_kernels_were_appended():
    rows, parts = everything(SPACE)
    density = mixture(SPACE, 6, room=4)
    density.append(SPACE.sample(np.random.default_rng(1), 3))
    assert parts @ np.exp(density.log_density(rows)) == pytest.approx(1.0, abs=1e-6)


def test_a_column_of_many_cells_is_normalized_too():
    space = Space(k=Int(1, 1000), c=Categorical(["a", "b"]))
    rows, parts = everything(space)
    assert parts @ np.exp(mixture(space, 20).log_density(rows)) == pytest.approx(1.0, abs=1e-3)


def test_draws_follow_the_density():
    density = mixture(SPACE, 8, seed=3)
    rows, parts = everything(SPACE)
    p = parts * np.exp(density.log_density(rows))
    drawn = SPACE.snap(density.sample(np.random.default_rng(0), 40_000))
    for j in np.flatnonzero(SPACE.categorical):  # categories, inactive as one more
        for value in np.unique(rows[:, j]):
            expected = p[np.isnan(rows[:, j]) if np.isnan(value) else rows[:, j] == value].sum()
            seen = np.mean(np.isnan(drawn[:, j]) if np.isnan(value) else drawn[:, j] == value)
            assert seen == pytest.approx(expected, abs=5 * np.sqrt(expected / len(drawn)) + 1e-9)
    for j in (2, 3):  # real numbers, where active
        active = ~np.isnan(rows[:, j])
        for power in (1, 2):
            expected = (p[active] * rows[active, j] ** power).sum() / p[active].sum()
            assert np.nanmean(drawn[:, j] ** power) == pytest.approx(expected, abs=0.01)


def test_equals_a_mixture_written_out():
    """Truncated Gaussians of scipy, one by one, for real columns; the bandwidths are those of Scott's rule."""
    space = Space.from_bounds([(0.0, 1.0)] * 3)
    rng = np.random.default_rng(0)
    rows, weights, points = rng.random((7, 3)), rng.uniform(0.5, 1.5, 7), rng.random((20, 3))
    total = weights.sum() + 1
    mean = (weights @ rows + 0.5) / total
    variance = (weights @ (rows - mean) ** 2 + 1 / 12 + (0.5 - mean) ** 2) / total
    s = np.sqrt(variance) * (weights.sum() ** 2 / (weights @ weights)) ** (-1 / 7)
    expected = np.full(20, 1.0)
    for row, weight in zip(rows, weights, strict=True):
        expected += weight * truncnorm.pdf(points, -row / s, (1 - row) / s, row, s).prod(axis=1)
    density = Parzen(Layout(space), rows, weights, prior=1.0, factor=1.0)
    np.testing.assert_allclose(density.log_density(points), np.log(expected / total), rtol=1e-10)


def test_a_branch_is_learned_from_its_own_rows_and_uniform_elsewhere():
    space = Space(c=Categorical(["a", "b"]), x=Float(0.0, 1.0, when={"c": "a"}), y=Float(0.0, 1.0, when={"c": "b"}))
    rows = np.array([[0.25, 0.2, np.nan]] * 10)
    density = Parzen(Layout(space), rows, np.ones(10), prior=1.0, factor=1.0)
    line = np.linspace(0.05, 0.95, 19)
    other = space.snap(np.column_stack([np.full(19, 0.75), line, line]))
    assert np.ptp(density.log_density(other)) < 1e-12
    own = space.snap(np.column_stack([np.full(19, 0.25), line, line]))
    assert line[np.argmax(density.log_density(own))] == pytest.approx(0.2)
