"""kill -9 at a few moments: nothing is lost, nothing is counted twice, the asked points are the same."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "benchmarks" / "resume.py"
_SPEC = importlib.util.spec_from_file_location("resume", _PATH)
resume = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(resume)


@pytest.mark.parametrize("optimizer", ["CMAES", "Auto"])
def test_a_killed_run_asks_what_the_uninterrupted_one_asked(tmp_path, optimizer):
    moments = [("in the objective", 7), ("before a commit", 12), ("after a commit", 10)]
    rows = resume.compare(optimizer, 14, moments, tmp_path)
    assert all(identical for *_, identical in rows), rows
