import time

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.optimizers.gaussian_process import GaussianProcess
from metaloop.optimizers.protocol import FAILED, Observation
from metaloop.optimizers.state import dump, load
from metaloop.recipe import configure, from_data, space_of, to_data
from metaloop.space import Categorical, Float, Int, Space
from metaloop.testing import check_optimizer
from metaloop.testing.optimizers import SPACES

BOX = Space.from_bounds([(0.0, 1.0)] * 4)


def valley(rows):
    """An ill-conditioned quadratic with its minimum, 0, at 0.37 of every coordinate."""
    return ((rows - 0.37) ** 2) @ np.logspace(0, 2, rows.shape[1])


def run(optimizer, space, function, n, seed=0):
    state = optimizer.init(space, seed)
    for _ in range(n):
        points, state = optimizer.ask(state, 1)
        state = optimizer.tell(state, points, function(points))
    return state


@pytest.mark.parametrize("name", SPACES)
def test_keeps_the_protocol(name):
    check_optimizer(GaussianProcess(), [name], rounds=2)


def test_converges_on_a_quadratic():
    state = run(GaussianProcess(), BOX, valley, 40)
    assert state.archive.values.min() < 1e-3
    assert state.noise < 0.03


def test_continues_bit_for_bit_through_many_restarts():
    optimizer = GaussianProcess(max_points=40)  # past it a subset is fitted

    def function(rows):
        return valley(rows) + np.sin(9 * rows).sum(axis=1)

    state = optimizer.init(BOX, 1)
    twin = optimizer.init(BOX, 1)
    for i in range(55):
        points, state = optimizer.ask(state, 1)
        other, twin = optimizer.ask(twin, 1)
        assert points.tobytes() == other.tobytes(), i
        state = optimizer.tell(state, points, function(points))
        twin = optimizer.tell(twin, other, function(points))
        if i % 3:
            twin = load(dump(twin), BOX)
    assert len(state.subset) == 40


def test_reading_the_posterior_changes_nothing():
    optimizer = GaussianProcess()
    seen, unseen = run(optimizer, BOX, valley, 12), run(optimizer, BOX, valley, 12)
    optimizer.posterior(seen, BOX.sample(np.random.default_rng(0), 5))
    for _ in range(4):
        a, seen = optimizer.ask(seen, 1)
        b, unseen = optimizer.ask(unseen, 1)
        assert a.tobytes() == b.tobytes()
        seen, unseen = optimizer.tell(seen, a, valley(a)), optimizer.tell(unseen, b, valley(b))
    assert dump(seen) == dump(unseen)


def test_posterior_is_in_the_units_of_the_objective():
    optimizer = GaussianProcess()
    rng = np.random.default_rng(0)
    state = optimizer.init(BOX, 0)
    x = rng.random((60, 4))
    state = optimizer.tell(state, x, 1000 + 50 * np.sin(2 * x).sum(axis=1))
    new = rng.random((50, 4))
    mean, std = optimizer.posterior(state, new)
    error = mean - (1000 + 50 * np.sin(2 * new).sum(axis=1))
    assert np.abs(error).max() < 6
    assert 0.05 < np.sqrt(((error / std) ** 2).mean()) < 5
    with pytest.raises(InputError, match="evaluated"):
        optimizer.posterior(optimizer.init(BOX, 0), new)


def test_noise_is_noticed_and_explained():
    rng = np.random.default_rng(3)
    optimizer = GaussianProcess()
    state = run(optimizer, BOX, lambda r: valley(r) + 10 * rng.standard_normal(len(r)), 45)
    assert state.noise > 0.03
    assert state.log[-1][2] == "lcb"
    assert "lower confidence bound" in str(optimizer.decisions(state)[-1])
    assert optimizer.decisions(run(optimizer, BOX, valley, 20)) == ()


def test_a_batch_spreads_out_and_repeats_nothing():
    optimizer = GaussianProcess()
    state = run(optimizer, BOX, valley, 15)
    points, state = optimizer.ask(state, 12)
    more, state = optimizer.ask(state, 12)
    every = np.concatenate([points, more])
    assert len(np.unique(np.concatenate([every, state.archive.rows]), axis=0)) == 15 + 24
    gaps = np.linalg.norm(every[:, None] - every[None], axis=2)[np.triu_indices(24, 1)]
    assert np.median(gaps) > 0.05


def test_a_thousand_points_in_one_ask_are_quick():
    optimizer = GaussianProcess()
    space = Space.from_bounds([(0.0, 1.0)] * 10)
    state = optimizer.init(space, 0)
    x = np.random.default_rng(0).random((100, 10))
    state = optimizer.tell(state, x, valley(x))
    start = time.process_time()
    points, state = optimizer.ask(state, 1000)
    assert len(points) == 1000
    assert time.process_time() - start < 10


def test_failed_regions_are_avoided():
    def told(rows):
        return [FAILED if row[0] > 0.5 else float(valley(row[None])[0] - 100 * row[0]) for row in rows]

    optimizer = GaussianProcess()
    state = optimizer.init(BOX, 0)
    for _ in range(40):
        points, state = optimizer.ask(state, 1)
        state = optimizer.tell(state, points, told(points))
    assert np.isnan(state.archive.values[20:]).mean() < 0.5
    assert np.nanmin(state.archive.values) < -25


def test_constraints_are_kept_to():
    optimizer = GaussianProcess()
    state = optimizer.init(BOX, 0)
    for _ in range(40):
        points, state = optimizer.ask(state, 1)
        row = points[0]
        state = optimizer.tell(state, points, [Observation((float(-row.sum()),), (float(row.sum() - 2),))])
    feasible = state.archive.violations == 0
    assert -2 <= state.archive.values[feasible].min() < -1.7


def test_a_mixed_space_is_solved():
    space = Space(x=Float(0, 1), k=Int(1, 400, log=True), c=Categorical(list("abcd")), y=Float(0, 1, when={"c": "c"}))

    def function(rows):
        out = []
        for config in space.decode(rows):
            base = (config["x"] - 0.3) ** 2 + 0.1 * np.log(config["k"] / 37) ** 2
            out.append(base + {"a": 0.5, "b": 0.3, "c": (config.get("y", 0) - 0.8) ** 2, "d": 0.4}[config["c"]])
        return np.array(out)

    state = run(GaussianProcess(), space, function, 60)
    assert state.archive.values.min() < 0.01
    assert space.decode(state.archive.rows[[np.argmin(state.archive.values)]])[0]["c"] == "c"


def test_a_small_discrete_space_is_searched_without_repeats():
    space = Space(a=Int(1, 6, log=True), b=Categorical(list("xyz")))
    state = run(GaussianProcess(), space, lambda r: (r**2).sum(axis=1), 18)
    assert len(np.unique(state.archive.rows[4:], axis=0)) == 14
    more, state = GaussianProcess().ask(state, 3)  # exhausted: repeats are fine
    assert len(more) == 3


def test_points_told_from_outside_count_as_the_design():
    state = GaussianProcess(initial=10).init(BOX, 0)
    x = np.random.default_rng(0).random((10, 4))
    state = GaussianProcess(initial=10).tell(state, x, valley(x))
    _, state = GaussianProcess(initial=10).ask(state, 1)
    assert state.refits == 1
    assert state.design.used == 0


def test_is_a_recipe():
    space = space_of(GaussianProcess())
    assert "kappa" in space.labels
    tuned = configure(GaussianProcess(), {"kappa": 3.0})
    assert from_data(to_data(tuned)) == tuned


@pytest.mark.parametrize("bad", [{"initial": 0}, {"acquisition": "pi"}, {"kappa": 0.0}, {"max_points": 1}])
def test_refuses_bad_settings(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        GaussianProcess(**bad)
