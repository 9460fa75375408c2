"""Regularized evolution: tournaments among the latest points; the oldest die, not the worst.

Source: Real, Aggarwal, Huang & Le 2019 (AAAI 33, arXiv 1802.01548), algorithm 1. A point that was only lucky is
forgotten with age, so what lasts is what does well again and again. The population is the tail of the archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.errors import refuse, require
from metaloop.optimizers.archive import Archive
from metaloop.optimizers.mutation import mutate
from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import state
from metaloop.recipe import tunable
from metaloop.space import Array, Int, Space

_TRIES = 10


@state
@dataclass
class RegularizedEvolutionState:
    """Points and the random generator."""

    space: Space
    archive: Archive
    rng: np.random.Generator


@dataclass(frozen=True)
class RegularizedEvolution:
    """Evolution by ageing and mutation, for categorical and mixed spaces and hundreds of evaluations.

    Args:
        population: how many of the latest points live; as many are drawn at random first.
        sample: how many of them enter a tournament; the best one is mutated.

    Raises:
        InputError: fewer than 2 in the population, or a tournament that is empty or larger than it.
    """

    population: int = tunable(50, Int(10, 200, log=True))
    sample: int = tunable(10, Int(2, 10, log=True))

    def __post_init__(self) -> None:
        require("population", self.population, lambda v: v >= 2 and v == int(v), "a whole number of at least 2")
        if not 1 <= self.sample <= self.population:
            raise refuse("sample", self.sample, f"a whole number from 1 to population ({self.population})")

    def init(self, space: Space, seed: int) -> RegularizedEvolutionState:
        """A fresh state."""
        return RegularizedEvolutionState(space, Archive.empty(space.dim), generator(seed))

    def tell(
        self, state: RegularizedEvolutionState, points: Array, told: Sequence[Told] | Array
    ) -> RegularizedEvolutionState:
        """File what came back: the newest enter the population, the oldest leave it."""
        state.archive.add(*check_tell(state.space, points, told))
        return state

    def ask(self, state: RegularizedEvolutionState, n: int) -> tuple[Array, RegularizedEvolutionState]:
        """n points, shape (n, dim): random ones until the population is complete, then children.

        A child that was tried before is mutated further, up to ten times: a known answer teaches nothing.
        """
        archive, rng, space = state.archive, state.rng, state.space
        known = {row.tobytes() for rows in (archive.rows, archive.pending) for row in rows}
        rows = np.empty((n, space.dim))
        living, merit = self.living(state)
        for i in range(n):
            young = len(archive) + len(archive.pending) + i < self.population or not len(living)
            rows[i] = space.sample(rng, 1)[0] if young else self._parent(living, merit, rng)
            for k in range(_TRIES):
                if not (young and k == 0):
                    rows[i] = mutate(space, rows[i], rng)
                if rows[i].tobytes() not in known:
                    break
            known.add(rows[i].tobytes())
        archive.pend(rows)
        return rows, state

    def living(self, state: RegularizedEvolutionState) -> tuple[Array, Array]:
        """The population, oldest first: rows, shape (m, dim), and what is minimized, inf where failed, shape (m,)."""
        merit = state.archive.merit()[-self.population :]
        return state.archive.rows[-self.population :], np.where(np.isnan(merit), np.inf, merit)

    def _parent(self, living: Array, merit: Array, rng: np.random.Generator) -> Array:
        entered = rng.choice(len(living), min(self.sample, len(living)), replace=False)
        return np.asarray(living[entered[merit[entered].argmin()]])
