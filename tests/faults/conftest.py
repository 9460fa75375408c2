"""Faults as tests: a sample of the seeds in `make test`, all of them, with a table of the faults, in `make faults`."""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from extent import ALL
from lab import Lab, Nest

_times: Counter[tuple[str, str]] = Counter()
_violations: Counter[tuple[str, str]] = Counter()
_not_run: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="session")
def nest() -> Iterator[Callable[[], Nest]]:
    """What cheap victims are forked from; a new one where the last was given up."""
    nests: list[Nest] = []

    def current() -> Nest:
        if not nests or nests[-1].closed:
            nests.append(Nest())
        return nests[-1]

    yield current
    for each in nests:
        each.close()


@pytest.fixture
def lab(tmp_path: Path, nest: Callable[[], Nest]) -> Iterator[Lab]:
    """A folder with a study, and its processes."""
    lab = Lab(tmp_path, nest)
    yield lab
    lab.close()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(name, how): a test is one injection of it, a failure a violation")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fault = item.get_closest_marker("fault")
        if fault is not None:
            item.user_properties.append(("fault", fault.args))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for fault in (value for name, value in report.user_properties if name == "fault"):
        _times[fault] += report.when == "call" and not report.skipped
        _violations[fault] += report.failed
        if report.skipped and isinstance(report.longrepr, tuple):
            _not_run[fault] = report.longrepr[2].removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ALL:
        return
    today = datetime.datetime.now(datetime.UTC).date()
    lines = [f"Faults, {today}", "", "| fault | how it is injected | times | violations |", "|---|---|---|---|"]
    for fault, times in _times.items():
        lines.append(f"| {fault[0]} | {fault[1]} | {times or _not_run.get(fault, 0)} | {_violations[fault]} |")
    total = f"{_times.total()} injections of {len(_times)} faults, {_violations.total()} violations."
    terminalreporter.write("\n" + "\n".join([*lines, "", total]) + "\n")
