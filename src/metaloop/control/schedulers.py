"""Who gets the next share of a budget? Schedulers over several methods of which only one is wanted in the end.

Sources: Karnin, Koren & Somekh 2013 (sequential halving); Li, Jiang, Gao, Shao, Zhang & Cui, AAAI 2020, and Metelli et
al., ICML 2022 (rising bandits: rewards that grow with use, at a falling rate); Waldspurger & Weihl, 1995 (stride
scheduling: shares in proportion to weights, at every moment); Fialho, Da Costa, Schoenauer & Sebag, AMAI 2010 (credit
for what an operator has lately brought).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float, Int

Array = npt.NDArray[np.float64]


@dataclass
class SchedulerState:
    """What every arm has shown.

    Attributes:
        arms: how many there are.
        alive: which are still in the race, shape (arms,).
        pulled: the arm of each pull, shape (n,).
        score: the arm's score after each pull, shape (n,); higher is better.
        cost: of each pull, shape (n,).
    """

    arms: int
    alive: npt.NDArray[np.bool_]
    pulled: npt.NDArray[np.int64]
    score: Array
    cost: Array

    @classmethod
    def fresh(cls, arms: int) -> SchedulerState:
        """Nothing pulled.

        Raises:
            InputError: no arms.
        """
        if arms < 1:
            raise refuse("arms", arms, "at least 1")
        return cls(arms, np.ones(arms, dtype=bool), np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))

    def history(self, arm: int) -> tuple[Array, Array]:
        """An arm's cumulated costs and scores, shapes (m,)."""
        mine = self.pulled == arm
        return np.cumsum(self.cost[mine]), self.score[mine]

    @property
    def spent(self) -> Array:
        """On each arm, shape (arms,)."""
        return np.asarray(np.bincount(self.pulled, self.cost, self.arms), dtype=float)

    def latest(self) -> Array:
        """Each arm's latest score, shape (arms,); -inf where never pulled."""
        out = np.full(self.arms, -np.inf)
        out[self.pulled] = self.score  # the last assignment to an index holds
        return out


def _observe(state: SchedulerState, arm: int, score: float, cost: float) -> SchedulerState:
    """One pull: the arm's score after it, and what it cost."""
    if not 0 <= arm < state.arms:
        raise refuse("arm", arm, f"one of the {state.arms} arms")
    require("cost", cost, lambda v: 0 < v < math.inf, "a finite number greater than 0")
    state.pulled = np.append(state.pulled, arm)
    state.score = np.append(state.score, score if math.isfinite(score) else -np.inf)
    state.cost = np.append(state.cost, cost)
    return state


@dataclass(frozen=True)
class Halving:
    """Rounds of equal cost: in each all arms get the same share, then the best 1 / factor stay.

    Args:
        factor: at least 2.

    Raises:
        InputError: a setting out of range.
    """

    factor: int = tunable(2, Int(2, 4))

    def __post_init__(self) -> None:
        require("factor", self.factor, lambda v: v >= 2 and v == int(v), "a whole number of at least 2")

    def init(self, arms: int) -> SchedulerState:
        """Nothing pulled."""
        return SchedulerState.fresh(arms)

    def decide(self, state: SchedulerState, budget: float) -> int:
        """The arm to pull next, when `budget` is what may be spent in all."""
        rounds = max(1, math.ceil(math.log(state.arms) / math.log(self.factor) - 1e-9))
        done = float(state.cost.sum())
        # Arms that remain after the rounds whose cost is spent; ties go to the first.
        keep = max(1, math.ceil(state.arms / self.factor ** min(rounds, int(done / budget * rounds + 1e-9))))
        while state.alive.sum() > keep:
            score = np.where(state.alive, state.latest(), np.inf)
            state.alive[state.arms - 1 - int(np.argmin(score[::-1]))] = False
        return int(np.argmin(np.where(state.alive, state.spent, np.inf)))

    def observe(self, state: SchedulerState, arm: int, score: float, cost: float = 1.0) -> SchedulerState:
        """One pull: the arm's score after it, and what it cost."""
        return _observe(state, arm, score, cost)


@dataclass(frozen=True)
class RisingBandit:
    """The arm that may be best at the end of the budget, if it goes on improving as it has of late.

    An arm's score is taken to grow at a falling rate, so that its latest slope, held to the end, bounds what it can
    still reach. Arms whose bound is below another's score are dropped for good.

    Args:
        window: share of an arm's own history over which its slope is measured, in (0, 1].
        first: pulls of every arm before any is compared, at least 2.

    Raises:
        InputError: a setting out of range.
    """

    window: float = tunable(0.5, Float(0.1, 1.0))
    first: int = tunable(3, Int(2, 10))

    def __post_init__(self) -> None:
        require("window", self.window, lambda v: 0 < v <= 1, "a number in (0, 1]")
        require("first", self.first, lambda v: v >= 2 and v == int(v), "a whole number of at least 2")

    def init(self, arms: int) -> SchedulerState:
        """Nothing pulled."""
        return SchedulerState.fresh(arms)

    def bounds(self, state: SchedulerState, left: float) -> Array:
        """What each arm can reach if all that is left is spent on it, shape (arms,); inf where it is too early."""
        out = np.full(state.arms, np.inf)
        for arm in range(state.arms):
            spent, score = state.history(arm)
            if len(score) >= self.first:
                back = min(len(score) - 1, max(1, round(self.window * len(score))))
                if not np.isfinite(score[-1 - back]):
                    continue
                slope = max(0.0, (score[-1] - score[-1 - back]) / (spent[-1] - spent[-1 - back]))
                out[arm] = score[-1] + slope * left
        return out

    def decide(self, state: SchedulerState, budget: float) -> int:
        """The arm to pull next, when `budget` is what may be spent in all."""
        bounds = self.bounds(state, max(0.0, budget - float(state.cost.sum())))
        latest = state.latest()
        best = float(latest[state.alive].max())
        state.alive &= (bounds >= best) | (latest >= best)
        fewest = np.where(state.alive, np.bincount(state.pulled, minlength=state.arms), np.inf)
        if fewest.min() < self.first:
            return int(np.argmin(fewest))
        return int(np.argmax(np.where(state.alive, bounds, -np.inf)))

    def observe(self, state: SchedulerState, arm: int, score: float, cost: float = 1.0) -> SchedulerState:
        """One pull: the arm's score after it, and what it cost."""
        return _observe(state, arm, score, cost)


@dataclass(frozen=True)
class Shares:
    """Turns in proportion to weights, whatever the scores.

    Args:
        weights: one an arm, each greater than 0; None for equal ones.
        block: pulls in a row that a turn has, at least 1.

    Raises:
        InputError: a setting out of range.
    """

    weights: tuple[float, ...] | None = None
    block: int = 1

    def __post_init__(self) -> None:
        _check_turns(self.weights, self.block)

    def init(self, arms: int) -> SchedulerState:
        """Nothing pulled.

        Raises:
            InputError: another number of arms than of weights.
        """
        return _fresh(arms, self.weights)

    def decide(self, state: SchedulerState, budget: float) -> int:
        """The arm to pull next; `budget` is not read."""
        return _turn(state, _given(self.weights, state.arms), self.block)

    def observe(self, state: SchedulerState, arm: int, score: float, cost: float = 1.0) -> SchedulerState:
        """One pull: the arm's score after it, and what it cost."""
        return _observe(state, arm, score, cost)


@dataclass(frozen=True)
class Credit:
    """Turns in proportion to what each arm has lately brought, for arms that share what they find.

    Only what raises the best score of all arms counts. An arm's rate is the mean of that over its latest pulls, older
    ones forgotten; to every rate a little is added that could still come from anybody: a share of all that was gained,
    spread over the budget that is left. So the one that climbs has the turns while it climbs, and when all have come to
    rest the weights hold again.

    Args:
        weights: of the arms, when none has brought anything, each greater than 0; None for equal ones.
        memory: pulls of an arm after which what it brought counts 1 / e, at least 1.
        hope: share of the gain so far that may still come from any arm, in (0, 1].
        floor: share of the turns that are given by weight alone, in (0, 1].
        block: pulls in a row that a turn has, at least 1.

    Raises:
        InputError: a setting out of range.
    """

    weights: tuple[float, ...] | None = None
    memory: float = tunable(10.0, Float(2.0, 50.0, log=True))
    hope: float = tunable(0.01, Float(1e-4, 1.0, log=True))
    floor: float = tunable(0.2, Float(0.05, 0.8))
    block: int = 1

    def __post_init__(self) -> None:
        _check_turns(self.weights, self.block)
        require("memory", self.memory, lambda v: 1 <= v < math.inf, "at least 1")
        require("hope", self.hope, lambda v: 0 < v <= 1, "a number in (0, 1]")
        require("floor", self.floor, lambda v: 0 < v <= 1, "a number in (0, 1]")

    def init(self, arms: int) -> SchedulerState:
        """Nothing pulled.

        Raises:
            InputError: another number of arms than of weights.
        """
        return _fresh(arms, self.weights)

    def shares(self, state: SchedulerState, budget: float) -> Array:
        """The share of the next turns that each arm should have, shape (arms,); they sum to 1."""
        given = _given(self.weights, state.arms)
        weights: Array = given / given.sum()
        left = max(1.0, budget - float(state.cost.sum()))
        best = np.maximum.accumulate(np.where(np.isfinite(state.score), state.score, -np.inf))
        first = int(np.argmax(np.isfinite(best))) if len(best) and np.isfinite(best[-1]) else len(best)
        if first + 1 >= len(best):
            return weights
        gain = np.zeros(len(best))
        gain[first + 1 :] = np.diff(best[first:])
        early = min(first + _EARLY, (first + len(best)) // 2)
        rate = np.full(state.arms, self.hope * (best[-1] - best[early]) / left)
        for arm in range(state.arms):
            mine = gain[state.pulled == arm][-int(5 * self.memory) :]
            if len(mine):
                fade = np.exp(-np.arange(len(mine))[::-1] / self.memory)
                rate[arm] += float(mine @ fade / fade.sum())
        earned = weights * rate
        total = float(earned.sum())
        return np.asarray(self.floor * weights + (1 - self.floor) * (earned / total if total > 0 else weights))

    def decide(self, state: SchedulerState, budget: float) -> int:
        """The arm to pull next, when `budget` is what may be spent in all."""
        if self.block > 1 and len(state.pulled) % self.block:
            return int(state.pulled[-1])
        # An arm's turns of late against its share: a debt, which old turns do not count in.
        age = np.arange(len(state.pulled))[::-1] / (4.0 * self.memory * self.block)
        late = np.bincount(state.pulled, np.exp(-age), state.arms)
        return int(np.argmax(self.shares(state, budget) * (late.sum() + 1.0) - late))

    def observe(self, state: SchedulerState, arm: int, score: float, cost: float = 1.0) -> SchedulerState:
        """One pull: the arm's score after it, and what it cost."""
        return _observe(state, arm, score, cost)


_EARLY = 10  # pulls after which what is gained counts as gained by search


class Scheduler(Protocol):
    """Who is next? What this module's classes have in common."""

    def init(self, arms: int) -> SchedulerState:
        """Nothing pulled."""
        ...

    def decide(self, state: SchedulerState, budget: float) -> int:
        """The arm to pull next, when `budget` is what may be spent in all."""
        ...

    def observe(self, state: SchedulerState, arm: int, score: float, cost: float = 1.0) -> SchedulerState:
        """One pull: the arm's score after it, and what it cost."""
        ...


def _check_turns(weights: Sequence[float] | None, block: int) -> None:
    require("block", block, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
    if weights is not None and not all(0 < w < math.inf for w in weights):
        raise refuse("weights", weights, "finite numbers greater than 0, one an arm, or None")


def _fresh(arms: int, weights: Sequence[float] | None) -> SchedulerState:
    if weights is not None and len(weights) != arms:
        raise refuse("weights", weights, f"{arms} numbers, one an arm")
    return SchedulerState.fresh(arms)


def _given(weights: Sequence[float] | None, arms: int) -> Array:
    return np.ones(arms) if weights is None else np.array(weights, dtype=float)


def _turn(state: SchedulerState, weights: Array, block: int) -> int:
    """Whoever has had least for its weight; a turn that has begun goes on."""
    if block > 1 and len(state.pulled) % block:
        return int(state.pulled[-1])
    return int(np.argmin((np.bincount(state.pulled, minlength=state.arms) + block) / weights))
