"""Bars drawn on a grid: their widths and joints as few smooth parameters of a density, with exact gradients.

A bar is all that lies within half its width of the segment between two joints. Near its edge the coverage of an element
falls smoothly from 1 to 0 over about one element; bars unite by 1 - ∏ (1 - coverage). Compare Norato, Bell & Tortorelli
2015, who optimize bars of given width classes by the same projection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse, require
from metaloop.structure import mma
from metaloop.structure.interpolation import Power
from metaloop.structure.problem import Problem
from metaloop.structure.responses import Analysis

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """A design of bars in the plane.

    Args:
        shape: elements of the grid along both axes.
        joints: their places in elements, shape (joints, 2).
        bars: the two joints of each, shape (bars, 2).
        widths: in elements, at least 0, shape (bars,).

    Raises:
        InputError: bars between joints that do not exist, or shapes that disagree.
    """

    shape: tuple[int, int]
    joints: Array
    bars: npt.NDArray[np.int64]
    widths: Array

    def __post_init__(self) -> None:
        for name, kind in (("joints", float), ("bars", np.int64), ("widths", float)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        if self.joints.ndim != 2 or self.joints.shape[1] != 2:
            raise refuse("joints", self.joints.shape, "an array of shape (joints, 2)")
        ok = self.bars.ndim == 2 and self.bars.shape[1] == 2 and len(self.bars) > 0
        if not ok or self.bars.min() < 0 or self.bars.max() >= len(self.joints):
            raise refuse("bars", self.bars.tolist(), f"pairs of numbers of joints, from 0 to {len(self.joints) - 1}")
        if self.widths.shape != (len(self.bars),) or not (self.widths >= 0).all():
            raise refuse("widths", self.widths, f"{len(self.bars)} numbers of at least 0")

    def distances(self) -> tuple[Array, Array, Array]:
        """From each bar's edge to the elements' centers, below 0 inside, shape (bars, *shape).

        Returns:
            (distances, where along the bar the nearest point of its axis is, from 0 to 1, unit vectors from there to
            the centers, shape (2, bars, *shape)).
        """
        x = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in self.shape), indexing="ij"))
        a, b = self.joints[self.bars[:, 0]], self.joints[self.bars[:, 1]]
        axis = b - a
        square = np.maximum((axis**2).sum(1), 1e-12)[:, None, None]
        rel = x[:, None] - a.T[:, :, None, None]
        along = np.clip((rel * axis.T[:, :, None, None]).sum(0) / square, 0, 1)
        off = rel - along * axis.T[:, :, None, None]
        length = np.sqrt((off**2).sum(0) + 1e-12)
        return length - 0.5 * self.widths[:, None, None], along, off / length

    def densities(self) -> Array:
        """Coverage of the elements, shape `shape`."""
        return np.asarray(1 - (1 - _coverage(self.distances()[0])[0]).prod(0))

    def pull(self, gradient: Array) -> tuple[Array, Array]:
        """The gradients with respect to widths and joints, given that with respect to `densities()`."""
        distance, along, off = self.distances()
        cover, slope = _coverage(distance)
        rest = 1 - cover
        ahead, behind = np.ones_like(rest), np.ones_like(rest)
        ahead[1:] = np.cumprod(rest, 0)[:-1]
        behind[:-1] = np.cumprod(rest[::-1], 0)[::-1][1:]
        by_distance = gradient * ahead * behind * slope  # the product of all others
        widths = -0.5 * by_distance.sum((1, 2))
        joints = np.zeros_like(self.joints)
        first = -(by_distance * (1 - along) * off).sum((2, 3)).T
        second = -(by_distance * along * off).sum((2, 3)).T
        np.add.at(joints, self.bars[:, 0], first)
        np.add.at(joints, self.bars[:, 1], second)
        return widths, joints

    def cells(self, count: int) -> Array:
        """Exactly so many elements, the deepest inside the bars; 0 or 1, shape `shape`.

        Bars thinner than an element are left out: what would remain of them are specks.
        """
        distance = self.distances()[0]
        thick = self.widths >= 1
        order = np.argsort((distance[thick] if thick.any() else distance).min(0), axis=None, kind="stable")
        out = np.zeros(order.size)
        out[order[:count]] = 1
        return out.reshape(self.shape)

    def filled(self, count: float) -> Bars:
        """With all widths scaled so that the coverage sums to `count` elements."""
        low, high = 0.0, 2.0
        while replace(self, widths=self.widths * high).densities().sum() < count and high < 1e4:
            high *= 2
        for _ in range(50):
            middle = 0.5 * (low + high)
            if replace(self, widths=self.widths * middle).densities().sum() < count:
                low = middle
            else:
                high = middle
        return replace(self, widths=self.widths * low)


def _coverage(distance: Array) -> tuple[Array, Array]:
    """A smooth step over one element and a half, and its slope."""
    t = np.clip(0.5 - distance / 1.5, 0, 1)
    return t * t * (3 - 2 * t), -6 * t * (1 - t) / 1.5


@dataclass(frozen=True)
class Found:
    """Bars that were found.

    Attributes:
        bars: the best seen, by the judge.
        value: its judgment.
        start: the judgment of what it began with.
        solves: analyses, without the judge's.
        history: compliances of the smooth densities, shape (iterations,).
    """

    bars: Bars
    value: float
    start: float
    solves: int
    history: Array


def improve(
    problem: Problem,
    bars: Bars,
    judge: Callable[[Bars], float],
    *,
    movable: npt.NDArray[np.bool_] | None = None,
    iterations: int = 80,
    penalty: float = 2.0,
) -> Found:
    """Minimize the compliance at the problem's volume, in the widths and, where `movable` says so, the joints.

    The best by the judge is returned, and the bars given if nothing is better: what is found in a larger class, begun
    with what was found in a smaller one, is never worse.

    Args:
        problem: in two dimensions, one load case.
        bars: to begin with.
        judge: bars -> a number, lower is better.
        movable: which coordinates of joints may change, shape (joints, 2); none if None.
        iterations: of the method of moving asymptotes.
        penalty: of intermediate coverage.

    Raises:
        InputError: a grid that is not the problem's, or a shape of `movable` that is not the joints'.
    """
    if bars.shape != problem.shape:
        raise refuse("bars", bars.shape, f"bars on a grid of {problem.shape} elements")
    movable = np.zeros(bars.joints.shape, bool) if movable is None else np.asarray(movable, bool)
    if movable.shape != bars.joints.shape:
        raise refuse("movable", movable.shape, f"an array of shape {bars.joints.shape}")
    require("iterations", iterations, lambda v: v >= 1, "at least 1")
    m, analysis, material = len(bars.widths), Analysis(problem), Power(penalty)
    widest = 0.5 * min(problem.shape)
    box = np.broadcast_to(np.asarray(problem.shape, float), bars.joints.shape)[movable]
    low = np.zeros(m + int(movable.sum()))
    high = np.append(np.full(m, widest), box)

    def unpacked(x: Array) -> Bars:
        joints = bars.joints.copy()
        joints[movable] = x[m:]
        return replace(bars, widths=x[:m], joints=joints)

    x = np.clip(np.append(bars.widths, bars.joints[movable]), low, high)
    state = mma.start(x)
    first = judge(bars)
    best, value = bars, first
    history = []
    scale = None
    for _ in range(iterations):
        now = unpacked(x)
        density = now.densities()
        response = analysis(density, material, 1e-3)
        history.append(float(response.values[0]))
        scale = scale or history[0]
        widths, joints = now.pull(response.gradients[0])
        gradient = np.append(widths, joints[movable]) / scale
        allowed = problem.fraction * density.size
        area, moved = now.pull(np.full(density.shape, 1 / allowed))
        x, state = mma.step(
            state, x, gradient, np.array([density.sum() / allowed - 1]), np.append(area, moved[movable])[None],
            low, high, move=0.05,
        )  # fmt: skip
        judgment = judge(unpacked(x))
        if judgment < value:
            best, value = unpacked(x), judgment
    return Found(best, value, first, len(history), np.array(history))


def ten_bars(shape: tuple[int, int], count: float) -> tuple[Bars, npt.NDArray[np.bool_]]:
    """The two bays of the ten-bar truss (Haftka & Gürdal 1992) as a hand would draw them: all bars of one width.

    Args:
        shape: elements of the grid.
        count: elements that are covered.

    Returns:
        (the bars, which coordinates of joints a shape optimizer may change: not the loaded joint at the lower right,
        and the joints at the wall along it only).
    """
    nx, ny = shape
    inset = ny / 48
    xs, ys = (0.0, nx / 2, nx - inset), (inset, ny - inset)
    joints = np.array([(x, y) for x in xs for y in ys])  # 0, 1 at the wall; 2, 3 in the middle; 4, 5 at the tip
    bars = np.array([(0, 2), (2, 4), (1, 3), (3, 5), (2, 3), (4, 5), (0, 3), (1, 2), (2, 5), (3, 4)])
    movable = np.ones((6, 2), bool)
    movable[4] = False
    movable[:2, 0] = False
    return Bars(shape, joints, bars, np.ones(10)).filled(count), movable
