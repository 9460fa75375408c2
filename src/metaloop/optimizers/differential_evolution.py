"""Differential evolution: candidates move by differences between members of a population.

Sources: Storn & Price, J. Global Optimization 11 (1997) [SP]; the defaults are those of
`scipy.optimize.differential_evolution` (best1bin, dithered scale, immediate updating). It needs no gradient, no model
and no scale, and is hard to trap, which pays in very long runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.errors import refuse, require
from metaloop.optimizers.archive import same
from metaloop.optimizers.protocol import Observation, Status, Told, check_tell, generator
from metaloop.optimizers.state import state
from metaloop.recipe import tunable
from metaloop.space import Array, Categorical, Float, Mask, Space

_MAX_PENDING = 10_000  # asked points that are remembered; older ones count as points from outside
_FLAT = 1e-12  # the population has converged when every coordinate spans less than this


@state
@dataclass
class DifferentialEvolutionState:
    """The population, and the candidates that are out.

    Attributes:
        members: continuous coordinates, shape (p, dim); p grows to `size` while the first members come in.
        merit: (violation, value) of each, shape (p, 2); inf where failed.
        pending: asked canonical rows, shape (m, dim); `raw` their continuous coordinates before snapping.
        slots: the member each pending candidate challenges, shape (m,); -1 for a first member.
        turn: candidates made so far.
        restarts: how often a converged population was replaced.
    """

    space: Space
    rng: np.random.Generator
    size: int
    members: Array
    merit: Array
    pending: Array
    raw: Array
    slots: Array
    strata: Array
    turn: int
    restarts: int


@dataclass(frozen=True)
class DifferentialEvolution:
    """Differential evolution by difference vectors, immediate replacement, restarts on convergence.

    Args:
        population: members per column of the space, at least 5 in all.
        strategy: "best1bin" (x_best + F (a - b)), "rand1bin" (c + F (a - b)), or "currenttobest1bin".
        scale: [low, high): F is drawn anew for every candidate (dither).
        crossover: probability that a coordinate comes from the mutant.

    Raises:
        InputError: a setting out of range.
    """

    population: float = tunable(15.0, Float(2.0, 30.0, log=True))
    strategy: str = tunable("best1bin", Categorical(["best1bin", "rand1bin", "currenttobest1bin"]))
    scale_low: float = tunable(0.5, Float(0.1, 0.9))
    scale_high: float = tunable(1.0, Float(0.9, 1.5))
    crossover: float = tunable(0.7, Float(0.1, 1.0))

    def __post_init__(self) -> None:
        require("population", self.population, lambda v: v > 0, "a number of members per column, greater than 0")
        if self.strategy not in ("best1bin", "rand1bin", "currenttobest1bin"):
            raise refuse("strategy", self.strategy, "'best1bin', 'rand1bin' or 'currenttobest1bin'")
        scales = (self.scale_low, self.scale_high)
        require("scale_low, scale_high", scales, lambda v: 0 < v[0] <= v[1] <= 2, "0 < low <= high <= 2")
        require("crossover", self.crossover, lambda v: 0 <= v <= 1, "a probability in [0, 1]")

    def init(self, space: Space, seed: int) -> DifferentialEvolutionState:
        """A fresh state."""
        d, none = space.dim, np.empty((0, space.dim))
        size = max(5, round(self.population * d))
        rng = generator(seed)
        strata = _latin_hypercube(rng, size, d)
        return DifferentialEvolutionState(
            space, rng, size, none, np.empty((0, 2)), none, none, np.empty(0), strata, 0, 0
        )

    def ask(self, state: DifferentialEvolutionState, n: int) -> tuple[Array, DifferentialEvolutionState]:
        """n candidates, shape (n, dim): a Latin hypercube first, then challengers of one member after another."""
        out, slots = np.empty((n, state.space.dim)), np.empty(n)
        for i in range(n):
            if len(state.strata):
                out[i], state.strata = state.strata[0], state.strata[1:]
                slots[i] = -1
            elif len(state.members) < 4:  # differences need company; until it has come back, random points
                out[i] = state.rng.random(state.space.dim)
                slots[i] = -1
            else:
                slots[i] = state.turn % len(state.members)
                out[i] = self._candidate(state, int(slots[i]))
                state.turn += 1
        rows = state.space.repair(out, state.rng)
        state.pending = np.concatenate([state.pending, rows])[-_MAX_PENDING:]
        state.raw = np.concatenate([state.raw, out])[-_MAX_PENDING:]
        state.slots = np.concatenate([state.slots, slots])[-_MAX_PENDING:]
        return rows, state

    def tell(
        self, state: DifferentialEvolutionState, points: Array, told: Sequence[Told] | Array
    ) -> DifferentialEvolutionState:
        """A candidate at least as good replaces the member it challenged; outside points challenge the worst."""
        for row, seen in zip(*check_tell(state.space, points, told), strict=True):
            if seen.status is Status.PENDING:
                continue  # others' evaluations do not change which member is next
            hits = np.flatnonzero(same(state.pending, row))
            # A row moved by `repair` keeps its own coordinates: the raw ones lie in forbidden ground.
            x, slot = np.where(np.isnan(row), 0.5, row), -1
            if len(hits):
                k = int(hits[0])
                slot = int(state.slots[k])
                if same(state.space.snap(state.raw[k]), row)[0]:
                    x = state.raw[k]
                keep = np.arange(len(state.pending)) != k
                state.pending, state.raw, state.slots = state.pending[keep], state.raw[keep], state.slots[keep]
            if seen.status is not Status.RELEASED:
                self._place(state, x, slot, _merit(seen))
        return state

    def _candidate(self, s: DifferentialEvolutionState, slot: int) -> Array:
        p, d = s.members.shape
        others = s.rng.permutation(p)
        a, b, c = s.members[others[others != slot][:3]]
        x, best = s.members[slot], s.members[_order(s.merit)[0]]
        scale = s.rng.uniform(self.scale_low, self.scale_high)
        base = {"best1bin": best, "rand1bin": c, "currenttobest1bin": x + scale * (best - x)}[self.strategy]
        mutant = base + scale * (a - b)  # [SP] eq. 2
        take: Mask = np.less(s.rng.random(d), self.crossover)
        take[s.rng.integers(d)] = True  # [SP] eq. 4: at least one coordinate changes
        trial = np.where(take, mutant, x)
        inside = (trial >= 0) & (trial <= 1)
        return np.where(inside, trial, s.rng.random(d))

    def _place(self, s: DifferentialEvolutionState, x: Array, slot: int, merit: Array) -> None:
        if len(s.members) < s.size and slot < 0:
            s.members = np.concatenate([s.members, x[None]])
            s.merit = np.concatenate([s.merit, merit[None]])
            return
        if not len(s.members):
            return
        if not 0 <= slot < len(s.members):
            slot = int(_order(s.merit)[-1])
        if tuple(merit) <= tuple(s.merit[slot]):
            s.members[slot], s.merit[slot] = x, merit
        values = s.merit[:, 1]
        flat = len(s.members) == s.size and bool((np.ptp(s.members, axis=0) < _FLAT).all())
        same_value = len(s.members) == s.size and bool(np.isfinite(values).all()) and np.ptp(values) == 0 and s.turn > 0
        if flat or (same_value and s.turn >= 20 * s.size * (s.restarts + 1)):
            self._restart(s)

    def _restart(self, s: DifferentialEvolutionState) -> None:
        """A new population around the best member, which stays; candidates still out challenge the worst."""
        best = int(_order(s.merit)[0])
        s.members, s.merit = s.members[[best]], s.merit[[best]]
        s.slots = np.full(len(s.slots), -1.0)
        s.strata = _latin_hypercube(s.rng, s.size - 1, s.space.dim)
        s.restarts += 1


def _merit(seen: Observation) -> Array:
    """(violation, value), compared in this order (Deb 2000); failed points are the worst."""
    ok = seen.status is Status.OK
    return np.array([seen.violation, seen.value]) if ok else np.array([np.inf, np.inf])


def _order(merit: Array) -> Array:
    return np.asarray(np.lexsort((merit[:, 1], merit[:, 0])))


def _latin_hypercube(rng: np.random.Generator, n: int, dim: int) -> Array:
    """n points, one in each of n equal slices of every coordinate, shape (n, dim)."""
    cells = np.stack([rng.permutation(n) for _ in range(dim)], axis=1)
    return np.asarray((cells + rng.random((n, dim))) / n)
