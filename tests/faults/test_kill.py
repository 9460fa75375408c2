"""kill -9: nothing acknowledged is lost, nothing is counted twice, and the points are those of an undisturbed run."""

import contextlib
import itertools
import os
import signal
import time

import pytest
from extent import ALL, seeds, some
from lab import Lab, drawn, until

OPTIMIZERS = ("RandomSearch", "CMAES", "DifferentialEvolution", "GaussianProcess", "Auto")
BUDGET = {"GaussianProcess": 14, "Auto": 22}  # enough for a model, and for Auto to repeat a trial


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, nest):
    """The points and values of a run that nothing happened to, and its number of steps."""
    known = {}

    def find(optimizer):
        if optimizer not in known:
            lab = Lab(tmp_path_factory.mktemp("undisturbed"), nest)
            job = {"optimizer": optimizer, "budget": BUDGET.get(optimizer, 12), "acts": ["", "", "", "raises"]}
            steps = lab.run(**job, strike=["step", 0]).result()["steps"]
            known[optimizer] = job, asked(lab.check(job["budget"], full=True)), steps
        return known[optimizer]

    return find


def asked(trials):
    return [(t.row.tobytes(), t.state, t.as_dict()["value"]) for t in trials]


def resumed(lab, job, expected):
    """The killed run, checked, then run to its end and compared."""
    lab.check(job["budget"])
    lab.run(**job).result()
    assert asked(lab.check(job["budget"], full=True)) == expected


PLACES = [
    ("before the commit of ask", 1),
    ("after the commit of ask", 1),
    ("before the commit of tell+ask", 5),
    ("after the commit of tell+ask", 5),
    ("before the commit of tell", 1),
    ("after the commit of tell", 1),
    ("objective", 7),
    ("callback", 4),
]


@pytest.mark.fault("kill -9 of a serial run, at a named place", "SIGKILL by itself: around commits, in the objective")
@pytest.mark.parametrize(
    ("optimizer", "place"),
    some(
        itertools.product(OPTIMIZERS, PLACES),
        *zip(["CMAES", "DifferentialEvolution"] * 4, PLACES, strict=True),
        ("Auto", PLACES[6]),
    ),
    ids=str,
)
def test_at_a_named_place(lab, undisturbed, optimizer, place):
    job, expected, _ = undisturbed(optimizer)
    assert lab.run(**job, strike=place).status == -signal.SIGKILL
    resumed(lab, job, expected)


@pytest.mark.fault("kill -9 of a serial run, at any step", "SIGKILL by itself at a drawn call or return")
@pytest.mark.parametrize("seed", seeds(150, 3))
def test_at_any_step(lab, undisturbed, seed):
    job, expected, steps = undisturbed(OPTIMIZERS[seed % len(OPTIMIZERS)])
    at = int(drawn(seed, 1, steps))
    assert lab.run(**job, strike=["step", at]).status == -signal.SIGKILL
    resumed(lab, job, expected)


@pytest.mark.fault("kill -9 of a serial run, three times, at random moments", "SIGKILL from outside")
@pytest.mark.parametrize("seed", seeds(25, 1))
def test_again_and_again(lab, undisturbed, seed):
    job, expected, _ = undisturbed(OPTIMIZERS[seed % len(OPTIMIZERS)])
    for again in range(3):
        kill_after(lab, drawn(3 * seed + again, 0.0, 0.3), **job, hold=0.03)
    resumed(lab, job, expected)


def kill_after(lab, seconds, **job):
    def strike(pid):
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)

    return lab.run(meanwhile=strike, **job)


# --- with workers ----------------------------------------------------------------------------------------------

PARALLEL = {"budget": 12, "hold": 0.05}


def finished(lab, job):
    """The rest is run, in the sample without workers, and the budget is used exactly."""
    lab.check(job["budget"])
    lab.run(**(job if ALL else {**job, "workers": None, "hold": 0.0})).result()
    lab.check(job["budget"], full=True)


@pytest.mark.fault("kill -9 of a run with 2-3 workers, at any step", "SIGKILL by itself at a drawn call or return")
@pytest.mark.parametrize("seed", seeds(40, 1))
def test_the_main_process_at_any_step(lab, seed):
    job = PARALLEL | {"workers": 2 + seed % 2, "optimizer": OPTIMIZERS[seed % 3]}
    ended = lab.run(**job, strike=["step", int(drawn(seed, 1, 6000))])
    assert ended.status in (0, -signal.SIGKILL)
    finished(lab, job)


@pytest.mark.fault("kill -9 of a run with 2-3 workers, at random moments", "SIGKILL from outside")
@pytest.mark.parametrize("seed", seeds(40, 1))
def test_the_main_process_at_random_moments(lab, seed):
    job = PARALLEL | {"workers": 2 + seed % 2, "optimizer": OPTIMIZERS[seed % 5]}
    kill_after(lab, drawn(seed, 0.0, 1.5), **job)
    finished(lab, job)


@pytest.mark.fault("kill -9 between a worker's start and the guard's hearing of it", "SIGKILL by itself")
@pytest.mark.parametrize("at", some([1, 2], 2))
def test_before_the_guard_knows(lab, at):
    ended = lab.run(**PARALLEL | {"hold": 60.0}, optimizer="RandomSearch", workers=2, strike=["guard", at])
    assert ended.status == -signal.SIGKILL
    lab.check(PARALLEL["budget"])


def struck(lab, choose, seconds=0.0, **job):
    """A run during which the processes that `choose` returns (once there are any) are killed; how many."""
    killed = []

    def strike(pid):
        killed.extend(until(choose))
        time.sleep(seconds)
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    lab.run(meanwhile=strike, **PARALLEL, optimizer="RandomSearch", **job).result()
    return len(killed)


@pytest.mark.fault("kill -9 of a worker that starts", "SIGKILL from outside as soon as it is there")
@pytest.mark.parametrize("seed", seeds(10, 1))
def test_a_worker_at_its_start(lab, seed):
    struck(lab, lambda: lab.workers()[:1], drawn(seed, 0.0, 0.1), workers=2)
    trials = lab.check(PARALLEL["budget"], full=True)
    assert all(t.state == "complete" for t in trials)


@pytest.mark.fault("kill -9 of all 3 workers at once, as they start", "SIGKILL from outside")
@pytest.mark.parametrize("seed", seeds(5, 1))
def test_all_workers_at_their_start(lab, seed):
    def three():
        found = lab.workers()
        return found if len(found) == 3 else []

    struck(lab, three, workers=3)
    trials = lab.check(PARALLEL["budget"], full=True)
    assert all(t.state == "complete" for t in trials)


@pytest.mark.fault("kill -9 of a worker, or of all, in an evaluation", "SIGKILL from outside after the first tell")
@pytest.mark.parametrize("seed", seeds(20, 1))
def test_workers_in_an_evaluation(lab, seed):
    most = 1 if seed % 2 else 3

    def choose():
        return lab.log.exists() and lab.log.read_text() and lab.workers()[:most]

    killed = struck(lab, choose, drawn(seed, 0.0, 0.1), workers=3)
    failed = [t for t in lab.check(PARALLEL["budget"], full=True) if t.state == "failed"]
    assert len(failed) <= killed
    assert all("its process was ended by SIGKILL" in t.error for t in failed)


@pytest.mark.fault("kill -9 of the guard, then of the run", "SIGKILL from outside, in an evaluation without end")
@pytest.mark.parametrize("seed", seeds(10, 1))
def test_the_guard(lab, seed):
    def strike(pid):
        until(lambda: len(lab.workers()) == 2)
        (guard,) = [p for p, command in lab.marked().items() if "guard" in command]
        os.kill(guard, signal.SIGKILL)
        time.sleep(drawn(seed, 0.5, 1.0))
        os.kill(pid, signal.SIGKILL)

    lab.run(meanwhile=strike, **PARALLEL | {"hold": 60.0}, workers=2, optimizer="CMAES")
    lab.check(PARALLEL["budget"])
