"""TPE asks where l / g is highest, finds categories and branches soon, and repeats nothing."""

import time

import numpy as np
import pytest
from scipy.stats import truncnorm

from metaloop import InputError, registry
from metaloop.optimizers import TPE, RandomSearch
from metaloop.optimizers.protocol import FAILED, PENDING, RELEASED, Observation
from metaloop.optimizers.state import dump, load
from metaloop.recipe import configure, from_data, space_of, to_data
from metaloop.space import Categorical, Choice, Float, Int, Space
from metaloop.testing import check_optimizer
from metaloop.testing.optimizers import SPACES

BOX = Space.from_bounds([(0.0, 1.0)] * 3)
TREE = Space(
    share=Float(0.0, 1.0),
    model=Choice(
        a=Space(x=Float(0.0, 1.0), y=Float(0.0, 1.0)),
        b=Space(z=Float(0.0, 1.0), kind=Categorical(list("pqr"))),
        c=Space(k=Int(1, 9)),
        d=None,
    ),
)


def bowl(rows):
    return np.nansum((rows - 0.3) ** 2, axis=1)


def branches(rows):
    """Branch b is best, by 0.3, at z = 0.8 with kind "q"; branch a looks better than it on average."""
    out = []
    for c in TREE.decode(rows):
        base = 0.1 * (c["share"] - 0.6) ** 2
        if c["model"] == "a":
            out.append(base + 0.5 + 0.2 * (c["x"] - 0.2) ** 2 + 0.2 * (c["y"] - 0.7) ** 2)
        elif c["model"] == "b":
            out.append(base + 0.2 + 3 * (c["z"] - 0.8) ** 2 + 0.3 * (c["kind"] != "q"))
        else:
            out.append(base + (0.8 if c["model"] == "d" else 0.6 + 0.02 * c["k"]))
    return np.array(out)


def run(optimizer, space, function, n, seed=0, batch=1):
    state = optimizer.init(space, seed)
    for _ in range(n // batch):
        points, state = optimizer.ask(state, batch)
        state = optimizer.tell(state, points, function(points))
    return state


@pytest.mark.parametrize("name", SPACES)
def test_keeps_the_protocol(name):
    check_optimizer(TPE(), [name])


def test_the_acquisition_is_the_ratio_written_out():
    """Independently: scipy's truncated normals, Aitchison & Aitken's kernel, loops; conditional column included."""
    space = Space(c=Categorical(["a", "b", "c"]), x=Float(0.0, 1.0), y=Float(0.0, 1.0, when={"c": "b"}))
    rng = np.random.default_rng(0)
    rows = space.sample(rng, 60)
    values = rng.permutation(60.0 + np.arange(60))
    optimizer = TPE(good=0.2, most_good=25)
    state = optimizer.tell(optimizer.init(space, 0), rows, values)
    order = np.argsort(values)
    rank = np.log(13) - np.log(np.arange(1, 13))

    def density(point, group, weights, spread):
        active = ~np.isnan(group)
        dim = active.sum() / len(group)
        share = 1 / (len(group) + 1)
        leak = 2 * share / (1 + 3 * share)
        s = []
        for j in (1, 2):
            w, x = weights[active[:, j]], group[active[:, j], j]
            mean = (w @ x + 0.5) / (w.sum() + 1)
            variance = (w @ (x - mean) ** 2 + 1 / 12 + (0.5 - mean) ** 2) / (w.sum() + 1)
            effective = w.sum() ** 2 / (w @ w)
            s.append(max(spread * np.sqrt(variance) * effective ** (-1 / (4 + dim)), 0.01))
        total = 1 / 3
        for row, weight in zip(group, weights, strict=True):
            p = 1 - leak if row[0] == point[0] else leak / 2
            for j in (1, 2):
                if not np.isnan(point[j]) and not np.isnan(row[j]):
                    t = s[j - 1]
                    p *= truncnorm.pdf(point[j], -row[j] / t, (1 - row[j]) / t, row[j], t)
            total += weight * p
        return total / (weights.sum() + 1)

    points = space.sample(rng, 40)
    expected = [
        np.log(density(p, rows[order[:12]], rank * 12 / rank.sum(), optimizer.spread_good))
        - np.log(density(p, rows[order[12:]], np.ones(48), optimizer.spread_bad))
        for p in points
    ]
    np.testing.assert_allclose(optimizer.acquisition(state, points), expected, rtol=1e-9, atol=1e-9)


def test_asks_the_best_of_its_candidates():
    optimizer = TPE()
    state = run(optimizer, BOX, bowl, 40)
    found = []
    for _ in range(20):
        twin = load(dump(state), BOX)
        points, state = optimizer.ask(state, 1)
        found.append(optimizer.acquisition(twin, points)[0])
        state = optimizer.tell(state, points, [RELEASED])
    everywhere = optimizer.acquisition(state, BOX.sample(np.random.default_rng(0), 4000))
    assert np.mean(found) > np.quantile(everywhere, 0.9)


def test_categories_are_found_sooner_than_by_random_search():
    space = Space({f"c{i}": Categorical(list("abcde")) for i in range(4)})
    target = space.encode({"c0": "b", "c1": "e", "c2": "a", "c3": "c"})[0]

    def function(rows):
        return (rows != target).sum(axis=1)

    def trials(optimizer, seed):
        state = optimizer.init(space, seed)
        for n in range(1, 1001):
            points, state = optimizer.ask(state, 1)
            if not function(points)[0]:
                return n
            state = optimizer.tell(state, points, function(points))
        return n

    ours = np.array([trials(TPE(), seed) for seed in range(8)])
    by_chance = np.array([trials(RandomSearch(), seed) for seed in range(8)])
    assert ours.max() < 200  # of 625 combinations
    assert 4 * ours.mean() < by_chance.mean()


def test_the_right_branch_is_chosen():
    best, share = [], []
    for seed in range(5):
        archive = run(TPE(), TREE, branches, 120, seed).archive
        best.append(archive.values.min())
        share.append(np.mean([c["model"] == "b" for c in TREE.decode(archive.rows[-40:])]))
    assert np.median(best) < 0.21
    assert np.median(share) > 0.5


def test_beats_random_search_on_a_mixed_space():
    space = SPACES["mixed"]
    pairs = [
        [run(o, space, bowl, 80, seed).archive.values.min() for o in (TPE(), TPE(initial=1000))] for seed in range(4)
    ]
    ours, by_chance = np.array(pairs).T - 0.0356  # no row comes closer to 0.3
    assert ours.mean() < 0.3 * by_chance.mean()


def test_pending_points_repel():
    optimizer = TPE()
    state = run(optimizer, BOX, bowl, 60)
    grid = BOX.sample(np.random.default_rng(0), 2000)
    peak = grid[[np.argmax(optimizer.acquisition(state, grid))]]
    free = optimizer.acquisition(state, peak)[0]
    state = optimizer.tell(state, np.repeat(peak, 5, axis=0), [PENDING] * 5)
    taken = optimizer.acquisition(state, peak)[0]
    assert taken < free - 0.1
    state = optimizer.tell(state, np.repeat(peak, 5, axis=0), [RELEASED] * 5)
    assert optimizer.acquisition(state, peak)[0] == free


def test_a_batch_spreads():
    """Beside as many asks of which none knows of the others."""
    optimizer, gaps = TPE(), []
    for seed in range(6):
        state = run(optimizer, BOX, bowl, 60, seed)
        together, _ = optimizer.ask(load(dump(state), BOX), 24)
        alone = []
        for _ in range(24):
            points, state = optimizer.ask(state, 1)
            alone.append(points[0])
            state = optimizer.tell(state, points, [RELEASED])
        for rows in (together, np.array(alone)):
            gaps.append(np.median([np.sort(np.linalg.norm(rows - r, axis=1))[1] for r in rows]))
    assert np.mean(gaps[::2]) > 1.5 * np.mean(gaps[1::2])


def test_a_thousand_points_in_one_ask_are_quick():
    space = Space.from_bounds([(0.0, 1.0)] * 20)
    optimizer = TPE()
    x = space.sample(np.random.default_rng(0), 200)
    state = optimizer.tell(optimizer.init(space, 0), x, bowl(x))
    start = time.process_time()
    points, state = optimizer.ask(state, 1000)
    assert len(np.unique(points, axis=0)) == 1000
    assert time.process_time() - start < 10


@pytest.mark.parametrize("change", [np.exp, lambda v: v**3, lambda v: 1e9 * v - 7, lambda v: -1 / (1 + v)])
def test_only_the_order_of_the_values_counts(change):
    plain = run(TPE(), TREE, branches, 40)
    changed = run(TPE(), TREE, lambda rows: change(branches(rows)), 40)
    assert plain.archive.rows.tobytes() == changed.archive.rows.tobytes()


def test_a_finite_space_is_searched_without_repeats():
    space = Space(a=Int(1, 6, log=True), b=Categorical(list("xyz")), c=Categorical([0, 1, 2], when={"b": "x"}))
    optimizer = TPE(initial=5)
    state = run(optimizer, space, bowl, 30, batch=3)  # 6 * (3 + 1 + 1) = 30 points
    assert len({row.tobytes() for row in state.archive.rows}) == 30
    more, state = optimizer.ask(state, 4)
    assert len(more) == 4  # exhausted: repeats


def test_a_finite_branch_is_asked_once():
    rows = run(TPE(), TREE, branches, 100).archive.rows
    alone = [row for row in rows if np.isnan(row[2:]).all()]
    assert len({row.tobytes() for row in rows}) == 100
    assert len(alone) < 40  # "d" differs in nothing but `share`


def test_forbidden_ground_is_not_asked_and_its_edge_is_reached():
    space = Space(a=Float(0.0, 1.0), b=Float(0.0, 1.0), forbidden=["a + b > 0.5"])
    state = run(TPE(), space, lambda rows: -rows.sum(axis=1), 80)
    assert space.allowed(state.archive.rows).all()
    assert state.archive.values.min() < -0.47


def test_failed_regions_are_avoided():
    """Half of the cube fails; nothing else tells it from the other half."""
    optimizer, failed = TPE(), []
    for seed in range(3):
        state = optimizer.init(BOX, seed)
        for _ in range(80):
            points, state = optimizer.ask(state, 1)
            x = points[0]
            state = optimizer.tell(state, points, [FAILED if x[1] > 0.5 else float((x[0] - 0.3) ** 2)])
        failed.append(np.isnan(state.archive.values[40:]).mean())
    assert np.mean(failed) < 0.25


def test_constraints_are_kept_to():
    optimizer = TPE()
    state = optimizer.init(BOX, 0)
    for _ in range(100):
        points, state = optimizer.ask(state, 1)
        total = float(points.sum())
        state = optimizer.tell(state, points, [Observation((-total,), (total - 1.5,))])
    feasible = state.archive.violations == 0
    assert state.archive.values[feasible].min() < -1.4
    assert feasible[50:].mean() > 0.4


def test_points_told_from_outside_count():
    optimizer = TPE(initial=10)
    x = BOX.sample(np.random.default_rng(0), 10)
    state = optimizer.tell(optimizer.init(BOX, 0), x[:9], bowl(x[:9]))
    assert not optimizer.acquisition(state, x).any()
    state = optimizer.tell(state, x[9:], bowl(x[9:]))
    assert np.ptp(optimizer.acquisition(state, x)) > 0


def test_is_a_recipe_and_has_a_name():
    assert registry.find("optimizers", "tpe") is TPE
    assert {"good", "candidates", "spread_good"} <= set(space_of(TPE()).labels)
    tuned = configure(TPE(), {"candidates": 64})
    assert from_data(to_data(tuned)) == tuned


@pytest.mark.parametrize(
    "bad",
    [{"initial": 0}, {"least_good": 0}, {"good": 0.0}, {"good": 1.0}, {"most_good": 0}, {"most_bad": 0},
     {"candidates": 0}, {"prior": 0.0}, {"spread_good": -1.0}, {"spread_bad": float("inf")}],
)  # fmt: skip
def test_refuses_bad_settings(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        TPE(**bad)
