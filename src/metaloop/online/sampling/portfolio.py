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
from metaloop.online.sampling.evidence import FEW
from metaloop.online.sampling.methods import Method, Proposal
from metaloop.online.sampling.mixture import fit, total
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
        cube: whether it is an integral over the unit cube.
        score: of points, shape (n, d), to shape (n,); counts its calls in `evaluations`.
        amount: what is integrated, given scores.
        steps: to where it is.
    """

    dim: int
    cube: bool
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
        if m.effective < FEW:
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
        n = int(min(max(self.budget // 150, 300, 20 * self.target.dim), 2000))
        if best.effective >= _EFFECTIVE:
            z, weights = best.z, np.abs(best.parts)
        else:
            t, first = self.target, self.methods[0]
            found = explore(first.z, first.scores, t.score, t.steps, n, int(self.left * 0.5), self.rng)
            self.log_mass = found.log_mass
            if not found.reached:
                return
            z, weights = found.z, np.ones(len(found.z))
        self._adapt(z, weights, size)

    def _adapt(self, z: Array, weights: Array, size: int) -> None:
        """Importance sampling in rounds, each from a mixture that was fitted to all before it (Cornuet et al. 2012)."""
        from scipy.special import ndtr

        cube = self.target.cube
        first = ndtr(z) if cube else z
        x, trust, last, rounds = first, weights / weights.sum(), math.inf, []
        known = _effective(weights) / 3  # a population's points are not independent
        while size <= self.left // 4:
            model = fit(x, trust, self.rng)
            place = Proposal(model.widened(1 / 12 if cube else 1.0), 0.05, cube)
            source = self._add(f"mixture of {len(model.weights)}", place, self.target.dim + 1, size)
            rounds.append((place, source))
            forecast = self._forecast(source)
            if len(rounds) > 2 and forecast > _BETTER * last:
                break
            last = min(last, forecast)
            x, trust = _pooled(rounds, cube)
            seen = _effective(trust)
            x = np.concatenate([first, x])
            trust = np.concatenate([known * weights / weights.sum(), seen * trust])
            size = min(2 * size, power(self.budget / 8))


def _effective(weights: Array) -> float:
    """Kish's effective number."""
    return float(weights.sum() ** 2 / (weights @ weights)) if weights.any() else 0.0


def _pooled(rounds: list[tuple[Proposal, Method]], cube: bool) -> tuple[Array, Array]:
    """All points of all rounds, weighed as draws from all their mixtures together; large weights are cut (Ionides 2008)."""
    from scipy.special import ndtr

    z = np.concatenate([m.z for _, m in rounds])
    amounts = np.concatenate([np.abs(m.amounts) for _, m in rounds])
    z, amounts = z[amounts > 0], amounts[amounts > 0]
    if not len(z):
        return z, amounts
    x = ndtr(z) if cube else z
    sizes = np.array([m.size for _, m in rounds], dtype=float)
    each = np.stack([p.log(x) for p, _ in rounds], axis=1)
    log = np.log(amounts) + rounds[0][0].law(x) - total(each, sizes / sizes.sum())
    weights = np.exp(log - log.max())
    weights = np.minimum(weights, weights.sum() / math.sqrt(len(weights)))
    return x, weights / weights.sum()
