"""The package as a whole: what importing costs, what it exposes, and which way imports point."""

import subprocess
import sys
from pathlib import Path

import pytest

import metaloop

ROOT = Path(__file__).parents[1]


def test_public_names_exist():
    for name in metaloop.__all__:
        assert getattr(metaloop, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        metaloop.nonsense  # noqa: B018
    assert set(metaloop.__all__) <= set(dir(metaloop))


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, metaloop; metaloop.minimize; metaloop.Study; metaloop.Space;"
        "heavy = {'scipy.optimize', 'scipy.stats', 'matplotlib', 'sklearn', 'typer', 'rich', 'jax', 'numba'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_imports_point_down_only():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_style_and_types(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
