"""The inner loop: problems whose answer is known. Good regions of exact volume, and a real model, tuned in a table.

A region is a union of disjoint boxes, a ball or a shell in the unit cube; its volume follows from its construction.
`missed_region` is the one that a given grid, however fine, misses. A `TuningTable` holds every setting of a real model
with its scores on many train/validation splits (`benchmarks/make_tuning_table.py` made it), so truth and noise are
real: handwritten digits (Alpaydin & Kaynak 1998, UCI, CC BY 4.0) and diabetes progression (Efron et al. 2004), both
as bundled with scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse
from metaloop.optimizers.protocol import generator
from metaloop.space import Categorical, Config, Float, Space
from metaloop.space.parameters import Array, Mask

_CELLS = 1000  # of the lattice that scattered boxes sit on, about
_NOISE_STREAM = 1234  # apart from the streams that optimizers with the same seed draw from


@dataclass(frozen=True)
class Boxes:
    """A union of disjoint open boxes: lower and upper corners, shapes (m, dim)."""

    lower: Array
    upper: Array

    @property
    def volume(self) -> float:
        """The sum of the boxes' volumes."""
        return float(np.prod(self.upper - self.lower, axis=1).sum())

    def contains(self, rows: Array) -> Mask:
        """Which points lie in one of the boxes, shape (n,)."""
        columns = np.ascontiguousarray(rows.T)
        inside = np.zeros(len(rows), dtype=bool)
        for low, high in zip(self.lower, self.upper, strict=True):
            inside |= np.logical_and.reduce([(x > a) & (x < b) for x, a, b in zip(columns, low, high, strict=True)])
        return inside


@dataclass(frozen=True)
class Shell:
    """The points between two distances from the cube's center; a ball where the inner one is 0."""

    dim: int
    inner: float
    outer: float

    @property
    def volume(self) -> float:
        """V_d (outer^d - inner^d) with V_d that of the unit ball."""
        return ball_volume(self.dim) * (self.outer**self.dim - self.inner**self.dim)

    def contains(self, rows: Array) -> Mask:
        """Which points lie in it, shape (n,)."""
        centered = rows - 0.5
        squared = np.einsum("ij,ij->i", centered, centered)
        return np.asarray((squared < self.outer**2) & (squared >= self.inner**2))


def ball_volume(dim: int) -> float:
    """Volume of the unit ball."""
    return float(math.pi ** (dim / 2) / math.gamma(dim / 2 + 1))


def cube(dim: int) -> Space:
    """The unit cube as a space."""
    return Space({f"x{j}": Float(0.0, 1.0) for j in range(dim)})


def missed_region(levels: int, dim: int, fraction: float) -> Boxes:
    """A region of volume `fraction` that holds no point of the grid with so many levels a setting.

    Slabs between the first setting's levels, as few as possible: a single one while the fraction is below one gap,
    1 / (levels - 1). The gaps are all of the cube but a null set: no grid is too fine, no fraction below 1 too large.

    Args:
        levels: of the grid, evenly spread with the ends included, at least 2.
        dim: number of settings, at least 1.
        fraction: its volume, in (0, 1).

    Raises:
        InputError: an argument out of range.
    """
    if levels < 2 or dim < 1 or not 0 < fraction < 1:
        raise refuse("levels, dim, fraction", (levels, dim, fraction), "at least 2, at least 1, between 0 and 1")
    gaps = levels - 1
    slabs = min(math.floor(fraction * gaps) + 1, gaps)
    middle = (np.arange(slabs) + (gaps - slabs) // 2 + 0.5) / gaps
    lower, upper = np.zeros((slabs, dim)), np.ones((slabs, dim))
    lower[:, 0], upper[:, 0] = middle - 0.5 * fraction / slabs, middle + 0.5 * fraction / slabs
    return Boxes(lower, upper)


def shapes(dim: int, fraction: float, levels: int) -> dict[str, Region]:
    """Regions of one volume and very different shape.

    Args:
        dim: of the cube.
        fraction: the volume of each, at most that of the cube's inscribed ball, and below 1/2.
        levels: of the grid that one of them is missed by.

    Raises:
        InputError: a fraction out of range.
    """
    largest = min(ball_volume(dim) * 0.5**dim, 0.5)
    if not 0 < fraction < largest:
        raise refuse("fraction", fraction, f"between 0 and {largest:.3g} in {dim} dimensions")
    solid = fraction / ball_volume(dim)
    return {
        "ball": Shell(dim, 0.0, solid ** (1 / dim)),
        "shell": Shell(dim, (0.5**dim - solid) ** (1 / dim), 0.5),
        "slab": Boxes(np.zeros((1, dim)), np.array([[*[1.0] * (dim - 1), fraction]])),
        "scattered boxes": _scattered(dim, fraction),
        "missed by the grid": missed_region(levels, dim, fraction),
    }


def _scattered(dim: int, fraction: float) -> Boxes:
    """Boxes that half fill cells of a lattice, as many as it takes, chosen at random."""
    side = max(2, round(_CELLS ** (1 / dim)))
    count = math.ceil(2 * fraction * side**dim)
    chosen = np.random.default_rng(dim).choice(side**dim, count, replace=False)
    corner = np.stack(np.unravel_index(chosen, (side,) * dim), axis=1) / side
    edge = (fraction / count) ** (1 / dim)
    return Boxes(corner, corner + edge)


@dataclass(frozen=True)
class TuningTable:
    """Every setting of a model, scored on many train/validation splits.

    Attributes:
        name: of the table.
        space: the settings; every one an ordered list of levels.
        losses: mean loss of each configuration on each split's nested validation sets, shape (n, splits, holdouts).
        holdouts: number of cases in those sets, increasing, shape (holdouts,).
    """

    name: str
    space: Space
    losses: Array
    holdouts: tuple[int, ...]

    @cached_property
    def truth(self) -> Array:
        """Mean over all splits of the loss on the largest validation set, shape (n,)."""
        return np.asarray(self.losses[:, :, -1].mean(axis=1))

    @cached_property
    def scale(self) -> float:
        """From the best to the median configuration: the unit of regret."""
        return float(np.median(self.truth) - self.truth.min())

    @cached_property
    def resolution(self) -> float:
        """Standard error of the best twentieth's distance from the best: what regret can be told from 0."""
        order = np.argsort(self.truth, kind="stable")
        apart = self.losses[order[1 : len(order) // 20], :, -1] - self.losses[order[0], :, -1]
        return float(np.sqrt(apart.var(axis=1, ddof=1).mean() / apart.shape[1]) / self.scale)

    def noise(self, level: int) -> float:
        """Root mean square over the best twentieth of the deviation between splits, in units of regret."""
        best = self.truth <= np.quantile(self.truth, 0.05)
        return float(np.sqrt(self.losses[best, :, level].var(axis=1, ddof=1).mean()) / self.scale)

    def regret(self, index: int | npt.NDArray[np.intp]) -> Array:
        """(truth - best truth) / scale of some configurations."""
        return np.asarray((self.truth[index] - self.truth.min()) / self.scale)

    def index(self, rows: Array) -> npt.NDArray[np.intp]:
        """Number of the configuration in each row, the last setting fastest, shape (n,)."""
        cells = self.space.cells.astype(int)
        at = np.minimum(np.floor(rows * cells).astype(int), cells - 1)
        return np.asarray(np.ravel_multi_index(tuple(at.T), tuple(cells)))

    def objective(self, level: int | None, seed: int) -> Callable[[Config], float]:
        """What a search sees: the loss on a split drawn at random, a new one at each visit until all were seen.

        Args:
            level: which validation set; None for the truth.
            seed: of the draws. The same configuration at the same visit gives the same value for everybody, so
                searches with one seed can be compared in pairs.
        """
        splits = self.losses.shape[1]
        order = generator(seed, _NOISE_STREAM).random((len(self.truth), splits)).argsort(axis=1)
        visits = np.zeros(len(self.truth), dtype=int)

        def loss(config: Config) -> float:
            k = int(self.index(self.space.encode(config))[0])
            if level is None:
                return float(self.truth[k])
            split = order[k, visits[k] % splits]
            visits[k] += 1
            return float(self.losses[k, split, level])

        return loss


@dataclass(frozen=True)
class Best:
    """The best `count` configurations of a table, as a region of its space; equal ones in their order."""

    table: TuningTable
    count: int

    @property
    def volume(self) -> float:
        """The share of the configurations: every one takes up as much of the cube."""
        return self.count / len(self.table.truth)

    def contains(self, rows: Array) -> Mask:
        """Which points are among them, shape (n,)."""
        chosen = np.zeros(len(self.table.truth), dtype=bool)
        chosen[np.argsort(self.table.truth, kind="stable")[: self.count]] = True
        return np.asarray(chosen[self.table.index(rows)])


Region: TypeAlias = Boxes | Shell | Best


@cache
def tuning_table(name: str) -> TuningTable:
    """A table that comes with the library: "svm-digits" or "boosting-diabetes".

    *svm-digits*: share of errors of a support vector machine trained on 200 images: principal components, kernel
    width gamma and penalty C. *boosting-diabetes*: squared error (in variances of the target) of gradient-boosted
    trees trained on 221 patients: learning rate, depth, share of cases a tree sees, number of trees.

    Raises:
        InputError: another name.
    """
    file = resources.files(__package__) / f"{name.replace('-', '_')}.npz"
    if not file.is_file():
        raise refuse("name", name, "'svm-digits' or 'boosting-diabetes'")
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        settings = {k[6:]: Categorical(data[k].tolist(), ordered=True) for k in data.files if k.startswith("level_")}
        holdouts = data["holdouts"]
        losses = data["sums"] * float(data["unit"]) / holdouts
    return TuningTable(name, Space(settings), losses, tuple(holdouts.tolist()))
