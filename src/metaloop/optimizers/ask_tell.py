"""`opt.ask()` and `opt.tell()` for people who write their own loop and need no study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metaloop.errors import InputError, refuse
from metaloop.optimizers.protocol import AnyOptimizer, Observation, Told, find_optimizer, observations
from metaloop.space import Array, Space


class AskTell:
    """An optimizer and its state in one object; nothing is stored, nothing is caught.

    ```python
    opt = AskTell(CMAES(), [(-5, 5)] * 10, seed=1)
    points = opt.ask(8)
    opt.tell(points, [f(x) for x in points])
    ```

    Args:
        optimizer: a recipe, or its name.
        space: a Space (points are dicts) or scipy-style bounds (points are vectors).
        seed: of every random choice.
    """

    def __init__(self, optimizer: AnyOptimizer | str, space: Space | Any, seed: int = 0) -> None:
        self.optimizer = find_optimizer(optimizer)
        self._vector = not isinstance(space, Space)
        self.space: Space = Space.from_bounds(space) if self._vector else space
        self.state: Any = self.optimizer.init(self.space, seed)
        self._asked: dict[tuple[Any, ...], Array] = {}
        self.best: Any = None
        self.best_value = np.inf

    def ask(self, n: int = 1) -> list[Any]:
        """At most n points to evaluate, as dicts or vectors; fewer when nothing is left to try.

        Raises:
            InputError: n below 1.
        """
        if n < 1:
            raise refuse("n", n, "at least 1")
        rows, self.state = self.optimizer.ask(self.state, n)
        configs = self.space.decode(rows)
        for config, row in zip(configs, rows, strict=True):
            self._asked[tuple(config.items())] = row
        return [np.array(list(c.values())) for c in configs] if self._vector else configs

    def tell(self, points: Sequence[Any] | Mapping[str, Any], values: Sequence[Told] | Told) -> None:
        """What came back, to be minimized, for asked points or others.

        Args:
            points: one point or a list of points, as `ask` gave them.
            values: one value or a list of values; NaN where the evaluation failed.

        Raises:
            InputError: points outside the space, or counts that differ.
        """
        one = isinstance(points, Mapping) or isinstance(values, (int, float, Observation))
        listed = [points] if one else list(points)
        told: list[Any] = [values] if one else list(values)  # type: ignore[arg-type]
        if len(listed) != len(told):
            raise refuse("values", len(told), f"one for each of the {len(listed)} points")
        rows = np.stack([self._row(p) for p in listed])
        seen = observations(told)
        self.state = self.optimizer.tell(self.state, rows, seen)
        for point, o in zip(listed, seen, strict=True):
            if o.violation == 0 and o.value < self.best_value:
                self.best, self.best_value = point, o.value

    def _row(self, point: Any) -> Array:
        if self._vector:
            labels = self.space.labels
            if len(point) != len(labels):
                raise InputError(f"point has {len(point)} coordinates; the space has {len(labels)}")
            point = dict(zip(labels, np.asarray(point, dtype=float).tolist(), strict=True))
        row = self._asked.pop(tuple(point.items()), None)
        return self.space.encode(point)[0] if row is None else row
