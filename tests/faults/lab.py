"""Real processes for faults to happen to: started, watched, and ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import invariants

from metaloop import InputError, StoreError

HERE = Path(__file__).parent
VICTIM = HERE / "victim.py"
PATIENCE = 120.0  # seconds that any process may take on a busy machine; far more than it needs
PARTING = 1.0  # seconds that what a run started may outlive it


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (minus the signal's number), stdout and stderr."""

    status: int
    out: str
    err: str

    def result(self) -> dict[str, Any]:
        """What the victim printed; it has to have ended well."""
        assert self.status == 0, self.err
        return json.loads(self.out.splitlines()[-1])


class Process:
    """A process in a session of its own; its output goes to files, so that no pipe can block it."""

    def __init__(
        self, command: Sequence[str | Path], folder: Path, environment: dict[str, str], **options: Any
    ) -> None:
        name = uuid.uuid4().hex[:8]
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            files = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err} | options
            self.popen = subprocess.Popen(
                [str(c) for c in command], cwd=folder, env=environment, start_new_session=True, **files
            )
        self.pid = self.popen.pid

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text(errors="replace")

    def signal(self, *numbers: int) -> None:
        """Send it signals, if it still runs."""
        for number in numbers:
            self.popen.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Its end."""
        try:
            status = self.popen.wait(seconds)
        finally:
            self.kill()
        return Ended(status, self._out.read_text(errors="replace"), self.err)

    def kill(self) -> None:
        """End it and its process group, if they still run."""
        if self.popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.popen.wait()


class Nest:
    """Forks victims, one at a time, from a process that has imported everything already."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, VICTIM, "--nest"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment(), start_new_session=True,
        )  # fmt: skip
        self.pid = 0
        self.closed = False

    def start(self, job: dict[str, Any]) -> None:
        self._say(json.dumps(job))
        self.pid = self._number("process")

    def wait(self) -> int:
        """The exit status of the victim."""
        self._say("")
        status, self.pid = self._number("status"), 0
        return status

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _number(self, kind: str) -> int:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], PATIENCE)[0], "a victim did not end"
        said, number = self._process.stdout.readline().split()
        assert said == kind
        return int(number)

    def close(self) -> None:
        self.closed = True
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()


def environment() -> dict[str, str]:
    """Modules are found where ours are."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}


class Lab:
    """A folder with one study, the processes that work on it, and what must hold when they have ended.

    Args:
        folder: empty.
        nest: where cheap victims come from.
    """

    def __init__(self, folder: Path, nest: Callable[[], Nest]) -> None:
        self.folder, self._nest = folder, nest
        self.store = folder / "study" / "study.db"
        self.store.parent.mkdir()
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.log = folder / "acknowledged"
        self.mark = uuid.uuid4().hex
        self.environment = {**environment(), "METALOOP_FAULT": self.mark, "TMPDIR": str(self.temporary)}
        self._started: list[Process] = []

    def job(self, **job: Any) -> dict[str, Any]:
        """What a victim does: defaults, and whatever is given."""
        return {"store": str(self.store), "log": str(self.log), "folder": str(self.folder), **job}

    def start(self, **job: Any) -> Process:
        """A victim in an interpreter of its own."""
        return self.command(sys.executable, VICTIM, json.dumps(self.job(**job)))

    def command(self, *command: str | Path, **options: Any) -> Process:
        """Any program."""
        self._started.append(Process(command, self.folder, self.environment, **options))
        return self._started[-1]

    def metaloop(self, *arguments: str | Path, **options: Any) -> Process:
        """The command line."""
        return self.command(sys.executable, "-m", "metaloop.cli", *arguments, **options)

    def run(self, *, meanwhile: Callable[[int], Any] | None = None, **job: Any) -> Ended:
        """A cheap victim, to its end; `meanwhile` is called with its process id while it runs."""
        files = {"out": self.folder / "out", "err": self.folder / "err"}
        for file in files.values():
            file.write_text("")
        nest, added = self._nest(), {k: v for k, v in self.environment.items() if os.environ.get(k) != v}
        try:
            nest.start(self.job(**job, **{k: str(v) for k, v in files.items()}, environment=added))
            if meanwhile is not None:
                meanwhile(nest.pid)
            status = nest.wait()
        except BaseException:
            nest.close()
            raise
        return Ended(status, files["out"].read_text(), files["err"].read_text())

    def marked(self) -> dict[int, str]:
        """The processes that a run of this lab started, however they are related to it, with their commands."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
        return found

    def workers(self) -> list[int]:
        """The worker processes of this lab's runs, oldest first."""
        return sorted(pid for pid, command in self.marked().items() if "metaloop.run.worker" in command)

    def check(self, budget: int | None = None, *, full: bool = False) -> list[Any]:
        """Assert what must hold after any fault.

        Args:
            budget: the most trials that there may be.
            full: all of them are there and finished.

        Returns:
            the trials.
        """
        deadline = time.monotonic() + PARTING
        while self.marked() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not self.marked(), f"left running: {self.marked()}"
        assert not list(self.temporary.iterdir()), "temporary files are left"
        try:
            trials = invariants.check(self.store, self.log)
        except (StoreError, InputError) as error:
            if full or (self.log.exists() and self.log.read_text()):
                raise
            if not re.search("no study file at|holds no study yet|there is no study 'study' here", str(error)):
                raise
            return []  # it was not created yet
        if budget is not None:
            assert len(trials) <= budget
        if full:
            assert len(trials) == budget
            assert all(t.state in ("complete", "failed") for t in trials)
        return trials

    def close(self) -> None:
        """End what still runs."""
        for process in self._started:
            process.kill()
        for pid in self.marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What a condition gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)
    return found


def drawn(seed: int, low: float, high: float) -> float:
    """A moment: uniform, and the same for the same seed."""
    return random.Random(seed).uniform(low, high)
