"""L-BFGS: a quasi-Newton method in a box, with gradients from differences, started from many points.

Sources: Byrd, Lu, Nocedal & Zhu, SIAM J. Sci. Comput. 16 (1995), L-BFGS-B, for what it does; how differs wherever
evaluations are dear and algebra is cheap (`quasi_newton`, `finite_differences`). A local search is a `descent`; where
the next one begins is decided in `multistart`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.archive import same
from metaloop.optimizers.descent import FAILED, OPEN, OUT, TOLD, Descent
from metaloop.optimizers.multistart import Starts, distance
from metaloop.optimizers.protocol import Observation, Status, Told, check_tell
from metaloop.optimizers.sobol import Sobol, SobolState
from metaloop.optimizers.state import state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Space

_MAX_PENDING = 10_000  # points out that are remembered; older ones count as points from outside
_HOPELESS = 100.0  # times the predicted decrease: a gap to the best value that will not be closed
_SAME = 0.1  # share of a step: a known minimum so near to its end is where the step leads


@state
@dataclass
class LBFGSState:
    """The local searches under way, and what is known of where to begin the next.

    Attributes:
        descents: those that have not ended.
        starts: sampled points and iterates.
        minima: where descents ended, shape (k, dim).
        waiting: probes to ask next: the first start, and released ones, shape (k, dim).
        pending: probes that are out, shape (k, dim).
        stale: points that are out and that no search waits for any more, shape (k, dim).
        design: more probes.
        probed: points sampled since the last descent began.
        begun: descents so far.
        noise: standard deviation of a value, as last measured; 0 before.
    """

    space: Space
    descents: list[Descent]
    starts: Starts
    minima: Array
    waiting: Array
    pending: Array
    stale: Array
    design: SobolState
    probed: int = 0
    begun: int = 0
    noise: float = 0.0


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS with difference gradients, for smooth objectives of continuous columns.

    Gradients cost dim + 1 evaluations, and twice as many where precision is at stake; they may be evaluated side by
    side, and so are further starts when more is asked than one search can use. Difference steps follow from the
    curvature and from the noise, which is measured once differences contradict each other. A search ends when its model
    promises less than the noise, cannot reach the best value, or leads to a minimum found before.

    Discrete and categorical columns, and which conditional ones exist, stay as they are at the start of a search. A
    search that starts where constraints are violated minimizes the violation; other searches do not step there.

    Args:
        start: where the first search begins, one number in [0, 1] per column of the space; None is the centre. Later
            ones begin at the best of space-filling points that have no better point near.
        probes: space-filling points before a later search, per column of the space.
        reach: longest first step of a search, in widths of the unit cube, in (0, 1].
        memory: differences of gradients that make up the model, at least 2; max(10, 2 dim) if None.

    Raises:
        InputError: a setting out of range.
    """

    start: tuple[float, ...] | None = None
    probes: float = tunable(1.0, Float(0.1, 4.0, log=True))
    reach: float = tunable(0.3, Float(0.01, 1.0, log=True))
    memory: int | None = None

    def __post_init__(self) -> None:
        if self.start is not None:
            if not all(0 <= u <= 1 for u in self.start):
                raise refuse("start", self.start, "coordinates in [0, 1], or None")
            object.__setattr__(self, "start", tuple(map(float, self.start)))
        if not 0 <= self.probes < math.inf:
            raise refuse("probes", self.probes, "a number of points per column, at least 0")
        if not 0 < self.reach <= 1:
            raise refuse("reach", self.reach, "a number in (0, 1]")
        if self.memory is not None and self.memory < 2:
            raise refuse("memory", self.memory, "a whole number of at least 2, or None")

    def init(self, space: Space, seed: int) -> LBFGSState:
        """A fresh state.

        Raises:
            InputError: a start whose length is not the space's number of columns.
        """
        d = space.dim
        if self.start is not None and len(self.start) != d:
            raise refuse("start", self.start, f"{d} numbers, one per column of the space")
        first = space.snap(np.full(d, 0.5) if self.start is None else np.array(self.start))
        none = np.empty((0, d))
        design = Sobol().init(space, seed)
        return LBFGSState(space, [], Starts.empty(d), none, first[space.allowed(first)], none, none, design)

    def ask(self, state: LBFGSState, n: int) -> tuple[Array, LBFGSState]:
        """n points, shape (n, dim): what the best search waits for, the others, further starts, then probes."""
        rows: list[Array] = []
        while len(rows) < n:
            row = _next_open(state)
            if row is not None:
                rows.append(row)
            elif not (any(d.look_ahead() for d in state.descents) or (self._due(state) and self._begin(state))):
                break
        missing = n - len(rows)
        again, state.waiting = state.waiting[:missing], state.waiting[missing:]
        new, state.design = Sobol().ask(state.design, missing - len(again))
        state.pending = np.concatenate([state.pending, again, new])[-_MAX_PENDING:]
        return np.concatenate([np.array(rows).reshape(-1, state.space.dim), again, new]), state

    def tell(self, state: LBFGSState, points: Array, told: Sequence[Told] | Array) -> LBFGSState:
        """What came back goes to the search that waits for it; other points may become starts."""
        for row, seen in zip(*check_tell(state.space, points, told), strict=True):
            for descent in state.descents:
                k = descent.batch.find(row)
                if k >= 0:
                    self._answer(state, descent, k, seen)
                    break
            else:
                self._sampled(state, row, seen)
        return state

    def _due(self, state: LBFGSState) -> bool:
        """Whether enough has been sampled for another search."""
        return not state.begun or state.probed >= self.probes * state.space.dim

    def _begin(self, state: LBFGSState) -> bool:
        """Begin a search at the best start, if there is one."""
        space, starts = state.space, state.starts
        k = starts.take(space)
        if k < 0:
            return False
        violation, value = starts.merit[k].tolist()
        infeasible = violation > 0
        memory = self.memory or max(10, 2 * space.dim)
        descent = Descent.begin(
            space, starts.rows[k], violation if infeasible else value, infeasible, self.reach, memory, state.noise
        )
        state.probed = 0
        state.begun += 1
        state.descents.append(descent)
        self._follow(state, descent)
        return True

    def _answer(self, state: LBFGSState, descent: Descent, k: int, seen: Observation) -> None:
        """A value that a search waits for."""
        batch, x = descent.batch, descent.x
        step = batch.column[k] < 0
        if seen.status in (Status.PENDING, Status.RELEASED):
            batch.status[k] = OUT if seen.status is Status.PENDING else OPEN
            return
        if step and descent.infeasible and seen.status is Status.OK and seen.violation == 0:
            state.descents = [d for d in state.descents if d is not descent]
            self._sampled(state, batch.base, seen)
            return
        # A step must not leave the feasible region; differences may look over its border.
        if seen.status is Status.FAILED or (step and seen.violation > 0 and not descent.infeasible):
            batch.status[k] = FAILED
        else:
            batch.status[k], batch.value[k] = TOLD, seen.violation if descent.infeasible else seen.value
        descent.advance()
        if descent.batch is not batch:
            state.stale = np.concatenate([state.stale, batch.rows(OUT)])[-_MAX_PENDING:]
        if descent.x is not x:
            state.starts.add(state.space, descent.x, *_merit(descent), used=True)
        self._follow(state, descent)

    def _sampled(self, state: LBFGSState, row: Array, seen: Observation) -> None:
        """A value at a point that no search waits for; one better than all of them begins a search at once."""
        if seen.status is Status.PENDING:
            return
        stale = np.flatnonzero(same(state.stale, row))
        if len(stale):
            state.stale = np.delete(state.stale, stale[0], axis=0)
            return
        hits = np.flatnonzero(same(state.pending, row))
        state.pending = np.delete(state.pending, hits[:1], axis=0)
        if seen.status is Status.RELEASED:
            state.waiting = np.concatenate([state.waiting, np.repeat(row[None], min(1, len(hits)), axis=0)])
            return
        state.probed += 1
        if seen.status is Status.OK:
            state.starts.add(state.space, row, seen.violation, seen.value)
            if state.descents and (seen.violation, seen.value) < min(map(_merit, state.descents)):
                self._begin(state)

    def _follow(self, state: LBFGSState, descent: Descent) -> None:
        """Drop a search that has ended, or need not go on."""
        if descent.measured:
            state.noise = descent.noise
        ended = descent.phase == "done"
        if ended:
            state.minima = np.vstack([state.minima, descent.x])
        if ended or _superfluous(state, descent):
            state.descents = [d for d in state.descents if d is not descent]


def _superfluous(state: LBFGSState, descent: Descent) -> bool:
    """Whether a search, about to step, cannot reach the best value or is on its way to a known minimum."""
    if descent.phase != "search" or len(descent.tried) > 1 or descent.infeasible or not len(state.minima):
        return False
    if descent.value - _HOPELESS * descent.fall > state.starts.best:
        return True
    end = descent.x.copy()
    end[descent.free] += descent.step
    gaps = distance(state.space, state.minima, end)
    return bool(gaps.min() < _SAME * np.linalg.norm(descent.step))


def _next_open(state: LBFGSState) -> Array | None:
    """A point that a search waits for and nobody evaluates, of the best such search; it is out now."""
    for descent in sorted(state.descents, key=_merit):
        batch = descent.batch
        opened = np.flatnonzero(batch.status == OPEN)
        if len(opened):
            batch.status[opened[0]] = OUT
            return batch.row(int(opened[0]))
    return None


def _merit(descent: Descent) -> tuple[float, float]:
    """(violation, value), to be compared in this order (Deb 2000)."""
    return (descent.value, math.inf) if descent.infeasible else (0.0, descent.value)
