"""Signals: what a run is asked to do, it does at once, and a later run goes on where it was."""

import itertools
import os
import signal
import time

import pytest
from extent import some
from lab import drawn, until

JOB = {"budget": 8, "hold": 0.3, "optimizer": "CMAES"}
WORKERS = {"serial": {}, "2 workers": {"workers": 2}}


def begun(lab):
    """Something has been told, and something is being evaluated."""
    return lab.log.exists() and lab.log.read_text()


def finished_later(lab, job):
    """A later run uses the budget; a serial one asks what an undisturbed one asks."""
    first = lab.check(job["budget"])
    lab.run(budget=job["budget"], optimizer=job["optimizer"]).result()
    trials = lab.check(job["budget"], full=True)
    assert [t.config for t in trials[: len(first)]] == [t.config for t in first]
    assert all(t.state == "complete" for t in trials)


@pytest.mark.fault("SIGTERM and SIGHUP to a run", "from outside, in an evaluation")
@pytest.mark.parametrize(
    ("number", "workers"),
    some(
        itertools.product([signal.SIGTERM, signal.SIGHUP], WORKERS),
        (signal.SIGTERM, "2 workers"),
    ),
)
def test_termination(lab, number, workers):
    job = JOB | WORKERS[workers]

    def strike(pid):
        until(lambda: begun(lab))
        os.kill(pid, number)

    assert lab.run(meanwhile=strike, **job).status == -number
    finished_later(lab, job)


@pytest.mark.fault("Ctrl-C, 1 to 4 times", "SIGINT from outside, in an evaluation")
@pytest.mark.parametrize(
    ("times", "workers"),
    some(itertools.product([1, 2, 3, 4], WORKERS), (1, "2 workers"), (3, "2 workers")),
)
def test_interrupts(lab, times, workers):
    job = JOB | WORKERS[workers]

    def strike(pid):
        until(lambda: begun(lab))
        os.kill(pid, signal.SIGINT)
        until(lambda: "interrupted" in (lab.folder / "err").read_text())  # two that come at once are one
        for _ in range(times - 1):
            os.kill(pid, signal.SIGINT)
            time.sleep(0.02)

    ended = lab.run(meanwhile=strike, **job)
    if times == 1:
        assert "Interrupted after" in ended.result()["status"]
        assert all(t.state == "complete" for t in lab.check(job["budget"]))
    else:
        assert ended.status != 0
        assert "KeyboardInterrupt" in ended.err
    finished_later(lab, job)


@pytest.mark.fault(
    "two Ctrl-C at any step, then again in the same process", "SIGINT by itself, at a drawn call or return"
)
@pytest.mark.parametrize(
    ("workers", "seed"),
    some(itertools.product(WORKERS, range(60)), ("serial", 0), ("2 workers", 2)),
)
def test_interrupts_at_any_step(lab, seed, workers):
    job = JOB | WORKERS[workers] | {"hold": 0.0}
    steps = 3000 if WORKERS[workers] else 6000
    lab.run(**job, strike=["step", int(drawn(seed, 1, steps)), [signal.SIGINT, signal.SIGINT]], again=True).result()
    trials = lab.check(job["budget"], full=True)
    assert all(t.state == "complete" for t in trials)


@pytest.mark.fault("SIGSTOP of the main process for longer than the time limit", "SIGSTOP, SIGCONT from outside")
@pytest.mark.parametrize(
    "options", some([{}, {"workers": 2}, {"workers": 2, "timeout": 4.0}], {"workers": 2, "timeout": 4.0}), ids=str
)
def test_the_main_process_is_stopped(lab, options):
    def strike(pid):
        until(lambda: begun(lab))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(options.get("timeout", 1.0) + 0.3)
        os.kill(pid, signal.SIGCONT)

    lab.run(meanwhile=strike, **JOB | options).result()
    trials = lab.check(JOB["budget"], full=True)
    assert all(t.state == "complete" for t in trials)  # what ended in time counts, though it was read late


@pytest.mark.fault("SIGSTOP of a worker", "SIGSTOP from outside, then SIGCONT or the time limit")
@pytest.mark.parametrize("timeout", some([None, 1.5], 1.5))
def test_a_worker_is_stopped(lab, timeout):
    def strike(pid):
        until(lambda: begun(lab))
        worker = lab.workers()[0]
        os.kill(worker, signal.SIGSTOP)
        if timeout is None:
            time.sleep(1.0)
            os.kill(worker, signal.SIGCONT)

    lab.run(meanwhile=strike, **JOB, workers=2, **({"timeout": timeout} if timeout else {})).result()
    failed = [t for t in lab.check(JOB["budget"], full=True) if t.state == "failed"]
    assert len(failed) == (timeout is not None)
    assert all("it took longer than 1.5 s" in t.error for t in failed)
