"""The loop: budgets, failures, starts, callbacks, interruption, and what comes back."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import metaloop as ml

SPACE = ml.Space(x=ml.Float(-5, 5))


def bowl(c):
    return (c["x"] - 1) ** 2


def test_a_function_of_a_dict():
    result = ml.minimize(bowl, SPACE, budget=40, optimizer=ml.CMAES(), seed=1)
    assert result.value < 0.01
    assert result.config["x"] == pytest.approx(1, abs=0.1)
    assert result.x is None
    assert len(result.trials) == 40
    assert "budget of 40" in result.status


def test_a_function_of_a_vector():
    result = ml.minimize(lambda x: float((x**2).sum()), [(-5, 5)] * 3, budget=300, optimizer="CMAES")
    assert result.x.shape == (3,)
    assert result.value < 1e-3
    assert result.value == pytest.approx(float((result.x**2).sum()))


def test_maximize():
    result = ml.maximize(lambda c: -bowl(c), SPACE, budget=40, optimizer=ml.CMAES())
    assert result.value == max(t.value for t in result.trials)
    assert result.value > -0.1
    assert ml.maximize(lambda c: c["x"], SPACE, target=2.0, optimizer="RandomSearch").value >= 2.0


def test_the_same_seed_gives_the_same_run():
    runs = [ml.minimize(bowl, SPACE, budget=15, optimizer=ml.RandomSearch(), seed=s) for s in (1, 1, 2)]
    asked = [[t.config for t in r.trials] for r in runs]
    assert asked[0] == asked[1] != asked[2]


def test_target_seconds_and_a_finished_grid_end_the_run():
    reached = ml.minimize(bowl, SPACE, target=1.0, optimizer=ml.RandomSearch())
    assert reached.value <= 1.0
    assert "target 1 was reached" in reached.status
    timed = ml.minimize(lambda c: time.sleep(0.05) or 1.0, SPACE, seconds=0.3, optimizer=ml.RandomSearch())
    assert 1 <= len(timed.trials) <= 7
    grid = ml.minimize(lambda c: c["n"], ml.Space(n=ml.Int(1, 3)), budget=10, optimizer=ml.GridSearch())
    assert "nothing left to try after 3" in grid.status


def test_failures_are_kept_and_the_run_goes_on():
    def sometimes(c):
        if c["x"] < 0:
            raise ValueError("too small")
        if c["x"] > 4:
            sys.exit(3)
        return c["x"]

    result = ml.minimize(sometimes, SPACE, budget=40, optimizer=ml.RandomSearch())
    failed = [t for t in result.trials if t.error]
    assert 5 < len(failed) < 35
    assert any("ValueError: too small" in t.error and "in sometimes" in t.error for t in failed)
    assert not any("evaluate.py" in t.error for t in failed)
    assert result.value > 0
    nothing = ml.minimize(lambda c: None, SPACE, budget=3, optimizer=ml.RandomSearch())
    assert nothing.config is None
    assert np.isnan(nothing.value)
    assert "No trial succeeded" in str(nothing)


def test_start_callback_and_resume(tmp_path):
    seen = []
    options = {"optimizer": ml.CMAES(), "store": tmp_path / "a.db", "name": "s", "start": [{"x": 1.0}]}
    first = ml.minimize(bowl, SPACE, budget=10, callback=lambda t: seen.append(t.number), **options)
    assert first.trials[0].config == {"x": 1.0}
    assert seen == list(range(10))
    second = ml.minimize(bowl, SPACE, budget=25, **options)
    assert len(second.trials) == 25
    whole = ml.minimize(bowl, SPACE, budget=25, optimizer=ml.CMAES(), start=[{"x": 1.0}])
    assert [t.config for t in whole.trials] == [t.config for t in second.trials]


def test_a_trial_left_running_is_taken_up(tmp_path):
    with ml.Study(tmp_path / "a.db", space=SPACE, optimizer=ml.RandomSearch()) as study:
        left = study.ask()
    result = ml.minimize(bowl, SPACE, budget=3, optimizer=ml.RandomSearch(), store=tmp_path / "a.db")
    assert [t.number for t in result.trials] == [0, 1, 2]
    assert result.trials[0].value == bowl(left.config)


def test_progress_only_where_it_is_wanted(capsys):
    ml.minimize(bowl, SPACE, budget=3, optimizer=ml.RandomSearch())
    assert capsys.readouterr() == ("", "")


SCRIPT = """
import sys, time, metaloop as ml
def slow(c):
    print("running", flush=True)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        time.sleep(0.05)
    return c["x"]
result = ml.minimize(slow, ml.Space(x=ml.Float(0, 1)), budget=100, optimizer="RandomSearch", store=sys.argv[1])
print(result.status, [str(t.state) for t in result.trials])
"""


def interrupted(tmp_path, times):
    path = tmp_path / "a.db"
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "running\n"
    for _ in range(times):
        os.kill(child.pid, signal.SIGINT)
        time.sleep(0.2)
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err, path


def test_the_first_interrupt_lets_the_trial_end(tmp_path):
    code, out, err, _ = interrupted(tmp_path, 1)
    assert code == 0, err
    assert "Interrupted after 1 trials. ['complete']" in out


def test_the_second_interrupt_stops_at_once(tmp_path):
    code, _, err, path = interrupted(tmp_path, 2)
    assert code != 0
    assert "KeyboardInterrupt" in err
    with ml.Study(path) as study:
        assert [str(t.state) for t in study.trials] == ["running"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"budget": 0}, "budget was 0"),
        ({"budget": 2.5}, "budget was 2.5"),
        ({"budget": True}, "budget was True"),
        ({"seconds": 0}, "seconds was 0"),
        ({"target": float("nan")}, "target was nan"),
        ({"objective": 3}, "objective was 3"),
        ({"space": [(1, 0)]}, r"bounds\[0\]"),
        ({"optimizer": "Sobool"}, "did you mean 'Sobol'"),
        ({"start": [{"y": 1}]}, "unknown parameter 'y'"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ml.InputError, match=says):
        ml.minimize(**{"objective": bowl, "space": SPACE, **arguments})
    with pytest.raises(ml.InputError, match="bugdet"):
        ml.maximize(bowl, SPACE, bugdet=3)
