"""`tune`: any recipe, improved by any optimizer, over the recipe's own space.

A task is ``task(recipe, seed) -> loss``. Configurations are compared on the same (task, seed) pairs, as differences
from the recipe that was given, so that hard tasks do not drown easy ones; one that is clearly behind is dropped before
all pairs are spent on it (racing: Maron & Moore 1994; Birattari et al., GECCO 2002).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.protocol import AnyOptimizer
from metaloop.recipe import configure, space_of
from metaloop.space import Array, Config, Space
from metaloop.study import Result, Study, TrialState

R = TypeVar("R")
_log = logging.getLogger("metaloop")

_FEWEST = 3  # pairs before a configuration may be dropped
_BEHIND = 1.645  # standard errors behind the incumbent: one-sided 5 %


@dataclass(frozen=True)
class Tuned(Generic[R]):
    """What `tune` found.

    Attributes:
        recipe: the best recipe: the one given if nothing beat it.
        config: what changed.
        gain: mean loss of the given recipe minus that of the best, over the tuning pairs; optimistic, since the best
            was chosen on them: measure it on other tasks before quoting it.
        evaluations: task evaluations spent.
        result: the run over configurations; a trial's value is its mean loss minus the given recipe's.
    """

    recipe: R
    config: Config
    gain: float
    evaluations: int
    result: Result = field(repr=False)


def tune(
    recipe: R,
    tasks: Sequence[Callable[[R, int], float]],
    *,
    budget: int,
    seeds: int = 2,
    seed: int = 0,
    space: Space | None = None,
    optimizer: AnyOptimizer | str | None = None,
    callback: Callable[[int, int], Any] | None = None,
) -> Tuned[R]:
    """Find better settings of a recipe for a family of tasks.

    Args:
        recipe: the starting point, and what candidates are compared with.
        tasks: functions ``task(recipe, seed) -> loss``, lower is better; on a scale where differences mean the same
            everywhere (a logarithm, if in doubt).
        budget: number of task evaluations in all, those of the given recipe included.
        seeds: how many seeds a task is run with; seeds start at `seed`.
        seed: of the search.
        space: what may change; default the recipe's own space.
        optimizer: default `Auto`.
        callback: called with (evaluations so far, budget).

    Raises:
        InputError: no tasks, a budget too small for the given recipe and one candidate, or nothing to tune.
    """
    tasks = list(tasks)
    if not tasks or not all(map(callable, tasks)):
        raise refuse("tasks", tasks, "a non-empty list of functions task(recipe, seed)")
    if seeds < 1:
        raise refuse("seeds", seeds, "at least 1")
    pairs = [(task, seed + s) for s in range(seeds) for task in tasks]
    if budget < 2 * len(pairs):
        raise refuse("budget", budget, f"at least {2 * len(pairs)}: {len(pairs)} (task, seed) pairs, twice")
    space = space_of(recipe) if space is None else space
    spent = 0

    def loss(candidate: R, index: int) -> float:
        nonlocal spent
        task, task_seed = pairs[index]
        spent += 1
        if callback is not None:
            callback(spent, budget)
        return float(task(candidate, task_seed))

    given = np.array([loss(recipe, i) for i in range(len(pairs))])
    if not np.isfinite(given).all():
        raise refuse("tasks", given.tolist(), "finite for the recipe that was given")
    best, best_config, best_losses = recipe, {}, given
    study = Study(space=space, seed=seed, optimizer=optimizer, budget=2 * (budget - len(pairs)) // len(pairs))
    while budget - spent >= _FEWEST:
        asked = study.ask_many(1)
        if not asked:
            break
        candidate = configure(recipe, asked[0].config)
        losses: list[float] = []
        error = None
        for i in range(min(len(pairs), budget - spent)):
            try:
                losses.append(loss(candidate, i))
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"
                break
            if not math.isfinite(losses[-1]) or _behind(np.array(losses), best_losses):
                break
        difference = float(np.mean(np.array(losses) - given[: len(losses)])) if losses else math.nan
        trial = study.tell(asked[0], difference, error=error)
        complete = len(losses) == len(pairs) and trial.state is TrialState.COMPLETE
        if complete and np.mean(losses) < best_losses.mean():
            best, best_config, best_losses = candidate, trial.config, np.array(losses)
            _log.info("better settings after %d evaluations: %s", spent, trial.config)
    status = f"{spent} task evaluations on {len(pairs)} (task, seed) pairs were used."
    gain = float(given.mean() - best_losses.mean())
    return Tuned(best, best_config, gain, spent, study.result(status))


def _behind(losses: Array, best: Array) -> bool:
    """Whether a candidate is clearly worse than the best on the pairs they share."""
    n = len(losses)
    if n < _FEWEST:
        return False
    difference = losses - best[:n]
    return bool(difference.mean() > _BEHIND * difference.std(ddof=1) / math.sqrt(n)) and bool(difference.mean() > 0)
