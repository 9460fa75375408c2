"""Spaces of architectures under a hard limit: what costs too much is refused before it is trained.

Parameters and FLOPs of an architecture are known without training it. A limit on them is therefore no constraint that
a search has to learn, but a bound of the space: no optimizer ever asks beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metaloop.errors import InputError, refuse, require
from metaloop.optimizers.mutation import neighbors
from metaloop.space import Array, Config, Mask, Space

_DRAWS = 20_000  # random architectures before a limit counts as one that none meets
_BLOCK = 256
_REMEMBERED = 200_000


@dataclass(frozen=True)
class Limit:
    """A hard limit on what an architecture costs.

    Args:
        cost: of a configuration, e.g. its number of parameters; finite, and always the same for the same one.
        most: the highest cost allowed.
        unit: what is counted.

    Raises:
        InputError: a cost that cannot be called, or a limit that is not a finite number.
    """

    cost: Callable[[Config], float]
    most: float
    unit: str = "parameters"

    def __post_init__(self) -> None:
        if not callable(self.cost):
            raise refuse("cost", self.cost, "a function of a configuration")
        require("most", self.most, lambda v: math.isfinite(v), "a finite number")


class Architectures(Space):
    """A space in which every architecture is within its limits.

    It equals the plain space of its parameters. A study keeps the parameters only: give this space again when you
    reopen one.

    ```python
    small = Architectures(space, [Limit(parameters, 2410)])
    minimize(train_and_validate, small, optimizer="RegularizedEvolution", budget=100)
    ```

    Args:
        space: of all architectures.
        limits: what they may cost at most.

    Raises:
        InputError: no limit, or limits that none of 20,000 random architectures meets; the message says what the
            cheapest of them costs.
    """

    def __init__(self, space: Space, limits: Sequence[Limit]) -> None:
        super().__init__(space.parameters, forbidden=space.forbidden)
        if not limits or not all(isinstance(limit, Limit) for limit in limits):
            raise refuse("limits", limits, "a list with at least one Limit")
        self.limits = tuple(limits)
        self._within: dict[bytes, bool] = {}
        self._check_that_some_are_within()

    @property
    def has_forbidden(self) -> bool:
        """Always."""
        return True

    def allowed(self, rows: Array) -> Mask:
        """Which rows match no forbidden clause and are within every limit, shape (n,)."""
        rows = self.snap(rows)
        ok = super().allowed(rows)
        new = [i for i in np.flatnonzero(ok) if rows[i].tobytes() not in self._within]
        if len(self._within) + len(new) > _REMEMBERED:
            self._within.clear()
            new = list(np.flatnonzero(ok))
        for i, config in zip(new, self.decode(rows[new]), strict=True):
            self._within[rows[i].tobytes()] = all(self._cost(limit, config) <= limit.most for limit in self.limits)
        ok[ok] = [self._within[row.tobytes()] for row in rows[ok]]
        return ok

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Independent rows, uniform among the allowed ones, shape (n, dim).

        Raises:
            InputError: the limits leave (next to) nothing.
        """
        kept, found, tried = [np.empty((0, self.dim))], 0, 0
        while found < n:
            if tried > max(_DRAWS, 100 * n) and found < 1 + n // 1000:
                raise self._nothing("")
            rows = self.snap(rng.random((max(n, 16), self.dim)))
            kept.append(rows[self.allowed(rows)])
            found, tried = found + len(kept[-1]), tried + len(rows)
        return np.concatenate(kept)[:n]

    def repair(self, rows: Array, rng: np.random.Generator) -> Array:
        """Canonical, allowed rows: one that is not allowed goes to an allowed neighbor, or to a random place."""
        rows = self.snap(rows)
        for i in np.flatnonzero(~self.allowed(rows)):
            near = neighbors(self, rows[i])
            rows[i] = near[rng.integers(len(near))] if len(near) else self.sample(rng, 1)[0]
        return rows

    def _cost(self, limit: Limit, config: dict[str, Any]) -> float:
        cost = float(limit.cost(config))
        if not math.isfinite(cost):
            raise refuse(f"cost in {limit.unit}", cost, f"a finite number; it is that of {config}")
        return cost

    def _check_that_some_are_within(self) -> None:
        rng, least = np.random.default_rng(0), [math.inf] * len(self.limits)
        for _ in range(0, _DRAWS, _BLOCK):
            rows = Space.sample(Space(self.parameters, forbidden=self.forbidden), rng, _BLOCK)
            if self.allowed(rows).any():
                return
            for config in self.decode(rows):
                least = [min(a, self._cost(limit, config)) for a, limit in zip(least, self.limits, strict=True)]
        cheapest = ", ".join(f"{a:g} {limit.unit}" for a, limit in zip(least, self.limits, strict=True))
        raise self._nothing(f"; the cheapest of {_DRAWS:,} random ones has {cheapest}")

    def _nothing(self, more: str) -> InputError:
        said = ", ".join(f"{limit.most:g} {limit.unit}" for limit in self.limits)
        return refuse("limits", f"at most {said}", f"limits that some architecture meets{more}")
