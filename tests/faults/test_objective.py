"""Objectives that do everything wrong: their own trial fails, and nothing else."""

import json
import re
import subprocess
import sys
import time

import pytest
from acts import GOOD, RETURNS
from extent import ALL, some
from lab import VICTIM

# What a trial's error says; None where it completes. First in workers, then in the main process ("-": not there).
IN_WORKERS = {
    "prints": None,
    "raises": "ValueError: no",
    "fails_without_a_word": "",
    "raises_odd_text": "OSError: a file name",
    "raises_what_cannot_be_shown": "Mute",
    "raises_a_megabyte": "xxx",
    "leaves": "SystemExit: 3",
    "exits": "its process ended with exit status 7",
    "segfaults": "its process was ended by SIGSEGV",
    "is_killed": "its process was ended by SIGKILL, as the system does when memory runs out",
    "runs_out_of_memory": "MemoryError",
    "hangs": "it took longer than 2 s and was ended",
    "recurses": "RecursionError",
    "recurses_into_the_stacks_end": "its process was ended by SIGSEGV",
    "leaves_a_child": None,
    "leaves_a_child_of_its_own_session": None,
    "leaves_a_daemon": None,
    "dies_and_leaves_a_daemon": "its process ended with exit status 7",
    "leaves_a_child_that_holds_all_files": "its process ended with exit status 7",
    "forks_and_both_return": None,
    "forks_and_the_child_raises": None,
    "closes_all_files": "its process (ended|hung up)",
    "closes_stdout": None,
    "replaces_stdout": None,
    "goes_to_a_folder_that_vanishes": None,
    "starts_threads": None,
    "stops_itself": "it took longer than 2 s and was ended",
}


def kinds(names):
    """Each in a run of its own, or all in one."""
    return [[name, ""] for name in names] if ALL else [list(names)]


def judged(trials, acts, expected):
    for trial in trials:
        act = acts[trial.number % len(acts)]
        says = expected[act] if act else None
        assert (trial.state == "complete") == (says is None), (act, trial)
        if says is not None:
            assert re.search(says, trial.error), (act, trial.error)
            assert trial.error.strip()
        assert trial.value != -1000.0, act


@pytest.mark.fault("objective that misbehaves, 2 workers", "every kind in its own run (all in one in the sample)")
@pytest.mark.parametrize("acts", kinds(IN_WORKERS), ids=lambda a: a[0])
def test_in_workers(lab, acts):
    budget = max(4, len(acts))
    job = {"workers": 2, "timeout": 2.0, "optimizer": "RandomSearch", "budget": budget, "acts": acts}
    lab.run(**job).result()
    judged(lab.check(budget, full=True), acts, IN_WORKERS)


HERE = {
    name: IN_WORKERS[name]
    for name in (
        "prints", "raises", "fails_without_a_word", "raises_odd_text", "raises_what_cannot_be_shown",
        "raises_a_megabyte", "leaves", "runs_out_of_memory", "recurses", "closes_stdout", "replaces_stdout",
        "goes_to_a_folder_that_vanishes",
    )
}  # fmt: skip


@pytest.mark.fault("objective that misbehaves, serial", "every kind in its own run (in the sample all in one)")
@pytest.mark.parametrize("acts", kinds(HERE), ids=lambda a: a[0])
def test_in_the_main_process(lab, acts):
    budget = max(4, len(acts))
    ended = lab.run(optimizer="RandomSearch", budget=budget, acts=acts)
    assert ended.status == 0 or {"closes_stdout", "replaces_stdout"} & set(acts), ended.err
    judged(lab.check(budget, full=True), acts, HERE)


@pytest.mark.fault("objective that returns what is no number", "by a table of them; serial and with workers")
@pytest.mark.parametrize("workers", [None, 2])
def test_what_is_returned(lab, workers):
    acts = [f"returns {name}" for name in (*RETURNS, *GOOD)] + [
        "yields nothing", "yields without fidelity", "yields NaN"
    ]  # fmt: skip
    lab.run(optimizer="CMAES", budget=len(acts), acts=acts, **{"workers": 2} if workers else {}).result()
    trials = lab.check(len(acts), full=True)
    for act, trial in zip(acts, trials, strict=True):
        if act.removeprefix("returns ") in GOOD:
            assert trial.value == 2.5
        else:
            assert trial.state == "failed", act
            assert len(trial.error.splitlines()) == 1, trial.error


@pytest.mark.fault(
    "objective that prints 1 GB (16 MB in the sample)", "to a file, a pipe read slowly, a pipe closed early"
)
@pytest.mark.parametrize("where", some(["file", "slow pipe", "closed pipe"], "closed pipe"))
def test_prints_much(lab, where):
    lab.environment["METALOOP_PRINTED_MB"] = "512" if ALL else "8"
    job = lab.job(workers=2, optimizer="RandomSearch", budget=4, acts=["prints", ""])
    options = {} if where == "file" else {"stdout": subprocess.PIPE}
    process = lab.command(sys.executable, VICTIM, json.dumps(job), **options)
    if where == "slow pipe":
        while process.popen.stdout.read(1 << 20):
            time.sleep(0.002)
    if options:
        process.popen.stdout.close()
    process.wait()
    trials = lab.check(4, full=True)
    for trial in trials:
        broken = where == "closed pipe" and trial.number % 2 == 0
        assert (trial.state == "failed") == broken
        assert not broken or "BrokenPipeError" in trial.error
