"""Who gets the next share of a budget? Schedulers over several methods of which only one is wanted in the end.

Sources: Karnin, Koren & Somekh 2013 (sequential halving); Li, Jiang, Gao, Shao, Zhang & Cui, AAAI 2020, and Metelli et
al., ICML 2022 (rising bandits: rewards that grow with use, at a falling rate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
