"""Whose turn it was, and what it gained: counted by hand, and the same after a study is opened again."""

import math

import pytest

import metaloop as ml
from metaloop.control import Shares
from metaloop.optimizers.protocol import Decision
from metaloop.study.why import Why

CHANGE = Decision(3, "three trials are told", "it is time", "b joins", "more")
RUN = Why((Decision(0, "a space", "it fits", "a starts", "some"), CHANGE), ("a note",),
          ("a", "", "a", "b", "a", "b"), (5.0, 4.0, 3.0, 3.5, math.nan, 1.0))  # fmt: skip


def test_shares_and_gains_are_counted_by_hand():
    assert RUN.shares() == {"a": 3, "b": 2, "": 1}
    assert RUN.gains() == {"a": 1.0, "": 1.0, "b": 2.0}
    assert RUN.shares(3) == {"b": 2, "a": 1}
    assert RUN.gains(0, 3) == {"a": 1.0, "": 1.0}


def test_of_a_maximum_the_signs_turn():
    up = Why((), (), RUN.askers, tuple(-v for v in RUN.values), maximize=True)
    assert up.gains() == RUN.gains()


def test_the_timeline_is_cut_at_the_decisions():
    assert RUN.timeline == [
        "Trials 1 to 3: a 2 trials, better by 1; starts and repetitions 1 trial, better by 1.",
        "Trials 4 to 6: b 2 trials, better by 2; a 1 trial.",
    ]
    assert RUN.sentences == [*map(str, RUN.decisions), *RUN.timeline, "a note"]


def test_before_the_first_value_nothing_is_gained():
    assert Why((), (), ("a", "a"), (math.nan, math.nan)).gains() == {"a": 0.0}
    assert Why((), ()).timeline == []


@pytest.mark.parametrize("maximize", [False, True])
def test_a_study_tells_its_solvers_apart_and_remembers_them(tmp_path, maximize):
    sign = -1.0 if maximize else 1.0

    def objective(x):
        return math.nan if x[0] > 1.5 else sign * float((x**2).sum())

    url = tmp_path / "runs.db"
    recipe = ml.Portfolio([ml.RandomSearch(), ml.CMAES()], schedule=Shares((1.0, 3.0)))
    run = ml.maximize if maximize else ml.minimize
    result = run(objective, [(-2.0, 2.0)] * 2, budget=40, seed=3, optimizer=recipe, store=url)
    assert result.why.shares() == {"CMAES": 30, "RandomSearch": 10}
    assert result.why.values == pytest.approx([t.value for t in result.trials], nan_ok=True)
    first = next(t.value for t in result.trials if math.isfinite(t.value))
    assert sum(result.why.gains().values()) == pytest.approx(abs(first - result.value))
    again = ml.Study(url).result().why
    assert again.askers == result.why.askers


def test_what_the_user_starts_with_is_nobody_s():
    result = ml.minimize(lambda c: c["x"] ** 2, ml.Space(x=ml.Float(-1, 1)), budget=10, start=[{"x": 0.5}])
    assert result.why.askers[0] == ""
    assert result.why.shares()[""] == 1


def test_a_single_optimizer_has_no_turns():
    result = ml.minimize(lambda c: c["x"] ** 2, ml.Space(x=ml.Float(-1, 1)), budget=5, optimizer=ml.RandomSearch())
    assert result.why.askers == ()
    assert result.why.timeline == []
