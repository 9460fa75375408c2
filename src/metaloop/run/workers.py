"""Worker processes on this machine, and their supervisor.

Each worker is a fresh interpreter, and everything it starts is ended with it (see `offspring`). One that dies fails its
trial and is replaced; one that is late is killed. There are no threads here: one `select` waits for answers, deaths and
deadlines.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaloop.errors import InputError, RunError, refuse
from metaloop.run.channel import Channel
from metaloop.run.evaluate import Report
from metaloop.run.objective import packed
from metaloop.run.offspring import Offspring
from metaloop.study.trial import Trial

Finished = tuple[Trial, Any, str | None]  # a trial, what came back, why it failed

_BOOT = (
    "import json,sys;sys.path[:]=json.loads(sys.argv[1]);from metaloop.run.worker import main;main(int(sys.argv[2]))"
)
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
_STARTS = 3  # deaths in a row and slot, before a worker was ready, that end the run
_TICK = 1.0  # seconds between looks at the guard
_SHORT_TICK = 0.1  # and at the processes, where the system cannot announce a death
_PARTING = 1.0  # seconds that idle workers have to leave by themselves


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Channel
    death: int  # descriptor that becomes readable when the process ends; -1 where there is no such thing
    trial: Trial | None = None
    ready: bool = False
    lost: bool = False  # it hung up
    deadline: float = field(default=float("inf"))


class Workers:
    """Up to `slots` trials at a time, each in a process of its own; see `metaloop.run.loop.Evaluator`.

    Args:
        objective: sent to the workers once; see `objective.packed`.
        slots: number of worker processes.
        vector: whether the objective takes a vector instead of a dict.
        report: where intermediate values go.
        timeout: seconds that a trial may take, the start of its process not counted; None for no limit.

    Raises:
        InputError: an objective that cannot be sent, or a system without POSIX processes.
    """

    def __init__(
        self,
        objective: Callable[[Any], Any],
        slots: int,
        *,
        vector: bool,
        report: Report,
        timeout: float | None = None,
    ) -> None:
        if os.name != "posix":
            raise refuse("workers", slots, "left out on this system: worker processes need Linux or macOS")
        self.slots = slots
        self._hello = (packed(objective), vector)
        self._report = report
        self._timeout = float("inf") if timeout is None else timeout
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0
        self._offspring = Offspring()

    @property
    def running(self) -> int:
        """How many trials are being evaluated."""
        return sum(w.trial is not None for w in self._workers)

    def submit(self, trial: Trial) -> None:
        """Begin to evaluate; at most `slots` at a time."""
        alive = (w for w in self._workers if w.trial is None and w.process.poll() is None)
        idle = next(alive, None) or self._start()
        idle.trial = trial
        if idle.ready:
            idle.deadline = time.monotonic() + self._timeout
        with contextlib.suppress(OSError):  # it has died: `wait` will see
            idle.channel.send(trial)

    def wait(self) -> list[Finished]:
        """Every trial that has ended; waits for at least one.

        Raises:
            InputError: the workers cannot load the objective.
            RunError: workers die before they are ready.
        """
        finished: list[Finished] = []
        while not finished:
            nearest = min(w.deadline for w in self._workers) - time.monotonic()
            tick = _TICK if all(w.death >= 0 for w in self._workers) else _SHORT_TICK
            self._offspring.keep_guarded()
            for key, _ in self._selector.select(max(0.0, min(nearest, tick))):
                worker = key.data
                if worker in self._workers and key.fileobj is worker.channel.connection:
                    finished += self._read(worker)
            now = time.monotonic()
            for worker in list(self._workers):
                dead = worker.process.poll() is not None
                if dead or now >= worker.deadline:
                    finished += self._read(worker)  # it may have answered just before
                    trial = worker.trial
                    if dead or worker.lost:
                        finished += self._bury(worker)
                    elif trial is not None and now >= worker.deadline:
                        self._end(worker)
                        finished.append((trial, None, f"it took longer than {self._timeout:g} s and was ended"))
                elif worker.lost:
                    finished += self._bury(worker)
        return finished

    def close(self) -> None:
        """End all workers with what they started: the idle ones may leave first, the others are killed."""
        idle = [w for w in self._workers if w.trial is None and w.ready]
        for worker in idle:
            with contextlib.suppress(OSError):
                worker.channel.connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _PARTING
        for worker in idle:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline - time.monotonic()))
        for worker in list(self._workers):
            self._end(worker)
        self._selector.close()
        self._offspring.close()

    # --- one worker --------------------------------------------------------------------------------------------

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                folders = json.dumps([str(Path(p).absolute()) for p in sys.path])
                process = self._offspring.start(
                    [sys.executable, "-c", _BOOT, folders, str(theirs.fileno())],
                    _ONE_THREAD | os.environ,
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                ours.close()
                raise RunError(f"a worker process could not be started: {error.strerror or error}") from None
        death = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else -1
        worker = _Worker(process, Channel(ours), death)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        if death >= 0:
            self._selector.register(death, selectors.EVENT_READ, worker)
        with contextlib.suppress(OSError):
            worker.channel.send(self._hello)
        return worker

    def _read(self, worker: _Worker) -> list[Finished]:
        """What a worker has to say."""
        finished: list[Finished] = []
        try:
            messages = worker.channel.arrived()
        except EOFError:
            worker.lost = True
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(_PARTING)  # it is most likely about to end
            return finished
        for kind, *content in messages:
            trial = worker.trial
            if kind == "ready":
                worker.ready, self._failed_starts = True, 0
                if trial is not None:
                    worker.deadline = time.monotonic() + self._timeout
            elif kind == "broken":
                raise InputError(f"objective cannot be loaded in a worker process: {content[0]}")
            elif kind == "report" and trial is not None:
                with contextlib.suppress(OSError):
                    worker.channel.send(self._report(trial, content[0]))
            elif kind == "done" and trial is not None:
                worker.trial, worker.deadline = None, float("inf")
                finished.append((trial, *content))
        return finished

    def _bury(self, worker: _Worker) -> list[Finished]:
        """Clear away a worker that died; its trial has failed, or goes to a new worker if it never began."""
        status = worker.process.poll()
        trial, how = worker.trial, "hung up" if status is None else _cause(status)
        self._end(worker)
        if trial is None:
            return []
        if worker.ready:
            return [(trial, None, f"its process {how}")]
        self._failed_starts += 1
        if self._failed_starts >= _STARTS * self.slots:
            raise RunError(f"worker processes end before they are ready: the last one {how}")
        self.submit(trial)
        return []

    def _end(self, worker: _Worker) -> None:
        """Kill a worker and everything it started."""
        self._offspring.end(worker.process)
        self._selector.unregister(worker.channel.connection)
        worker.channel.close()
        if worker.death >= 0:
            self._selector.unregister(worker.death)
            os.close(worker.death)
        self._workers.remove(worker)


def _cause(status: int) -> str:
    """How a process ended, as the end of a sentence."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = {"SIGKILL": ", as the system does when memory runs out", "SIGSEGV": ", a fault in compiled code"}
    return f"was ended by {name}{hint.get(name, '')}"
