"""Portfolio: several optimizers on one problem, who share all that is known and take turns.

Every member is told every point and what is pending, whoever asked it. Whose turn it is says a scheduler of
`metaloop.control`: a score is the best value that a member itself has found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.control.schedulers import Credit, Scheduler, SchedulerState
from metaloop.errors import refuse, require
from metaloop.optimizers.archive import Archive, same
from metaloop.optimizers.protocol import (
    PENDING,
    AnyOptimizer,
    Observation,
    Status,
    Told,
    check_tell,
    find_optimizer,
)  # fmt: skip
from metaloop.optimizers.state import state
from metaloop.space import Array, Space

state(SchedulerState)

Owners = npt.NDArray[np.int64]
NOBODY = -1
_TRIES = 20  # known points that a member may name in a row before somebody else has its turn


@state
@dataclass
class PortfolioState:
    """What is shared, and what belongs to each member.

    Attributes:
        archive: all points.
        members: their states, in the order of the recipe.
        turns: what the scheduler knows.
        best: the best value that each member has found, shape (members,); inf before.
        asker: of each told point the member that asked it, or NOBODY, shape (n,).
        out: points that are out, shape (m, dim).
        out_of: of each the member that asked it, shape (m,).
    """

    space: Space
    archive: Archive
    members: list[Any]
    turns: SchedulerState
    best: Array
    asker: Owners
    out: Array
    out_of: Owners


def nobody(space: Space) -> PortfolioState:
    """A portfolio without members, at the beginning of a run."""
    no = np.empty(0, dtype=np.int64)
    none = np.empty((0, space.dim))
    return PortfolioState(space, Archive.empty(space.dim), [], SchedulerState.fresh(1), np.empty(0), no, none, no)


@dataclass(frozen=True)
class Portfolio:
    """Optimizers of your choice in one run.

    Args:
        members: recipes or names of optimizers.
        schedule: who is next; a scheduler of `metaloop.control`. `Credit` gives the turns to those that have lately
            brought something, `Shares` divides them by fixed weights.
        exact: equal points give equal values: a known point is not evaluated again, but answered from what is known.
        budget: number of trials planned; filled in by `minimize`, None where unknown.

    Raises:
        InputError: no members, an unknown name, a budget below 1.
    """

    members: Sequence[AnyOptimizer | str]
    schedule: Scheduler = field(default_factory=Credit)
    exact: bool = False
    budget: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.members, str) or not len(self.members):
            raise refuse("members", self.members, "a list of optimizers, at least one")
        object.__setattr__(self, "members", tuple(find_optimizer(m) for m in self.members))
        if self.budget is not None:
            require("budget", self.budget, lambda v: v >= 1, "at least 1, or None")
        self.schedule.init(len(self.members))  # weights that do not fit are refused here

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each member: its class's, numbered where several have the same."""
        kinds = [type(m).__name__ for m in self.members]
        return tuple(
            k if kinds.count(k) == 1 else f"{k} {kinds[: i + 1].count(k)}" for i, k in enumerate(kinds)
        )  # fmt: skip

    def init(self, space: Space, seed: int) -> PortfolioState:
        """A fresh state; the members' seeds differ."""
        held = [m.init(space, seed + i) for i, m in enumerate(self._recipes)]
        return self.around(space, held, Archive.empty(space.dim))

    def around(
        self, space: Space, held: Sequence[Any], archive: Archive, asker: Owners | None = None
    ) -> PortfolioState:
        """The state whose members have these states, and know this archive already; the scheduler starts afresh."""
        asker = np.full(len(archive), NOBODY, dtype=np.int64) if asker is None else asker
        best, none = np.full(len(held), np.inf), np.empty((0, space.dim))
        turns = self.schedule.init(len(held))
        return PortfolioState(space, archive, list(held), turns, best, asker, none, np.empty(0, dtype=np.int64))

    def ask(self, state: PortfolioState, n: int) -> tuple[Array, PortfolioState]:
        """At most n points, shape (m, dim), from those whose turn it is."""
        s, rows = state, list[Array]()
        dry: set[int] = set()
        while len(rows) < n and len(dry) < len(s.members):
            arm = self._next(s, dry)
            row = self._one(s, arm)
            if row is None:
                dry.add(arm)
                continue
            rows.append(row)
            for other, held in enumerate(s.members):
                if other != arm:
                    s.members[other] = self._recipes[other].tell(held, row[None], [PENDING])
            s.archive.pend(row[None])
            s.out, s.out_of = np.concatenate([s.out, row[None]]), np.append(s.out_of, arm)
        return np.array(rows).reshape(-1, s.space.dim), s

    def tell(self, state: PortfolioState, points: Array, told: Sequence[Told] | Array) -> PortfolioState:
        """File what came back, and tell every member."""
        s = state
        rows, seen = check_tell(s.space, points, told)
        new = s.archive.add(rows, seen)
        for arm, held in enumerate(s.members):
            s.members[arm] = self._recipes[arm].tell(held, rows, seen)
        for row, one, is_new in zip(rows, seen, new, strict=True):
            if one.status is Status.PENDING:
                continue
            hits = np.flatnonzero(same(s.out, row))
            arm = int(s.out_of[hits[0]]) if len(hits) else NOBODY
            if len(hits):
                s.out, s.out_of = np.delete(s.out, hits[0], axis=0), np.delete(s.out_of, hits[0])
            if not is_new:
                continue
            s.asker = np.append(s.asker, arm)
            if arm != NOBODY:
                if one.status is Status.OK and one.violation == 0:
                    s.best[arm] = min(float(s.best[arm]), one.value)
                s.turns = self.schedule.observe(s.turns, arm, -float(s.best[arm]), 1.0)
        return s

    def turns(self, state: PortfolioState) -> tuple[tuple[str, ...], Array]:
        """Who asked each told point, and what it brought; see `Attributes`."""
        names = (*self.names, "")
        return tuple(names[i] for i in state.asker), state.archive.feasible()

    @property
    def _recipes(self) -> tuple[AnyOptimizer, ...]:
        return self.members  # type: ignore[return-value]

    def _next(self, s: PortfolioState, dry: set[int]) -> int:
        """Whose turn it is; points that are out count as turns that brought nothing."""
        turns = s.turns
        if len(s.out):
            known = s.out_of != NOBODY
            scores = np.concatenate([turns.score, turns.latest()[s.out_of[known]]])
            costs = np.concatenate([turns.cost, np.ones(int(known.sum()))])
            turns = SchedulerState(turns.arms, turns.alive, np.append(turns.pulled, s.out_of[known]), scores, costs)
        # of a run that may end at any time, as much is expected to come as has been
        arm = self.schedule.decide(turns, float(self.budget or max(100, 2 * len(turns.pulled))))
        return arm if arm not in dry else next(i for i in range(turns.arms) if i not in dry)

    def _one(self, s: PortfolioState, arm: int) -> Array | None:
        """A member's next point that is not known yet; None where it has none."""
        member = self._recipes[arm]
        for _ in range(_TRIES):
            rows, s.members[arm] = member.ask(s.members[arm], 1)
            if not len(rows):
                return None
            known = np.flatnonzero(same(s.archive.rows, rows[0]) & self.exact)
            if not len(known):
                return np.asarray(rows[0])
            value, violation = float(s.archive.values[known[0]]), float(s.archive.violations[known[0]])
            seen = Observation(status=Status.FAILED)
            if not math.isnan(value):
                seen = Observation((value,), (violation,) if violation > 0 else ())
            s.members[arm] = member.tell(s.members[arm], rows, [seen])
        return None
