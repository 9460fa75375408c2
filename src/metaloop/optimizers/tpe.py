"""Tree-structured Parzen estimator: ask where good points are dense and bad ones are not.

Sources: Bergstra et al. 2011 (NeurIPS 24, section 4) [B]; which components matter and why: Watanabe 2023
(arXiv 2304.11127) [W]. With l the density of the best points and g that of all others, expected improvement grows with
l / g ([B] eq. 8), so the best of some draws from l is asked. Only the order of the values counts. The densities are
those of `metaloop.optimizers.parzen`: joint kernels over all columns, conditional ones included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.archive import Archive, same
from metaloop.optimizers.grid import GridSearch
from metaloop.optimizers.parzen import Layout, Parzen
from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import plan, state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Int, Space

_CHUNK = 32  # picks whose candidates are scored together
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
        good: share of the evaluated points that count as good, at least one and at most `most_good`.
        most_good: see `good`.
        recent: bad points that count fully; older ones count the less the older they are.
        candidates: draws from l for each point asked.
        prior: weight of the uniform distribution in both densities, in points.
        spread_good: multiplies the bandwidths of the good points' kernels.
        spread_bad: multiplies those of the others.

    Raises:
        InputError: a setting out of range.
    """

    initial: int = 10
    good: float = tunable(0.1, Float(0.05, 0.4, log=True))
    most_good: int = tunable(25, Int(5, 100, log=True))
    recent: int = tunable(25, Int(10, 1000, log=True))
    candidates: int = tunable(24, Int(8, 256, log=True))
    prior: float = tunable(1.0, Float(0.1, 10.0, log=True))
    spread_good: float = tunable(1.0, Float(0.3, 3.0, log=True))
    spread_bad: float = tunable(0.7, Float(0.3, 3.0, log=True))

    def __post_init__(self) -> None:
        for name in ("initial", "most_good", "recent", "candidates"):
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
        space, archive = state.space, state.archive
        good, bad = self._densities(state, n)
        tried = np.concatenate([archive.rows, archive.pending, np.empty((n, space.dim))])
        begin = len(tried) - n
        for chunk in range(begin, len(tried), _CHUNK):
            picks = min(_CHUNK, len(tried) - chunk)
            rows = space.snap(good.sample(state.rng, picks * self.candidates))
            features = good.layout.features(rows)
            high, low, held = good.log_mass(features), bad.log_mass(features), bad.count
            high[~space.allowed(rows)] = -np.inf
            for i in range(picks):
                own = slice(i * self.candidates, (i + 1) * self.candidates)
                score = high[own] - low[own]
                if bad.count > held:  # points picked since `low` was computed count as bad as well
                    score -= np.logaddexp(0.0, bad.log_mass(features[own], held) - low[own])
                row = _first_new(rows[own], score, tried[: chunk + i])
                if row is None:
                    row = _elsewhere(state, good, bad, tried[: chunk + i])
                tried[chunk + i] = row
                if good.count > 1:
                    bad.append(row[None])
        archive.pend(tried[begin:])
        return tried[begin:], state

    def acquisition(self, state: TPEState, rows: Array) -> Array:
        """log l - log g at some rows, shape (m,): the higher, the sooner asked; 0 while points are random."""
        good, bad = self._densities(state)
        rows = state.space.snap(rows)
        return good.log_density(rows) - bad.log_density(rows)

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
        k = min(math.ceil(self.good * n), self.most_good, usable)
        # Only the order counts: the best weigh most, as in CMA-ES, whatever the values.
        rank = math.log(k + 1) - np.log(np.arange(1, k + 1))
        bad = np.concatenate([archive.rows[np.sort(order[k:])], archive.pending])
        old = max(0, len(bad) - self.recent)
        age = np.concatenate([np.linspace(1 / len(bad), 1.0, old), np.ones(len(bad) - old)]) if old else np.ones(len(bad))
        return (
            Parzen(state.layout, archive.rows[order[:k]], rank * (k / rank.sum()), self.prior, self.spread_good),
            Parzen(state.layout, bad, age, self.prior, self.spread_bad, room),
        )


def _first_new(rows: Array, score: Array, tried: Array) -> Array | None:
    """The best allowed row that is not among the tried ones."""
    for i in np.argsort(-score, kind="stable"):
        if score[i] == -np.inf:
            break
        if not same(tried, rows[i]).any():
            return rows[i]
    return None


def _elsewhere(state: TPEState, good: Parzen, bad: Parzen, tried: Array) -> Array:
    """The best of all untried rows of a small space, of some random ones in a large one; a repeat if all are tried."""
    space = state.space
    total = float(np.prod(space.cells))
    if total <= _SMALL:
        rows, _ = GridSearch().ask(GridSearch().init(space, 0), int(total))
    else:
        rows = space.sample(state.rng, 256)
    known = {row.tobytes() for row in tried}
    new = [i for i, row in enumerate(rows) if row.tobytes() not in known]
    if not new:
        return np.asarray(rows[state.rng.integers(len(rows))])
    features = good.layout.features(rows[new])
    return np.asarray(rows[new[int(np.argmax(good.log_mass(features) - bad.log_mass(features)))]])
