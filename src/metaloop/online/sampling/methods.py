"""A method is a change of variables; what it leaves is integrated by one net, and the net's blocks tell the error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from metaloop.online.sampling.evidence import tail_index
from metaloop.online.sampling.mixture import Mixture, total
from metaloop.online.sampling.nets import Net, net_error
from metaloop.online.sampling.separable import Separable
from metaloop.space import Array

_LOG_2PI = math.log(2 * math.pi)

Placed = tuple[Array, Array, Array]
"""Points in normal space, shape (n, d); logarithm of the standard normal density over theirs, shape (n,); functions
with mean 0 there, shape (n, k)."""

Place = Callable[[Array], Placed]
"""From points of the unit cube, shape (n, uniforms)."""


def plain(u: Array) -> Placed:
    """The standard normal law itself."""
    from scipy.special import ndtri

    return ndtri(u), np.zeros(len(u)), np.empty((len(u), 0))


def separable(shape: Separable) -> Place:
    """An axis-by-axis map of the cube."""
    from scipy.special import ndtri

    def place(u: Array) -> Placed:
        x, log = shape(u)
        return ndtri(x), log, np.empty((len(u), 0))

    return place


def normal_log(z: Array) -> Array:
    """Logarithm of the standard normal density."""
    return np.asarray(-0.5 * ((z**2).sum(axis=1) + z.shape[1] * _LOG_2PI))


def uniform_log(x: Array) -> Array:
    """Logarithm of the unit cube's uniform density."""
    return np.where(((x > 0) & (x < 1)).all(axis=1), 0.0, -np.inf)


@dataclass(frozen=True)
class Proposal:
    """Importance sampling with a mixture of Gaussians and, for a share, the law itself (Hesterberg 1995).

    The components' shares in it are control variates (Owen & Zhou 2000).

    Attributes:
        model: of points in normal space, or in the cube.
        share: of the law itself.
        cube: whether the model's points are in the cube.
    """

    model: Mixture
    share: float
    cube: bool

    def law(self, x: Array) -> Array:
        """Logarithm of the density that is integrated against, in the model's space."""
        return uniform_log(x) if self.cube else normal_log(x)

    def log(self, x: Array) -> Array:
        """Logarithm of the proposal's density at points of the model's space."""
        inner = total(self.model.densities(x), self.model.weights)
        return np.logaddexp(math.log1p(-self.share) + inner, math.log(self.share) + self.law(x))

    def __call__(self, u: Array) -> Placed:
        """See `Place`."""
        from scipy.special import ndtri

        own = u[:, 0] < self.share
        x = np.where(own[:, None], u[:, 1:] if self.cube else ndtri(u[:, 1:]), 0.0)
        rest = np.column_stack([(u[~own, 0] - self.share) / (1 - self.share), u[~own, 1:]])
        x[~own] = self.model.place(rest)
        law, log = self.law(x), self.log(x)
        shares = np.exp(np.minimum(self.model.densities(x) - log[:, None], 700.0)) - 1.0
        return ndtri(np.clip(x, 0.0, 1.0)) if self.cube else x, law - log, shares


@dataclass
class Method:
    """A change of variables, and what its net has given so far.

    Attributes:
        name: as the decisions call it.
        place: the change of variables.
        net: of the points in the cube.
        z, scores, log, controls: of every point so far.
        amounts: what is integrated, at every point; parts: what each contributes to the integral, shapes (n,).
        value, error, rate: the estimate; its standard error; how fast that falls with the number of points;
            tail: index of the contributions' tail.
    """

    name: str
    place: Place
    net: Net
    z: Array = field(default_factory=lambda: np.empty(0))
    scores: Array = field(default_factory=lambda: np.empty(0))
    log: Array = field(default_factory=lambda: np.empty(0))
    controls: Array = field(default_factory=lambda: np.empty(0))
    amounts: Array = field(default_factory=lambda: np.empty(0))
    parts: Array = field(default_factory=lambda: np.empty(0))
    value: float = math.nan
    error: float = math.inf
    rate: float = 0.5
    tail: float = -math.inf

    @property
    def size(self) -> int:
        """Points so far."""
        return self.net.size

    def grow(self, size: int, score: Callable[[Array], Array], amount: Callable[[Array], Array]) -> None:
        """To a net of `size` points.

        Args:
            size: a power of two, at least 256.
            score: of points in normal space.
            amount: what is integrated, given scores.
        """
        u = self.net.grow(size)
        z, log, controls = self.place(u)
        scores, inside = np.zeros(len(u)), log > -np.inf
        scores[inside] = score(z[inside])
        new = (z, scores, log, controls)
        old = (self.z, self.scores, self.log, self.controls)
        if len(self.z):
            new = tuple(np.concatenate([a, b]) for a, b in zip(old, new, strict=True))  # type: ignore[assignment]
        self.z, self.scores, self.log, self.controls = new
        self.amounts = np.where(self.log > -np.inf, amount(self.scores), 0.0)
        self.parts = np.where(self.amounts == 0, 0.0, self.amounts * np.exp(self.log))
        rest = self.parts
        if self.controls.shape[1]:
            centered = self.controls - self.controls.mean(axis=0)
            slopes = np.linalg.lstsq(centered.T @ centered, centered.T @ self.parts, rcond=1e-12)[0]
            rest = self.parts - self.controls @ slopes
        self.value = float(rest.mean())
        self.error, self.rate = net_error(rest)
        self.tail = tail_index(self.parts)
        # Means of contributions with tail index k > 1/2 converge as n^(k-1), which variances do not show.
        self.error *= float(len(rest) ** min(max(self.tail - 0.5, 0.0), 0.5))

    def forecast(self, size: int) -> float:
        """The standard error that a net of `size` points may be expected to have."""
        return float(self.error * (self.size / size) ** self.rate)

    @property
    def effective(self) -> float:
        """How many equal contributions are as uneven as these (Kong 1992)."""
        size = np.abs(self.parts)
        size = size / (size.max() or 1.0)  # squares may underflow
        return float(size.sum() ** 2 / (size @ size)) if size.any() else 0.0
