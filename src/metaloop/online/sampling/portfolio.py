"""Where should the next evaluations go? To the method whose forecast error at the end of the budget is least.

Methods are changes of variables (`methods`): none, axis by axis, a fitted mixture. Each learns from the points of those
before it, and where these have too little to learn from, from a population that moves to the mass (`population`).
Whatever is spent on learning counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metaloop.errors import require
from metaloop.online.sampling.evidence import FEW, HEAVY
from metaloop.online.sampling.methods import Method, Place, Proposal, plain, separable
from metaloop.online.sampling.mixture import fit, total
from metaloop.online.sampling.nets import Net
from metaloop.online.sampling.population import explore
from metaloop.online.sampling.separable import Separable
from metaloop.online.sampling.targets import Target
from metaloop.online.switching import Decision
from metaloop.recipe import tunable
from metaloop.space import Array, Float

_ENOUGH = 200.0  # effective contributions from which a mixture is fitted without exploring
_AGREE = 4.5  # standard errors by which methods may differ


@dataclass(frozen=True)
class Portfolio:
    """How evaluations are shared out.

    Args:
        pilot: share of the budget that a method gets before it is judged, in (0, 1/8].
        better: what is learned is learned again while the forecast error falls at least to this share, in (0, 1).
        learning: largest share of the budget for maps, and for the rounds of mixtures, in (0, 1/2].
        exploring: largest share of what is left for a population, in (0, 1).
        promise: relative error times the root of the evaluations that a fitted mixture is expected to reach, > 0;
            where less is forecast without one, none is fitted.

    Raises:
        InputError: a setting out of range.
    """

    pilot: float = tunable(1 / 32, Float(1 / 128, 1 / 8, log=True))
    better: float = tunable(0.8, Float(0.5, 0.98))
    learning: float = tunable(0.25, Float(0.05, 0.5))
    exploring: float = tunable(0.75, Float(0.1, 0.9))
    promise: float = tunable(0.3, Float(0.03, 3.0, log=True))

    def __post_init__(self) -> None:
        require("pilot", self.pilot, lambda v: 0 < v <= 1 / 8, "a number in (0, 1/8]")
        require("better", self.better, lambda v: 0 < v < 1, "a number in (0, 1)")
        require("learning", self.learning, lambda v: 0 < v <= 0.5, "a number in (0, 1/2]")
        require("exploring", self.exploring, lambda v: 0 < v < 1, "a number in (0, 1)")
        require("promise", self.promise, lambda v: v > 0, "a number greater than 0")


class Run:
    """One budget, shared out.

    Args:
        recipe: how.
        target: what is integrated.
        budget: evaluations.
        rng: of everything random.

    Attributes:
        methods: that were tried.
        best: the method that has the answer, after `spend`.
        doubts: why the answer should not be believed, sentences.
        decisions: what was decided.
    """

    best: Method

    def __init__(self, recipe: Portfolio, target: Target, budget: int, rng: np.random.Generator) -> None:
        self.recipe, self.target, self.budget, self.rng = recipe, target, budget, rng
        self.methods: list[Method] = []
        self.doubts: list[str] = []
        self.decisions: list[Decision] = []
        self._pilot = max(256, min(_power(budget * recipe.pilot), 1 << 13))

    @property
    def left(self) -> int:
        """Evaluations that are not spent."""
        return self.budget - self.target.evaluations

    def spend(self) -> Method:
        """Try, learn, and give the rest to the best."""
        first = self._try("Sobol'", plain, self.target.dim, self._pilot)
        if first.effective >= FEW:
            self._learn_map(_map(first), self._forecast(first))
        self._weigh_exploring()
        best = min(self.methods, key=self._forecast)
        self._note(
            f"at the end of the budget {best.name} is expected to be off by {self._forecast(best):.2g}",
            f"it gets the rest, up to {self._final(best)} points",
            "the least error of all methods tried",
        )
        while best.size <= self.left:
            best.grow(2 * best.size, self.target.score, self.target.amount)
            best = min(self.methods, key=self._forecast)
        self.best = best
        self._doubt()
        return best

    def _note(self, seen: str, chosen: str, expected: str) -> None:
        self.decisions.append(Decision(self.target.evaluations, seen, chosen, expected, unit="evaluations"))

    def _try(self, name: str, place: Place, uniforms: int, size: int) -> Method:
        method = Method(name, place, Net(uniforms, self.rng))
        method.grow(size, self.target.score, self.target.amount)
        self.methods.append(method)
        return method

    def _final(self, m: Method) -> int:
        """The size that a method's net can reach."""
        return m.size * _power((m.size + self.left) / m.size)

    def _forecast(self, m: Method) -> float:
        """Its standard error there; inf where too little was seen to say."""
        return m.forecast(self._final(m)) if m.effective >= FEW else math.inf

    def _learn_map(self, shape: Separable, before: float) -> None:
        """Axis-by-axis maps, each from the points of the one before, while that helps.

        The first is from points that are known to be enough: a map that is learned from a few of them keeps to the mode
        where these are, and calls itself exact.
        """
        last, rounds = before, 0
        while self.target.evaluations + self._pilot <= self.budget * self.recipe.learning:
            method = self._try("a map of the axes", separable(shape), self.target.dim, self._pilot)
            rounds += 1
            forecast = self._forecast(method)
            if not forecast <= self.recipe.better * last or not math.isfinite(forecast):
                break
            last, shape = forecast, _map(method)
        self._note(
            f"{rounds} map{'s' * (rounds != 1)} of the axes took the forecast error from {before:.2g} to {last:.2g}",
            "no further map is learned",
            f"less than {1 - self.recipe.better:.0%} to gain, or no more to spend on it",
        )

    def _weigh_exploring(self) -> None:
        """Whether a mixture promises a smaller error than the best so far, the price of finding it included."""
        from scipy.special import ndtr

        best = min(self.methods, key=self._forecast)
        relative = self._forecast(best) / (abs(best.value) or 1.0) * math.sqrt(best.size + self.left)
        if relative < self.recipe.promise:
            self._note(
                f"relative error times root of evaluations is expected to be {relative:.2g} with {best.name}",
                "no mixture is fitted",
                f"a mixture promises {self.recipe.promise:g}",
            )
            return
        richest = max(self.methods, key=lambda m: m.effective)
        if richest.effective >= _ENOUGH:
            self._note(
                f"{richest.effective:.0f} effective contributions are known", "mixtures are fitted to them",
                "what they cover is all there is",
            )  # fmt: skip
            self._adapt(richest.z, np.abs(richest.parts))
            return
        t, first = self.target, self.methods[0]
        n = int(min(max(self.budget // 100, 300, 20 * t.dim), 4000))
        seen = f"only {richest.effective:.0f} effective contributions are known"
        found = explore(first.z, first.scores, t.score, t.steps, n, int(self.left * self.recipe.exploring), self.rng)
        self._note(
            seen,
            f"a population of {n} explored in {found.levels} steps, which took {found.evaluations} evaluations",
            "it arrives where the mass is" if found.reached else "more than it found: it did not arrive",
        )
        if found.reached:
            if t.cube:
                self._learn_map(Separable(ndtr(found.z), np.ones(n), power=1.0), math.inf)
            self._adapt(found.z, np.ones(len(found.z)))

    def _adapt(self, z: Array, weights: Array) -> None:
        """Importance sampling in rounds, each from a mixture that is fitted to all before it (Cornuet et al. 2012)."""
        from scipy.special import ndtr

        cube, size = self.target.cube, self._pilot
        begin = ndtr(z) if cube else z
        trust = weights / weights.sum()
        given = trust * _effective(weights) / 3  # a population's points are not independent
        x, last = begin, math.inf
        rounds: list[tuple[Proposal, Method]] = []
        while size <= self.left * self.recipe.learning:
            model = fit(x, trust, self.rng)
            name = f"a mixture of {len(model.weights)}"
            place = Proposal(model.widened(1 / 12 if cube else 1.0), 0.05, cube)
            source = self._try(name, place, self.target.dim + 1, size)
            rounds.append((place, source))
            forecast = self._forecast(source)
            if len(rounds) > 2 and forecast > self.recipe.better * last:
                break
            last = min(last, forecast)
            x, trust = _pooled(rounds, cube)
            x, trust = np.concatenate([begin, x]), np.concatenate([given, _effective(trust) * trust])
            size = min(2 * size, _power(self.budget / 8))
        self._note(
            f"{len(rounds)} rounds of importance sampling left a forecast error of {last:.2g}",
            "no further mixture is fitted",
            f"less than {1 - self.recipe.better:.0%} to gain, or no more to spend on it",
        )

    def _doubt(self) -> None:
        """Reasons not to believe the answer."""
        m = self.best
        if not m.parts.any():
            self.doubts.append("nothing was found anywhere")
        elif m.effective < FEW:
            self.doubts.append(
                f"the answer rests on {m.effective:.1f} effective contributions, at least {FEW:g} are needed"
            )
        elif m.tail > HEAVY:
            self.doubts.append(
                f"a few contributions outweigh all others (tail index {m.tail:.2f}, at most {HEAVY:g} can be averaged)"
            )
        for other in self.methods:
            if other is not m and other.effective >= 4 * FEW and other.tail < 0.5:
                apart = abs(other.value - m.value)
                if apart > _AGREE * math.hypot(m.error, other.error):
                    self.doubts.append(
                        f"{m.name} says {m.value:.6g}, {other.name} {other.value:.6g}: both cannot be right"
                    )
                    break


def _map(m: Method) -> Separable:
    """The map that a method's points ask for."""
    from scipy.special import ndtr

    return Separable(ndtr(m.z), (m.parts / np.abs(m.parts).max()) ** 2, power=0.5)


def _power(n: float) -> int:
    """The largest power of two that is not above n, at least 1."""
    return 1 << max(int(n).bit_length() - 1, 0)


def _effective(weights: Array) -> float:
    """Kish's effective number."""
    return float(weights.sum() ** 2 / (weights @ weights)) if weights.any() else 0.0


def _pooled(rounds: list[tuple[Proposal, Method]], cube: bool) -> tuple[Array, Array]:
    """All points of all rounds, weighed as draws from all their mixtures; large weights are cut (Ionides 2008)."""
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
