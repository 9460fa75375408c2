"""Processes of a run, and all that they start: none is left when it is ended, nor when the run is killed.

Each is the leader of a session, so that Ctrl-C does not reach it. Its environment carries a mark that everything it
starts inherits, whatever becomes of their relation; a `guard` process knows the marks and outlives the run.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metaloop.run.guard import MARK, end_all


class Offspring:
    """Starts and ends processes. Ended by `close`, or by the guard when this process is no more."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self._marks: dict[int, str] = {}  # of the processes that have not been ended
        self._started = 0
        self._guard = self._new_guard()

    def _new_guard(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("guard.py")
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), f"{self._mark}."],
            stdin=subprocess.PIPE, bufsize=0, start_new_session=True,
        )  # fmt: skip

    def start(self, command: Sequence[str], environment: Mapping[str, str], **options: Any) -> subprocess.Popen[bytes]:
        """A process in a session of its own.

        Args:
            command: the program and its arguments.
            environment: its environment, to which the mark is added.
            options: of `subprocess.Popen`.

        Raises:
            OSError: it could not be started.
        """
        self.keep_guarded()
        self._started += 1
        mark = f"{self._mark}.{self._started};"
        marked = {**environment, MARK: environment.get(MARK, "") + mark}  # a run within a run belongs to both
        process = subprocess.Popen(command, env=marked, start_new_session=True, **options)
        self._marks[process.pid] = mark
        self._tell_guard(f"+{process.pid}")
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process and everything it started; it has been waited for then."""
        mark = self._marks.pop(process.pid)
        end_all(mark, [process.pid])
        self._tell_guard(f"-{process.pid}")
        process.wait()

    def keep_guarded(self) -> None:
        """See that the guard lives; to be called now and then."""
        if self._guard.poll() is not None:
            self._guard = self._new_guard()
            for pid in self._marks:
                self._tell_guard(f"+{pid}")

    def _tell_guard(self, line: str) -> None:
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):  # it has died: `keep_guarded` will see
            self._guard.stdin.write(f"{line}\n".encode())

    def close(self) -> None:
        """End what is left, by the guard."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()
