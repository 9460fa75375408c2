"""What an objective may do wrong."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import metaloop as ml
from metaloop.errors import TrialFailed

SLEEP = ["sleep", "600"]


def raises(_: str) -> Any:
    raise ValueError("no")


def fails_without_a_word(_: str) -> Any:
    raise TrialFailed


def raises_odd_text(_: str) -> Any:
    raise OSError("a file name that is not UTF-8: \udcff\0\x1b[31m")


def raises_what_cannot_be_shown(_: str) -> Any:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise Mute


def raises_a_megabyte(_: str) -> Any:
    raise TrialFailed("x" * 1_000_000)


def leaves(_: str) -> Any:
    sys.exit(3)


def exits(_: str) -> Any:
    os._exit(7)


def segfaults(_: str) -> Any:
    faulthandler.disable()  # its report is not looked at here
    ctypes.string_at(0)


def is_killed(_: str) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def runs_out_of_memory(_: str) -> Any:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), hard))
    try:
        return float(len(bytearray(1 << 30)))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def hangs(_: str) -> Any:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def recurses(folder: str) -> Any:
    return recurses(folder)


def recurses_into_the_stacks_end(_: str) -> Any:
    faulthandler.disable()
    nested: Any = ()
    for _ in range(1 << 19):
        nested = (nested,)
    hash(nested)


def leaves_a_child(_: str) -> Any:
    subprocess.Popen(SLEEP)
    return 1.0


def leaves_a_child_of_its_own_session(_: str) -> Any:
    subprocess.Popen(SLEEP, start_new_session=True)
    return 1.0


def leaves_a_daemon(_: str) -> Any:
    subprocess.run(["sh", "-c", "setsid sleep 600 & exit"], check=True)
    return 1.0


def dies_and_leaves_a_daemon(folder: str) -> Any:
    leaves_a_child_of_its_own_session(folder)
    leaves_a_daemon(folder)
    os._exit(7)


def leaves_a_child_that_holds_all_files(_: str) -> Any:
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    os._exit(7)


def forks_and_both_return(_: str) -> Any:
    return -1000.0 if os.fork() == 0 else 1.0


def forks_and_the_child_raises(_: str) -> Any:
    if os.fork() == 0:
        raise ValueError("in the child")
    return 1.0


def closes_all_files(_: str) -> Any:
    os.closerange(0, 4096)
    return 1.0


def closes_stdout(_: str) -> Any:
    sys.stdout.close()
    return 1.0


def replaces_stdout(_: str) -> Any:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]
    return 1.0


def goes_to_a_folder_that_vanishes(_: str) -> Any:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    shutil.rmtree(folder)
    return 1.0


def starts_threads(_: str) -> Any:
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(600,), daemon=False).start()
    return 1.0


def prints(_: str) -> Any:
    line = b"x" * 1023 + b"\n"
    for _ in range(int(os.environ.get("METALOOP_PRINTED_MB", "1"))):
        sys.stdout.buffer.write(line * 1024)
    return 1.0


def stops_itself(_: str) -> Any:
    os.kill(os.getpid(), signal.SIGSTOP)
    return 1.0


def deletes_the_study(folder: str) -> Any:
    (Path(folder) / "study" / "study.db").unlink(missing_ok=True)
    return 1.0


def replaces_the_study(folder: str) -> Any:
    path = Path(folder) / "study" / "study.db"
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)
    return 1.0


def deletes_the_log(folder: str) -> Any:
    (Path(folder) / "study" / "study.db-wal").unlink(missing_ok=True)
    return 1.0


class _Odd:
    """Everything about it raises."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __float__(self) -> float:
        raise RuntimeError("no float")


RETURNS: dict[str, Any] = {
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "None": None,
    "text": "3",
    "bytes": b"3",
    "complex": 1j,
    "complex64": np.complex64(1 + 2j),
    "array of none": np.array([]),
    "array of three": np.zeros(3),
    "array of a complex": np.array([1j]),
    "masked": np.ma.masked,
    "a boolean": True,
    "a numpy boolean": np.bool_(True),
    "Decimal NaN": Decimal("nan"),
    "Decimal sNaN": Decimal("snan"),
    "Decimal too large": Decimal("1e999"),
    "Fraction too large": Fraction(10**400),
    "huge": 10**400,
    "date": np.datetime64("2020-01-01"),
    "no value": {"loss": 1.0},
    "value and values": {"value": 1.0, "values": [1.0]},
    "empty dict": {},
    "keys of all kinds": {1: 2, None: 3},
    "bad fidelity": {"value": 1.0, "fidelity": 7},
    "bad constraints": {"value": 1.0, "constraints": 3},
    "constraint NaN": {"value": 1.0, "constraints": [float("nan")]},
    "no values": {"values": []},
    "nested": {"value": {"value": 1.0}},
    "list": [1.0],
    "odd": _Odd(),
    "odd value": {"value": _Odd()},
    "odd constraints": {"value": 1.0, "constraints": [_Odd()]},
    "a lock": threading.Lock(),
    "a module": sys,
    "not ok": ml.Observation(()),
}
GOOD: dict[str, Any] = {
    "array of one": np.array([2.5]),
    "array without dimensions": np.array(2.5),
    "Decimal": Decimal("2.5"),
    "Fraction": Fraction(5, 2),
    "numpy float32": np.float32(2.5),
    "numpy float16": np.float16(2.5),
    "numpy longdouble": np.longdouble(2.5),
    "a dict": {"value": np.float64(2.5), "cost": Decimal(1)},
    "values": {"values": (2.5,)},
}


def _generator(steps: list[Any]) -> Any:
    def act(_: str) -> Any:
        yield from steps

    return act


ACTS: dict[str, Any] = {name: act for name, act in globals().items() if callable(act) and act.__module__ == __name__}
ACTS |= {f"returns {name}": (lambda _, value=value: value) for name, value in {**RETURNS, **GOOD}.items()}
ACTS |= {
    "yields nothing": _generator([]),
    "yields without fidelity": _generator([1.0]),
    "yields NaN": _generator([{"value": float("nan"), "fidelity": 0.5}]),
}
