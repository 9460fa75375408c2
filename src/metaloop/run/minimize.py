"""`minimize` and `maximize`: a study, an evaluator, and the loop between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.protocol import AnyOptimizer
from metaloop.run.interrupt import Interruptible
from metaloop.run.loop import Evaluator, Here, Limits, drive
from metaloop.run.objective import imported
from metaloop.run.progress import Progress
from metaloop.run.workers import Workers
from metaloop.space import Space
from metaloop.study import Result, Study, Trial
from metaloop.study.owner import retire
from metaloop.study.store import Store


def minimize(
    objective: Callable[[Any], Any] | str,
    space: Space | Any,
    *,
    budget: int | None = None,
    seconds: float | None = None,
    target: float | None = None,
    optimizer: AnyOptimizer | str | None = None,
    seed: int | None = None,
    noisy: bool | None = None,
    workers: int | None = None,
    timeout: float | None = None,
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
            or a dict with `value` and optionally `constraints` (violated where > 0), `fidelity` and `cost`; or a
            generator that yields such dicts at growing fidelity. If it raises, or returns no finite number, its trial
            fails and the run goes on. An import path "package.module:function" names one.
        space: a Space, or scipy-style bounds.
        budget: number of trials, those already in the study included; 100 if neither `seconds` nor `target` is given.
        seconds: stop after the trial that ends past this many seconds of wall-clock time.
        target: stop once a trial is at least this good.
        optimizer: a recipe, e.g. ``CMAES(sigma0=0.2)``, or its name; default ``Auto()``.
        seed: of every random choice; 0 if not given. The same seed and values ask the same points.
        noisy: whether equal configurations may give different values; None to judge by repeated ones.
        workers: number of processes that evaluate at the same time, one BLAS thread each (unless OMP_NUM_THREADS and
            the like are set); None for this process. One that dies fails its trial and is replaced.
        timeout: seconds a trial may take, in a process of its own; it fails then, and all it started is ended.
        start: configurations to try first.
        store: where the study is kept: None for memory, a path or "sqlite:///FILE"; an existing study is continued.
        name: the study's name in the store.
        callback: called with every finished trial; what it raises ends the run.
        progress: show a line of progress; None for "on a terminal".

    Returns:
        the result; `result.status` says how the run ended. The first Ctrl-C lets running trials end and returns.

    Raises:
        InputError: an argument that cannot be used.
        StoreError: a store that cannot be used.
        RunError: worker processes do not start.
        KeyboardInterrupt: at the second Ctrl-C; the running trials stay to be taken up by a later run.
    """
    return _run(objective, space, False, budget, seconds, target, optimizer, seed, noisy, workers, timeout,
                start, store, name, callback, progress)  # fmt: skip


def maximize(objective: Callable[[Any], Any] | str, space: Space | Any, **options: Any) -> Result:
    """`minimize` with the sign turned: the largest value is the best; `target` is reached from below."""
    names = (
        "budget",
        "seconds",
        "target",
        "optimizer",
        "seed",
        "noisy",
        "workers",
        "timeout",
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
    objective: Callable[[Any], Any] | str,
    space: Any,
    maximize: bool,
    budget: int | None,
    seconds: float | None,
    target: float | None,
    optimizer: AnyOptimizer | str | None,
    seed: int | None,
    noisy: bool | None,
    workers: int | None,
    timeout: float | None,
    start: Sequence[Mapping[str, Any]],
    store: str | Path | Store | None,
    name: str,
    callback: Callable[[Trial], Any] | None,
    progress: bool | None,
) -> Result:
    function = imported(objective) if isinstance(objective, str) else objective
    if not callable(function):
        raise refuse("objective", objective, "a function of a configuration, or 'package.module:function'")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, (int, np.integer)) or workers < 1):
        raise refuse("workers", workers, "a whole number of processes, at least 1, or None")
    if noisy is not None and not isinstance(noisy, (bool, np.bool_)):
        raise refuse("noisy", noisy, "True, False or None")
    if callback is not None and not callable(callback):
        raise refuse("callback", callback, "a function of a trial, or None")
    if isinstance(start, (str, Mapping)) or not all(isinstance(c, Mapping) for c in start):
        raise refuse("start", start, "a list of configurations, each a dict")
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise refuse("timeout", timeout, "a number of seconds greater than 0")
    budget = _check_budget(budget, seconds, target)
    study = Study(store, name=name, space=space, seed=seed, optimizer=optimizer, maximize=maximize, budget=budget,
                  seconds=seconds)  # fmt: skip
    limits = Limits(budget, seconds, target)
    try:
        with study.transaction():
            waiting = [] if study.trials else [study.ask(config=c) for c in start]
        if workers is None and timeout is None:
            evaluator: Evaluator = Here(function, vector=study.vector, report=study.report)
        else:
            slots = 1 if workers is None else int(workers)
            evaluator = Workers(function, slots, vector=study.vector, report=study.report, timeout=timeout)
        line = Progress(progress)
        with Interruptible() as interrupt:
            try:
                status = drive(study, evaluator, limits, waiting, callback, line, interrupt)
            finally:
                interrupt.closing = True
                evaluator.close()
                line.close()
    finally:
        retire(study.owner)  # what still runs now is there to be taken up
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
