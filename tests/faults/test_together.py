"""Several processes on one study at the same time."""

import functools
import signal
import sqlite3
import time

import pytest
from extent import ALL, seeds, some
from lab import drawn, until
from objectives import SPACE

from metaloop import Study

JOB = {"optimizer": "CMAES", "budget": 24, "hold": 0.03}


@pytest.mark.fault("two runs on one study at the same time", "two processes, started together; serial and with workers")
@pytest.mark.parametrize("seed", seeds(10, 1))
@pytest.mark.parametrize("workers", some([{}, {"workers": 2}], {"workers": 2}), ids=str)
def test_two_runs(lab, seed, workers):
    job = JOB | {"hold": drawn(seed, 0.0, 0.05)}
    runs = [lab.start(**job), lab.start(**job | workers)]
    for run in runs:
        status = run.wait().result()["status"]
        assert "budget of 24 trials was used" in status or "another process evaluates the other" in status
    trials = lab.check(24, full=True)
    assert len({t.owner for t in trials}) == 2 or not ALL
    assert len({t.row.tobytes() for t in trials}) == 24


@pytest.mark.fault("two runs on one study, one is killed", "SIGKILL from outside; the other goes on alone")
@pytest.mark.parametrize("seed", seeds(10, 1))
def test_one_of_two_is_killed(lab, seed):
    job = JOB | {"hold": 0.1}
    runs = [lab.start(**job) for _ in range(2)]

    def both():
        return lab.store.exists() and _rows(lab.store, "SELECT count(DISTINCT data ->> 'owner') FROM event") == [(2,)]

    until(both)
    time.sleep(drawn(seed, 0.0, 0.3))
    runs[0].signal(signal.SIGKILL)
    runs[0].wait()
    assert "budget of 24 trials was used" in runs[1].wait().result()["status"]
    lab.check(24, full=True)


@pytest.mark.fault("many processes create one study", "32 at once, on no file")
@pytest.mark.parametrize("seed", seeds(3, 1))
@pytest.mark.skipif(not ALL, reason="only in `make faults`: two runs that start together are in the sample")
def test_creation(lab, seed):
    job = JOB | {"budget": 64, "optimizer": "RandomSearch"}
    for run in [lab.start(**job) for _ in range(32)]:
        run.wait().result()
    lab.check(64, full=True)


@pytest.mark.fault("study read while runs begin and end", "opened all the time; with and without one that stays open")
@pytest.mark.parametrize("stays", some([True, False], True))
def test_readers(lab, stays):
    lab.run(**JOB | {"budget": 2, "hold": 0.0}).result()
    budget = 2
    with Study(lab.store if stays else None, space=None if stays else SPACE, readonly=stays) as kept:
        for _ in range(60 if ALL else 2):
            read = functools.partial(_read_while, lab, budget)
            budget += 3
            lab.run(**JOB | {"budget": budget, "hold": 0.0}, meanwhile=read).result()
            assert len(kept.trials) == budget * stays
    lab.check(budget, full=True)


def _read_while(lab, known, pid):
    """Open and read until the process has ended: what was there stays there."""
    while _runs(pid):
        with Study(lab.store, readonly=True) as study:
            trials = study.trials
            assert [t.number for t in trials] == list(range(len(trials)))
            assert len(trials) >= known
            known = len(trials)


def _runs(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.fault("a reader that never ends its transaction", "BEGIN and SELECT by another program")
def test_reader_in_a_transaction(lab):
    lab.run(**JOB | {"budget": 2}).result()
    db = sqlite3.connect(lab.store)
    db.execute("BEGIN")
    assert db.execute("SELECT count(*) FROM trial").fetchone() == (2,)
    lab.run(**JOB | {"hold": 0.0}).result()
    assert db.execute("SELECT count(*) FROM trial").fetchone() == (2,)
    db.close()
    lab.check(24, full=True)


@pytest.mark.fault("study locked by another program", "BEGIN IMMEDIATE for 1 s (and for 36 s), then given back")
@pytest.mark.parametrize("seconds", some([1.0, 36.0], 1.0))
def test_locked(lab, seconds):
    lab.run(**JOB | {"budget": 2}).result()
    db = sqlite3.connect(lab.store, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    run = lab.start(**JOB)
    time.sleep(seconds)
    db.execute("ROLLBACK")
    db.close()
    ended = run.wait()
    if seconds < 30:
        assert ended.status == 0, ended.err
    else:
        assert ended.err.rstrip("\n").splitlines()[-1].endswith("is locked by another process (waited 30 s)")
        lab.run(**JOB).result()
    lab.check(24, full=True)


@pytest.mark.fault("Ctrl-C while the study is locked by another program", "SIGINT twice from outside")
def test_interrupted_while_locked(lab):
    lab.run(**JOB | {"budget": 2}).result()
    db = sqlite3.connect(lab.store, isolation_level=None)
    run = lab.start(**JOB | {"hold": 0.2})
    until(lambda: len(lab.log.read_text().splitlines()) > 3)
    db.execute("BEGIN IMMEDIATE")
    time.sleep(0.5)
    run.signal(signal.SIGINT)
    until(lambda: "interrupted" in run.err, 10)  # two that come at once are one
    run.signal(signal.SIGINT)
    ended = run.wait(10)
    db.close()
    assert ended.status != 0
    assert "KeyboardInterrupt" in ended.err
    lab.run(**JOB).result()
    lab.check(24, full=True)


def _rows(path, sql):
    db = sqlite3.connect(path)
    try:
        return db.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []  # not there yet
    finally:
        db.close()
