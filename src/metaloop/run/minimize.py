"""`minimize` and `maximize`: the loop that asks, evaluates and tells until a budget is used."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.protocol import AnyOptimizer
from metaloop.run.evaluate import evaluate
from metaloop.run.interrupt import Interruptible
from metaloop.run.progress import Progress
from metaloop.space import Space
from metaloop.study import Result, Study, Trial, TrialState
from metaloop.study.store import Store

_log = logging.getLogger("metaloop")


def minimize(
    objective: Callable[[Any], Any],
    space: Space | Any,
    *,
    budget: int | None = None,
    seconds: float | None = None,
    target: float | None = None,
    optimizer: AnyOptimizer | str | None = None,
    seed: int | None = None,
    noisy: bool | None = None,
    start: Sequence[Mapping[str, Any]] = (),
    store: str | Path | Store | None = None,
    name: str = "study",
    callback: Callable[[Trial], Any] | None = None,
    progress: bool | None = None,
) -> Result:
    """Minimize a function over a space.

    ```python
    result = minimize(lambda c: (c["x"] - 1) ** 2, Space(x=Float(-5, 5)), budget=50)
    result = minimize(rosenbrock, [(-5, 5)] * 10, budget=1000)
    ```

    Args:
        objective: takes a configuration as a dict (or, for bounds, a vector of shape (dim,)) and returns a number,
            or a dict with `value` and optionally `constraints` (violated where > 0), `fidelity` and `cost`. If it
            raises, or returns no finite number, its trial fails and the run goes on.
        space: a Space, or scipy-style bounds.
        budget: number of trials, those already in the study included; 100 if neither `seconds` nor `target` is given.
        seconds: stop after the trial that ends past this many seconds of wall-clock time.
        target: stop once a trial is at least this good.
        optimizer: a recipe, e.g. ``CMAES(sigma0=0.2)``, or its name; default ``Auto()``.
        seed: of every random choice; 0 if not given. The same seed and values ask the same points.
        noisy: whether equal configurations may give different values; None to judge by repeated ones.
        start: configurations to try first.
        store: where the study is kept: None for memory, a path or "sqlite:///FILE"; an existing study is continued.
        name: the study's name in the store.
        callback: called with every finished trial; what it raises ends the run.
        progress: show a line of progress; None for "on a terminal".

    Returns:
        the result; `result.status` says how the run ended. The first Ctrl-C lets the running trial end and returns.

    Raises:
        InputError: an argument that cannot be used.
        StoreError: a store that cannot be used.
        KeyboardInterrupt: at the second Ctrl-C; the running trial stays to be taken up by a later run.
    """
    return _run(objective, space, False, budget, seconds, target, optimizer, seed, noisy, start, store, name, callback,
                progress)  # fmt: skip


def maximize(objective: Callable[[Any], Any], space: Space | Any, **options: Any) -> Result:
    """`minimize` with the sign turned: the largest value is the best; `target` is reached from below."""
    names = (
        "budget",
        "seconds",
        "target",
        "optimizer",
        "seed",
        "noisy",
        "start",
        "store",
        "name",
        "callback",
        "progress",
    )
    defaults: dict[str, Any] = dict.fromkeys(names) | {"start": (), "name": "study"}
    unknown = set(options) - set(names)
    if unknown:
        raise refuse("argument", min(unknown), f"one of {list(names)}")
    return _run(objective, space, True, *{**defaults, **options}.values())


def _run(
    objective: Callable[[Any], Any],
    space: Any,
    maximize: bool,
    budget: int | None,
    seconds: float | None,
    target: float | None,
    optimizer: AnyOptimizer | str | None,
    seed: int | None,
    noisy: bool | None,
    start: Sequence[Mapping[str, Any]],
    store: str | Path | Store | None,
    name: str,
    callback: Callable[[Trial], Any] | None,
    progress: bool | None,
) -> Result:
    if not callable(objective):
        raise refuse("objective", objective, "a function of a configuration")
    budget = _check_budget(budget, seconds, target)
    study = Study(store, name=name, space=space, seed=seed, optimizer=optimizer, maximize=maximize, budget=budget)
    sign = -1.0 if maximize else 1.0
    limit = math.inf if budget is None else budget
    begun = time.monotonic()
    waiting = study.running  # what a run that died left behind
    if not study.trials:
        waiting = [study.ask(config=c) for c in start]
    done = [t for t in study.trials if t.state is not TrialState.RUNNING]
    finished = len(done)
    best = min((sign * t.value for t in done if not math.isnan(t.value)), default=math.nan)
    line = Progress(progress)
    status = ""
    with Interruptible() as interrupt:
        try:
            while not status:
                if target is not None and best <= sign * target:
                    status = f"The target {target:g} was reached after {finished} trials."
                elif finished >= limit:
                    status = f"The budget of {budget} trials was used."
                elif seconds is not None and time.monotonic() - begun >= seconds:
                    status = f"The {seconds:g} s were used, after {finished} trials."
                elif interrupt.requested:
                    status = f"Interrupted after {finished} trials."
                else:
                    found = [waiting.pop(0)] if waiting else study.ask_many(1)
                    if not found:
                        status = f"{type(study.optimizer).__name__} had nothing left to try after {finished} trials."
                        continue
                    returned, error = evaluate(objective, found[0], vector=study.vector)
                    trial = study.tell(found[0], returned, error=error)
                    finished += 1
                    if trial.state is TrialState.FAILED:
                        _log.info("trial %d failed: %s", trial.number, (trial.error or "").strip().splitlines()[-1])
                    elif trial.observation and trial.observation.violation == 0:
                        best = float(np.fmin(best, sign * trial.value))
                    if callback is not None:
                        callback(trial)
                    line.update(finished, budget, sign * best)
        finally:
            line.close()
    return study.result(status, noisy=noisy)


def _check_budget(budget: int | None, seconds: float | None, target: float | None) -> int | None:
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or budget < 1):
        raise refuse("budget", budget, "a whole number of trials, at least 1")
    if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
        raise refuse("seconds", seconds, "a number greater than 0")
    if target is not None and not (isinstance(target, (int, float)) and math.isfinite(target)):
        raise refuse("target", target, "a finite number")
    if budget is None and seconds is None and target is None:
        return 100
    return None if budget is None else int(budget)
