"""The loop: tell what has ended, ask for what there is room for, evaluate, until a budget is used."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from metaloop.run.evaluate import Report, evaluate
from metaloop.run.interrupt import Interruptible
from metaloop.run.progress import Progress
from metaloop.run.workers import Finished
from metaloop.study import Study, Trial, TrialState

_log = logging.getLogger("metaloop")


class Evaluator(Protocol):
    """Where trials are evaluated.

    Attributes:
        slots: how many trials it takes at a time.
        running: how many it has.
    """

    @property
    def slots(self) -> int: ...  # noqa: D102 - said above

    @property
    def running(self) -> int: ...  # noqa: D102

    def submit(self, trial: Trial) -> None:
        """Begin to evaluate."""
        ...

    def wait(self) -> list[Finished]:
        """Every trial that has ended, with what came back or why it failed; waits for at least one."""
        ...

    def close(self) -> None:
        """End what is running."""
        ...


class Here:
    """One trial at a time, in this process."""

    slots = 1

    def __init__(self, objective: Callable[[Any], Any], *, vector: bool, report: Report) -> None:
        self._objective, self._vector, self._report = objective, vector, report
        self._trial: Trial | None = None

    @property
    def running(self) -> int:
        """One or none."""
        return int(self._trial is not None)

    def submit(self, trial: Trial) -> None:
        """Evaluated when it is waited for."""
        self._trial = trial

    def wait(self) -> list[Finished]:
        """Evaluate the trial."""
        assert self._trial is not None
        trial = self._trial
        returned, error = evaluate(self._objective, trial, vector=self._vector, report=self._report)
        self._trial = None
        return [(trial, returned, error)]

    def close(self) -> None:
        """Nothing runs between calls."""


@dataclass(frozen=True)
class Limits:
    """When a run ends: after `budget` trials, those of earlier runs included; `seconds` after it began; at `target`."""

    budget: int | None
    seconds: float | None
    target: float | None


def drive(
    study: Study,
    evaluator: Evaluator,
    limits: Limits,
    waiting: list[Trial],
    callback: Callable[[Trial], Any] | None,
    line: Progress,
    interrupt: Interruptible,
) -> str:
    """Run a study.

    What has ended is told and what comes next is asked in one commit. `waiting` trials are evaluated first.

    Returns:
        how it ended, a sentence.
    """
    sign = -1.0 if study.maximize else 1.0
    begun = time.monotonic()
    best = min((sign * t.value for t in study.trials if _counts(t)), default=math.nan)
    finished: list[Finished] = []
    exhausted = False
    while True:
        with study.transaction():
            told = [t for t in (_told(study, *ended) for ended in finished) if t is not None]
            best = min([sign * t.value for t in told if _counts(t)] + [best] * (not math.isnan(best)), default=math.nan)
            status = _status(limits, study.finished, sign * best, sign, time.monotonic() - begun, interrupt.requested)
            free = 0 if status else evaluator.slots - evaluator.running
            if free and not waiting:
                waiting = study.take_up()  # of runs that died, before this one or beside it
            begin, waiting = waiting[:free], waiting[free:]
            free -= len(begin)
            running = len(study.running)
            room = free if limits.budget is None else min(free, limits.budget - study.finished - running)
            if room > 0 and not exhausted:
                asked = study.ask_many(room)
                exhausted = len(asked) < room
                begin += asked
        done = study.finished
        for trial in told:
            if trial.state is TrialState.FAILED:
                _log.info("trial %d failed: %s", trial.number, (trial.error or "no reason given").splitlines()[-1])
            if callback is not None:
                callback(trial)
        line.update(done, limits.budget, sign * best)
        for trial in begin:
            evaluator.submit(trial)
        if not evaluator.running:
            if not status and exhausted:
                status = f"{type(study.optimizer).__name__} had nothing left to try after {done} trials."
            return status or f"{done} trials are finished; another process evaluates the other {running} of the budget."
        finished = evaluator.wait()


def _told(study: Study, trial: Trial, returned: Any, error: str | None) -> Trial | None:
    """The finished trial; None where another process was faster."""
    if study.state_of(trial) is not TrialState.RUNNING:
        _log.warning("trial %d was finished by another process; this result is dropped", trial.number)
        return None
    return study.tell(trial, returned, error=error)


def _counts(trial: Trial) -> bool:
    """Whether a trial can be the best."""
    seen = trial.observation
    return seen is not None and not math.isnan(seen.value) and seen.violation == 0 and seen.fidelity == 1


def _status(limits: Limits, finished: int, best: float, sign: float, seconds: float, interrupted: bool) -> str:
    """Why the run is over; empty while it is not."""
    if limits.target is not None and sign * best <= sign * limits.target:
        return f"The target {limits.target:g} was reached after {finished} trials."
    if limits.budget is not None and finished >= limits.budget:
        return f"The budget of {limits.budget} trials was used."
    if limits.seconds is not None and seconds >= limits.seconds:
        return f"The {limits.seconds:g} s were used, after {finished} trials."
    return f"Interrupted after {finished} trials." if interrupted else ""
