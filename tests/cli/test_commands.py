import csv
import hashlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from metaloop import Categorical, Float, Int, RandomSearch, Space, Study, cli
from metaloop.cli import main

PARAMETERS = ["-p", "x=float(-1,1)", "-p", "c=cat(a,b)", "-p", "k=int(1,3,when:c=b)"]
FAST = ["--optimizer", "RandomSearch", "--budget", "4"]
ECHO = ["--", sys.executable, "-c", "import sys; print(float(sys.argv[1]) ** 2)", "{x}", "{k}"]


@pytest.fixture
def store(tmp_path):
    """A study with everything that may be awkward to show."""
    path = tmp_path / "s.db"
    space = Space(
        {
            "x": Float(0, 1),
            "[red]value": Categorical(["[bold]b", 'c\x1b[31m,"d"', None, True]),
            "number": Int(1, 3, when={"[red]value": True}),
        }
    )
    with Study(path, name="[blue]s", space=space, optimizer=RandomSearch(), seed=3) as study:
        for i in range(8):
            trial = study.ask()
            study.tell(trial, {"value": trial.config["x"], "constraints": [0.5 if i % 2 else -1.0]})
        study.tell(study.ask(), None, error="Traceback\n  line, with comma\nValueError: [red]boom\x1b[0m")
        study.ask()
    return path


def content(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.suffix == ".db"}


def run(*arguments):
    """In a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "metaloop.cli", *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


# --- tune ------------------------------------------------------------------------------------------------------


def test_tune_a_program_prints_one_object(capfd):
    assert main(["tune", *PARAMETERS, *FAST, "--seed", "1", "--json", *ECHO]) == 0
    captured = capfd.readouterr()
    data = json.loads(captured.out)
    assert captured.out.count("\n") == 1
    assert captured.err == ""
    assert data["states"] == {"complete": 4}
    assert data["value"] == data["config"]["x"] ** 2
    assert data["std"] is None  # NaN: nothing is known about the noise


def test_tune_for_people(capsys, tmp_path):
    code = "import os, sys; n = int(os.environ['METALOOP_TRIAL']); print(n) if n else sys.exit('[red]first')"
    store = tmp_path / "t.db"
    assert (
        main(["tune", *PARAMETERS, *FAST, "--store", str(store), "--maximize", "--", sys.executable, "-c", code]) == 0
    )
    out = capsys.readouterr().out
    assert "value 3 at" in out
    assert "1 of 4 trials failed" in out
    assert "stderr ended with: [red]first" in out
    assert str(store) in out
    # Going on: the numbers of the trials go on too.
    again = ["tune", *PARAMETERS, *FAST[:2], "--budget", "6", "--store", str(store), "--maximize", "--quiet"]
    assert main([*again, "--", sys.executable, "-c", code]) == 0
    assert capsys.readouterr().out == ""
    with Study(store, readonly=True) as study:
        assert [t.value for t in study.trials][1:] == [1, 2, 3, 4, 5]


def test_tune_what_never_succeeds(capsys):
    assert main(["tune", *PARAMETERS, *FAST, "--", "false"]) == 1
    assert "No trial succeeded" in capsys.readouterr().out


def test_tune_from_a_file_with_options_over_it(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "objective_for_tune.py").write_text("def f(c):\n    print('noise')\n    return c['x'] + c['extra']\n")
    path = tmp_path / "run.toml"
    path.write_text(
        'objective = "objective_for_tune:f"\nbudget = 50\noptimizer = "RandomSearch"\n[space]\nx = {float=[0, 1]}\n'
    )
    arguments = ["tune", str(path), "--budget", "3", "--param", "extra=int(5,5)", "--json"]
    assert main(arguments) == 0
    captured = capfd.readouterr()
    data = json.loads(captured.out)
    assert (data["trials"], data["config"]["extra"]) == (3, 5)
    assert captured.err.count("noise") == 3
    # A program after `--` takes the place of the file's function.
    assert main([*arguments, "--", "echo", "{x}"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["value"] == data["config"]["x"]
    # In worker processes, which may be ended; what they print is kept from the JSON, too.
    assert main([*arguments, "--workers", "2", "--timeout", "30"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["trials"] == 3
    assert captured.err.count("noise") == 3


def test_tune_a_program_in_parallel(capsys):
    code = "import sys, time; time.sleep(0.3); print(sys.argv[1])"
    arguments = [*PARAMETERS, "--budget", "6", "--optimizer", "RandomSearch", "--workers", "3", "--json"]
    assert main(["tune", *arguments, "--", sys.executable, "-c", code, "{x}"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["value"] == data["config"]["x"]
    assert data["states"] == {"complete": 6}
    assert main(["tune", *PARAMETERS, "--workers", "0", "--", "true"]) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tune"], "nothing to tune"),
        (["tune", "-p", "x=float(0,1)"], "nothing to run"),
        (["tune", "-p", "x=flot(0,1)", "--", "true"], "did you mean 'float'"),
        (["tune", "-p", "x=float(0,1)", "--", "true", "{y}"], "{x}"),
        (["tune", "-p", "x=float(0,1)", "--"], "a program"),
        (["tune", "-p", "x=float(0,1)", "--budgte", "3", "--", "true"], "--budgte"),
        (["tune", "-p", "x=float(0,1)", "python", "train.py"], "after `--`"),
        (["tune", "train.py"], ".toml"),
        (["tune", "none.toml"], "cannot read"),
        (["tune", "none.toml", "--", "true"], "cannot read"),
        (["tune", "-p", "x=float(0,1)", "--budget", "0", "--", "true"], "budget"),
        (["tune", "-p", "x=float(0,1)", "--budget", "many", "--", "true"], "--budget"),
        (["tune", "-p", "x=float(0,1)", "--optimizer", "Rndom", "--", "true"], "did you mean 'RandomSearch'"),
        (["tune", "-p", "x=float(0,1)", "--store", "no/where.db", "--", "true"], "does not exist"),
        (["tune", "-p", "x=float(0,1)", "--timeout", "-1", "--", "true"], "timeout"),
        (["show"], "STUDY"),
        (["show", "none.db"], "none.db"),
        (["show", "memory://"], "memory"),
        (["show", "ftp://x"], "store"),
        (["why", "none.db"], "none.db"),
        (["export", "none.db"], "none.db"),
        (["export", "none.db", "--format", "xml"], "xml"),
        (["system", "nope"], "nope"),
        (["sytem"], "sytem"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert says in captured.err
    assert list(tmp_path.iterdir()) == []


def test_the_first_interrupt_lets_the_trial_end_and_the_second_stops_at_once(tmp_path):
    # The program ends by itself 1 s after it has begun, and would die of a SIGINT.
    code = (
        "import os, sys, time; f = open(sys.argv[1] + '/begun' + os.environ['METALOOP_TRIAL'], 'w');"
        "f.write(str(os.getpid())); f.close(); time.sleep(float(sys.argv[2])); print(1)"
    )

    def begin(seconds, store):
        arguments = ["tune", "-p", "x=float(0,1)", "--optimizer", "RandomSearch", "--budget", "5", "--json"]
        program = ["--", sys.executable, "-c", code, str(tmp_path), str(seconds)]
        process = subprocess.Popen(
            [sys.executable, "-m", "metaloop.cli", *arguments, "--store", str(tmp_path / store), *program],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + 20
        while not (tmp_path / "begun0").exists() or not (tmp_path / "begun0").read_text():
            assert time.monotonic() < until
            time.sleep(0.02)
        return process

    process = begin(0.5, "one.db")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    data = json.loads(out)
    assert process.returncode == 0
    assert data["states"] == {"complete": 1}
    assert data["status"].startswith("Interrupted")
    for number, expected in (("SIGINT", 130), ("SIGTERM", 143)):
        (tmp_path / "begun0").unlink()
        process = begin(60, f"{number}.db")
        process.send_signal(getattr(signal, number))
        if number == "SIGINT":
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (expected, "")
        assert "Traceback" not in err
        with pytest.raises(ProcessLookupError):  # the program is gone too
            os.kill(int((tmp_path / "begun0").read_text()), 0)
        with Study(tmp_path / f"{number}.db", readonly=True) as study:
            assert [str(t.state) for t in study.trials] == ["running"]  # to be taken up by a later run


# --- show, why, export -----------------------------------------------------------------------------------------


def test_show_shows_text_literally_and_feasible_trials_first(store, capsys):
    assert main(["show", str(store), "--top", "20"]) == 0
    out = capsys.readouterr().out
    assert "[red]value" in out
    assert "[blue]s" in out
    assert "\x1b" not in out
    assert "10 trials: 1 running, 8 complete, 1 failed" in out
    assert main(["show", str(store), "--json", "--top", "20"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["states"] == {"running": 1, "complete": 8, "failed": 1, "released": 0}
    top = [(t["constraints"][0] > 0, t["value"]) for t in data["top"]]
    assert top == sorted(top)
    assert len(top) == 8
    assert data["incumbent"]["value"] == top[0][1]
    assert main(["show", str(store), "--json", "--top", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)["top"]) == 1


def test_why_says_what_the_study_says(store, capsys):
    assert main(["why", str(store)]) == 0
    out = capsys.readouterr().out
    assert "The optimizer is RandomSearch()" in out
    assert "ValueError: [red]boom" in out
    assert "\x1b" not in out
    assert main(["why", str(store), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["study"] == "[blue]s"
    assert data["decisions"] == []
    assert "The optimizer is RandomSearch(), seed 3." in data["notes"]


def test_why_tells_whose_turn_it_was_and_draws_it(tmp_path, capsys):
    runs, picture = tmp_path / "runs.db", tmp_path / "run.svg"
    with Study(runs, name="auto", space=Space.from_bounds([(-1.0, 1.0)] * 2), seed=0, budget=20) as study:
        for _ in range(20):
            trial = study.ask()
            study.tell(trial, sum((v - 0.3) ** 2 for v in trial.config.values()))
    assert main(["why", str(runs), "--figure", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "Trials 3 to 12: trust region" in out
    assert "Gaussian process" in picture.read_text()
    assert main(["why", str(runs), "--json"]) == 0
    turns = json.loads(capsys.readouterr().out)["turns"]
    assert sum(turns["shares"].values()) == 20
    assert turns["gains"]["trust region"] > 0
    assert main(["why", str(runs), "--figure", str(tmp_path / "run.doc")]) == 2
    assert ".svg" in capsys.readouterr().err


def test_a_picture_never_replaces_the_study(tmp_path, capsys):
    study = tmp_path / "runs.svg"
    with Study(study, name="s", space=Space(x=Float(0.0, 1.0)), optimizer=RandomSearch()) as opened:
        opened.tell(opened.ask(), 1.0)
    before = study.read_bytes()
    assert main(["why", str(study), "--figure", str(study)]) == 2
    assert "another file than the study" in capsys.readouterr().err
    assert study.read_bytes() == before


def test_export_loses_nothing(store, capsys, tmp_path):
    assert main(["export", str(store)]) == 0
    text = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(text)))
    with Study(store, name="[blue]s", readonly=True) as study:
        trials = study.trials
    assert list(rows[0]) == ["number", "state", "value", "x", "[red]value", "config.number", "constraint_0", "fidelity",
                             "cost", "seconds", "source", "error"]  # fmt: skip
    for row, trial in zip(rows, trials, strict=True):
        assert (int(row["number"]), row["state"]) == (trial.number, str(trial.state))
        assert float(row["x"]) == trial.config["x"]
        assert (float(row["value"]) if row["value"] else math.nan) == pytest.approx(trial.value, abs=0, nan_ok=True)
        words = {None: "null", True: "true"}
        kernel = trial.config["[red]value"]
        assert row["[red]value"] == words.get(kernel, kernel)
        assert row["config.number"] == str(trial.config.get("number", ""))
        assert row["error"] == (trial.error or "")
    assert main(["export", str(store), "--format", "json", "--out", str(tmp_path / "o.json")]) == 0
    data = json.loads((tmp_path / "o.json").read_text())
    assert data["trials"] == json.loads(json.dumps([t.as_dict() for t in trials]))
    assert main(["export", str(store), "--out", str(tmp_path / "o.csv")]) == 0
    assert (tmp_path / "o.csv").read_bytes().decode() == text


def test_looking_changes_nothing(store, capsys):
    before = content(store.parent)
    for command in ("show", "why", "export"):
        assert main([command, str(store)]) == 0
        assert main([command, f"sqlite:///{store}", "--name", "[blue]s"]) == 0
        assert main([command, str(store), "--name", "[blue]x"]) == 2
    assert main(["export", str(store), "--out", str(store)]) == 2
    assert main(["show", str(store.parent / "new.db")]) == 2
    assert content(store.parent) == before


def test_a_store_with_several_studies_needs_a_name(store, capsys):
    Study(store, name="other", space=[(0, 1)], optimizer=RandomSearch()).close()
    assert main(["show", str(store)]) == 2
    err = capsys.readouterr().err
    assert "[blue]s" in err
    assert "--name" in err
    assert main(["show", str(store), "--name", "othr"]) == 2
    assert "did you mean 'other'" in capsys.readouterr().err
    assert main(["show", str(store), "--name", "other"]) == 0
    assert "No trial has succeeded." in capsys.readouterr().out


# --- the program itself ----------------------------------------------------------------------------------------


def test_in_a_process_of_its_own(store):
    assert run("--version").stdout.startswith("metaloop 0.")
    found = run("show", store)
    assert (found.returncode, found.stderr) == (0, "")
    missing = run("show", "none.db")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "metaloop: no study file at none.db\n"


def test_a_reader_that_goes_away_is_no_error(store):
    script = f"{sys.executable} -m metaloop.cli export {store} | head -c 5"
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("numbe", "")


def test_without_arguments_there_is_help(capsys):
    assert main([]) == 0
    assert "tune" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["tune", "show", "why", "export", "systems", "system"])
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Usage: metaloop" in out
    if command == "tune":
        assert "cat(A,B,...[,ordered])" in out


def test_without_typer_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    assert main(["show"]) == 2
    assert capsys.readouterr().err == "the command line needs typer and rich: pip install 'metaloop[cli]'\n"
