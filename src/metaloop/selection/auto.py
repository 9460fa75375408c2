"""Auto: an optimizer that chooses among optimizers, from what the problem is and what the run shows.

Those in use share one archive and take turns (`portfolio`). Rules say which are in use and how turns are shared; each
one that fires is a `Decision`:

1. *Few enough configurations*: every one of them is tried.
2. *Is it noisy?* The first point that succeeds is evaluated twice. Equal values: exact. Different values: noisy.
3. *Real parameters (or ordered ones of many values), exact*: a quadratic-model trust region and a Gaussian process
   begin; CMA-ES with a surrogate joins, and turns go to whoever has lately gained.
4. *The same, with noise*: a Gaussian process, which averages, the trust region and CMA-ES, in turn. Now and then the
   point that the model believes best is evaluated again, so that a lucky draw is found out.
5. *Categories, conditions, or parameters of few values*: a Gaussian process, which starts from evenly spread points.
6. *When the model's cost no longer pays* (it grows with the trials), it leaves; where it was alone, CMA-ES takes over.
7. *When it has thought for longer than it may* (`think`, or a quarter of the seconds planned), it leaves sooner. Its
   time is counted by a formula and not by a clock, so that the same seed and values give the same run.

With a budget in seconds the number of trials is planned from how long those told took, which the study has recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metaloop.control.schedulers import Credit, Scheduler, Shares
from metaloop.errors import refuse, require
from metaloop.optimizers.archive import Archive
from metaloop.optimizers.cmaes import CMAES
from metaloop.optimizers.gaussian_process import GaussianProcess
from metaloop.optimizers.grid import GridSearch
from metaloop.optimizers.protocol import PENDING, AnyOptimizer, Decision, Told, check_tell
from metaloop.optimizers.state import state
from metaloop.optimizers.surrogate_cmaes import SurrogateCMAES
from metaloop.optimizers.trust_region import TrustRegion
from metaloop.recipe import tunable
from metaloop.selection.portfolio import NOBODY, Portfolio, PortfolioState, nobody
from metaloop.space import Array, Float, Space

_MANY = 12  # values of a parameter from which it is treated as real
_SHORT = 20  # trials; with fewer a repetition costs more than it tells, and a model has little to learn from
_SHORT_LEAD = 8.0  # turns of the trust region for each of the model then
_CREDIT_FROM = 6  # trials a parameter from which gains tell who is better
_MODEL_UNTIL = 500  # trials that a Gaussian process is kept for
_SHARE = 0.25  # of the seconds planned that a model may think for
_THOUGHT = 0.008, 4e-7, 30  # seconds a suggestion; more for each point held and column; columns' worth of the rest
_AGAIN = 12  # trials between repetitions of the best point under noise, at least

_PHASES: dict[str, tuple[str, ...]] = {  # who is in use in each phase of a run
    "grid": ("grid",),
    "mixed": ("model",),
    "mixed, late": ("evolution",),
    "mixed, noisy, late": ("model", "evolution"),
    "fine": ("region", "model"),
    "fine, soon": ("region", "model", "population"),
    "fine, late": ("region", "population"),
    "fine, noisy": ("model", "region", "evolution"),
    "fine, noisy, late": ("region", "evolution"),
}
_TITLES = {
    "grid": "grid",
    "model": "Gaussian process",
    "region": "trust region",
    "population": "CMA-ES with a surrogate",
    "evolution": "CMA-ES",
}


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
    """The portfolio in use, and how it came about.

    Attributes:
        phase: one of `_PHASES`.
        team: the state of its portfolio.
        past: who asked the points told before this phase.
        noisy: whether equal points gave different values; None until known.
        repeated: the point evaluated twice to find out.
        again: trials told when a point was last repeated under noise.
        start, spread: where CMA-ES began; () for the center.
        thought: seconds that the model's suggestions have cost, by formula.
        clock: seconds that the trials told took, as far as recorded; those evaluated at the same time share theirs.
        clocked: how many trials they are.
        abreast: how many points were out after the latest ask.
    """

    space: Space
    seed: int
    phase: str
    team: PortfolioState
    past: list[str]
    noisy: bool | None
    repeated: Array | None
    again: int
    start: tuple[float, ...]
    spread: float
    log: list[Any]
    thought: float = 0.0
    clock: float = 0.0
    clocked: int = 0
    abreast: int = 1

    @property
    def archive(self) -> Archive:
        """Every point told."""
        return self.team.archive

    @property
    def members(self) -> dict[str, Any]:
        """The states of those in use, by name."""
        return dict(zip(_PHASES[self.phase], self.team.members, strict=True))


@dataclass(frozen=True)
class Auto:
    """The default optimizer: no settings needed.

    Args:
        budget: number of trials planned; filled in by `minimize`, None where unknown.
        seconds: wall-clock time planned; filled in by `minimize`, None where unknown.
        think: seconds that the model may take for a suggestion of Auto, on average; 0 for a run without a model.
        model: the Gaussian process.
        lead: turns of the trust region for each of the model, at the beginning of an exact run.
        credit: how turns are shared once gains can be compared.

    Raises:
        InputError: a budget below 1, seconds or a lead that are not greater than 0, a negative `think`.
    """

    budget: int | None = None
    seconds: float | None = None
    think: float = 0.1
    model: GaussianProcess = field(default_factory=GaussianProcess)
    lead: float = tunable(3.0, Float(0.3, 10.0, log=True))
    credit: Credit = field(default_factory=lambda: Credit(hope=1e-4))

    def __post_init__(self) -> None:
        if self.budget is not None:
            require("budget", self.budget, lambda v: v >= 1, "at least 1, or None")
        if self.seconds is not None:
            require("seconds", self.seconds, lambda v: v > 0, "greater than 0, or None")
        require("think", self.think, lambda v: 0 <= v < math.inf, "a number of seconds, at least 0")
        require("lead", self.lead, lambda v: 0 < v < math.inf, "a finite number greater than 0")

    def init(self, space: Space, seed: int) -> AutoState:
        """A fresh state: the first decision reads only the space and the budget."""
        plan = "an unknown number of trials" if self.budget is None else f"{self.budget} trials"
        seen = f"{_kinds(space)}, {plan}" + ("" if self.seconds is None else f" in {self.seconds:g} s")
        size = _size(space, self.budget)
        phase = "grid" if size is not None else "fine" if _fine(space) else "mixed"
        s = AutoState(space, seed, phase, nobody(space), [], None, None, 0, (), 0.0, [])
        self._enter(s, phase)
        if phase == "grid":
            rule = f"the space has only {size} configurations"
            _log(s, seen, rule, "every one of them is tried", "the best there is, with certainty if it is not noisy")
        elif phase == "fine":
            rule = "a local quadratic model makes the most of a trial where all parameters are fine and ordered"
            chosen = "a trust region and a Gaussian process start; who gains more has more of the turns"
            _log(s, seen, rule, chosen, "fast descent, and a look elsewhere when it ends")
        else:
            rule = f"a surrogate makes the most of up to {_MODEL_UNTIL} trials"
            _log(s, seen, rule, "a Gaussian process starts, from evenly spread points", "most improvement a trial")
        return s

    def ask(self, state: AutoState, n: int) -> tuple[Array, AutoState]:
        """At most n points, from those whose turn it is."""
        repeat = self._repeat(state) if n else None
        if repeat is not None:
            state.archive.pend(repeat[None])
            rest, state = self.ask(state, n - 1)
            return np.concatenate([repeat[None], rest]), state
        rows, state.team = self._portfolio(state).ask(state.team, n)
        state.abreast = max(1, len(state.archive.pending))
        model = state.members.get("model")
        if model is not None and model.hyper is not None:
            whose = state.team.out_of[len(state.team.out) - len(rows) :]
            asked = int((whose == _PHASES[state.phase].index("model")).sum())
            state.thought += asked * _thought(min(len(state.archive), self.model.max_points), state.space.dim)
        return rows, state

    def tell(self, state: AutoState, points: Array, told: Sequence[Told] | Array) -> AutoState:
        """File what came back, tell every optimizer in use, and see whether a rule fires."""
        rows, seen = check_tell(state.space, points, told)
        for one in seen:
            if one.seconds is not None:
                state.clock += one.seconds / state.abreast
                state.clocked += 1
        state.team = self._portfolio(state).tell(state.team, rows, seen)
        if state.repeated is not None and state.noisy is None:
            self._judge_noise(state)
        self._judge_phase(state)
        return state

    def turns(self, state: AutoState) -> tuple[tuple[str, ...], Array]:
        """Who asked each told point, and what it brought; see `Attributes`."""
        names = (*(_TITLES[name] for name in _PHASES[state.phase]), "")
        asked = (*state.past, *(names[i] for i in state.team.asker[len(state.past) :]))
        return asked, state.archive.feasible()

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

    # --- those in use ------------------------------------------------------------------------------------------

    def _planned(self, s: AutoState) -> int | None:
        """Trials: those planned, or as many as there is time for."""
        if self.seconds is None or not s.clock > 0:
            return self.budget
        by_time = math.ceil(min(self.seconds * s.clocked / s.clock, 1e9))
        return by_time if self.budget is None else min(self.budget, by_time)

    def _short(self, s: AutoState) -> bool:
        planned = self._planned(s)
        return planned is not None and planned < _SHORT

    def _recipe(self, s: AutoState, name: str) -> AnyOptimizer:
        if name == "grid":
            return GridSearch(shuffle=True)
        if name == "model":
            return self.model
        if name == "region":
            return TrustRegion(noisy=False if self._short(s) else s.noisy)
        kind = CMAES if name == "evolution" else SurrogateCMAES
        return kind(mean=s.start, sigma0=s.spread) if s.start else kind()

    def _portfolio(self, s: AutoState) -> Portfolio:
        exact = s.noisy is False and s.phase.startswith("fine")
        members = [self._recipe(s, name) for name in _PHASES[s.phase]]
        return Portfolio(members, self._schedule(s), exact, self._planned(s))

    def _schedule(self, s: AutoState) -> Scheduler:
        """How turns are shared."""
        phase = s.phase
        if phase == "fine":
            return Shares((max(self.lead, _SHORT_LEAD) if self._short(s) else self.lead, 1.0))
        if phase == "fine, soon":
            return self.credit
        if phase == "fine, late":  # a population needs whole generations to show what it brings
            return replace(self.credit, weights=(1.0, 4.0), floor=max(self.credit.floor, 0.8))
        return Shares()

    def _enter(self, s: AutoState, phase: str) -> None:
        """A phase begins: who stays keeps its state, who joins is told what is known."""
        names, kept, archive = _PHASES[s.phase], dict(s.members) if s.team.members else {}, s.archive
        s.past = list(self.turns(s)[0]) if kept else []
        out, owners = s.team.out, [names[i] for i in s.team.out_of]
        s.phase = phase
        members, held = _PHASES[phase], []
        for name in members:
            if name not in kept:
                recipe = self._recipe(s, name)
                kept[name] = recipe.init(s.space, s.seed + list(_TITLES).index(name))
                if len(archive):
                    kept[name] = recipe.tell(kept[name], archive.rows, archive.observations())
                if len(archive.pending):
                    kept[name] = recipe.tell(kept[name], archive.pending, [PENDING] * len(archive.pending))
            held.append(kept[name])
        s.team = self._portfolio(s).around(s.space, held, archive)
        s.team.out = out
        s.team.out_of = np.array([members.index(o) if o in members else NOBODY for o in owners], dtype=np.int64)

    # --- the rules ---------------------------------------------------------------------------------------------

    def _repeat(self, s: AutoState) -> Array | None:
        """The point to evaluate another time, when it is time to."""
        n = len(s.archive)
        if s.phase == "grid" or self._short(s):
            return None
        if s.repeated is None:
            succeeded = np.flatnonzero(~np.isnan(s.archive.values))
            if not len(succeeded):
                return None
            s.repeated = s.archive.rows[succeeded[0]].copy()
            return s.repeated
        model = s.members.get("model")
        every = max(_AGAIN, (self._planned(s) or 0) // 25)
        if not s.noisy or model is None or n - s.again < every:
            return None
        s.again = n
        mean, _ = self.model.posterior(model, s.archive.rows)
        usable = ~np.isnan(s.archive.values) & (s.archive.violations == 0)
        return np.asarray(s.archive.rows[int(np.argmin(np.where(usable, mean, np.inf)))].copy())

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
            if s.phase.startswith("fine"):
                model = "model" in _PHASES[s.phase]
                self._enter(s, "fine, noisy" if model else "fine, noisy, late")
                rule = ("a model averages, " if model else "") + "a region descends, a population explores"
                chosen = ("a Gaussian process, " if model else "") + "the trust region and CMA-ES take turns"
                _log(s, "values are noisy", rule, chosen, "none of them is misled alone")
        else:
            seen, rule = "the first point gave the same value twice", "equal points that agree mean no noise"
            _log(s, seen, rule, "observations are taken as exact", "no trials spent on repetition")

    def _judge_phase(self, s: AutoState) -> None:
        """Enough trials to compare; enough for a population; too many for a model, or too much thought."""
        n, d = len(s.archive), s.space.dim
        if s.phase == "fine" and not s.noisy and n >= _CREDIT_FROM * d:
            self._enter(s, "fine, soon")
            rule = "what each has gained now tells who is better here"
            chosen = "CMA-ES, whose generations a quadratic model thins, joins; who gains more has more of the turns"
            _log(s, f"{n} trials are told", rule, chosen, "turns for those that use them")
        if "model" not in _PHASES[s.phase]:
            return
        allowed = min(self.think * n, _SHARE * (self.seconds or math.inf))
        seen = f"{n} trials are told, and a model's cost grows with them"
        if not self.think:
            seen = "no time is given to a model"
        elif s.thought > allowed:
            seen = f"the model's suggestions cost {s.thought:.2g} s, more than the {allowed:.2g} s that it may take"
        elif n < _MODEL_UNTIL or s.phase.startswith("fine, noisy") or s.phase == "mixed, noisy, late":
            return
        elif s.phase == "mixed" and s.noisy and (s.start or self._aim(s)):
            self._enter(s, "mixed, noisy, late")
            rule = "under noise a model averages and a population explores"
            _log(s, seen, rule, "CMA-ES starts at the best point and takes turns with the model", "a wider search")
            return
        if s.phase.startswith("fine"):
            self._enter(s, "fine, noisy, late" if s.noisy else "fine, late")
            rule = "at this number a population does as well, at a fraction of the cost"
            _log(s, seen, rule, "the Gaussian process ends", "more trials in the same time")
        elif s.start or self._aim(s):
            self._enter(s, "mixed, late")
            rule = "near an optimum a covariance adapts faster than a global model, at a fraction of the cost"
            _log(s, seen, rule, "CMA-ES takes over from the best point", "convergence, restarts if it is trapped")

    def _aim(self, s: AutoState) -> bool:
        """Where a population is to begin: the best point, as wide as the best points lie apart; False if none."""
        merit = np.where(np.isnan(s.archive.merit()), np.inf, s.archive.merit())
        if not np.isfinite(merit).any():
            return False
        order = np.argsort(merit, kind="stable")
        rows = np.where(np.isnan(s.archive.rows), 0.5, s.archive.rows)
        best, near = rows[order[0]], rows[order[: 2 * s.space.dim]]
        s.start = tuple(best.tolist())
        s.spread = float(np.clip(np.sqrt(((near - best) ** 2).mean()), 0.05 if s.noisy else 0.001, 0.25))
        return True


def _log(s: AutoState, seen: str, rule: str, chosen: str, expected: str) -> None:
    s.log.append(DecisionRecord(len(s.archive), seen, rule, chosen, expected))


def _thought(held: int, dim: int) -> float:
    """Seconds that a suggestion of the model costs, refits included (`benchmarks/suggest_time.py`)."""
    once, each, columns = _THOUGHT
    return once + each * held * (dim + columns)


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
