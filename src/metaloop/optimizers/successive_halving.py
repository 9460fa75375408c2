"""Successive halving and Hyperband: many evaluations begin, the promising ones go on.

Sources: Jamieson & Talwalkar 2016 (successive halving); Li et al., JMLR 18 (2018) (Hyperband: [H]); Li et al., MLSys
2020 (asynchronous halving: [A]). An objective reports intermediate values at growing fidelity; at each rung an
evaluation goes on only while it is among the best 1/factor of those that have come as far. Decisions are taken at once,
with what is known, as in [A], so that no worker waits; evaluations are ended, never paused, so that an objective needs
no checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse, require
from metaloop.optimizers.archive import same
from metaloop.optimizers.protocol import AnyOptimizer, Decision, Observation, Status, Told, check_tell
from metaloop.optimizers.random import RandomSearch
from metaloop.optimizers.state import state
from metaloop.recipe import tunable
from metaloop.space import Array, Int, Mask, Space

Indices = npt.NDArray[np.int64]


@state
@dataclass
class HalvingState:
    """What runs, and the results at every rung.

    Attributes:
        searcher: the state of the optimizer that proposes points.
        rows: points that are being evaluated, shape (m, dim).
        bracket: of each, shape (m,).
        reached: rungs that each has passed, shape (m,).
        ending: which of them are to end now, shape (m,).
        results: (bracket, rung, violation, value) of every evaluation that came to a rung, shape (r, 4).
        begun: evaluations begun in each bracket, shape (brackets,).
        ended: evaluations that came back, and how many of them had been ended early, shape (2,).
        spent: sum of the fidelities of those that came back.
    """

    space: Space
    searcher: Any
    rows: Array
    bracket: Indices
    reached: Indices
    ending: Mask
    results: Array
    begun: Indices
    ended: Indices
    spent: float


@dataclass(frozen=True)
class Halving:
    """The rule that both recipes of this file follow; a value of their settings.

    Attributes:
        rungs: fidelities at which evaluations are compared, increasing, below 1.
        factor: one in so many goes on.
        brackets: the first rung of each bracket; evaluations below it are not compared.
        shares: how many evaluations begin in each bracket, relative to each other.
    """

    rungs: tuple[float, ...]
    factor: int
    brackets: tuple[int, ...]
    shares: tuple[float, ...]

    def init(self, searcher: AnyOptimizer, space: Space, seed: int) -> HalvingState:
        """A fresh state."""
        none, no = np.empty((0, space.dim)), np.zeros(0, dtype=np.int64)
        begun, ended = np.zeros(len(self.brackets), dtype=np.int64), np.zeros(2, dtype=np.int64)
        inner = searcher.init(space, seed)
        return HalvingState(space, inner, none, no, no, np.zeros(0, dtype=bool), np.empty((0, 4)), begun, ended, 0.0)

    def begin(self, s: HalvingState, rows: Array) -> None:
        """File points that are about to be evaluated; each goes to the bracket that lags behind its share most."""
        for _ in rows:
            bracket = int(np.argmin((s.begun + 1) / np.array(self.shares)))
            s.begun[bracket] += 1
            s.bracket = np.append(s.bracket, bracket)
        s.rows = np.concatenate([s.rows, rows])
        s.reached = np.append(s.reached, np.zeros(len(rows), dtype=np.int64))
        s.ending = np.append(s.ending, np.zeros(len(rows), dtype=bool))

    def tell(
        self, searcher: AnyOptimizer, s: HalvingState, points: Array, told: Sequence[Told] | Array
    ) -> HalvingState:
        """Intermediate values meet their rungs; final ones go to the searcher."""
        rows, seen = check_tell(s.space, points, told, reports=True)
        for row, one in zip(rows, seen, strict=True):
            found = np.flatnonzero(same(s.rows, row))
            if one.status is Status.RUNNING:
                if len(found):
                    self._climb(s, int(found[0]), one)
                continue
            if one.status is Status.PENDING:
                self.begin(s, row[None])
            elif len(found):
                keep = np.arange(len(s.rows)) != found[0]
                if one.status is not Status.RELEASED:
                    s.ended += [1, int(s.ending[found[0]])]
                    s.spent += one.fidelity
                s.rows, s.bracket, s.reached, s.ending = s.rows[keep], s.bracket[keep], s.reached[keep], s.ending[keep]
            s.searcher = searcher.tell(s.searcher, row[None], [one])
        return s

    def _climb(self, s: HalvingState, i: int, one: Observation) -> None:
        """Compare an evaluation at each rung that it has come to."""
        bracket = int(s.bracket[i])
        first = self.brackets[bracket]
        while first + s.reached[i] < len(self.rungs) and one.fidelity >= self.rungs[first + s.reached[i]]:
            rung = first + int(s.reached[i])
            s.results = np.concatenate([s.results, [[bracket, rung, one.violation, one.value]]])
            peers = s.results[(s.results[:, 0] == bracket) & (s.results[:, 1] == rung), 2:]
            better = int(((peers[:, 0] < one.violation)
                          | ((peers[:, 0] == one.violation) & (peers[:, 1] < one.value))).sum())  # fmt: skip
            s.reached[i] += 1
            s.ending[i] = better >= max(1, len(peers) // self.factor)  # [A], algorithm 2: the top 1/factor
            if s.ending[i]:
                return

    def decisions(self, s: HalvingState) -> tuple[Decision, ...]:
        """How many evaluations were ended early, and what that saved."""
        total, early = int(s.ended[0]), int(s.ended[1])
        if not len(s.results):
            if not total:
                return ()
            return (
                Decision(total, "the objective reported no intermediate value", "only reports can be compared",
                         "every evaluation was run to its end", "nothing saved"),
            )  # fmt: skip
        levels = ", ".join(f"{r:.3g}" for r in self.rungs)
        return (
            Decision(total, f"{len(s.results)} intermediate values came to the rungs {levels}",
                     f"one in {self.factor} goes on", f"{early} of {total} evaluations were ended early",
                     "more configurations for the same effort",
                     f"{total} configurations took the effort of {s.spent:.3g} full evaluations"),
        )  # fmt: skip


def _rungs(min_fidelity: float, factor: int) -> tuple[float, ...]:
    """min_fidelity times powers of factor, below 1."""
    count = max(0, math.ceil(-math.log(min_fidelity) / math.log(factor) - 1e-9))
    return tuple(min_fidelity * factor**k for k in range(count))


def _check(searcher: object, min_fidelity: float, factor: int) -> None:
    if not all(callable(getattr(searcher, name, None)) for name in ("init", "ask", "tell")):
        raise refuse("searcher", searcher, "an optimizer, e.g. RandomSearch()")
    require("min_fidelity", min_fidelity, lambda v: 0 < v <= 1, "a share of a full evaluation, in (0, 1]")
    require("factor", factor, lambda v: v >= 2 and v == int(v), "a whole number of at least 2")


@dataclass(frozen=True)
class SuccessiveHalving:
    """Asynchronous successive halving, by early stopping.

    The objective is a generator that yields ``{"value": …, "fidelity": …}``, or a trial is told with `Study.report`.
    Without reports it is the searcher alone.

    Args:
        searcher: proposes the points.
        min_fidelity: no evaluation is ended before this share of a full one, in (0, 1].
        factor: at every rung (min_fidelity times powers of it) one in so many goes on, at least 2.

    Raises:
        InputError: a setting out of range.
    """

    searcher: AnyOptimizer = field(default=RandomSearch())
    min_fidelity: float = 1 / 27
    factor: int = tunable(3, Int(2, 5))

    def __post_init__(self) -> None:
        _check(self.searcher, self.min_fidelity, self.factor)

    @property
    def rule(self) -> Halving:
        """One bracket, from the lowest rung."""
        return Halving(_rungs(self.min_fidelity, self.factor), self.factor, (0,), (1.0,))

    def init(self, space: Space, seed: int) -> HalvingState:
        """A fresh state."""
        return self.rule.init(self.searcher, space, seed)

    def ask(self, state: HalvingState, n: int) -> tuple[Array, HalvingState]:
        """The searcher's next points, shape (m, dim), m <= n."""
        rows, state.searcher = self.searcher.ask(state.searcher, n)
        self.rule.begin(state, rows)
        return rows, state

    def tell(self, state: HalvingState, points: Array, told: Sequence[Told] | Array) -> HalvingState:
        """Intermediate values meet their rungs; final ones go to the searcher."""
        return self.rule.tell(self.searcher, state, points, told)

    def stop(self, state: HalvingState, point: Array) -> bool:
        """Whether an evaluation has been beaten at its latest rung."""
        return bool(state.ending[same(state.rows, point)].any())

    def decisions(self, state: HalvingState) -> tuple[Decision, ...]:
        """How many evaluations were ended early."""
        return self.rule.decisions(state)


@dataclass(frozen=True)
class Hyperband(SuccessiveHalving):
    """Successive halving at several lowest rungs side by side, in case early values mislead ([H], algorithm 1).

    A bracket with k rungs gets its share (k_max + 1) factor^k / (k + 1) of the evaluations, as in [H], so that all
    brackets take about the same effort; one of them ends nothing early.

    Args:
        searcher: proposes the points.
        min_fidelity: no evaluation is ended before this share of a full one, in (0, 1].
        factor: at every rung one in so many goes on, at least 2.

    Raises:
        InputError: a setting out of range.
    """

    @property
    def rule(self) -> Halving:
        """A bracket for every rung, and one without any."""
        rungs = _rungs(self.min_fidelity, self.factor)
        most = len(rungs)
        shares = tuple(math.ceil((most + 1) * self.factor**k / (k + 1)) for k in range(most, -1, -1))
        return Halving(rungs, self.factor, tuple(range(most + 1)), shares)
