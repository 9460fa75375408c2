"""A method is a change of variables; what it leaves is integrated by one net, and the net's blocks tell the error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

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


def mixture(model: Mixture) -> Place:
    """Importance sampling; the components' shares in it are control variates (Owen & Zhou 2000)."""

    def place(u: Array) -> Placed:
        z = model.place(u)
        each = model.densities(z)
        log = total(each, model.weights)
        normal = -0.5 * ((z**2).sum(axis=1) + z.shape[1] * _LOG_2PI)
        return z, normal - log, np.exp(np.minimum(each - log[:, None], 700.0)) - 1.0

    return place


@dataclass
class Method:
    """A change of variables, and what its net has given so far.

    Attributes:
        name: as the decisions call it.
        place: the change of variables.
        net: of the points in the cube.
        u, z, scores, log, controls: of every point so far.
        parts: what every point contributes to the integral, shape (n,).
        value, error, rate: the estimate; its standard error; how fast that falls with the number of points.
    """

    name: str
    place: Place
    net: Net
    u: Array = field(default_factory=lambda: np.empty(0))
    z: Array = field(default_factory=lambda: np.empty(0))
    scores: Array = field(default_factory=lambda: np.empty(0))
    log: Array = field(default_factory=lambda: np.empty(0))
    controls: Array = field(default_factory=lambda: np.empty(0))
    parts: Array = field(default_factory=lambda: np.empty(0))
    value: float = math.nan
    error: float = math.inf
    rate: float = 0.5

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
        new = (u, z, score(z), log, controls)
        old = (self.u, self.z, self.scores, self.log, self.controls)
        if len(self.u):
            new = tuple(np.concatenate([a, b]) for a, b in zip(old, new, strict=True))  # type: ignore[assignment]
        self.u, self.z, self.scores, self.log, self.controls = new
        amounts = amount(self.scores)
        self.parts = np.where(amounts == 0, 0.0, amounts * np.exp(self.log))
        rest = self.parts
        if self.controls.shape[1]:
            centered = self.controls - self.controls.mean(axis=0)
            slopes = np.linalg.lstsq(centered, self.parts - self.parts.mean(), rcond=1e-8)[0]
            rest = self.parts - self.controls @ slopes
        self.value = float(rest.mean())
        self.error, self.rate = net_error(rest)

    def forecast(self, size: int) -> float:
        """The standard error that a net of `size` points may be expected to have."""
        return float(self.error * (self.size / size) ** self.rate)

    @property
    def effective(self) -> float:
        """How many equal contributions are as uneven as these (Kong 1992)."""
        size = np.abs(self.parts)
        size = size / (size.max() or 1.0)  # squares may underflow
        return float(size.sum() ** 2 / (size @ size)) if size.any() else 0.0
