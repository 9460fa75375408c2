"""Portfolio: members share every point, turns follow the scheduler, the run replays from bytes."""

import numpy as np
import pytest

import metaloop as ml
from metaloop.control import Credit, Shares
from metaloop.errors import InputError
from metaloop.optimizers.protocol import PENDING
from metaloop.optimizers.state import dump, load
from metaloop.selection.portfolio import Portfolio
from metaloop.space import Space
from metaloop.testing import check_optimizer

CUBE = Space.from_bounds([(0.0, 1.0)] * 3)


def bowl(row):
    return float(((row - 0.3) ** 2 * [1, 10, 100]).sum())


def play(recipe, budget, loss=bowl, seed=0, space=CUBE):
    state, values = recipe.init(space, seed), []
    for _ in range(budget):
        rows, state = recipe.ask(state, 1)
        values.append(loss(rows[0]))
        state = recipe.tell(state, rows, values[-1:])
    return state, np.array(values)


def test_conformance():
    check_optimizer(Portfolio(["CMAES", "GaussianProcess"]))
    check_optimizer(Portfolio(["TrustRegion", "DifferentialEvolution", "TPE"], Shares((2.0, 1.0, 1.0))))


def test_every_member_knows_every_point():
    recipe = Portfolio(["GaussianProcess", "TrustRegion", "SurrogateCMAES"], Shares())
    state, _ = play(recipe, 30)
    for member in state.members:
        assert {r.tobytes() for r in member.archive.rows} == {r.tobytes() for r in state.archive.rows}


def test_turns_are_shared_as_the_weights_say():
    recipe = Portfolio(["RandomSearch", "Sobol"], Shares((3.0, 1.0)))
    state, _ = play(recipe, 40)
    askers = recipe.turns(state)[0]
    assert (askers.count("RandomSearch"), askers.count("Sobol")) == (30, 10)
    # at every moment, not only in the end
    assert all(abs(askers[:k].count("Sobol") - k / 4) <= 1 for k in range(41))


def test_who_gains_has_the_turns():
    recipe = Portfolio(["RandomSearch", "TrustRegion"])
    state, values = play(recipe, 80)
    assert recipe.turns(state)[0].count("TrustRegion") > 40
    assert values.min() < 1e-8


def test_points_that_come_from_outside_are_nobodys():
    recipe = Portfolio(["RandomSearch", "CMAES"])
    state = recipe.init(CUBE, 0)
    rows = CUBE.sample(np.random.default_rng(0), 5)
    state = recipe.tell(state, rows, [bowl(r) for r in rows])
    assert recipe.turns(state)[0] == ("",) * 5
    asked, state = recipe.ask(state, 1)
    state = recipe.tell(state, asked, [bowl(asked[0])])
    assert recipe.turns(state)[0][-1] in recipe.names


def test_points_that_are_out_are_known_to_all_and_not_asked_again():
    recipe = Portfolio(["GaussianProcess", "TrustRegion"], Shares())
    state, _ = play(recipe, 12)
    rows, state = recipe.ask(state, 8)
    assert len(np.unique(rows, axis=0)) == 8
    assert len(state.archive.pending) == 8
    state = recipe.tell(state, rows[::-1], [bowl(r) for r in rows[::-1]])
    assert not len(state.out)
    assert not len(state.archive.pending)
    assert recipe.turns(state)[0][-8:].count("TrustRegion") == 4
    state = recipe.tell(state, rows[:1], [PENDING])  # of a point that is known
    assert len(recipe.turns(state)[0]) == 20


def test_exact_values_are_not_paid_for_twice():
    space = Space(k=ml.Int(1, 30), a=ml.Int(1, 3))
    recipe = Portfolio(["RandomSearch", "DifferentialEvolution"], Shares(), exact=True)
    state, _ = play(recipe, 60, lambda r: float((r - 0.4) @ (r - 0.4)), space=space)
    assert len(np.unique(state.archive.rows, axis=0)) == len(state.archive) == 60


def test_a_member_that_has_no_more_points_leaves_its_turns_to_others():
    space = Space(k=ml.Int(1, 4), x=ml.Categorical(["a", "b"]))
    recipe = Portfolio(["GridSearch", "RandomSearch"], Shares())
    state, _ = play(recipe, 30, lambda r: float(r.sum()), space=space)
    assert recipe.turns(state)[0].count("GridSearch") == 8
    assert recipe.ask(recipe.init(space, 0), 0)[0].shape == (0, 2)


def test_a_dumped_run_goes_on_bit_for_bit():
    recipe = Portfolio(["TrustRegion", "CMAES", "TPE"], Credit(memory=5.0))
    one, _ = play(recipe, 20)
    two = load(dump(one), CUBE)
    for _ in range(15):
        rows, one = recipe.ask(one, 2)
        again, two = recipe.ask(two, 2)
        assert rows.tobytes() == again.tobytes()
        one, two = (recipe.tell(s, rows, [bowl(r) for r in rows]) for s in (one, two))


def test_it_runs_in_minimize_and_says_who_asked():
    result = ml.minimize(lambda p: bowl(np.array(list(p))), [(0.0, 1.0)] * 3, budget=40, progress=False,
                         optimizer=Portfolio(["TrustRegion", "GaussianProcess", "GaussianProcess"]))  # fmt: skip
    assert result.value < 1e-3
    assert Portfolio(["CMAES", "CMAES"]).names == ("CMAES 1", "CMAES 2")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Portfolio([]), "members was"),
        (lambda: Portfolio("CMAES"), "members was 'CMAES'"),
        (lambda: Portfolio(["CMA"]), "unknown optimizer 'CMA'"),
        (lambda: Portfolio(["CMAES"], budget=0), "budget was 0"),
        (lambda: Portfolio(["CMAES"], Shares((1.0, 2.0))), "weights was"),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()
