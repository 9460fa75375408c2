"""Sobol' points: scrambled, low-discrepancy, evenly spread in every projection (scipy.stats.qmc).

Source: Owen's scrambling as in scipy (Matousek 1998, LMS + shift); Joe & Kuo 2008 direction numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaloop.errors import refuse
from metaloop.optimizers.protocol import Told, check_tell, generator
from metaloop.optimizers.state import plan, state
from metaloop.space import Array, Space

_MAX_DIM = 21201  # scipy's table of direction numbers ends here
_CHUNK = 4096  # points drawn at a time at most, where many are forbidden
_PATIENCE = 100_000  # points drawn before the forbidden ones are given up on


@state
@dataclass
class SobolState:
    """How far the sequence has been used; the engine itself is a plan."""

    space: Space
    seed: int
    used: int = 0
    engine: Any = plan()


@dataclass(frozen=True)
class Sobol:
    """A scrambled Sobol' sequence; nothing is learned."""

    def init(self, space: Space, seed: int) -> SobolState:
        """A fresh state.

        Raises:
            InputError: more than 21201 columns.
        """
        if space.dim > _MAX_DIM:
            raise refuse("space", f"{space.dim} columns", f"at most {_MAX_DIM} columns for Sobol")
        return SobolState(space, seed)

    def ask(self, state: SobolState, n: int) -> tuple[Array, SobolState]:
        """The next n allowed points of the sequence, shape (m, dim); m < n only after its 2**30 points.

        Raises:
            InputError: the space forbids (next to) everything.
        """
        found: list[Array] = []
        missing = size = n
        tried = 0
        while missing > 0:
            rows = state.space.snap(_draw(state, size))
            if not len(rows):
                break
            tried += len(rows)
            rows = rows[state.space.allowed(rows)][:missing]
            found.append(rows)
            missing -= len(rows)
            size = min(2 * size, _CHUNK)  # a surplus of a large chunk is lost where most points are forbidden
            if missing > 0 and tried > _PATIENCE + 100 * n:
                # Independent points where next to nothing is allowed; refused where there is nothing.
                found.append(state.space.sample(generator(state.seed, state.used), missing))
                missing = 0
        return np.concatenate(found) if found else np.empty((0, state.space.dim)), state

    def tell(self, state: SobolState, points: Array, told: Sequence[Told] | Array) -> SobolState:
        """Checked and forgotten."""
        check_tell(state.space, points, told)
        return state


def _draw(state: SobolState, n: int) -> Array:
    """The next n raw points; the engine is rebuilt and wound forward where the state was restored."""
    if state.engine is None:
        from scipy.stats import qmc

        state.engine = qmc.Sobol(state.space.dim, scramble=True, rng=np.random.default_rng(state.seed), bits=30)
        if state.used:
            state.engine.fast_forward(state.used)
    n = min(n, 2**30 - state.used)
    state.used += n
    # scipy warns when the first draw is no power of two, which concerns integration; here points are used one by one.
    first = [state.engine.random(1)] if n and state.engine.num_generated == 0 else []
    rest = n - len(first)
    return np.concatenate([*first, state.engine.random(rest)]) if rest else np.concatenate([*first, _none(state)])


def _none(state: SobolState) -> Array:
    return np.empty((0, state.space.dim))
