"""Disks that are full, read-only or broken: one line says so, and later the same command goes on."""

import contextlib
import errno
import itertools
import json
import os
import shutil
import subprocess
import sys

import pytest
from extent import ALL, seeds, some
from lab import VICTIM, drawn
from objectives import SPACE, bowl

from metaloop import CMAES, StoreError, Study, cli

BUDGET = 16


@pytest.fixture
def small(lab):
    """A disk of 600 kB below the study."""
    folder = lab.store.parent
    if os.geteuid() != 0:
        pytest.skip("not run: mounting a small disk needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("not run: mounting is not allowed here")
    yield lab
    lab.close()
    subprocess.run(["umount", "-l", folder], check=True)


def fill(lab, left):
    """Take all of the disk but some bytes."""
    file = lab.store.parent / "filler"
    with file.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    os.truncate(file, max(0, file.stat().st_size - left))


def free(lab):
    (lab.store.parent / "filler").unlink()


def says_full(text, path):
    assert len(text.splitlines()) == 1
    assert str(path) in text
    assert "disk is full" in text
    assert "free some space and run the same command again" in text


@pytest.mark.fault("disk full, then freed", "tmpfs of 600 kB, filled up to a drawn rest, at creation or later")
@pytest.mark.parametrize(("workers", "seed"), some(itertools.product([None, 2], range(40)), (None, 0), (2, 1)))
def test_full(small, seed, workers):
    lab, job = small, {"optimizer": "CMAES", "budget": BUDGET} | ({"workers": workers} if workers else {})
    if seed % 4:
        lab.run(**job | {"budget": 4}).result()
    fill(lab, int(drawn(seed, 0, 130_000)))
    ended = lab.run(**job)
    if ended.status:
        last = ended.err.rstrip("\n").splitlines()[-1]
        assert last.startswith("metaloop.errors.StoreError: ")
        says_full(last, lab.store)
    free(lab)
    lab.check(BUDGET)
    lab.run(**(job if ALL else {**job, "workers": None})).result()
    lab.check(BUDGET, full=True)


@pytest.mark.fault("disk full, then freed, in one process", "tmpfs of 600 kB; the value in hand is told again")
@pytest.mark.parametrize("seed", seeds(20, 1))
def test_full_in_one_process(small, seed):
    lab, told, refused = small, {}, 0
    with Study(lab.store, space=SPACE, optimizer=CMAES(), seed=0) as study:
        trial = None
        for step in range(30):
            if step == 5:
                fill(lab, int(drawn(seed, 0, 40_000)))
            try:
                trial = trial or study.ask()
                study.tell(trial, bowl(trial.config))
                told[trial.number], trial = bowl(trial.config), None
            except StoreError as error:
                says_full(str(error), lab.store)
                refused += 1
                free(lab) if refused == 2 else None
        assert refused >= 2
        free(lab) if refused < 2 else None
    trials = lab.check()
    assert {t.number: t.value for t in trials if t.state == "complete"} == told


@pytest.mark.fault("metaloop show, why, export on a full disk", "tmpfs of 600 kB, no byte left, with and without a log")
@pytest.mark.parametrize("killed", [False, True])
def test_reading_on_a_full_disk(small, capsys, killed):
    lab = small
    lab.run(optimizer="CMAES", budget=6, **({"strike": ["callback", 6]} if killed else {}))
    lab.store.with_name("study.db-shm").unlink(missing_ok=True)
    fill(lab, 0)
    for command in ("show", "why", "export"):
        status = cli.main([command, str(lab.store)])
        said = capsys.readouterr().err
        if killed:  # SQLite needs an index of the log, beside it
            assert status == 2
            says_full(said.rstrip("\n"), lab.store)
        else:
            assert status == 0, said


# --- permissions ---------------------------------------------------------------------------------------------------


def mortal(command):
    """A command without root's right to write everywhere."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("not run: root writes everywhere, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override", *command]


@pytest.mark.fault("study file or folder read-only", "chmod, as a user who may not write")
@pytest.mark.parametrize(
    ("what", "killed"),
    some(itertools.product(["file", "folder", "both"], [False, True]), ("folder", True)),
)
def test_readonly(lab, what, killed):
    job = {"optimizer": "CMAES", "budget": 6}
    lab.run(**job, **({"strike": ["callback", 4]} if killed else {}))
    folder = lab.store.parent
    files = list(folder.iterdir())
    for path in ([folder] if what != "file" else []) + (files if what != "folder" else []):
        path.chmod(0o555 if path is folder else 0o444)
    try:
        victim = lab.command(*mortal([sys.executable, VICTIM, json.dumps(lab.job(**job | {"budget": 8}))])).wait()
        shown = lab.command(*mortal([sys.executable, "-m", "metaloop.cli", "show", str(lab.store)])).wait()
    finally:
        folder.chmod(0o755)
        for path in files:
            path.chmod(0o644)
    if victim.status:
        last = victim.err.rstrip("\n").splitlines()[-1]
        assert last.startswith("metaloop.errors.StoreError: "), victim.err
        assert str(lab.store) in last
        assert "read-only" in last or "read and write" in last
    else:
        assert what == "folder"
        assert killed  # the log is there already
    assert shown.status == 0, shown.err
    lab.run(**job | {"budget": 8}).result()
    lab.check(8, full=True)


@pytest.mark.fault("study file that may not be read", "chmod 000, as a user who may not read")
@pytest.mark.parametrize("what", some(["file", "folder"], "folder"))
def test_unreadable(lab, what):
    lab.run(optimizer="CMAES", budget=2).result()
    hidden = lab.store if what == "file" else lab.store.parent
    hidden.chmod(0)
    ended = lab.command(*mortal([sys.executable, "-m", "metaloop.cli", "show", str(lab.store)])).wait()
    hidden.chmod(0o755)
    assert ended.status == 2
    assert len(ended.err.splitlines()) == 1
    assert str(lab.store) in ended.err


# --- a disk that fails ---------------------------------------------------------------------------------------------


@pytest.mark.fault("disk that reports errors", "strace: the n-th write, fsync or truncate gives EIO or ENOSPC")
@pytest.mark.parametrize("seed", seeds(60, 1))
def test_errors(lab, seed):
    if shutil.which("strace") is None:
        pytest.skip("not run: there is no strace to inject errors with")
    call = ("fsync,fdatasync", "pwrite64", "ftruncate,fallocate")[seed % 3]
    error = ("EIO", "ENOSPC")[seed // 3 % 2]
    job = {"optimizer": "CMAES", "budget": 6}
    trace = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    inject = ["-e", f"inject={call}:error={error}:when={1 + int(drawn(seed, 0, 30))}"]
    ended = lab.command(*trace, *inject, sys.executable, VICTIM, json.dumps(lab.job(**job))).wait()
    if "ptrace" in ended.err:
        pytest.skip("not run: strace is not allowed here")
    last = ended.err.rstrip("\n").splitlines()[-1:]
    if ended.status and last != [f"OSError: [Errno {getattr(errno, error)}] {os.strerror(getattr(errno, error))}"]:
        assert last[0].startswith("metaloop.errors.StoreError: "), ended.err  # else it was the log's own
        assert str(lab.store) in last[0]
    lab.check(6)
    lab.run(**job).result()
    lab.check(6, full=True)
