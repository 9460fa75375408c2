"""Tree-structured Parzen estimator: ask where good points are dense and bad ones are not.

Sources: Bergstra et al. 2011 (NeurIPS 24, section 4); which components matter and why: Watanabe 2023 (arXiv
2304.11127). With l the density of the good points and g that of all others, expected improvement grows with l / g, so
the best of some draws from l is asked. Only the order of the values counts. The densities are those of
`metaloop.optimizers.parzen`: joint kernels over all columns, conditional ones included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.archive import Archive
from metaloop.optimizers.grid import GridSearch
from metaloop.optimizers.parzen import Layout, Parzen
from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import plan, state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Int, Space

_CHUNK = 16  # points chosen before the densities are estimated anew
_SMALL = 10_000  # a space of at most so many combinations is searched for untried ones


@state
@dataclass
class TPEState:
    """Points and the random generator; the layout is a plan."""

    space: Space
    archive: Archive
    rng: np.random.Generator
    layout: Layout | None = plan()


@dataclass(frozen=True)
class TPE:
    """Tree-structured Parzen estimator, for mixed and conditional spaces and some tens to hundreds of evaluations.

    Args:
        initial: points that must have come back before the densities take over; until then points are random.
        good: share of the evaluated points that count as good.
        least_good: but at least so many.
        most_good: and at most so many.
        most_bad: the density of the other points is that of the latest so many, and of all pending ones.
        candidates: draws from l for each point asked.
        prior: weight of the uniform distribution in both densities, in points.
        spread_good: multiplies the bandwidths of the good points' kernels.
        spread_bad: multiplies those of the others.

    Raises:
        InputError: a setting out of range.
    """

    initial: int = 10
    good: float = tunable(0.1, Float(0.05, 0.4, log=True))
    least_good: int = tunable(5, Int(1, 10))
    most_good: int = tunable(25, Int(5, 100, log=True))
    most_bad: int = tunable(250, Int(50, 2000, log=True))
    candidates: int = tunable(48, Int(8, 256, log=True))
    prior: float = tunable(1.0, Float(0.1, 10.0, log=True))
    spread_good: float = tunable(1.0, Float(0.3, 3.0, log=True))
    spread_bad: float = tunable(0.7, Float(0.3, 3.0, log=True))

    def __post_init__(self) -> None:
        for name in ("initial", "least_good", "most_good", "most_bad", "candidates"):
            if getattr(self, name) < 1:
                raise refuse(name, getattr(self, name), "a whole number of at least 1")
        if not 0 < self.good < 1:
            raise refuse("good", self.good, "a share, greater than 0 and less than 1")
        for name in ("prior", "spread_good", "spread_bad"):
            if not 0 < getattr(self, name) < math.inf:
                raise refuse(name, getattr(self, name), "a number greater than 0")

    def init(self, space: Space, seed: int) -> TPEState:
        """A fresh state."""
        return TPEState(space, Archive.empty(space.dim), generator(seed))

    def tell(self, state: TPEState, points: Array, told: Sequence[Told] | Array) -> TPEState:
        """File what came back."""
        state.archive.add(*check_tell(state.space, points, told))
        return state

    def ask(self, state: TPEState, n: int) -> tuple[Array, TPEState]:
        """n points, shape (n, dim); one that was tried or is pending is repeated only where nothing else is left."""
        asked = [np.empty((0, state.space.dim))]
        for first in range(0, n, _CHUNK):
            asked.append(self._next(state, min(_CHUNK, n - first)))
            state.archive.pend(asked[-1])
        return np.concatenate(asked), state

    def acquisition(self, state: TPEState, rows: Array) -> Array:
        """log l - log g at some rows, shape (m,): the higher, the sooner asked; 0 while points are random."""
        good, bad = self._densities(state)
        rows = state.space.snap(rows)
        return good.log_density(rows) - bad.log_density(rows)

    def _next(self, state: TPEState, n: int) -> Array:
        """A few points to ask together; each counts as bad for those after it."""
        space, archive = state.space, state.archive
        good, bad = self._densities(state, n)
        known: set[bytes] = set()
        if np.isfinite(space.cells[~space.conditional]).all():  # else no point comes twice anyway
            known.update(row.tobytes() for rows in (archive.rows, archive.pending) for row in rows)
        rows = space.snap(good.sample(state.rng, n * self.candidates))
        features = good.layout.features(rows)
        score = good.log_mass(features)
        score[~space.allowed(rows)] = -np.inf
        before, held = bad.log_mass(features), bad.count
        score -= before
        out = np.empty((n, space.dim))
        for i in range(n):
            own = slice(i * self.candidates, (i + 1) * self.candidates)
            if bad.count > held:
                score[own] -= np.logaddexp(0.0, bad.log_mass(features[own], held) - before[own])
            new = (k for k in own.start + np.argsort(-score[own], kind="stable") if score[k] > -np.inf)
            best = next((rows[k] for k in new if rows[k].tobytes() not in known), None)
            out[i] = _untried(state, good, bad, known) if best is None else best
            known.add(out[i].tobytes())
            if good.count > 1 and i + 1 < n:
                bad.append(out[i : i + 1])
        return out

    def _densities(self, state: TPEState, room: int = 0) -> tuple[Parzen, Parzen]:
        """l and g; both uniform until enough points have come back."""
        if state.layout is None:
            state.layout = Layout(state.space)
        archive = state.archive
        merit = archive.merit()
        usable, n = int(np.isfinite(merit).sum()), len(merit)
        if n < self.initial or not usable:
            none = Parzen(state.layout, archive.rows[:0], np.empty(0), self.prior, 1.0)
            return none, none
        order = np.argsort(merit, kind="stable")
        k = min(max(math.ceil(self.good * n), self.least_good), self.most_good, usable)
        # Only the order counts: the best weigh most, as in CMA-ES, whatever the values.
        rank = math.log(k + 1) - np.log(np.arange(1, k + 1))
        bad = np.concatenate([archive.rows[np.sort(order[k:])[-self.most_bad :]], archive.pending])
        return (
            Parzen(state.layout, archive.rows[order[:k]], rank * (k / rank.sum()), self.prior, self.spread_good),
            Parzen(state.layout, bad, np.ones(len(bad)), self.prior, self.spread_bad, room),
        )


def _untried(state: TPEState, good: Parzen, bad: Parzen, known: set[bytes]) -> Array:
    """The best of all untried rows of a small space, of some random ones in a large one; a repeat if there are none."""
    space = state.space
    total = float(np.prod(space.cells))
    if total <= _SMALL:
        rows, _ = GridSearch().ask(GridSearch().init(space, 0), int(total))
    else:
        rows = space.sample(state.rng, 256)
    new = rows[[row.tobytes() not in known for row in rows]]
    if not len(new):
        return np.asarray(rows[state.rng.integers(len(rows))])
    features = good.layout.features(new)
    return np.asarray(new[np.argmax(good.log_mass(features) - bad.log_mass(features))])
