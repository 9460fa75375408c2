"""Who evaluates a trial, and whether it still can: a run takes up what the dead left, and nothing of the living.

An owner is a string: the machine's boot, the process-id namespace, the process and its start time, and a number within
the process. An owner elsewhere, or of an earlier boot, counts as gone: a SQLite file is for one machine.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

_numbers = itertools.count()
_here: set[str] = set()  # owners of this process that have not retired


def new_owner() -> str:
    """An owner within this process, alive until it retires or the process ends."""
    owner = f"{_process(os.getpid())}/{next(_numbers)}"
    _here.add(owner)
    return owner


def retire(owner: str) -> None:
    """From now on the owner is gone."""
    _here.discard(owner)


def alive(owner: str) -> bool:
    """Whether an owner can still come back with a value."""
    process = owner.rpartition("/")[0]
    parts = process.split(":")
    if len(parts) != 4 or not parts[2].isdigit():
        return False
    pid = int(parts[2])
    return owner in _here if pid == os.getpid() else process == _process(pid)


def _process(pid: int) -> str:
    """A process so that no later one is taken for it; empty where there is none."""
    if os.name != "posix":
        return f"::{pid}:" if pid == os.getpid() else ""
    boot = _read(Path("/proc/sys/kernel/random/boot_id"))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass  # it lives, and is another user's
    # Field 22 of stat is the start time; the name in field 2 may hold spaces and parentheses.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if fields and fields[0] == "Z":
        return ""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{boot}:{namespace.strip('pid:[]')}:{pid}:{fields[19] if len(fields) > 19 else ''}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
