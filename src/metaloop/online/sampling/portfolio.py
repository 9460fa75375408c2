"""Where should the next evaluations go? To the method whose forecast error at the end of the budget is least.

Methods are changes of variables (`methods`): none, axis by axis (`separable`), a fitted mixture (`mixture`), which
learn from the points of those before them, and where these have too little to learn from, from a population that moves
to the mass (`population`). Whatever is spent on learning counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metaloop.online.sampling import methods
from metaloop.online.sampling.methods import Method
from metaloop.online.sampling.mixture import Mixture, fit, total
from metaloop.online.sampling.nets import Net
from metaloop.online.sampling.population import Steps, explore
from metaloop.online.sampling.separable import Separable
from metaloop.space import Array

_BETTER = 0.8  # a map is learned again while its forecast error falls at least to this share
_PROMISE = 0.3  # relative error times root of evaluations that a fitted mixture is expected to reach
_EFFECTIVE = 200.0  # contributions from which a mixture can be fitted without exploring


@dataclass
class Target:
    """What is integrated against the standard normal law, with a way that leads to where it is.

    Attributes:
        dim: number of dimensions.
        score: of points, shape (n, d), to shape (n,); counts its calls in `evaluations`.
        amount: what is integrated, given scores.
        steps: to where it is.
    """

    dim: int
    function: Callable[[Array], Array]
    amount: Callable[[Array], Array]
    steps: Steps
    evaluations: int = 0

    def score(self, z: Array) -> Array:
        """Of points in normal space, shape (n, d)."""
        self.evaluations += len(z)
        return self.function(z)


def power(n: float) -> int:
    """The largest power of two that is not above n."""
    return 1 << max(int(n).bit_length() - 1, 0)


class Portfolio:
    """One run. `best` is the method that has the answer."""

    def __init__(self, target: Target, budget: int, rng: np.random.Generator) -> None:
        self.target, self.budget, self.rng = target, budget, rng
        self.methods: list[Method] = []
        self.why: list[str] = []
        self.log_mass = math.nan

    @property
    def left(self) -> int:
        return self.budget - self.target.evaluations

    def run(self) -> Method:
        pilot = max(256, min(power(self.budget / 32), 1 << 13))
        first = self._add("Sobol'", methods.plain, self.target.dim, pilot)
        if first.parts.any():
            self._learn_map(first, pilot)
        if self._worth_exploring():
            self._learn_mixture(pilot)
        while True:
            best = min(self.methods, key=self._forecast)
            if 2 * best.size - best.size > self.left:
                self.best = best
                return best
            best.grow(2 * best.size, self.target.score, self.target.amount)

    def _add(self, name: str, place: methods.Place, uniforms: int, size: int) -> Method:
        method = Method(name, place, Net(uniforms, self.rng))
        method.grow(size, self.target.score, self.target.amount)
        self.methods.append(method)
        return method

    def _final(self, m: Method) -> int:
        """The size that a method's net can reach."""
        return m.size * power((m.size + self.left) / m.size)

    def _forecast(self, m: Method) -> float:
        if m.effective < 10:
            return math.inf
        return m.forecast(self._final(m))

    def _learn_map(self, source: Method, size: int) -> None:
        """Axis-by-axis maps, each from the points of the one before, while that helps."""
        from scipy.special import ndtr

        last = self._forecast(source)
        while self.target.evaluations + size <= self.budget // 4:
            shape = Separable(ndtr(source.z), (source.parts / np.abs(source.parts).max()) ** 2)
            source = self._add("map", methods.separable(shape), self.target.dim, size)
            if not source.parts.any() or self._forecast(source) > _BETTER * last:
                break
            last = self._forecast(source)

    def _worth_exploring(self) -> bool:
        """Whether a mixture promises a smaller error than the best so far, the price of finding it included."""
        best = min(self.methods, key=self._forecast)
        forecast = self._forecast(best)
        scale = abs(best.value) or 1.0
        return not forecast / scale * math.sqrt(best.size + self.left) < _PROMISE

    def _learn_mixture(self, size: int) -> None:
        best = max(self.methods, key=lambda m: m.effective)
        n = int(min(max(self.budget // 150, 300), 2000))
        if best.effective >= _EFFECTIVE:
            z, weights = best.z, np.abs(best.parts)
        else:
            t, first = self.target, self.methods[0]
            found = explore(first.z, first.scores, t.score, t.steps, n, int(self.left * 0.5), self.rng)
            self.log_mass = found.log_mass
            if not found.reached:
                return
            z, weights = found.z, np.ones(len(found.z))
        last, rounds = math.inf, []
        while size <= self.left // 4:
            model = fit(z, weights, self.rng).defended(0.1, 0.05)
            source = self._add(
                f"mixture of {(len(model.weights) - 1) // 2}", methods.mixture(model), self.target.dim + 1, size
            )
            rounds.append((model, source))
            forecast = self._forecast(source)
            if len(rounds) > 2 and forecast > _BETTER * last:
                break
            last = min(last, forecast)
            z, weights = _pooled(rounds)
            if not weights.any():
                break
            size = min(2 * size, power(self.budget / 8))


def _pooled(rounds: list[tuple[Mixture, Method]]) -> tuple[Array, Array]:
    """All points of all rounds, weighed as draws from all their mixtures together (Cornuet et al. 2012)."""
    z = np.concatenate([m.z for _, m in rounds])
    amounts = np.concatenate([np.abs(m.parts) * np.exp(-m.log) for _, m in rounds])
    sizes = np.array([m.size for _, m in rounds], dtype=float)
    each = np.stack([total(model.densities(z), model.weights) for model, _ in rounds], axis=1)
    log = -0.5 * (z**2).sum(axis=1) - total(each, sizes / sizes.sum())
    top = log[amounts > 0].max(initial=-math.inf)
    return z, np.where(amounts > 0, amounts * np.exp(np.minimum(log - top, 0.0)), 0.0)
