"""Auto: it reads the regime off the problem and the run, all optimizers hear of every point, decisions explain."""

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


def test_exact_values_of_real_parameters_go_to_the_trust_region():
    auto, state, values = play(REAL, bowl, 60)
    assert list(state.members) == ["region", "model"]
    assert state.noisy is False
    assert values.min() < 1e-8
    chosen = [d.chosen for d in auto.decisions(state)]
    assert "a trust region starts" in chosen[0]
    assert "observations are taken as exact" in chosen[1]


def test_after_the_models_share_evolution_has_a_quarter_of_the_turns():
    auto, state, _ = play(Space.from_bounds([(0.0, 1.0)]), lambda r: float(np.sin(30 * r[0]) + r[0]), 200)
    assert set(state.members) == {"region", "evolution"}
    assert any("CMA-ES" in d.chosen for d in auto.decisions(state))
    turns = []
    for _ in range(64):
        turns.append(auto._whose_turn(state))
        state.turn += 1
    assert turns.count("evolution") == 16


def test_noise_is_noticed_and_three_optimizers_take_turns():
    rng = np.random.default_rng(0)
    auto, state, _ = play(REAL, lambda r: bowl(r) + 0.1 * rng.standard_normal(), 40)
    assert state.noisy is True
    assert set(state.members) == {"region", "model", "evolution"}
    assert {auto._whose_turn(state) for state.turn in range(3)} == {"region", "model", "evolution"}
    # every one of them knows every point
    told = {len(state.members[name].archive) for name in ("region", "model")}
    assert told == {40}


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
    ours = [play(space, loss, 60, seed)[2].min() for seed in range(3)]
    random = [min(loss(r) for r in space.sample(np.random.default_rng(s), 60)) for s in range(3)]
    assert np.median(ours) < 0.5 * np.median(random)
