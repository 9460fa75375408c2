"""A process that ends the workers of a run that died without doing so (kill -9, out of memory).

It is started by path and imports nothing of the package. It reads lines from its standard input, `+PID` for a worker
that began and `-PID` for one that ended; when the pipe closes, it ends those that are left, with all they started.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path


def end_tree(leader: int) -> None:
    """Kill a process, its process group, and its descendants in other groups (as far as /proc tells)."""
    family = descendants(leader)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(leader, signal.SIGKILL)
    for pid in family:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(leader: int) -> list[int]:
    """The children of a process, their children, and so on; none where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, field 2, may hold spaces and parentheses; the parent is field 4.
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    level = [leader]
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return found


def main() -> None:
    """Read until the run is gone, then end what it left."""
    leaders: set[int] = set()
    for line in sys.stdin:
        (leaders.add if line[0] == "+" else leaders.discard)(int(line[1:]))
    for leader in leaders:
        end_tree(leader)


if __name__ == "__main__":
    main()
