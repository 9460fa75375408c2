"""Halving ends the losers, never the one that leads at every rung; Hyperband's brackets are the paper's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metaloop as ml
from metaloop.optimizers.protocol import Observation, Status
from metaloop.testing import check_optimizer

SPACE = ml.Space(x=ml.Float(0, 1))


@pytest.mark.parametrize("recipe", [ml.SuccessiveHalving(), ml.Hyperband(min_fidelity=1 / 9), ml.Hyperband(ml.CMAES())])
def test_keeps_the_protocol(recipe):
    check_optimizer(recipe)


def test_the_brackets_are_those_of_the_paper():
    rule = ml.Hyperband(min_fidelity=1 / 81).rule  # Li et al. 2018, table 1: R = 81, factor 3
    assert rule.shares == (81, 34, 15, 8, 5)
    assert rule.rungs == pytest.approx((1 / 81, 1 / 27, 1 / 9, 1 / 3))
    assert rule.brackets == (0, 1, 2, 3, 4)
    assert ml.SuccessiveHalving(min_fidelity=1.0).rule.rungs == ()


def test_evaluations_begin_in_the_brackets_by_their_shares():
    recipe = ml.Hyperband(min_fidelity=1 / 81)
    state = recipe.init(SPACE, 0)
    _, state = recipe.ask(state, 143)
    assert state.begun.tolist() == [81, 34, 15, 8, 5]


def evaluate(recipe, state, row, curve):
    """Fidelity that an evaluation reaches whose value at fidelity f is curve(f)."""
    for epoch in range(1, 28):
        fidelity = epoch / 27
        if epoch < 27:
            seen = Observation((curve(fidelity),), fidelity=fidelity, status=Status.RUNNING)
            state = recipe.tell(state, row[None], [seen])
            if not recipe.stop(state, row):
                continue
        return fidelity, recipe.tell(state, row[None], [Observation((curve(fidelity),), fidelity=fidelity)])
    raise AssertionError


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(40)), st.sampled_from([2, 3, 4]))
def test_the_best_is_never_ended_and_few_others_finish(order, factor):
    recipe = ml.SuccessiveHalving(min_fidelity=1 / 27, factor=factor)
    state = recipe.init(SPACE, 0)
    reached = {}
    for rank in order:
        points, state = recipe.ask(state, 1)
        reached[rank], state = evaluate(recipe, state, points[0], lambda f, rank=rank: rank + (1 - f))
    assert reached[0] == 1.0
    # of those at the first rung, at most the running best 1/factor go on: harmonic sums bound it for any order
    passed = sum(f > recipe.rule.rungs[0] + 1e-9 for f in reached.values())
    at_most = sum(1 for n in range(1, 41) if sum(r < order[n - 1] for r in order[:n]) < max(1, n // factor))
    assert passed == at_most
    assert len(state.rows) == 0
    decision = recipe.decisions(state)[0]
    assert f"{sum(f < 1 for f in reached.values())} of 40" in decision.chosen


def test_every_crossed_rung_counts_when_reports_are_rare():
    recipe = ml.SuccessiveHalving(min_fidelity=1 / 27)
    state = recipe.init(SPACE, 0)
    points, state = recipe.ask(state, 2)
    state = recipe.tell(state, points[:1], [Observation((1.0,), fidelity=0.5, status=Status.RUNNING)])
    assert not recipe.stop(state, points[0])
    assert state.results[:, 1].tolist() == [0, 1, 2]
    state = recipe.tell(state, points[1:], [Observation((2.0,), fidelity=0.05, status=Status.RUNNING)])
    assert recipe.stop(state, points[1])
    assert not recipe.stop(state, points[0])


def test_a_feasible_evaluation_beats_an_infeasible_one():
    recipe = ml.SuccessiveHalving()
    state = recipe.init(SPACE, 0)
    points, state = recipe.ask(state, 2)
    for row, value, constraint in zip(points, (5.0, 1.0), (-1.0, 0.2), strict=True):
        seen = Observation((value,), (constraint,), fidelity=0.1, status=Status.RUNNING)
        state = recipe.tell(state, row[None], [seen])
    assert [recipe.stop(state, p) for p in points] == [False, True]


def curve(config):
    """Converges to (x - 0.3)^2; yields 27 times."""
    for epoch in range(1, 28):
        yield {"value": (config["x"] - 0.3) ** 2 + 1 - epoch / 27, "fidelity": epoch / 27}


@pytest.mark.parametrize("workers", [None, 2])
def test_more_configurations_for_the_same_effort(workers):
    result = ml.minimize(curve, SPACE, budget=60, optimizer=ml.SuccessiveHalving(), workers=workers)
    effort = sum(t.observation.fidelity for t in result.trials)
    assert effort < 25
    assert result.value < 0.002
    best = result.trials[[t.config for t in result.trials].index(result.config)]
    assert best.observation.fidelity == 1.0
    assert best.reports
    assert "ended early" in str(result.why)


def test_without_reports_it_is_the_searcher_and_says_so():
    def bowl(c):
        return (c["x"] - 0.3) ** 2

    plain = ml.minimize(bowl, SPACE, budget=10, optimizer=ml.RandomSearch())
    halved = ml.minimize(bowl, SPACE, budget=10, optimizer=ml.Hyperband())
    assert [t.config for t in plain.trials] == [t.config for t in halved.trials]
    assert "reported no intermediate value" in str(halved.why)


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    whole = ml.minimize(curve, SPACE, budget=20, optimizer=ml.Hyperband(), seed=4)
    path = tmp_path / "a.db"
    ml.minimize(curve, SPACE, budget=7, optimizer=ml.Hyperband(), seed=4, store=path)
    study = ml.Study(path)
    trial = study.ask()  # evaluated in part, then abandoned
    for step in curve(trial.config):
        if study.report(trial, step) or step["fidelity"] > 0.2:
            break
    study.ask(config={"x": 0.9})
    study.close()
    with ml.Study(path) as study:
        assert len(study.trials[7].reports) >= 1
        study.release(8)
    resumed = ml.minimize(curve, SPACE, budget=20, optimizer=ml.Hyperband(), seed=4, store=path)
    assert [t.config for t in resumed.trials[:8]] == [t.config for t in whole.trials[:8]]
    assert [t.observation for t in resumed.trials[:8]] == [t.observation for t in whole.trials[:8]]
    assert [t.reports for t in resumed.trials[:8]] == [t.reports for t in whole.trials[:8]]


def test_objectives_that_yield_nonsense_fail():
    def bare(c):
        yield c["x"]

    def nan(c):
        yield {"value": float("nan"), "fidelity": 0.5}

    def nothing(c):
        return
        yield

    def result_at_the_end(c):
        yield {"value": 3.0, "fidelity": 0.5}
        return c["x"]

    for objective, says in ((bare, "'value' and 'fidelity'"), (nan, "returned nan"), (nothing, "yielded nothing")):
        trials = ml.minimize(objective, SPACE, budget=2, optimizer=ml.Hyperband()).trials
        assert all(says in t.error for t in trials), trials
    for t in ml.minimize(result_at_the_end, SPACE, budget=2, optimizer=ml.RandomSearch()).trials:
        assert t.value == t.config["x"]


def test_bad_settings_are_refused():
    for bad in ({"min_fidelity": 0}, {"min_fidelity": 2}, {"factor": 1}, {"factor": 2.5}, {"searcher": 3}):
        with pytest.raises(ml.InputError):
            ml.SuccessiveHalving(**bad)
    study = ml.Study(space=SPACE, optimizer=ml.Hyperband())
    trial = study.ask()
    with pytest.raises(ml.InputError, match="fidelity"):
        study.report(trial, {"value": 1.0, "fidelity": 0})


def test_it_beats_full_evaluations_at_equal_effort():
    """Random search with halving against random search, both with the effort of 20 full evaluations."""
    gains = []
    for seed in range(20):
        halved = ml.minimize(curve, SPACE, budget=120, optimizer=ml.SuccessiveHalving(), seed=seed)
        spent = np.cumsum([t.observation.fidelity for t in halved.trials])
        within = [t.value for t, s in zip(halved.trials, spent, strict=True) if s <= 20 and t.observation.fidelity == 1]
        full = ml.minimize(lambda c: (c["x"] - 0.3) ** 2, SPACE, budget=20, optimizer="RandomSearch", seed=seed)
        gains.append(np.log10(full.value) - np.log10(min(within)))
    assert np.mean(gains) > 0.3
