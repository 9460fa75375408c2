"""Auto: an optimizer that chooses among optimizers, from what the problem is and what the run shows.

The rules, in order; each one that fires is a `Decision`:

1. *Few enough configurations*: every one of them is tried.
2. *Is it noisy?* The first point that succeeds is evaluated twice. Equal values: exact. Different values: noisy.
3. *Real parameters (or ordered ones of many values), exact*: a quadratic-model trust region, which every fourth time
   makes way for a Gaussian process that looks elsewhere.
4. *The same, with noise*: a Gaussian process, which averages, the trust region and CMA-ES, in turn.
5. *Categories, conditions, or parameters of few values*: a Gaussian process, which starts from evenly spread points.
6. *When the model's cost no longer pays* (it grows with the trials): CMA-ES from the best point takes its turns.

All optimizers in use are told every point, whoever asked it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaloop.errors import refuse, require
from metaloop.optimizers.archive import Archive
from metaloop.optimizers.cmaes import CMAES
from metaloop.optimizers.gaussian_process import GaussianProcess
from metaloop.optimizers.grid import GridSearch
from metaloop.optimizers.protocol import PENDING, AnyOptimizer, Decision, Told, check_tell
from metaloop.optimizers.state import state
from metaloop.optimizers.trust_region import TrustRegion
from metaloop.space import Array, Space

_BLOCK = 8  # consecutive turns of CMA-ES, about a generation
_MANY = 12  # values of a parameter from which it is treated as real
_REPEAT_FROM = 20  # trials; below this a repetition costs more than it tells


@state
@dataclass
class DecisionRecord:
    """A `Decision` without its outcome, which is read off the archive."""

    trial: int
    seen: str
    rule: str
    chosen: str
    expected: str


@state
@dataclass
class AutoState:
    """One archive, the states of the optimizers in use, and the log."""

    space: Space
    seed: int
    archive: Archive
    members: dict[str, Any]
    turn: int
    noisy: bool | None
    repeated: Array | None
    start: tuple[float, ...]
    spread: float
    log: list[Any]


@dataclass(frozen=True)
class Auto:
    """The default optimizer: no settings needed.

    Args:
        budget: number of trials planned; filled in by `minimize`, None where unknown.

    Raises:
        InputError: a budget below 1.
    """

    budget: int | None = None

    def __post_init__(self) -> None:
        if self.budget is not None:
            require("budget", self.budget, lambda v: v >= 1, "at least 1, or None")

    def init(self, space: Space, seed: int) -> AutoState:
        """A fresh state: the first decision reads only the space and the budget."""
        s = AutoState(space, seed, Archive.empty(space.dim), {}, 0, None, None, (), 0.0, [])
        budget = "an unknown number of" if self.budget is None else str(self.budget)
        seen = f"{_kinds(space)}, {budget} trials"
        size = _size(space, self.budget)
        if size is not None:
            s.members["grid"] = GridSearch(shuffle=True).init(space, seed)
            rule = f"the space has only {size} configurations"
            _log(s, seen, rule, "every one of them is tried", "the best there is, with certainty if it is not noisy")
            return s
        until = self._model_until(space)
        if _fine(space):
            self._join(s, "region", seed)
            rule = "a local quadratic model makes the most of a trial where all parameters are fine and ordered"
            chosen = f"a trust region starts; up to {until} trials a Gaussian process has every fourth turn"
            _log(s, seen, rule, chosen, "fast descent, and a look elsewhere")
        else:
            rule = f"a surrogate makes the most of up to {until} trials"
            _log(s, seen, rule, "a Gaussian process starts, from evenly spread points", "most improvement a trial")
        self._join(s, "model", seed)
        return s

    def ask(self, state: AutoState, n: int) -> tuple[Array, AutoState]:
        """At most n points, all from the optimizer whose turn it is."""
        repeat = self._repeat(state)
        if repeat is not None:
            state.repeated = repeat
            rest, state = self.ask(state, n - 1) if n > 1 else (np.empty((0, state.space.dim)), state)
            points = np.concatenate([repeat[None], rest])
            state.archive.pend(repeat[None])
            return points, state
        name = self._whose_turn(state)
        points, state.members[name] = self._member(state, name).ask(state.members[name], n)
        for other, held in state.members.items():
            if other != name and len(points):
                pending = [PENDING] * len(points)
                state.members[other] = self._member(state, other).tell(held, points, pending)
        state.archive.pend(points)
        state.turn += len(points)
        return points, state

    def tell(self, state: AutoState, points: Array, told: Sequence[Told] | Array) -> AutoState:
        """File what came back, tell every optimizer in use, and see whether a rule fires."""
        rows, seen = check_tell(state.space, points, told)
        state.archive.add(rows, seen)
        for name, held in state.members.items():
            state.members[name] = self._member(state, name).tell(held, rows, seen)
        if state.repeated is not None and state.noisy is None:
            self._judge_noise(state)
        if "evolution" not in state.members and "model" in state.members:
            self._consider_evolution(state)
        return state

    def decisions(self, state: AutoState) -> tuple[Decision, ...]:
        """The decisions so far, with what they brought."""
        merit = state.archive.merit()
        ends = [r.trial for r in state.log[1:]] + [len(merit)]
        out = []
        for record, end in zip(state.log, ends, strict=True):
            before, after = merit[: record.trial], merit[:end]
            happened = ""
            if end > record.trial and np.isfinite(after).any():
                trials = f"over the next {end - record.trial} trials"
                gain = np.nanmin(before) - np.nanmin(after) if np.isfinite(before).any() else math.nan
                happened = f"the best value did not improve {trials}"
                if gain > 0:
                    happened = f"the best value improved by {gain:.4g} {trials}"
                elif math.isnan(gain):
                    happened = f"the first values came {trials}"
            out.append(Decision(record.trial, record.seen, record.rule, record.chosen, record.expected, happened))
        return tuple(out)

    # --- the rules ---------------------------------------------------------------------------------------------

    def _member(self, s: AutoState, name: str) -> AnyOptimizer:
        if name == "grid":
            return GridSearch(shuffle=True)
        if name == "model":
            return GaussianProcess()
        if name == "region":
            return TrustRegion()
        return CMAES(mean=s.start, sigma0=s.spread) if s.start else CMAES()

    def _join(self, s: AutoState, name: str, seed: int) -> None:
        """An optimizer more; what is known it is told."""
        member = self._member(s, name)
        held = member.init(s.space, seed)
        if len(s.archive):
            held = member.tell(held, s.archive.rows, s.archive.observations())
        if len(s.archive.pending):
            held = member.tell(held, s.archive.pending, [PENDING] * len(s.archive.pending))
        s.members[name] = held

    def _model_until(self, space: Space) -> int:
        """Trials after which the model makes way: 20 d + 100 at most 500 among real and ordered parameters."""
        return min(500, 20 * space.dim + 100) if _plain(space) else 500

    def _repeat(self, s: AutoState) -> Array | None:
        """The point to evaluate a second time, when it is time to."""
        planned = self.budget is None or self.budget >= _REPEAT_FROM
        if not planned or s.repeated is not None or "model" not in s.members:
            return None
        succeeded = np.flatnonzero(~np.isnan(s.archive.values))
        return s.archive.rows[succeeded[0]].copy() if len(succeeded) else None

    def _judge_noise(self, s: AutoState) -> None:
        assert s.repeated is not None
        same = ((s.archive.rows == s.repeated) | (np.isnan(s.archive.rows) & np.isnan(s.repeated))).all(axis=1)
        values = s.archive.values[same & ~np.isnan(s.archive.values)]
        if len(values) < 2:
            return
        s.noisy = bool(np.ptp(values) > 0)
        if s.noisy:
            seen = f"the first point gave two values that differ by {np.ptp(values):.4g}"
            rule = "equal points that differ mean noise"
            _log(s, seen, rule, "the best is judged by a model's mean, not by a lucky draw", "an unbiased best value")
            if _fine(s.space):
                self._join(s, "evolution", s.seed + 1)
                rule = "a model averages, a region descends, a population explores"
                chosen = "a Gaussian process, the trust region and CMA-ES take turns"
                _log(s, "values are noisy", rule, chosen, "none of them is misled alone")
        else:
            seen, rule = "the first point gave the same value twice", "equal points that agree mean no noise"
            _log(s, seen, rule, "observations are taken as exact", "no trials spent on repetition")

    def _consider_evolution(self, s: AutoState) -> None:
        n, until = len(s.archive), self._model_until(s.space)
        if n < until or np.isnan(s.archive.values).all():
            return
        merit = np.where(np.isnan(s.archive.merit()), np.inf, s.archive.merit())
        order = np.argsort(merit, kind="stable")
        rows = np.where(np.isnan(s.archive.rows), 0.5, s.archive.rows)
        best = rows[order[0]]
        near = rows[order[: 2 * s.space.dim]]
        s.start = tuple(best.tolist())
        s.spread = float(np.clip(np.sqrt(((near - best) ** 2).mean()), 0.05 if s.noisy else 0.001, 0.25))
        seen = f"{n} trials are told and the model has used its share ({until})"
        if s.noisy:
            chosen = "CMA-ES starts at the best point and takes turns with the model"
            rule = "under noise a model averages and a population explores"
        elif "region" in s.members:
            chosen = "the model ends; CMA-ES, from the best point, has every fourth generation of turns"
            rule = "a covariance adapts to valleys and restarts, where a local model is trapped"
        else:
            chosen = "CMA-ES takes over from the best point"
            rule = "near an optimum a covariance adapts faster than a global model, at a fraction of the cost"
        _log(s, seen, rule, chosen, "convergence to high precision, restarts if it is trapped")
        s.members["evolution"] = self._member(s, "evolution").init(s.space, s.seed + 1)
        if not s.noisy:
            del s.members["model"]

    def _whose_turn(self, s: AutoState) -> str:
        if "region" not in s.members:
            names = list(s.members)
            return names[0] if len(names) == 1 else ("model" if s.turn % 2 else "evolution")
        if s.noisy:
            return ("model", "region", "evolution")[s.turn % 3]
        if "model" in s.members:
            return "model" if s.turn % 4 == 3 else "region"
        return "evolution" if s.turn // _BLOCK % 4 == 3 else "region"


def _log(s: AutoState, seen: str, rule: str, chosen: str, expected: str) -> None:
    s.log.append(DecisionRecord(len(s.archive), seen, rule, chosen, expected))


def _fine(space: Space) -> bool:
    """Whether all parameters are ordered, always active, and of many values: then a slope means something."""
    return _plain(space) and bool((space.cells >= _MANY).all())


def _plain(space: Space) -> bool:
    """Whether all parameters are ordered and always active."""
    return not (space.categorical.any() or space.conditional.any())


def _size(space: Space, budget: int | None) -> int | None:
    """How many configurations there are, if the budget allows all of them; None otherwise."""
    product = float(np.prod(space.cells))
    if budget is None or not product <= max(1000, 10 * budget):
        return None
    rows, _ = GridSearch().ask(GridSearch().init(space, 0), budget + 1)
    if not len(rows):
        raise refuse("forbidden", list(space.forbidden), f"satisfiable; all {product:g} configurations are forbidden")
    return len(rows) if len(rows) <= budget else None


def _kinds(space: Space) -> str:
    """The space in words: `3 real, 1 whole and 2 categorical parameters, 1 of them conditional`."""
    finite = np.isfinite(space.cells)
    counts = {
        "real": int((~finite).sum()),
        "whole or stepped": int((finite & ~space.categorical).sum()),
        "categorical": int(space.categorical.sum()),
    }
    parts = [f"{n} {kind}" for kind, n in counts.items() if n]
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    conditional = int(space.conditional.sum())
    text = f"{listed} parameter{'s' if space.dim > 1 else ''}"
    return text + (f", {conditional} of them conditional" if conditional else "")
