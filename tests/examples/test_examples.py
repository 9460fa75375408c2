"""Every example runs, and does what it says."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import metaloop as ml
from metaloop import registry
from metaloop.testing import check_optimizer

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, **options):
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scipy_style():
    out = run("scipy_style.py")
    assert float(out.split()[0]) < 1e-2
    assert "CMAES" in out


def test_ask_and_tell():
    out = run("ask_and_tell.py")
    assert float(re.search(r"without a study: (\S+)", out)[1]) < 1e-2
    assert float(re.search(r"with a study: value (\S+)", out)[1]) < 2.5


def test_scikit_learn():
    out = run("scikit_learn.py")
    assert float(out.split()[0]) >= 0.97


def test_rare_event():
    out = run("rare_event.py")
    found = float(re.search(r"probability (\S+),", out)[1])
    # 7.856e-7 (+- 0.001e-7) by integrating over the load analytically, and over the others around the design point
    assert found == pytest.approx(7.856e-7, rel=0.1)
    assert "status: ok" in out


def test_shell(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["sh", str(EXAMPLES / "shell.sh")], capture_output=True, text=True, timeout=120, env=env, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "budget of 20 trials" in done.stdout
    assert "failed" not in done.stdout
    assert "The optimizer is Auto" in done.stdout
    assert "number,state,value" in done.stdout.replace("trial", "number")


def test_resume(tmp_path):
    path = tmp_path / "a.db"
    assert "evaluated 12 now, 12 in all" in run("resume.py", path, "--budget", 12)
    assert "evaluated 18 now, 30 in all" in run("resume.py", path)
    assert "evaluated 0 now, 30 in all" in run("resume.py", path)
    assert "evaluated 30 now, 30 in all" in run("resume.py", tmp_path / "b.db")


def test_parallel():
    out = run("parallel.py")
    assert "The budget of 40 trials was used." in out
    assert "exit status 1" in out
    assert "it took longer than 1 s" in out


def test_early_stopping():
    out = run("early_stopping.py")
    assert float(re.search(r"value (\S+)", out)[1]) < 0.08
    assert "ended early" in out


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The example's package as pip would leave it: its module and its entry points on the path."""
    text = (EXAMPLES / "own_optimizer" / "pyproject.toml").read_text()
    entry = re.search(r"^HillClimber = \"(\S+)\"", text, re.M)[1]
    info = tmp_path / "hill_climber-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hill-climber\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[metaloop.optimizers]\nHillClimber = {entry}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES / "own_optimizer")
    importlib.invalidate_caches()


def test_own_optimizer(installed, tmp_path):
    assert "HillClimber" in registry.names("optimizers")
    recipe = registry.find("optimizers", "hillclimber")()
    check_optimizer(recipe)
    assert ml.space_of(recipe).labels == ("step",)
    path = tmp_path / "a.db"
    box = [(-5, 5)] * 2
    first = ml.minimize(lambda x: float((x**2).sum()), box, budget=40, optimizer="HillClimber", store=path)
    again = ml.minimize(lambda x: float((x**2).sum()), box, budget=80, store=path)  # found by its stored name
    assert again.value <= first.value < 1.0
    with pytest.raises(ml.InputError, match="did you mean 'HillClimber'"):
        ml.minimize(lambda x: 0.0, box, optimizer="HillClimbr")


def test_own_optimizer_is_short():
    lines = (EXAMPLES / "own_optimizer" / "hill_climber.py").read_text().split("@dataclass(frozen=True)")[1]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 30


def test_hypergradient():
    out = run("hypergradient.py")
    before, after = (float(re.search(rf"{when}: validation error (\S+?);", out)[1]) for when in ("before", "after"))
    assert after < before
    assert "conjugate gradients" in out
