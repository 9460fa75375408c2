"""Auto: it reads the regime off the problem and the run, all optimizers hear of every point, decisions explain."""

import math

import numpy as np
import pytest

import metaloop as ml
from metaloop.optimizers.state import dump, load
from metaloop.space import Space
from metaloop.testing import check_optimizer

REAL = Space.from_bounds([(0.0, 1.0)] * 3)
MIXED = Space(x=ml.Float(0, 1), kind=ml.Categorical(list("abc")))


def play(space, loss, budget, seed=0, auto=None):
    auto = auto or ml.Auto(budget=budget)
    state, values = auto.init(space, seed), []
    for _ in range(budget):
        rows, state = auto.ask(state, 1)
        values.append(loss(rows[0]))
        state = auto.tell(state, rows, values[-1:])
    return auto, state, np.array(values)


def bowl(row):
    return float(((row - 0.3) ** 2 * [1, 10, 100]).sum())


@pytest.mark.parametrize("budget", [None, 40])
def test_conformance(budget):
    check_optimizer(ml.Auto(budget=budget))


def test_exact_values_of_real_parameters():
    auto, state, values = play(REAL, bowl, 60)
    assert list(state.members) == ["region", "model", "population"]
    assert state.noisy is False
    assert values.min() < 1e-8
    decisions = auto.decisions(state)
    assert "a trust region and a Gaussian process start" in decisions[0].chosen
    assert "observations are taken as exact" in decisions[1].chosen
    assert "CMA-ES" in decisions[2].chosen
    assert decisions[2].trial == 18


def test_in_the_beginning_the_trust_region_has_three_turns_of_four():
    auto, state, _ = play(REAL, bowl, 20)
    askers = auto.turns(state)[0]
    assert len(askers) == 20
    assert askers[:17].count("Gaussian process") == 4


def test_a_run_of_few_trials_repeats_nothing_and_leans_on_the_trust_region():
    auto, state, _ = play(REAL, bowl, 17)
    askers = auto.turns(state)[0]
    assert "" not in askers
    assert askers.count("Gaussian process") == 1
    assert len(np.unique(state.archive.rows, axis=0)) == 17


def test_a_long_run_ends_without_a_model():
    auto, state, _ = play(Space.from_bounds([(0.0, 1.0)]), lambda r: float(np.sin(30 * r[0]) + r[0]), 540)
    assert list(state.members) == ["region", "population"]
    late = auto.turns(state)[0][500:]
    assert set(late) == {"trust region", "CMA-ES with a surrogate"}
    assert [d.chosen for d in auto.decisions(state)][-1] == "the Gaussian process ends"


def test_exact_values_are_not_paid_for_twice():
    _, state, _ = play(REAL, bowl, 120)
    assert len(np.unique(state.archive.rows, axis=0)) == 119  # one repetition shows that there is no noise


def test_noise_is_noticed_and_three_optimizers_take_turns():
    rng = np.random.default_rng(0)
    auto, state, _ = play(REAL, lambda r: bowl(r) + 0.1 * rng.standard_normal(), 60)
    assert state.noisy is True
    assert list(state.members) == ["model", "region", "evolution"]
    turns = [name for name in auto.turns(state)[0][-30:] if name]
    assert all(turns.count(name) >= 9 for name in set(turns))
    assert len(set(turns)) == 3
    # every one of them knows every point
    told = {len(state.members[name].archive) for name in ("region", "model")}
    assert told == {60}


def test_under_noise_the_point_believed_best_is_evaluated_again():
    rng = np.random.default_rng(0)
    auto, state, _ = play(REAL, lambda r: bowl(r) + 5 * rng.standard_normal(), 100, auto=ml.Auto(budget=100))
    unasked = [k for k, name in enumerate(auto.turns(state)[0]) if not name]
    assert 6 <= len(unasked) <= 10  # one every twelve trials
    rows = state.archive.rows
    assert all((rows[:k] == rows[k]).all(axis=1).any() for k in unasked)


def test_points_told_from_outside_and_many_at_once():
    auto, rng = ml.Auto(budget=200), np.random.default_rng(0)
    state = auto.init(REAL, 0)
    rows = REAL.sample(rng, 30)
    state = auto.tell(state, rows, [bowl(r) for r in rows])
    for _ in range(4):
        rows, state = auto.ask(state, 16)
        assert len(rows) == 16
        state = auto.tell(state, rows, [bowl(r) for r in rows])
    assert state.noisy is False
    assert len(auto.turns(state)[0]) == 94
    assert state.archive.merit().min() < 1e-2


def test_categories_are_left_to_the_gaussian_process():
    _, state, values = play(MIXED, lambda r: float((r[0] - 0.6) ** 2 + (r[1] > 0.5)), 30)
    assert list(state.members) == ["model"]
    assert values.min() < 1e-3


def test_so_are_parameters_of_few_values():
    space = Space(x=ml.Float(0, 1), depth=ml.Int(1, 4))
    _, state, _ = play(space, lambda r: float(((r - 0.4) ** 2).sum()), 10)
    assert list(state.members) == ["model"]


def test_few_configurations_are_all_tried():
    space = Space(a=ml.Int(1, 4), b=ml.Categorical(list("xy")))
    auto, state, _ = play(space, lambda r: float(r.sum()), 8)
    assert len({row.tobytes() for row in state.archive.rows}) == 8
    assert "only 8 configurations" in auto.decisions(state)[0].rule


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_dumped_run_goes_on_bit_for_bit(noise):
    rng = np.random.default_rng(1)
    told = noise * rng.standard_normal(200)
    auto, one = ml.Auto(budget=200), ml.Auto(budget=200).init(REAL, 3)
    two = None
    for k in range(30):
        rows, one = auto.ask(one, 1)
        if two is not None:
            again, two = auto.ask(two, 1)
            assert again.tobytes() == rows.tobytes()
            two = auto.tell(two, rows, [bowl(rows[0]) + told[k]])
        one = auto.tell(one, rows, [bowl(rows[0]) + told[k]])
        if k == 14:
            two = load(dump(one), REAL)


def test_it_beats_random_search_in_ten_dimensions():
    def loss(row):
        return float(((row - 0.37) ** 2).sum() + 0.1 * (1 - np.cos(20 * (row - 0.37))).sum())

    space = Space.from_bounds([(0.0, 1.0)] * 10)
    ours = [play(space, loss, 60, seed)[2].min() for seed in range(10)]
    random = [min(loss(r) for r in space.sample(np.random.default_rng(s), 60)) for s in range(10)]
    assert np.log(np.divide(ours, random)).mean() < np.log(0.7)


def test_a_model_thinks_for_no_longer_than_it_may():
    def told(noise, **settings):
        rng = np.random.default_rng(0)
        auto = ml.Auto(budget=300, **settings)
        state = auto.init(REAL, 0)
        for _ in range(60):
            rows, state = auto.ask(state, 1)
            state = auto.tell(state, rows, [float(((rows - 0.3) ** 2).sum() + noise * rng.normal())])
        return state

    assert "model" in told(0.0).members
    assert "model" not in told(0.0, think=0.0).members
    for noise in (0.0, 0.1):
        sparing = told(noise, think=0.002)
        assert "model" not in sparing.members
        assert sparing.thought <= 0.002 * 60 + 0.05  # what it had when it was noticed, and one suggestion more
    hurried = told(0.0, seconds=0.4)
    assert "model" not in hurried.members
    assert 0.1 < hurried.thought < 0.15
    assert dump(told(0.0, think=0.002)) == dump(told(0.0, think=0.002))


@pytest.mark.parametrize(("trials", "repeats"), [(15, False), (500, True)])
def test_recorded_durations_say_how_many_trials_there_is_time_for(trials, repeats):
    """15 are too few to spend one on a repetition."""
    auto = ml.Auto(seconds=10.0)
    state = auto.init(REAL, 0)
    for _ in range(8):
        rows, state = auto.ask(state, 1)
        state = auto.tell(state, rows, [ml.Observation((bowl(rows[0]),), seconds=10.0 / trials)])
    assert (state.repeated is not None) == repeats


def test_points_evaluated_at_the_same_time_share_their_time():
    auto = ml.Auto(seconds=10.0)
    rows, state = auto.ask(auto.init(REAL, 0), 4)
    for row in rows:
        state = auto.tell(state, row[None], [ml.Observation((1.0,), seconds=1.0)])
    assert state.clock == pytest.approx(1.0)
    assert state.clocked == 4


@pytest.mark.parametrize("bad", [{"seconds": 0}, {"think": -1.0}, {"think": math.inf}])
def test_times_out_of_range_are_refused(bad):
    with pytest.raises(ml.InputError, match=next(iter(bad))):
        ml.Auto(**bad)
