"""Random search: independent, uniform points.

After n independent trials the best lies in the top fraction α of the space with probability 1 - (1 - α)^n, whatever
the objective's shape (Brooks 1958; Bergstra & Bengio, JMLR 13, 2012): the only guarantee here that needs no assumption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import state
from metaloop.space import Array, Space


@state
@dataclass
class RandomSearchState:
    """The random generator is all there is."""

    space: Space
    rng: np.random.Generator


@dataclass(frozen=True)
class RandomSearch:
    """Independent, uniform points; nothing is learned."""

    def init(self, space: Space, seed: int) -> RandomSearchState:
        """A fresh state."""
        return RandomSearchState(space, generator(seed))

    def ask(self, state: RandomSearchState, n: int) -> tuple[Array, RandomSearchState]:
        """n independent points, shape (n, dim)."""
        return state.space.sample(state.rng, n), state

    def tell(self, state: RandomSearchState, points: Array, told: Sequence[Told] | Array) -> RandomSearchState:
        """Checked and forgotten."""
        check_tell(state.space, points, told)
        return state
