"""A process that ends what a run has started, when the run itself was killed (kill -9, out of memory).

It is started by path and imports nothing of the package. Its argument is the run's mark. It reads lines from its
standard input, `+PID` for a process that began and `-PID` for one that was ended; when the pipe closes, it ends those
that are left, and all that carry the mark.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Collection

_PROC = "/proc"
MARK = "METALOOP_RUN"  # environment variable: the marks of the runs that a process belongs to
_ROUNDS = 5  # looks at the processes: one that is being ended may just have started another


def end_all(mark: str, leaders: Collection[int]) -> None:
    """Kill processes and their groups; as far as /proc tells, also their descendants and all that carry a mark."""
    for _ in range(_ROUNDS):
        family = relatives(mark, leaders)  # looked for before their parents are gone
        for kill, pids in ((os.killpg, leaders), (os.kill, family)):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
                    kill(pid, signal.SIGKILL)
        if not family:
            break


def relatives(mark: str, leaders: Collection[int]) -> list[int]:
    """The descendants of processes, and those whose environment, which is inherited, has a mark; no zombies."""
    children: dict[int, list[int]] = {}
    found = []
    for pid in (int(name) for name in os.listdir(_PROC) if name.isdigit()) if os.path.isdir(_PROC) else ():
        with contextlib.suppress(OSError, ValueError):
            with open(f"{_PROC}/{pid}/stat", "rb") as file:
                # The name, field 2, may hold spaces and parentheses; the state is field 3, the parent field 4.
                state, parent = file.read().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(pid)
                with open(f"{_PROC}/{pid}/environ", "rb") as file:
                    if mark.encode() in file.read():
                        found.append(pid)
    level = list(leaders)
    while level:
        level = [child for parent in level for child in children.get(parent, [])]
        found += level
    return found


def main(mark: str) -> None:
    """Read until the run is gone, then end what it left."""
    leaders: set[int] = set()
    for line in sys.stdin:
        (leaders.add if line[0] == "+" else leaders.discard)(int(line[1:]))
    end_all(mark, leaders)


if __name__ == "__main__":
    main(sys.argv[1])
