"""LBFGS against analytic gradients and optima, and against scipy's L-BFGS-B from the same starts."""

import contextlib
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from metaloop import InputError, Space
from metaloop.optimizers import LBFGS
from metaloop.optimizers.protocol import FAILED, PENDING, RELEASED, Observation
from metaloop.space import Categorical, Float
from metaloop.testing import check_optimizer


def test_keeps_the_protocol():
    check_optimizer(LBFGS())


def test_keeps_the_protocol_with_other_settings():
    check_optimizer(LBFGS(probes=0.0, reach=1.0, memory=2), spaces=("box", "nested"), rounds=4)


def box(d):
    return Space.from_bounds([(0.0, 1.0)] * d)


def quadratic(seed, d, condition=100.0, spread=0.25):
    """(f, gradient, optimum) of a random one on the cube."""
    rng = np.random.default_rng([seed, d])
    turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
    a = turn @ np.diag(condition ** np.linspace(0, 1, d)) @ turn.T
    optimum = 0.5 + spread * rng.uniform(-1, 1, d)
    return lambda u: float((u - optimum) @ a @ (u - optimum)), lambda u: 2 * a @ (u - optimum), optimum


def rosenbrock(u):
    x = 4 * u - 2
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


class Run:
    """A run with a function; `iterates` of the first search, and how many evaluations it took."""

    def __init__(self, f, start, budget, batch=1, target=-math.inf, **settings):
        self.recipe = LBFGS(start=tuple(start), **settings)
        self.state = self.recipe.init(box(len(start)), 0)
        self.points, self.values, self.iterates, self.rounds = [], [], [np.array(start)], 0
        while len(self.values) < budget and not (self.state.begun and not self.state.descents):
            rows, self.state = self.recipe.ask(self.state, batch)
            values = [f(row) for row in rows]
            self.state = self.recipe.tell(self.state, rows, values)
            self.points += list(rows)
            self.values += values
            self.rounds += 1
            if self.state.descents and (self.state.descents[0].x != self.iterates[-1]).any():
                self.iterates.append(self.state.descents[0].x)
            if min(self.values[-len(values) :]) <= target:
                break
        self.best = float(np.nanmin(self.values))


@pytest.mark.parametrize("d", [1, 4, 20])
def test_gradient_is_the_analytic_one(d):
    f, gradient, _ = quadratic(0, d)
    recipe = LBFGS(start=(0.9,) * d)
    state = recipe.init(box(d), 0)
    checked = 0
    for _ in range(8 * (d + 1)):
        points, state = recipe.ask(state, 1)
        state = recipe.tell(state, points, [f(points[0])])
        descent = state.descents[0] if state.descents else None
        if descent and descent.phase == "search":
            assert (np.abs(descent.g - gradient(descent.x)) <= 3 * descent.error).all()
            assert (descent.error <= 1e-5 * np.abs(gradient(np.full(d, 0.9))).max()).all()
            checked += 1
    assert checked


@pytest.mark.parametrize("d", [2, 5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_quadratics_take_about_d_iterations(seed, d):
    f, _, _ = quadratic(seed, d)
    start = np.random.default_rng(seed).random(d)
    run = Run(f, start, 2000, target=1e-8 * f(start))
    assert len(run.iterates) - 1 <= d + 4
    assert len(run.values) <= (d + 4) * (d + 4)


@pytest.mark.parametrize("seed", range(4))
def test_bounded_quadratics_end_where_scipys_do(seed):
    d = 6
    f, gradient, _ = quadratic(seed, d, spread=1.2)
    run = Run(f, np.full(d, 0.5), 2000)
    known = minimize(f, np.full(d, 0.5), jac=gradient, bounds=[(0, 1)] * d, options={"ftol": 0, "gtol": 1e-10})
    x = run.iterates[-1]
    assert ((known.x == 0) | (known.x == 1)).any()
    assert x == pytest.approx(known.x, abs=1e-6)
    g = gradient(x)
    inward = np.where(x == 0, np.minimum(g, 0), np.where(x == 1, np.maximum(g, 0), g))
    assert np.abs(inward).max() <= 1e-5 * np.abs(gradient(np.full(d, 0.5))).max()


def scipys(f, start, target, limit):
    """Evaluations that L-BFGS-B with 2-point differences takes to a target; inf if it stops before."""
    count, hit = 0, math.inf

    def counted(u):
        nonlocal count, hit
        count += 1
        value = f(u)
        if value <= target:
            hit = count
        if value <= target or count == limit:
            raise StopIteration
        return value

    options = {"ftol": 0, "gtol": 0, "maxfun": limit, "maxiter": limit}
    with contextlib.suppress(StopIteration):
        minimize(counted, start, method="L-BFGS-B", bounds=[(0, 1)] * len(start), options=options)
    return hit


def test_needs_no_more_evaluations_than_scipys():
    ratios = []
    for seed in range(3):
        rng = np.random.default_rng([7, seed])
        for d in (5, 12):
            for f in (quadratic(seed, d, 1e2)[0], quadratic(seed, d, 1e5)[0], rosenbrock):
                start = rng.random(d)
                target, limit = 1e-8 * f(start), 120 * (d + 1)
                run = Run(f, start, limit, target=target)
                ratios.append((len(run.values) if run.best <= target else math.inf, scipys(f, start, target, limit)))
    ours, theirs = np.array(ratios).T
    solved = np.isfinite(ours) | np.isfinite(theirs)
    assert np.isfinite(ours).mean() > 0.8
    assert np.median((ours / theirs)[solved]) <= 1.0


def test_central_differences_reach_where_forward_ones_stall():
    """At 1e3 times the range, rounding hides what forward differences would need to see."""
    stalled = 0
    for seed in range(4):
        f, _, _ = quadratic(seed, 5, 1e5)
        start = np.random.default_rng(seed).random(5)
        lift = 1e3 * f(start)
        run = Run(lambda u, f=f, lift=lift: lift + f(u), start, 3000)
        assert run.best - lift <= 1e-10 * f(start)
        stalled += math.isinf(scipys(lambda u, f=f, lift=lift: lift + f(u), start, lift + 1e-10 * f(start), 3000))
    assert stalled >= 2


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e-2])
def test_noise_is_measured_and_survived(noise):
    """A sphere of range about 1: ends within the noise of the optimum, however large it is."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        optimum = rng.uniform(0.2, 0.8, 5)
        run = Run(
            lambda u, o=optimum, r=rng: float(((u - o) ** 2).sum() + noise * r.standard_normal()), rng.random(5), 400
        )
        assert ((run.iterates[-1] - optimum) ** 2).sum() <= 2 * noise
        assert noise / 5 < run.state.noise < 3 * noise


def test_failures_beside_the_optimum():
    """The objective fails beyond a plane just past the optimum; differences go to the other side."""
    f, _, optimum = quadratic(3, 4)
    run = Run(
        lambda u: math.nan if u[0] > optimum[0] + 1e-7 or u[1] < optimum[1] - 1e-7 else f(u),
        [0.05, 0.95, 0.5, 0.5],
        1500,
    )
    assert run.best <= 1e-8


@pytest.mark.parametrize(("batch", "share"), [(3, 0.6), (6, 0.4), (50, 0.4)])
def test_batches_have_no_duplicates_and_save_rounds(batch, share):
    f, _, _ = quadratic(1, 5, 1e3)
    start = np.full(5, 0.1)
    one = Run(f, start, 3000, target=1e-8 * f(start))
    many = Run(f, start, 3000, batch=batch, target=1e-8 * f(start))
    assert len(np.unique(many.points, axis=0)) == len(many.points)
    assert many.best <= 1e-8 * f(start)
    assert many.rounds <= share * one.rounds


def test_order_of_tells_does_not_matter():
    f, _, _ = quadratic(2, 4)
    ends = []
    for shuffle in (None, 0, 1):
        recipe = LBFGS()
        state = recipe.init(box(4), 0)
        for _ in range(12):
            points, state = recipe.ask(state, 5)
            order = np.arange(5) if shuffle is None else np.random.default_rng(shuffle).permutation(5)
            for row in points[order]:
                state = recipe.tell(state, row[None], [f(row)])
        ends.append(state.descents[0].x)
    assert (ends[0] == ends[1]).all()
    assert (ends[0] == ends[2]).all()


def test_released_points_are_asked_again():
    f, _, _ = quadratic(0, 3)
    recipe = LBFGS()
    state = recipe.init(box(3), 0)
    for _ in range(30):
        points, state = recipe.ask(state, 1)
        state = recipe.tell(state, points, [RELEASED])
        again, state = recipe.ask(state, 1)
        assert (again == points).all()
        state = recipe.tell(state, again, [f(again[0])])


def test_what_others_evaluate_is_not_asked():
    f, _, _ = quadratic(0, 3)
    recipe = LBFGS()
    state = recipe.init(box(3), 0)
    points, state = recipe.ask(state, 1)
    state = recipe.tell(state, points, [f(points[0])])
    points, state = recipe.ask(state, 1)
    wanted = 1 - points  # the other end of the same central difference
    state = recipe.tell(state, wanted, [PENDING])
    more, state = recipe.ask(state, 5)
    assert not (more == wanted).all(axis=1).any()


def test_a_better_point_from_outside_begins_a_search():
    def two(u):
        return float(min(((u - 0.2) ** 2).sum() + 1.0, ((u - 0.9) ** 2).sum() * 20))

    recipe = LBFGS(start=(0.3, 0.3))
    state = recipe.init(box(2), 0)
    for _ in range(4):
        points, state = recipe.ask(state, 1)
        state = recipe.tell(state, points, [two(points[0])])
    state = recipe.tell(state, [[0.85, 0.95]], [two(np.array([0.85, 0.95]))])
    assert state.begun == 2
    points, state = recipe.ask(state, 1)
    assert np.abs(points[0] - [0.85, 0.95]).max() < 0.01


def test_a_known_minimum_is_recognized():
    """On a bowl with one minimum every later search ends after a gradient or two, and finds nothing new."""
    f, _, optimum = quadratic(5, 5, 10.0)
    recipe = LBFGS(probes=1.0)
    state = recipe.init(box(5), 0)
    for _ in range(800):
        points, state = recipe.ask(state, 1)
        state = recipe.tell(state, points, [f(points[0])])
    assert state.minima[0] == pytest.approx(optimum, abs=1e-6)
    assert state.begun >= 800 / 60


def test_finds_the_deepest_of_several_basins():
    centers = np.random.default_rng(0).uniform(0.1, 0.9, (5, 2))

    def basins(u):
        return float(min(k + 30 * ((u - c) ** 2).sum() for k, c in enumerate(centers)))

    for seed in range(5):
        recipe = LBFGS()
        state, best = recipe.init(box(2), seed), math.inf
        for _ in range(400):
            points, state = recipe.ask(state, 1)
            values = [basins(points[0])]
            best = min(best, *values)
            state = recipe.tell(state, points, values)
        assert best <= 1e-10


def test_discrete_columns_stay_within_a_search_and_vary_between():
    space = Space(x=Float(-5, 5), y=Float(1e-3, 1e3, log=True), c=Categorical(["a", "b", "c"]))
    recipe = LBFGS()
    state, best = recipe.init(space, 0), math.inf
    for _ in range(300):
        points, state = recipe.ask(state, 1)
        config = space.decode(points)[0]
        value = (config["x"] - 1) ** 2 + math.log(config["y"] / 10) ** 2 + "cba".index(config["c"])
        best = min(best, value)
        state = recipe.tell(state, points, [value])
    assert best <= 1e-8
    assert len(np.unique(state.starts.rows[state.starts.used][:, 2])) == 3


def test_violated_constraints_are_left_and_not_entered():
    """Minimize x + y above x + y = 1, from below; afterwards no search ends below."""
    recipe = LBFGS(start=(0.1, 0.2))
    state, best = recipe.init(box(2), 0), math.inf
    for _ in range(200):
        points, state = recipe.ask(state, 1)
        total = float(points[0].sum())
        state = recipe.tell(state, points, [Observation((total,), constraints=(1.0 - total,))])
        if total >= 1.0:
            best = min(best, total)
        for descent in state.descents:
            assert descent.infeasible == (descent.x.sum() < 1.0)
    assert best <= 1.01


def test_a_failed_start_is_followed_by_others():
    recipe = LBFGS()
    state = recipe.init(box(2), 0)
    points, state = recipe.ask(state, 1)
    state = recipe.tell(state, points, [FAILED])
    for _ in range(60):
        points, state = recipe.ask(state, 1)
        state = recipe.tell(state, points, [float(((points[0] - 0.3) ** 2).sum())])
    assert state.starts.best <= 1e-10


def test_bad_settings_are_refused():
    for bad in ({"start": (0.5, 2.0)}, {"probes": -1.0}, {"reach": 0.0}, {"reach": 1.5}, {"memory": 1}):
        with pytest.raises(InputError):
            LBFGS(**bad)
    with pytest.raises(InputError, match="3 numbers"):
        LBFGS(start=(0.5,)).init(box(3), 0)
