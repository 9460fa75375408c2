"""A study remembers everything, refuses what does not fit, and goes on where it was."""

import numpy as np
import pytest

from metaloop import CMAES, Categorical, Float, GridSearch, InputError, Int, RandomSearch, Space, Study
from metaloop.optimizers.state import dump
from metaloop.study import TrialState
from metaloop.study.fold import Fold

SPACE = Space(x=Float(-5, 5), k=Categorical(["a", "b"]), n=Int(1, 3, when={"k": "a"}))


def value(config):
    return (config["x"] - 1) ** 2 + config.get("n", 0)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    return None if request.param == "memory" else f"sqlite:///{tmp_path}/study.db"


def test_ask_and_tell(store):
    with Study(store, space=SPACE, optimizer=RandomSearch()) as study:
        trial = study.ask()
        assert trial.number == 0
        assert trial.state is TrialState.RUNNING
        assert study.running == [trial]
        done = study.tell(trial, value(trial.config))
        assert done.state is TrialState.COMPLETE
        assert done.value == value(trial.config)
        assert study.running == []
        assert study.result().config == trial.config


def test_failed_released_own_and_added_trials(store):
    with Study(store, space=SPACE, optimizer=RandomSearch()) as study:
        assert study.tell(study.ask(), float("nan")).state is TrialState.FAILED
        failed = study.tell(study.ask(), None, error="Traceback\nValueError: no")
        assert failed.error.endswith("no")
        assert study.release(study.ask()).state is TrialState.RELEASED
        own = study.ask(config={"x": 0.5, "k": "b"})
        assert own.config == {"x": 0.5, "k": "b"}
        study.tell(own.number, {"value": 1.0, "cost": 2.5})
        study.add({"x": 1.0, "k": "b"}, 0.0)
        assert [str(t.state) for t in study.trials] == ["failed", "failed", "released", "complete", "complete"]
        assert study.trials[3].observation.cost == 2.5
        assert study.result().value == 0.0
        assert study.assurance.independent == 2
        assert "2 of 5 trials failed; the last one: ValueError: no" in str(study.why())


def test_batches_have_gapless_numbers_and_a_grid_ends(store):
    with Study(store, space=Space(a=Int(1, 3), b=Int(1, 2)), optimizer=GridSearch()) as study:
        assert [t.number for t in study.ask_many(4)] == [0, 1, 2, 3]
        assert [t.number for t in study.ask_many(4)] == [4, 5]
        assert study.ask_many(4) == []
        with pytest.raises(StopIteration, match="nothing left"):
            study.ask()


def test_what_cannot_be_told_is_refused(store):
    with Study(store, space=SPACE, optimizer=RandomSearch()) as study:
        trial = study.ask()
        study.tell(trial, 1.0)
        with pytest.raises(InputError, match="this one is complete with value 1"):
            study.tell(trial, 2.0)
        with pytest.raises(InputError, match="the number of one of the 1 trials"):
            study.tell(7, 2.0)
        with pytest.raises(InputError, match="'k' is missing"):
            study.ask(config={"x": 1.0})
        assert study.trials[0].value == 1.0
        assert study.ask().number == 1


def test_maximize_keeps_the_users_sign(store):
    with Study(store, space=SPACE, optimizer=CMAES(), maximize=True) as study:
        for _ in range(60):
            trial = study.ask()
            study.tell(trial, -value(trial.config))
        result = study.result()
        assert result.value == max(t.value for t in study.trials)
        assert result.value > -1.0


def test_infeasible_trials_are_not_the_incumbent(store):
    with Study(store, space=SPACE, optimizer=RandomSearch()) as study:
        for _ in range(20):
            trial = study.ask()
            study.tell(trial, {"value": trial.config["x"], "constraints": [-trial.config["x"]]})
        assert study.result().config["x"] == min(t.config["x"] for t in study.trials if t.config["x"] >= 0)
    with Study(space=SPACE, optimizer=RandomSearch()) as study:
        trial = study.ask()
        study.tell(trial, {"value": 0.0, "constraints": [1.0]})
        assert "No trial was feasible" in str(study.why())


def test_an_existing_study_goes_on_as_it_was(tmp_path):
    url = tmp_path / "a.db"
    with Study(url, name="one", space=SPACE, seed=3, optimizer=CMAES(sigma0=0.2)) as study:
        first = [study.ask() for _ in range(3)]
        study.tell(first[1], 1.5)
    with Study(url, name="one") as again:
        assert again.optimizer == CMAES(sigma0=0.2)
        assert [t.config for t in again.trials] == [t.config for t in first]
        assert [t.number for t in again.running] == [0, 2]
        assert again.trials[1].value == 1.5
        again.tell(0, 0.5)
    for wrong, says in (
        ({"space": Space(x=Float(0, 1))}, "another space"),
        ({"seed": 4}, "another seed"),
        ({"maximize": True}, "another maximize"),
        ({"optimizer": RandomSearch()}, "another optimizer"),
    ):
        with pytest.raises(InputError, match=says):
            Study(url, name="one", **wrong)
    with pytest.raises(InputError, match="did you mean 'one'"):
        Study(url, name="on")


def test_two_processes_on_one_file_share_every_trial(tmp_path):
    url = tmp_path / "a.db"
    a = Study(url, space=SPACE, optimizer=CMAES())
    b = Study(url, space=SPACE, optimizer=CMAES())
    for i in range(30):
        study, other = (a, b) if i % 2 else (b, a)
        trial = study.ask()
        other.tell(trial.number, value(trial.config))
    assert [t.number for t in a.trials] == list(range(30))
    assert [t.config for t in a.trials] == [t.config for t in b.trials]
    alone = Study(space=SPACE, optimizer=CMAES())
    for t in a.trials:
        trial = alone.ask()
        assert trial.config == t.config
        alone.tell(trial, value(trial.config))


def test_an_error_inside_leaves_the_study_as_it_was(tmp_path, monkeypatch):
    study = Study(tmp_path / "a.db", space=SPACE, optimizer=CMAES())
    reference = Study(space=SPACE, optimizer=CMAES())
    for _ in range(12):
        expected = reference.ask()
        monkeypatch.setattr(study.store, "_project", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            study.ask()
        monkeypatch.undo()
        trial = study.ask()
        assert trial.config == expected.config
        monkeypatch.setattr(study.store, "_project", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            study.tell(trial, value(trial.config))
        monkeypatch.undo()
        study.tell(trial, value(trial.config))
        reference.tell(expected, value(expected.config))


def test_two_commits_a_trial_whatever_the_number_of_parameters(tmp_path):
    for dim in (1, 40):
        study = Study(tmp_path / f"{dim}.db", space=[(-1, 1)] * dim, optimizer=RandomSearch())
        statements = []
        study.store._db._db.set_trace_callback(statements.append)
        for _ in range(5):
            study.tell(study.ask(), 1.0)
        assert statements.count("COMMIT") == 10


def test_bounds_give_vectors_back():
    study = Study(space=[(-5, 5), (0, 1)], optimizer=RandomSearch())
    trial = study.ask()
    study.tell(trial, 1.0)
    np.testing.assert_array_equal(study.result().x, [trial.config["x0"], trial.config["x1"]])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "give a space"),
        ({"space": SPACE, "seed": -1}, "seed was -1"),
        ({"space": SPACE, "seed": 1.5}, "seed was 1.5"),
        ({"space": SPACE, "name": ""}, "name was ''"),
        ({"space": SPACE, "optimizer": "CMASE"}, "did you mean 'CMAES'"),
        ({"space": SPACE, "optimizer": CMAES}, r"write CMAES\(\)"),
        ({"space": SPACE, "optimizer": 3}, "init, ask and tell"),
        ({"space": SPACE, "store": "mysql://host/db"}, "store was 'mysql://host/db'"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        Study(**arguments)


def test_a_transaction_is_one_commit_or_nothing(store):
    study = Study(store, space=SPACE, optimizer=CMAES())
    first = study.ask()
    count = len(study.store.events("study"))
    with study.transaction():
        study.tell(first, 1.0)
        second = study.ask()
        assert [t.number for t in study.running] == [1]
        assert len(study.store.events("study")) == count  # nothing before the end
    assert [e.kind for e in study.store.events("study")] == ["ask", "tell", "ask"]

    def both():
        with study.transaction():
            study.tell(second, 2.0)
            study.tell(first, 3.0)

    with pytest.raises(InputError, match="a running one"):
        both()
    assert study.trials[1].state is TrialState.RUNNING
    assert study.tell(1, 2.5).value == 2.5
    assert [t.value for t in study.trials] == [1.0, 2.5]


def test_an_error_in_a_transaction_leaves_the_optimizer_as_it_was(store):
    study, twin = (Study(s, space=SPACE, optimizer=CMAES()) for s in (store, None))
    for s in (study, twin):
        for _ in range(5):
            s.add(s.ask().config, 0.5)

    def interrupted():
        with study.transaction():
            study.ask_many(3)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert [t.config for t in study.ask_many(4)] == [t.config for t in twin.ask_many(4)]


def test_durations_are_told_and_replayed(tmp_path):
    study = Study(tmp_path / "s.db", space=Space.from_bounds([(0, 1)] * 2), seconds=5.0)
    for k in range(12):
        trial = study.ask()
        study.tell(trial, float(k))
    assert study.optimizer.seconds == 5.0
    fold = Fold(study.space, study.optimizer, study.seed, study.maximize, None)
    fold.replay(study.store.events("study"))
    assert fold.state.clock == pytest.approx(sum(t.seconds for t in study.trials))
    assert dump(fold.state) == dump(study._fold.state)
