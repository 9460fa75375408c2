from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaloop.errors import InputError
from metaloop.optimizers.cmaes import CMAES, CMAESState
from metaloop.optimizers.protocol import FAILED, RELEASED, Observation
from metaloop.optimizers.search_distribution import Gaussian, Strategy, fold, strategy, unfold
from metaloop.optimizers.state import dump, load
from metaloop.recipe import space_of
from metaloop.space import Array, Categorical, Float, Int, Space
from metaloop.testing import check_optimizer

Function = Callable[[Array], Array]


def sphere(x: Array) -> Array:
    return np.sum(x**2, axis=1)


def ellipsoid(x: Array) -> Array:
    d = x.shape[1]
    return np.sum(10 ** (6 * np.arange(d) / (d - 1)) * x**2, axis=1)


def rosenbrock(x: Array) -> Array:
    return np.sum(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2, axis=1)


def rastrigin(x: Array) -> Array:
    return np.sum(10 + x**2 - 10 * np.cos(2 * np.pi * x), axis=1)


def run(
    recipe: CMAES, f: Function, space: Space, seed: int, budget: int, target: float = -math.inf
) -> tuple[int, float, CMAESState]:
    """(evaluations, best value, state) on a function of the unit cube, generation by generation."""
    state, used, best = recipe.init(space, seed), 0, math.inf
    while used < budget and best > target:
        points, state = recipe.ask(state, state.population)
        values = f(points)
        used, best = used + len(points), min(best, float(values.min()))
        state = recipe.tell(state, points, values)
    return used, best, state


def cube(d: int) -> Space:
    return Space.from_bounds([(0.0, 1.0)] * d)


def test_keeps_the_protocol() -> None:
    check_optimizer(CMAES())
    check_optimizer(CMAES(sigma0=1.0, population_factor=0.5, restart_factor=1.0, covariance_rate=1.5), rounds=12)


def test_every_corner_of_its_own_space_is_accepted() -> None:
    space = space_of(CMAES())
    for row in space.decode(np.array([[0.0] * space.dim, [1.0] * space.dim])):
        run(CMAES(**row), sphere, cube(3), 0, 200)


@pytest.mark.parametrize(
    "bad",
    [{"sigma0": 0.0}, {"sigma0": math.nan}, {"damping": -1.0}, {"covariance_rate": 2.0}, {"restart_factor": 0.5},
     {"mean": (0.5, 1.5)}, {"mean": (math.nan,)}, {"population_factor": math.inf}],
)  # fmt: skip
def test_bad_settings_get_one_line(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        CMAES(**bad)  # type: ignore[arg-type]


def test_a_mean_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InputError, match="3 numbers"):
        CMAES(mean=(0.5, 0.5)).init(cube(3), 0)


# --- the formulas --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 10, 40])
def test_constants_are_those_of_table_1(d: int) -> None:
    """The table once more, in plain Python, with population (48)."""
    population = 4 + int(3 * math.log(d))
    s = strategy(d, population)
    raw = [math.log((population + 1) / 2) - math.log(i) for i in range(1, population + 1)]
    mu = population // 2
    plus, minus = raw[:mu], [w for w in raw[mu:] if w < 0]
    mu_eff = sum(plus) ** 2 / sum(w * w for w in plus)
    mu_eff_minus = sum(minus) ** 2 / sum(w * w for w in minus)
    c_1 = 2 / ((d + 1.3) ** 2 + mu_eff)
    c_mu = min(1 - c_1, 2 * (0.25 + mu_eff + 1 / mu_eff - 2) / ((d + 2) ** 2 + mu_eff))
    total = min(1 + c_1 / c_mu, 1 + 2 * mu_eff_minus / (mu_eff + 2), (1 - c_1 - c_mu) / (d * c_mu))
    weights = [w / sum(plus) if w > 0 else total * w / -sum(minus) for w in raw]
    assert s.mu == mu
    np.testing.assert_allclose(s.weights, weights, rtol=1e-12, atol=1e-15)
    c_sigma = (mu_eff + 2) / (d + mu_eff + 5)
    d_sigma = 1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (d + 1)) - 1) + c_sigma
    c_c = (4 + mu_eff / d) / (d + 4 + 2 * mu_eff / d)
    found = [s.mu_eff, s.c_1, s.c_mu, s.c_sigma, s.d_sigma, s.c_c]
    np.testing.assert_allclose(found, [mu_eff, c_1, c_mu, c_sigma, d_sigma, c_c], rtol=1e-12)


def test_table_1_for_two_dimensions_in_numbers() -> None:
    s = strategy(2, 6)
    np.testing.assert_allclose(s.weights[:3], [0.63704257, 0.28457026, 0.07838717], atol=1e-8)
    np.testing.assert_allclose(s.mu_eff, 2.0286114646100617, rtol=1e-12)


@pytest.mark.parametrize(("d", "generations"), [(2, 3), (5, 11), (10, 40)])
def test_one_update_equals_the_package_cma(d: int, generations: int) -> None:
    """cma's samples, state and constants in our formulas. Its defaults differ from Table 1: c_c and c_sigma take other
    powers of d, c_1 is scaled by min(1, population / 6), and E||N(0, I)|| is exact."""
    cma = pytest.importorskip("cma")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        es = cma.CMAEvolutionStrategy(np.full(d, 0.3), 0.5, {"seed": 3, "verbose": -9, "updatecovwait": 0})
        for _ in range(generations):
            x = es.ask()
            es.tell(x, list(ellipsoid(np.array(x))))
        x = np.array(es.ask())
        normal = Gaussian(
            es.mean.copy(), es.sigma, es.sm.C.copy(), es.adapt_sigma.ps.copy(), es.pc.copy(),
            es.sm.B.copy(), es.sm.D.copy(), 0, es.countiter,
        )  # fmt: skip
        values = ellipsoid(x)
        y = (x[np.argsort(values)] - normal.mean) / normal.sigma
        es.tell(list(x), list(values))
    chi = math.sqrt(2) * math.gamma((d + 1) / 2) / math.gamma(d / 2)  # cma's CSA divides by the exact value
    s = Strategy(
        weights=np.array(es.sp.weights), mu=es.sp.weights.mu, mu_eff=es.sp.weights.mueff, c_sigma=es.adapt_sigma.cs,
        d_sigma=es.adapt_sigma.damps, c_c=es.sp.cc, c_1=es.sp.c1, c_mu=es.sp.cmu, chi=chi,
    )  # fmt: skip
    normal.update(s, y)
    np.testing.assert_allclose(normal.mean, es.mean, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(normal.p_sigma, es.adapt_sigma.ps, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(normal.p_c, es.pc, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(normal.sigma, es.sigma, rtol=1e-10)
    # cma adds 1e-9 to the length that (46) divides by
    np.testing.assert_allclose(normal.C, es.sm.C, rtol=1e-8, atol=1e-8 * np.abs(es.sm.C).max())


def test_the_update_is_the_tutorials_written_out() -> None:
    d, population = 4, 9
    rng = np.random.default_rng(0)
    s = strategy(d, population)
    a = rng.standard_normal((d, d))
    C = a @ a.T + np.eye(d)
    eigenvalues, B = np.linalg.eigh(C)
    m, sigma, ps, pc = rng.random(d), 0.2, rng.standard_normal(d), rng.standard_normal(d)
    normal = Gaussian(m.copy(), sigma, C.copy(), ps.copy(), pc.copy(), B, np.sqrt(eigenvalues), 0, 6)
    y = rng.standard_normal((population, d)) @ a.T
    normal.update(s, y)
    root = B @ np.diag(eigenvalues**-0.5) @ B.T
    step = sum(s.weights[i] * y[i] for i in range(s.mu))
    ps = (1 - s.c_sigma) * ps + math.sqrt(s.c_sigma * (2 - s.c_sigma) * s.mu_eff) * root @ step
    h = float(np.linalg.norm(ps) / math.sqrt(1 - (1 - s.c_sigma) ** 14) < (1.4 + 2 / (d + 1)) * s.chi)
    pc = (1 - s.c_c) * pc + h * math.sqrt(s.c_c * (2 - s.c_c) * s.mu_eff) * step
    new = (1 + s.c_1 * (1 - h) * s.c_c * (2 - s.c_c) - s.c_1 - s.c_mu * s.weights.sum()) * C + s.c_1 * np.outer(pc, pc)
    for w, v in zip(s.weights, y, strict=True):
        new = new + s.c_mu * (w if w >= 0 else w * d / np.linalg.norm(root @ v) ** 2) * np.outer(v, v)
    np.testing.assert_allclose(normal.mean, m + sigma * step, rtol=1e-12)
    np.testing.assert_allclose(normal.C, new, rtol=1e-10)
    growth = s.c_sigma / s.d_sigma * (np.linalg.norm(ps) / s.chi - 1)
    np.testing.assert_allclose(normal.sigma, sigma * math.exp(min(1.0, growth)), rtol=1e-12)


# --- quality -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [5, 10])
@pytest.mark.parametrize("f", [sphere, ellipsoid, rosenbrock])
def test_needs_no_more_evaluations_than_cma(f: Function, d: int) -> None:
    """To 1e-10 from the same starts with the same step size: the median ratio is at most 1.5."""
    cma = pytest.importorskip("cma")
    ratios = []
    for seed in range(5 if d == 5 else 3):
        start = np.random.default_rng(seed).uniform(-2, 2, d)
        recipe = CMAES(sigma0=0.1, mean=tuple((start + 5) / 10))
        used, best, _ = run(recipe, lambda p: f(10 * p - 5), cube(d), seed, 30_000, 1e-10)
        assert best <= 1e-10
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            es = cma.CMAEvolutionStrategy(start, 1.0, {"seed": seed + 1, "verbose": -9, "ftarget": 1e-10})
            while not es.stop():
                x = es.ask()
                es.tell(x, list(f(np.array(x))))
        ratios.append(used / es.countevals)
    assert np.median(ratios) <= 1.5


@pytest.mark.parametrize("d", [5, 12])
def test_an_optimum_on_the_walls_is_found_as_fast_as_one_inside(d: int) -> None:
    for target in (np.zeros(d), np.where(np.arange(d) % 2, 0.3, 1.0)):
        used = [run(CMAES(), lambda p, t=target: sphere(p - t), cube(d), s, 4000, 1e-9)[0] for s in range(3)]
        inside = [run(CMAES(), lambda p: sphere(p - 0.37), cube(d), s, 4000, 1e-9)[0] for s in range(3)]
        assert np.median(used) <= 1.3 * np.median(inside)


def test_integers_do_not_freeze() -> None:
    """Continuous coordinates shrink the step size far below a cell before the whole numbers are right."""
    space = Space({f"x{i}": Float(-5.0, 5.0) for i in range(4)} | {f"n{i}": Int(-10, 10) for i in range(4)}
                  | {"b": Categorical(["no", "yes"])})  # fmt: skip

    def f(points: Array) -> Array:
        values = [
            sum((c[f"x{i}"] - 1.3) ** 2 for i in range(4))
            + sum(1e-3 * (c[f"n{i}"] - 4 + i) ** 2 for i in range(4))
            + 1e-3 * (c["b"] == "no")
            for c in space.decode(points)
        ]
        return np.array(values)

    for seed in range(3):
        used, best, state = run(CMAES(), f, space, seed, 6000, 1e-8)
        assert best <= 1e-8, f"stuck at {best} after {used}"
        points, state = CMAES().ask(state, 4000)
        discrete = points[:, 4:]
        share = [np.mean(column != np.median(column)) for column in discrete.T]
        assert min(share) >= 0.5 / (space.dim * state.population), "a discrete column is frozen"


def test_restarts_on_rastrigin_with_twice_the_population() -> None:
    recipe = CMAES()
    state = recipe.init(cube(3), 1)
    sizes = []
    for _ in range(1500):
        if not sizes or sizes[-1] != state.population:
            sizes.append(state.population)
        points, state = recipe.ask(state, 7)
        state = recipe.tell(state, points, rastrigin(9.7 * points - 4.1))
    assert state.restarts == len(sizes) - 1 >= 2
    assert sizes == [sizes[0] * 2**k for k in range(len(sizes))]
    assert state.stopped
    assert state.sigma > 0


@pytest.mark.parametrize("told", [0.0, 1e300, FAILED, Observation((1.0,), constraints=(1e308, 1e308))])
def test_goes_on_without_information(told: float | Observation) -> None:
    for recipe in (CMAES(), CMAES(restart_factor=1.0)):
        state = recipe.init(cube(4), 0)
        for _ in range(400):
            points, state = recipe.ask(state, 10)
            assert np.isfinite(points).all()
            state = recipe.tell(state, points, [told] * len(points))
        assert np.isfinite(state.normal.C).all()
        assert state.restarts > 0 or isinstance(told, Observation)


def test_extreme_values_neither_warn_nor_stop_it() -> None:
    recipe, rng = CMAES(), np.random.default_rng(0)
    state = recipe.init(cube(2), 0)
    for _ in range(600):
        points, state = recipe.ask(state, 5)
        state = recipe.tell(state, points, rng.choice([1.7e308, -1.7e308, 1e-320, 0.0, np.nan], 5))
    assert np.isfinite(state.mean).all()


def test_the_unit_of_the_objective_does_not_matter() -> None:
    """1e-15 times a function is optimized as the function itself."""
    _, _, plain = run(CMAES(), lambda p: sphere(p - 0.3), cube(3), 0, 600)
    _, _, small = run(CMAES(), lambda p: 2.0**-50 * sphere(p - 0.3), cube(3), 0, 600)
    assert small.restarts == plain.restarts == 0
    assert small.mean.tobytes() == plain.mean.tobytes()


# --- tells of all kinds --------------------------------------------------------------------------------------------


@settings(max_examples=30, derandomize=True, deadline=None)
@given(order=st.permutations(list(range(8))), parts=st.integers(1, 8), ties=st.booleans(), seed=st.integers(0, 99))
def test_a_generation_may_be_told_in_any_order_and_in_parts(
    order: list[int], parts: int, ties: bool, seed: int
) -> None:
    recipe = CMAES()
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(3)} | {"n": Int(0, 3), "k": Categorical(["a", "b", "c"])})
    a = recipe.init(space, seed)
    assert a.population == 8
    for _ in range(2):
        points, a = recipe.ask(a, 8)
        a = recipe.tell(a, points, np.nansum(points, axis=1))
    points, a = recipe.ask(a, 8)
    b = load(dump(a), space)
    values = np.round(np.nansum(points, axis=1), 0 if ties else 9)
    a = recipe.tell(a, points, values)
    for part in np.array_split(order, parts):
        b = recipe.tell(b, points[part], values[part])
    assert a.generation == b.generation == 3
    np.testing.assert_allclose(a.mean, b.mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(a.normal.C, b.normal.C, rtol=0, atol=1e-12)
    np.testing.assert_allclose(a.sigma, b.sigma, rtol=1e-12)


def test_an_injected_optimum_is_taken_up() -> None:
    d, recipe = 10, CMAES(sigma0=0.1)
    optimum = np.full(d, 0.83)

    def f(points: Array) -> Array:
        return ellipsoid(points - optimum)

    distance = []
    for inject in (False, True):
        state = recipe.init(cube(d), 0)
        for _ in range(30):
            points, state = recipe.ask(state, state.population - inject)
            if inject:
                points = np.vstack([points, optimum])
            state = recipe.tell(state, points, f(points))
        distance.append(float(np.linalg.norm(state.mean - optimum)))
    assert distance[1] < 0.05 < 0.5 < distance[0]


def test_bad_points_from_outside_are_passed_over() -> None:
    recipe = CMAES()
    _, _, state = run(recipe, lambda p: sphere(p - 0.5), cube(3), 0, 200)
    before = dump(state)
    state = recipe.tell(state, np.zeros((50, 3)), np.full(50, 0.75))
    assert dump(state) == before


def test_what_an_earlier_run_asked_is_not_held_against_the_new_one() -> None:
    recipe = CMAES()
    state = recipe.init(cube(3), 0)
    old, state = recipe.ask(state, 40)
    state = recipe.tell(state, old[40:], [])
    recipe._restart(state, "test")
    mean = state.mean
    state = recipe.tell(state, old, sphere(old))
    assert state.mean.tobytes() == mean.tobytes()


@pytest.mark.parametrize("workers", [4, 40])
def test_workers_that_finish_out_of_order_do_no_harm(workers: int) -> None:
    recipe, rng = CMAES(), np.random.default_rng(1)
    state, out, best = recipe.init(cube(8), 2), [], math.inf
    for _ in range(6000):
        while len(out) < workers:
            points, state = recipe.ask(state, 1)
            out.append(points[0])
        row = out.pop(int(rng.integers(workers)))[None]
        value = sphere(row - 0.37)
        best = min(best, float(value[0]))
        state = recipe.tell(state, row, value)
    assert best < 1e-8


def test_a_large_ask_is_one_generation() -> None:
    recipe = CMAES()
    state = recipe.init(cube(4), 0)
    points, state = recipe.ask(state, 50)
    state = recipe.tell(state, points[:30], sphere(points[:30]))
    assert state.generation == 0
    state = recipe.tell(state, points[30:40], [RELEASED] * 10)
    state = recipe.tell(state, points[40:], sphere(points[40:]))
    assert state.generation == 1


def test_memory_is_flat() -> None:
    recipe = CMAES()
    state = recipe.init(cube(2), 0)
    sizes = []
    for i in range(3000):
        points, state = recipe.ask(state, 6)
        state = recipe.tell(state, points, sphere(points - 0.3) + i)
        if i % 1000 == 999:
            sizes.append(len(dump(state)))
    assert max(sizes) < 50_000
    for _ in range(40):  # asked and never told: the latest ten thousand are remembered
        points, state = recipe.ask(state, 1000)
    assert len(dump(state)) < 600_000


def test_a_large_state_survives_bytes() -> None:
    recipe, space = CMAES(), Space(x=Float(0, 1), n=Int(1, 100, log=True), k=Categorical(["a", "b"]))
    state = recipe.init(space, 0)
    out = []
    for _ in range(60):
        points, state = recipe.ask(state, 7)
        out += list(points)
        state = recipe.tell(state, points[:5], points[:5, 0])
    twin = load(dump(state), space)
    for _ in range(20):
        late = np.array(out[-40:])
        state, twin = recipe.tell(state, late, late[:, 0]), recipe.tell(twin, late, late[:, 0])
        points, state = recipe.ask(state, 7)
        other, twin = recipe.ask(twin, 7)
        assert points.tobytes() == other.tobytes()
        out += list(points)
    assert dump(state) == dump(twin)


def test_mirroring_is_undone() -> None:
    space = cube(3)
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 3, (200, 3))
    rows = fold(space, raw)
    assert ((rows >= 0) & (rows <= 1)).all()
    for r, u in zip(raw, rows, strict=True):
        np.testing.assert_allclose(unfold(space, u[None], r)[0], r, atol=1e-12)
