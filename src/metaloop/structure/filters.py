"""From design variables to densities: filters, projection, symmetry, passive regions, overhang - a chain of maps.

Every map says its values and pulls a gradient with respect to them back to one with respect to what went in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.fft
from numba import njit

from metaloop.errors import refuse, require

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_DIRECT = 350  # neighbors up to which a sum over them beats a Fourier transform


class Map(Protocol):
    """A differentiable map of arrays of one value an element."""

    def values(self, x: Array) -> Array:
        """What becomes of x."""
        ...

    def pull(self, x: Array, gradient: Array) -> Array:
        """The gradient with respect to x, given that with respect to `values(x)`."""
        ...


@dataclass(frozen=True)
class Cone:
    """Weighted mean of the neighbors, with weights max(0, radius - distance) (Bruns & Tortorelli 2001).

    Args:
        shape: elements along each axis.
        radius: in elements; up to 1 changes nothing.

    Raises:
        InputError: a radius that is not greater than 0.
    """

    shape: tuple[int, ...]
    radius: float

    def __post_init__(self) -> None:
        require("radius", self.radius, lambda v: 0 < v < math.inf, "a number greater than 0, in elements")

    @cached_property
    def taps(self) -> tuple[npt.NDArray[np.int64], Array]:
        """Neighbors' relative places and weights."""
        reach = [min(math.ceil(self.radius) - 1, n - 1) for n in self.shape]
        places = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))), np.int64)
        weights = self.radius - np.sqrt((places**2).sum(1))
        return places[weights > 0], weights[weights > 0]

    @cached_property
    def sums(self) -> Array:
        """Of the weights of each element's neighbors that exist."""
        return self.spread(np.ones(self.shape))

    @cached_property
    def _spectrum(self) -> tuple[tuple[int, ...], npt.NDArray[np.complex128]]:
        places, weights = self.taps
        size = tuple(
            scipy.fft.next_fast_len(n + int(r), real=True) for n, r in zip(self.shape, places.max(0), strict=True)
        )
        kernel = np.zeros(size)
        kernel[tuple((places % size).T)] = weights
        return size, scipy.fft.rfftn(kernel)

    def spread(self, x: Array) -> Array:
        """Weighted sums, not divided: a symmetric operator."""
        places, weights = self.taps
        if len(weights) == 1:
            return np.asarray(x * weights[0])
        if len(weights) > _DIRECT:
            size, spectrum = self._spectrum
            whole = scipy.fft.irfftn(scipy.fft.rfftn(x, size) * spectrum, size)
            return np.asarray(whole[tuple(map(slice, self.shape))])
        reach = places.max(0)
        padded = np.zeros([n + 2 * r for n, r in zip(self.shape, reach, strict=True)])
        inner = tuple(slice(r, r + n) for n, r in zip(self.shape, reach, strict=True))
        padded[inner] = x
        strides = np.array([math.prod(padded.shape[a + 1 :]) for a in range(padded.ndim)])
        out = np.zeros(padded.size)
        _sum_taps(padded.ravel(), places @ strides, weights, int(reach @ strides), out)
        return out.reshape(padded.shape)[inner]

    def values(self, x: Array) -> Array:
        """See `Map`."""
        return self.spread(x) / self.sums

    def pull(self, x: Array, gradient: Array) -> Array:
        """See `Map`."""
        return self.spread(gradient / self.sums)


@njit(fastmath={"reassoc", "contract", "nsz"}, cache=True)
def _sum_taps(x, offsets, weights, margin, out):  # type: ignore[no-untyped-def]
    """out[i] = sum of weight · x[i + offset], for all i that are at least the margin from both ends."""
    run = 2048
    for begin in range(margin, x.size - margin, run):
        count = min(run, x.size - margin - begin)
        to = out[begin : begin + count]
        for t in range(offsets.size):
            one, w = x[begin + offsets[t] :], weights[t]
            for k in range(count):
                to[k] += w * one[k]


@dataclass(frozen=True)
class Sensitivity:
    """Leaves densities as they are and blurs gradients: a heuristic that came first and works (Sigmund 1997)."""

    cone: Cone

    def values(self, x: Array) -> Array:
        """See `Map`."""
        return x

    def pull(self, x: Array, gradient: Array) -> Array:
        """Not the true gradient: sum of weight · x · gradient, over x times the weights' sum."""
        return self.cone.spread(x * gradient) / self.cone.sums / np.maximum(1e-3, x)


@dataclass(frozen=True)
class Helmholtz:
    """Solves x̃ - r² ∇²x̃ = x with no flow over the boundary, r = radius / (2 √3) (Lazarov & Sigmund 2011).

    By cosine transforms, exactly, for the finite differences of second order on the elements.
    """

    shape: tuple[int, ...]
    radius: float

    def __post_init__(self) -> None:
        require("radius", self.radius, lambda v: 0 < v < math.inf, "a number greater than 0, in elements")

    @cached_property
    def _eigenvalues(self) -> Array:
        total = np.ones(self.shape)
        for a, n in enumerate(self.shape):
            along = 2 - 2 * np.cos(np.pi * np.arange(n) / n)
            total += self.radius**2 / 12 * along.reshape([-1 if b == a else 1 for b in range(len(self.shape))])
        return total

    def values(self, x: Array) -> Array:
        """See `Map`."""
        return np.asarray(scipy.fft.idctn(scipy.fft.dctn(x) / self._eigenvalues))

    def pull(self, x: Array, gradient: Array) -> Array:
        """See `Map`; the map is symmetric."""
        return self.values(gradient)


@dataclass(frozen=True)
class Projection:
    """A smooth step at a threshold (Wang, Lazarov & Sigmund 2011, equation 9).

    Args:
        sharpness: β, greater than 0.
        threshold: η, from 0 to 1; if None, that which keeps the volume (Xu et al. 2010): then a limit on the volume
            stays a linear constraint, and every step can meet it exactly.
        shift: added to the threshold: above 0 for an eroded design, below for a dilated one.
    """

    sharpness: float
    threshold: float | None = None
    shift: float = 0.0

    def at(self, x: Array) -> float:
        """The threshold for x, without the shift."""
        if self.threshold is not None:
            return self.threshold
        volume, low, high, eta = float(x.sum()), 0.0, 1.0, 0.5
        for _ in range(60):
            t = np.tanh(self.sharpness * (x - eta))
            value, slope = self._sums(t, eta)
            if value > volume:
                low = eta
            else:
                high = eta
            if abs(value - volume) <= 1e-10 * max(volume, 1.0) or high - low < 1e-14:
                break
            eta = eta - (value - volume) / slope if slope < 0 else low
            if not low < eta < high:
                eta = 0.5 * (low + high)
        return eta

    def _sums(self, t: Array, eta: float) -> tuple[float, float]:
        """Of the values and of their slopes in η, from t = tanh β (x - η)."""
        b = self.sharpness
        first, second = math.tanh(b * eta), math.tanh(b * (1 - eta))
        size, change = first + second, b * (second**2 - first**2)
        total, square = float(t.sum()), float((t * t).sum())
        value = (t.size * first + total) / size
        slope = (b * t.size * (1 - first**2) - b * (t.size - square) - value * change) / size
        return value, slope

    def values(self, x: Array) -> Array:
        """See `Map`."""
        b, e = self.sharpness, self.at(x) + self.shift
        value = (math.tanh(b * e) + np.tanh(b * (x - e))) / (math.tanh(b * e) + math.tanh(b * (1 - e)))
        return np.asarray(np.clip(value, 0, 1))

    def pull(self, x: Array, gradient: Array) -> Array:
        """See `Map`."""
        b, base = self.sharpness, self.at(x)
        e = base + self.shift
        t = np.tanh(b * (x - e))
        first, second = math.tanh(b * e), math.tanh(b * (1 - e))
        size, change = first + second, b * (second**2 - first**2)
        direct = b * (1 - t * t) / size
        out = gradient * direct
        if self.threshold is None:
            # The threshold follows x: sum of values = sum of x, differentiated.
            in_eta = (b * (1 - first**2) - b * (1 - t * t) - (first + t) / size * change) / size
            plain = np.tanh(b * (x - base))
            own = math.tanh(b * base) + math.tanh(b * (1 - base))
            _, slope = self._sums(plain, base)
            if slope < 0:
                moves = (1 - b * (1 - plain * plain) / own) / slope
                out = out + float((gradient * in_eta).sum()) * moves
        return np.asarray(out)


@dataclass(frozen=True)
class Mirror:
    """The mean of a design and its reflections."""

    axes: tuple[int, ...]

    def values(self, x: Array) -> Array:
        """See `Map`."""
        for a in self.axes:
            x = 0.5 * (x + np.flip(x, a))
        return x

    def pull(self, x: Array, gradient: Array) -> Array:
        """See `Map`; the map is symmetric."""
        return self.values(gradient)


@dataclass(frozen=True)
class Passive:
    """Elements that are not designed."""

    solid: Mask
    void: Mask

    def values(self, x: Array) -> Array:
        """See `Map`."""
        return np.where(self.solid, 1.0, np.where(self.void, 0.0, x))

    def pull(self, x: Array, gradient: Array) -> Array:
        """See `Map`."""
        return np.where(self.solid | self.void, 0.0, gradient)


@dataclass(frozen=True)
class Overhang:
    """What can be printed upwards layer by layer without supports, at 45° (Langelaar 2017, AM filter).

    An element is no denser than the densest of those that carry it: the one below and its neighbors there along each
    axis. Maximum and minimum are smooth; the first layer lies on the plate.

    Args:
        axis: along which layers follow each other.
        upwards: whether the first layer is at the axis's beginning.
        power, corner: of the smooth maximum (P) and minimum (ε).
    """

    axis: int
    upwards: bool = True
    power: float = 40.0
    corner: float = 1e-4

    def _layers(self, x: Array) -> Array:
        moved = np.moveaxis(x, self.axis, 0)
        return moved if self.upwards else moved[::-1]

    def _carriers(self, layer: Array) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """(of the carried, of the carriers) for each neighbor in the layer below."""
        whole = (slice(None),) * layer.ndim
        pairs = [(whole, whole)]
        for a in range(layer.ndim):
            up, down = list(whole), list(whole)
            up[a], down[a] = slice(1, None), slice(None, -1)
            pairs += [(tuple(up), tuple(down)), (tuple(down), tuple(up))]
        return pairs

    def _supports(self, below: Array) -> tuple[Array, Array]:
        """The smooth maximum of the carriers, and the sum in it."""
        pairs = self._carriers(below)
        # An exponent for which equal carriers of density 1/2 give 1/2 (equation 4 of the paper).
        q = self.power + math.log(len(pairs)) / math.log(0.5)
        total = np.full(below.shape, 1e-200)
        powered = below**self.power
        for to, of in pairs:
            total[to] += powered[of]
        return total ** (1 / q), total

    def values(self, x: Array) -> Array:
        """See `Map`."""
        layers = self._layers(x)
        out = np.empty_like(layers)
        out[0] = layers[0]
        for k in range(1, len(layers)):
            carried, _ = self._supports(out[k - 1])
            b = layers[k]
            out[k] = 0.5 * (b + carried - np.sqrt((b - carried) ** 2 + self.corner) + math.sqrt(self.corner))
        out = out if self.upwards else out[::-1]
        return np.ascontiguousarray(np.moveaxis(np.clip(out, 0, 1), 0, self.axis))

    def pull(self, x: Array, gradient: Array) -> Array:
        """See `Map`."""
        layers, printed = self._layers(x), self._layers(self.values(x))
        g = self._layers(gradient).copy()
        back = np.zeros_like(g)
        for k in range(len(layers) - 1, 0, -1):
            below = printed[k - 1]
            carried, total = self._supports(below)
            b = layers[k]
            slope = (b - carried) / np.sqrt((b - carried) ** 2 + self.corner)
            back[k] = 0.5 * (1 - slope) * g[k]
            pairs = self._carriers(below)
            q = self.power + math.log(len(pairs)) / math.log(0.5)
            weight = 0.5 * (1 + slope) * g[k] * total ** (1 / q - 1) / q
            inner = self.power * below ** (self.power - 1)
            for to, of in pairs:
                g[k - 1][of] += weight[to] * inner[of]
        back[0] = g[0]
        back = back if self.upwards else back[::-1]
        return np.ascontiguousarray(np.moveaxis(back, 0, self.axis))


@dataclass(frozen=True)
class Chain:
    """Maps, one after the other."""

    maps: Sequence[Map]

    def values(self, x: Array) -> Array:
        """See `Map`."""
        for one in self.maps:
            x = one.values(x)
        return x

    def pull(self, x: Array, gradient: Array) -> Array:
        """See `Map`."""
        seen = [x]
        for one in self.maps[:-1]:
            seen.append(one.values(seen[-1]))
        for one, given in zip(reversed(self.maps), reversed(seen), strict=False):
            gradient = one.pull(given, gradient)
        return gradient


def check_filter(name: str, shape: tuple[int, ...], radius: float) -> Map:
    """The filter of that name: "sensitivity", "density" or "helmholtz".

    Raises:
        InputError: another name, or a radius that is not greater than 0.
    """
    cone = Cone(shape, radius)
    known: dict[str, Map] = {
        "sensitivity": Sensitivity(cone),
        "density": cone,
        "helmholtz": Helmholtz(shape, radius),
    }
    if name not in known:
        raise refuse("filter", name, f"one of {list(known)}")
    return known[name]
