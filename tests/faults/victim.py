"""The process that faults happen to: one run of `minimize`, as a job (a dict) says.

python victim.py JOB       in an interpreter of its own
python victim.py --nest    a fork for every job that is read, so that a run costs no import
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from objectives import SPACE, Objective

import metaloop as ml
from metaloop.registry import find
from metaloop.run import workers
from metaloop.run.offspring import Offspring
from metaloop.study.store import connection, open_store

_STEPS = tuple(str(Path(ml.__file__).parent / room) for room in ("run", "study"))


class Strike:
    """Sends its own process signals at the `at`-th time that it comes past the place `where`.

    Places: "step" (every call and return in metaloop.run and metaloop.study, C functions included), "before" and
    "after the commit of ask" (or tell+ask, and so on), "objective", "callback", "guard" (a worker has been started and
    the guard does not know it yet).
    """

    def __init__(self, where: str = "", at: int = 0, signals: tuple[int, ...] = (signal.SIGKILL,)) -> None:
        self.where, self.at, self.signals, self.count = where, at, signals, 0
        if where == "step":
            sys.setprofile(self._step)

    def __call__(self, place: str) -> None:
        if place == self.where:
            self.count += 1
            if self.count == self.at:
                for number in self.signals:
                    os.kill(os.getpid(), number)

    def _step(self, frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename.startswith(_STEPS):
            self("step")


def run(job: dict[str, Any]) -> None:
    """One run; prints how it ended, as JSON."""
    connection._BUSY = job.get("busy", connection._BUSY)
    strike = Strike(*job.get("strike", ()))
    if "commit" in strike.where:
        _watch_commits(strike)
    if strike.where == "guard":
        _watch_the_guard(strike)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if "log" in job else -1

    def acknowledged(trial: ml.Trial) -> None:
        strike("callback")
        if log >= 0:
            os.write(log, json.dumps([trial.number, str(trial.state), trial.as_dict()["value"]]).encode() + b"\n")
            os.fsync(log)

    evaluate = Objective(tuple(job.get("acts", [""])), job.get("hold", 0.0), job.get("folder", ""))

    def objective(config: dict[str, Any]) -> Any:
        strike("objective")
        return evaluate(config)

    options = {key: job[key] for key in ("budget", "seed", "workers", "timeout", "seconds") if key in job}
    if "optimizer" in job:
        options["optimizer"] = find("optimizers", job["optimizer"])()
    elsewhere = bool(job.get("workers") or job.get("timeout"))
    store = None

    def minimized() -> ml.Result:
        nonlocal store
        store = store or open_store(job["store"])
        return (ml.maximize if job.get("maximize") else ml.minimize)(
            evaluate if elsewhere else objective, SPACE, store=store, callback=acknowledged, progress=False, **options
        )

    try:
        result = minimized()
    except KeyboardInterrupt:
        if "again" not in job:
            raise
        result = minimized()
    print(json.dumps({"status": result.status, "trials": len(result.trials), "steps": strike.count}), flush=True)


def _watch_commits(strike: Strike) -> None:
    class Watched(sqlite3.Connection):
        kinds: set[str] = set()  # noqa: RUF012 - one connection a process

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if sql.startswith("BEGIN"):
                self.kinds.clear()
            if sql.startswith("INSERT INTO event"):
                self.kinds.add(parameters[1])
            of = "+".join(sorted(self.kinds, reverse=True)) or "nothing"
            if sql == "COMMIT":
                strike(f"before the commit of {of}")
            done = super().execute(sql, parameters)
            if sql == "COMMIT":
                strike(f"after the commit of {of}")
            return done

    connect = sqlite3.connect
    sqlite3.connect = lambda *a, **k: connect(*a, **k, factory=Watched)  # type: ignore[assignment]


def _watch_the_guard(strike: Strike) -> None:
    class Watched(Offspring):
        def _tell_guard(self, line: str) -> None:
            strike("guard")
            super()._tell_guard(line)

    workers.Offspring = Watched  # type: ignore[misc]


def nest() -> None:
    """Fork for every job on stdin; answers with the process's id, and with its exit status when it has ended."""
    ml.minimize(lambda c: c["x"], ml.Space(x=ml.Float(0, 1)), budget=8)  # imports what is imported on first use
    for line in sys.stdin:
        job = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            for stream, name in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
                file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
                os.dup2(file, stream)
                os.close(file)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            os.environ.update(job["environment"])
            os.chdir(job["folder"])
            return run(job)
        print("process", pid, flush=True)
        sys.stdin.readline()  # until then the process's number stays taken, so that no signal hits another one
        print("status", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


if __name__ == "__main__":
    sys.modules["victim"] = sys.modules["__main__"]
    if sys.argv[1:] == ["--nest"]:
        nest()
    else:
        run(json.loads(sys.argv[1]))
