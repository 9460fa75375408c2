"""`metaloop tune` with a program that does everything wrong, and with signals while it runs."""

import signal
import sys
import time

import pytest
from extent import ALL, seeds, some
from lab import HERE, drawn, until

ACTS = {
    "fine": None,
    "exits": "exit status 7",
    "killed": "ended by signal SIGKILL",
    "stops": "it took longer than 2 s and was ended",
    "ignores": "it took longer than 2 s and was ended",
    "hangs": "it took longer than 2 s and was ended",
    "child": None,
    "session": None,
    "daemon": None,
    "closes": None,
    "folder": None,
    "recurses": "RecursionError",
    "text": "no line of stdout was a number",
    "odd": "the objective returned inf",
}


def tune(lab, act, *options, program=None):
    return lab.metaloop(
        "tune", "-p", "x=float(-1,1)", *map(str, options), "--optimizer", "RandomSearch", "--store", lab.store,
        "--", sys.executable, HERE / "program.py", *(program or [act, "{x}"])
    )  # fmt: skip


@pytest.mark.fault("program that misbehaves, `metaloop tune`", "every kind in its own run (all in one in the sample)")
@pytest.mark.parametrize(
    "acts", [[a] for a in ACTS] if ALL else [[a for a in ACTS if a not in ("hangs", "stops")]], ids=lambda a: a[0]
)
def test_programs(lab, acts):
    process = lab.metaloop(
        "tune", "-p", f"act=cat({','.join([*acts, 'last'])})", "--optimizer", "GridSearch", "--timeout", "2",
        "--store", lab.store, "--", sys.executable, HERE / "program.py", "{act}", "0.5",
    )  # fmt: skip
    ended = process.wait()
    assert ended.status == 0, ended.err
    trials = lab.check()
    assert {t.config["act"] for t in trials} == {*acts, "last"}
    for trial in trials:
        says = ACTS.get(trial.config["act"])
        assert (trial.state == "complete") == (says is None), trial
        assert says is None or says in trial.error.splitlines()[-1], trial


@pytest.mark.fault("kill -9 of `metaloop tune`", "SIGKILL from outside, a program and its daemon running")
@pytest.mark.parametrize("seed", seeds(20, 1))
def test_kill(lab, seed):
    process = tune(lab, "ignores", "--budget", 2)
    time.sleep(drawn(seed, 0.5, 2.0)) if seed % 2 else until((lab.folder / "begun").exists)
    process.signal(signal.SIGKILL)
    process.wait()
    lab.check(2)
    assert tune(lab, "fine", "--budget", 2).wait().status == 0
    lab.check(2, full=True)


@pytest.mark.fault("SIGTERM, SIGHUP, SIGINT to `metaloop tune`", "from outside; the program ignores them")
@pytest.mark.parametrize(
    "numbers",
    some(
        [
            [signal.SIGTERM],
            [signal.SIGHUP],
            [signal.SIGINT] * 2,
            [signal.SIGINT] * 4,
            [signal.SIGTERM] * 3,
            [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGINT],
        ],
        [signal.SIGINT] * 4,
        [signal.SIGTERM, signal.SIGHUP],
    ),
    ids=lambda numbers: "-".join(n.name for n in numbers),
)
def test_signals(lab, numbers):
    process = tune(lab, "ignores", "--budget", 2)
    until((lab.folder / "begun").exists)
    for number in numbers:
        process.signal(number)
        if number == signal.SIGINT:  # two that come at once are one
            until(lambda: "interrupted" in process.err or process.popen.poll() is not None)
        time.sleep(0.1)
    ended = process.wait()
    # Whoever repeats a signal may hit the process when it has put everything away and is about to leave.
    assert ended.status in {128 + n for n in numbers} | {-n for n in numbers[1:]}
    assert "Traceback" not in ended.err
    assert len(ended.err.splitlines()) <= 1
    lab.check(2)
    assert tune(lab, "fine", "--budget", 2).wait().status == 0
    lab.check(2, full=True)


@pytest.mark.fault("Ctrl-C once to `metaloop tune`", "SIGINT from outside; the program takes a second")
def test_one_interrupt(lab):
    process = lab.metaloop(
        "tune", "-p", "x=float(-1,1)", "--optimizer", "RandomSearch", "--store", lab.store,
        "--", sys.executable, "-c", "import time; open('begun', 'w'); time.sleep(1); print({x})",
    )  # fmt: skip
    until((lab.folder / "begun").exists)
    process.signal(signal.SIGINT)
    ended = process.wait()
    assert ended.status == 0, ended.err
    assert "Interrupted after 1 trials" in ended.out
    assert [str(t.state) for t in lab.check(1)] == ["complete"]


@pytest.mark.fault("program that prints 1 GB (32 MB in the sample)", "to `metaloop tune`, whose memory is watched")
def test_prints_much(lab):
    lab.environment["METALOOP_PRINTED_MB"] = "1024" if ALL else "32"
    ended = tune(lab, "prints", "--budget", 1).wait()
    assert ended.status == 0, ended.err
    assert lab.check(1, full=True)[0].value < 200.0
