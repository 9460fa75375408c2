"""Worker processes: what dies, hangs or hogs fails its own trial, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import metaloop as ml
from metaloop.run.objective import packed

SPACE = ml.Space(x=ml.Float(0, 1), how=ml.Categorical(["ok"]))


def space(how):
    return ml.Space(x=ml.Float(0, 1), how=ml.Categorical(how))


def run(objective, kinds=("ok",), *, budget=6, **options):
    options = {"workers": 2, "optimizer": ml.RandomSearch()} | options
    return ml.minimize(objective, space(list(kinds)), budget=budget, **options)


def errors(result, how):
    found = [t for t in result.trials if t.config["how"] == how]
    assert found
    assert all(t.state == "failed" for t in found)
    return [t.error for t in found]


def test_the_same_points_and_values_as_in_this_process():
    here = ml.minimize(lambda c: c["x"], SPACE, budget=5, optimizer=ml.RandomSearch())
    there = run(lambda c: c["x"], budget=5, workers=1)
    assert [(t.config, t.value) for t in here.trials] == [(t.config, t.value) for t in there.trials]


def test_workers_are_other_processes_with_one_blas_thread():
    def where(c):
        return {"value": os.getpid(), "cost": float(os.environ["OPENBLAS_NUM_THREADS"])}

    result = run(where, budget=8, workers=3)
    processes = {t.value for t in result.trials}
    assert 1 <= len(processes) <= 3
    assert os.getpid() not in processes
    threads = {t.observation.cost for t in result.trials}
    assert threads == {float(os.environ.get("OPENBLAS_NUM_THREADS", 1))}


def test_crashes_fail_their_own_trials():
    def objective(c):
        if c["how"] == "exits":
            os._exit(7)
        if c["how"] == "segfaults":
            import ctypes

            ctypes.string_at(0)
        if c["how"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if c["how"] == "raises":
            raise ValueError("no")
        if c["how"] == "leaves":
            sys.exit(3)
        return c["x"]

    result = run(objective, ["ok", "exits", "segfaults", "killed", "raises", "leaves"], budget=20, seed=3)
    assert "exit status 7" in errors(result, "exits")[0]
    assert "SIGSEGV" in errors(result, "segfaults")[0]
    assert "SIGKILL, as the system does when memory runs out" in errors(result, "killed")[0]
    assert "ValueError: no" in errors(result, "raises")[0]
    assert "SystemExit: 3" in errors(result, "leaves")[0]
    assert all(t.value == t.config["x"] for t in result.trials if t.config["how"] == "ok")
    assert len(result.trials) == 20


def test_a_late_trial_is_ended_with_everything_it_started(tmp_path):
    def objective(c):
        if c["how"] == "ok":
            return c["x"]
        children = [
            subprocess.Popen(["sleep", "60"]),
            subprocess.Popen(["sleep", "60"], start_new_session=True),
        ]
        (tmp_path / f"{c['x']}").write_text(" ".join(str(p.pid) for p in children))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return time.sleep(60)

    result = run(objective, ["ok", "late"], budget=6, timeout=0.7, seed=1)
    assert "it took longer than 0.7 s" in errors(result, "late")[0]
    pids = [int(p) for f in tmp_path.iterdir() for p in f.read_text().split()]
    assert pids
    assert not any(_runs(pid) for pid in pids)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_trials_run_at_the_same_time_and_points_differ():
    def objective(c):
        time.sleep(0.4)
        return c["x"]

    result = run(objective, budget=8, workers=4)
    spans = [(t.started, t.ended) for t in result.trials]
    most = max(sum(a <= begin < b for a, b in spans) for begin, _ in spans)
    assert most == 4
    assert len({t.config["x"] for t in result.trials}) == 8


@pytest.mark.parametrize("optimizer", [ml.GaussianProcess(), ml.CMAES(), ml.Sobol(), ml.GridSearch(levels=5)])
def test_pending_points_are_not_asked_again(optimizer):
    def objective(c):
        time.sleep(0.02 * (c["x"] < 0.5))
        return (c["x"] - 0.3) ** 2

    result = ml.minimize(objective, ml.Space(x=ml.Float(0, 1)), budget=12, workers=3, optimizer=optimizer)
    asked = [t.config["x"] for t in result.trials]
    assert len(set(asked)) == len(asked)
    assert "budget of 12" in result.status or "nothing left to try after 5" in result.status


def test_replaying_the_stored_order_gives_the_same_points(tmp_path):
    def objective(c):
        time.sleep(0.03 * c["x"])
        return (c["x"] - 0.3) ** 2

    path = tmp_path / "a.db"
    box = ml.Space(x=ml.Float(0, 1), y=ml.Float(0, 1))
    result = ml.minimize(objective, box, budget=20, workers=4, optimizer=ml.CMAES(), store=path)
    stored = result.study.store.events("study")
    copy = ml.Study(space=box, optimizer=ml.CMAES())
    copy.store.append("study", stored, None)
    assert len(copy.trials) == 20
    assert not any("differed" in note for note in copy.why().notes)


def test_lambdas_closures_and_import_paths_travel():
    offset = 2.0
    assert run(lambda c: c["x"] + offset, budget=2).value >= 2.0
    result = ml.minimize("math:dist", [(0, 1)], budget=2, workers=1, optimizer=ml.RandomSearch())
    assert all("TypeError" in t.error for t in result.trials)
    with pytest.raises(ml.InputError, match="did you mean 'dist'"):
        ml.minimize("math:disst", [(0, 1)], budget=2)


def test_what_cannot_travel_is_refused_with_the_way_out():
    lock = __import__("threading").Lock()
    with pytest.raises(ml.InputError, match="cannot be sent to a worker process"):
        run(lambda c: lock.locked() or c["x"], budget=2)


def test_without_cloudpickle_a_lambda_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(ml.InputError, match=r"pip install 'metaloop\[parallel\]'"):
        packed(lambda c: c["x"])
    assert packed(os.path.exists)


def test_an_objective_that_cannot_be_loaded_ends_the_run(tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def f(c):\n    return c['x']\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    with pytest.raises(ml.InputError, match="cannot be loaded in a worker process: ModuleNotFoundError"):
        run(only_here.f, budget=2)


def test_workers_that_never_start_end_the_run(monkeypatch):
    monkeypatch.setattr("metaloop.run.workers._BOOT", "import os; os._exit(5)")
    with pytest.raises(ml.RunError, match="end before they are ready: the last one ended with exit status 5"):
        run(lambda c: c["x"], budget=2)


def test_what_an_objective_returns_is_judged_in_the_worker():
    odd = {"nan": float("nan"), "inf": float("inf"), "none": None, "text": "3", "complex": 1j, "lock": None}

    def objective(c):
        if c["how"] == "lock":
            return __import__("threading").Lock()
        return odd.get(c["how"], c["x"])

    result = run(objective, ["ok", *odd], budget=24, seed=2)
    for how in odd:
        assert "the objective returned" in errors(result, how)[0]


def test_the_kernel_can_stop_a_worker_and_the_limit_still_holds():
    def objective(c):
        os.kill(os.getpid(), signal.SIGSTOP)
        return c["x"]

    result = run(objective, budget=2, workers=2, timeout=0.5)
    assert all("it took longer than 0.5 s" in t.error for t in result.trials)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"workers": 0}, "workers was 0"),
        ({"workers": 1.5}, "workers was 1.5"),
        ({"workers": True}, "workers was True"),
        ({"timeout": 0}, "timeout was 0"),
        ({"timeout": -1.0}, "timeout was -1"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises(ml.InputError, match=says):
        run(lambda c: c["x"], **arguments)
