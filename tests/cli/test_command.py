import os
import re
import sys
import time

import numpy as np
import pytest

from metaloop import Categorical, Float, InputError, Int, Space, minimize
from metaloop.cli.command import Command, last_value
from metaloop.errors import TrialFailed
from metaloop.run.evaluate import current_trial
from metaloop.study import Trial

SPACE = Space(
    lr=Float(0, 1),
    kernel=Categorical(["rbf", "poly"]),
    degree=Int(2, 5, when={"kernel": "poly"}),
    b=Categorical([True]),
)
CONFIG = {"lr": 0.1, "kernel": "rbf", "b": True}


def python(code, *arguments, timeout=10.0, early=None):
    """A program as a function of a configuration; early values go into the list `early`."""
    command = Command([sys.executable, "-c", code, *arguments], SPACE, timeout=timeout)

    def call(config):
        steps = command(config)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            if early is not None:
                early.append(step)

    return call


def arguments(*template, config=CONFIG):
    return Command(["true", *template], SPACE).arguments(config)[1:]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (["--lr", "{lr}"], ["--lr", "0.1"]),
        (["{kernel}:{lr}/{b}"], ["rbf:0.1/true"]),
        (["{{lr}}", "a}}b"], ["{lr}", "a}b"]),
        ([""], [""]),
        # What belongs to an inactive parameter vanishes; nothing else does.
        (["--degree", "{degree}", "x"], ["x"]),
        (["--degree={degree}", "x"], ["x"]),
        (["--lr", "{lr}", "{degree}"], ["--lr", "0.1"]),
        (["--flag", "d={degree}"], ["--flag"]),
        (["a", "{degree}"], ["a"]),
        (["--x={lr}", "{degree}"], ["--x=0.1"]),
        (["-d", "{degree}", "{degree}"], []),
    ],
)
def test_placeholders(template, expected):
    assert arguments(*template) == expected


def test_an_active_conditional_parameter_is_passed_on():
    assert arguments("-d", "{degree}", config={**CONFIG, "kernel": "poly", "degree": 3}) == ["-d", "3"]


@pytest.mark.parametrize("value", [0.1, 1e-300, 1 / 3, 123456789.123])
def test_floats_are_passed_on_exactly(value):
    assert float(arguments("{lr}", config={"lr": value})[0]) == value


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["true", "{rl}"], "did you mean 'lr'"),
        (["true", "{}"], "literal braces"),
        (["true", "a{"], "doubled"),
        (["true", '{"lr": 1}'], "literal braces"),
        ([], "a program"),
        ([""], "a program"),
        (["true", "\0"], "a program"),
        (["no-such-program-here"], "can be found"),
        (["run-{degree}"], "inactive"),
    ],
)
def test_bad_commands_are_refused_before_anything_runs(argv, says):
    with pytest.raises(InputError, match=says) as caught:
        Command(argv, SPACE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, "5", True])
def test_a_bad_time_limit_is_refused(timeout):
    with pytest.raises(InputError, match="timeout"):
        Command(["true"], SPACE, timeout=timeout)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1\n2.5\n", 2.5),
        ("2.5\nbye\n\n", 2.5),
        ('{"epoch": 3}\n{"value": 1, "cost": 2}\nlog', {"value": 1, "cost": 2}),
        ("3\n{'value': 1}\n{broken", 3.0),
        ("loss 3", None),
        ("", None),
        ('["value"]', None),
        ('"3"', None),
    ],
)
def test_the_value_is_the_last_line_that_is_one(text, value):
    assert last_value(text) == value


def test_the_environment_holds_the_configuration_and_the_trial():
    code = "import os, json; e = os.environ; print(json.loads(e['METALOOP_CONFIG'])['lr'] + int(e['METALOOP_TRIAL']))"
    token = current_trial.set(Trial(7, CONFIG, np.zeros(1)))
    try:
        assert python(code)(CONFIG) == 7.1
    finally:
        current_trial.reset(token)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys; print(1); sys.exit('boom')", r"exit status 1; stderr ended with: boom\Z"),
        ("1/0", r"exit status 1; stderr ended with: ZeroDivisionError: division by zero\Z"),
        ("print('hello')", r"no line of stdout was a number.*stderr was empty\Z"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal SIGKILL"),
    ],
)
def test_failures_say_why_in_their_last_line(code, says):
    with pytest.raises(TrialFailed) as caught:
        python(code)(CONFIG)
    assert re.search(says, str(caught.value))


def test_a_program_that_prints_without_end_costs_no_memory():
    lines = "sys.stdout.write('x' * 99_999 + '\\n'); sys.stderr.write('y' * 9_999)"
    code = f"import sys\nfor i in range(500): {lines}\nprint(4)"
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert python(code)(CONFIG) == 4.0  # 50 MB of stdout, 5 MB of stderr
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 5_000  # kilobytes


def test_the_end_of_a_cut_line_is_no_value():
    with pytest.raises(TrialFailed, match="no line"):
        python("print('1' * 500_000, end='')")(CONFIG)


def test_lines_with_a_fidelity_count_as_they_are_written():
    code = """
import json
print("epoch 1"); print(chr(123) + "x" * 200_000); print(json.dumps(dict(fidelity=0.1)))
for k in range(1, 4):
    print(json.dumps(dict(value=1 / k, fidelity=k / 4)), end="\\r\\n" if k == 2 else "\\n")
print(0.125)
"""
    early = []
    assert python(code, early=early)(CONFIG) == 0.125
    assert early == [{"value": 1 / k, "fidelity": k / 4} for k in range(1, 4)]


def test_a_program_is_ended_where_its_trial_is_stopped_early(tmp_path):
    mark = tmp_path / "finished"
    code = (
        "import json, time; print(json.dumps(dict(value=1, fidelity=0.5)), flush=True); time.sleep(60);"
        f"open({str(mark)!r}, 'w'); print(2)"
    )
    steps = Command([sys.executable, "-c", code], SPACE)(CONFIG)
    assert next(steps) == {"value": 1, "fidelity": 0.5}
    begun = time.monotonic()
    steps.close()
    assert time.monotonic() - begun < 5
    assert not mark.exists()


def test_successive_halving_stops_programs(tmp_path):
    code = "\n".join(
        [
            "import json, os, sys, time",
            "lr = json.loads(os.environ['METALOOP_CONFIG'])['lr']",
            "for k in range(1, 10):",
            "    print(json.dumps(dict(value=lr + 1 / k, fidelity=k / 9)), flush=True)",
        ]
    )
    result = minimize(
        Command([sys.executable, "-c", code], Space(lr=Float(0, 1))), Space(lr=Float(0, 1)), budget=9, seed=0,
        optimizer="SuccessiveHalving", progress=False,
    )  # fmt: skip
    reached = sorted(t.observation.fidelity for t in result.trials)
    assert reached[0] < 1.0
    assert reached[-1] == 1.0


def gone(pid, seconds=3.0):
    """Whether a process ends soon (a zombie that nobody waits for has ended)."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


GRANDCHILD = """
import subprocess, sys, time
code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code])
open(sys.argv[1], "w").write(str(child.pid))
print(5, flush=True)
"""


def test_the_time_limit_ends_grandchildren_too(tmp_path):
    begun = time.monotonic()
    with pytest.raises(TrialFailed, match=r"longer than 0\.6 s"):
        python(GRANDCHILD + "time.sleep(60)", str(tmp_path / "pid"), timeout=0.6)(CONFIG)
    assert time.monotonic() - begun < 5
    assert gone(int((tmp_path / "pid").read_text()))


def test_what_a_program_leaves_running_is_ended_and_not_waited_for(tmp_path):
    begun = time.monotonic()
    assert python(GRANDCHILD, str(tmp_path / "pid"))(CONFIG) == 5.0
    assert time.monotonic() - begun < 5
    assert gone(int((tmp_path / "pid").read_text()))


def test_the_time_limit_holds_for_a_program_that_closed_its_pipes():
    with pytest.raises(TrialFailed, match="longer"):
        python("import os, time; os.close(1); os.close(2); time.sleep(60)", timeout=0.6)(CONFIG)


def test_nothing_of_a_shell_is_done():
    assert arguments("$HOME; {kernel} `ls` *") == ["$HOME; rbf `ls` *"]
