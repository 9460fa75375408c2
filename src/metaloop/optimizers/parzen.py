"""A kernel density over the rows of a space: mixed, conditional, one kernel for each observed row.

A kernel is a product over the columns: a Gaussian truncated to [0, 1], normalized over the cells where the column is
discrete; for categories the kernel of Aitchison & Aitken (Biometrika 63, 1976). A column that is inactive in the
observed row has nothing to say: its factor is uniform. So the mixture is a density of the whole tree: where a parent
takes another branch than the observed row did, that branch is filled uniformly, and the density of a conditional column
is learned from the rows in which it was active. Densities are per unit of the cube for ordered columns (a cell's
probability is its width times the density at its center) and probabilities for categories.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from metaloop.space import Array, Mask, Space

Codes = npt.NDArray[np.intp]

_COARSE = 64  # a column of more cells is normalized like a continuous one
_NARROWEST = 0.01  # bandwidth
_ROOT = math.sqrt(2 * math.pi)


class Layout:
    """A space's columns by kind.

    Attributes:
        ordered: columns with an order, shape (o,); `cells` is how many values each has, `fine` which have many.
        nominal: columns of categories, shape (c,); `sizes` is how many each has.
        slots: where each nominal column's categories begin in a one-hot code; `owner` is the column of each slot.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.ordered, self.nominal = np.flatnonzero(~space.categorical), np.flatnonzero(space.categorical)
        self.sizes = space.cells[self.nominal].astype(np.intp)
        self.cells = space.cells[self.ordered]
        self.fine = np.flatnonzero(self.cells > _COARSE)
        self.slots = np.cumsum(self.sizes) - self.sizes
        self.owner = np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def coarse(self) -> tuple[Codes, Array, Array, Array, Codes, Codes] | None:
        """The ordered columns of few cells, for `Parzen` to normalize kernels over their cells; None without any.

        Returns:
            which of the ordered columns; all their centers, those of the k-th moved by 2 k so that they ascend; and for
            all pairs of cells of one column: squared distance, width of the second cell, its column, and where the
            pairs of each first cell begin.
        """
        which = np.flatnonzero(self.cells <= _COARSE)
        blocks = []
        for i, k in enumerate(which):
            line = self.space.columns[self.ordered[k]].parameter.line
            v = np.arange(line.first - 0.5, line.last + 1, 0.5)  # edges and centers in turn
            u = np.log(v / v[0]) / math.log(v[-1] / v[0]) if line.log else (v - v[0]) / (v[-1] - v[0])
            center, width = u[1::2], np.diff(u[::2])
            n = len(center)
            pairs = ((center[:, None] - center) ** 2).ravel()
            blocks.append((center + 2 * i, pairs, np.tile(width, n), np.full(n * n, k), np.full(n, n)))
        if not blocks:
            return None
        centers, squares, widths, owner, sizes = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return which, centers, squares, widths, owner, np.cumsum(sizes) - sizes

    def split(self, rows: Array) -> tuple[Array, Mask, Codes]:
        """Ordered coordinates (0.5 where inactive), which of them are active, and categories (-1 where inactive)."""
        x, u = rows[:, self.ordered], rows[:, self.nominal] * self.sizes
        on, known = ~np.isnan(x), ~np.isnan(u)
        codes = np.where(known, np.minimum(u, self.sizes - 1), -1).astype(np.intp)
        return np.where(on, x, 0.5), on, codes

    def features(self, rows: Array) -> Array:
        """What `Parzen.log_mass` multiplies its kernels with, shape (m, 3 o + slots): x^2, x, 1 and one-hot codes."""
        x, on, codes = self.split(rows)
        o = x.shape[1]
        out = np.zeros((len(rows), 3 * o + len(self.owner)))
        out[:, :o], out[:, o : 2 * o], out[:, 2 * o : 3 * o] = on * x * x, on * x, on
        i, q = np.nonzero(codes >= 0)
        out[i, 3 * o + self.slots[q] + codes[i, q]] = 1.0
        return out


def _bandwidths(x: Array, weights: Array, dim: float, factor: float, layout: Layout) -> Array:
    """Scott's rule for each ordered column, shape (o,); the uniform prior counts as one more point."""
    total = weights.sum(axis=0)
    mean = ((weights * x).sum(axis=0) + 0.5) / (total + 1)
    square = (weights * (x - mean) ** 2).sum(axis=0) + 1 / 12 + (mean - 0.5) ** 2
    count = total**2 / np.maximum((weights * weights).sum(axis=0), 1e-300)  # Kish's effective sample size
    scott = factor * np.sqrt(square / (total + 1)) * np.maximum(count, 1.0) ** (-1 / (4 + dim))
    return np.asarray(np.clip(scott, np.maximum(_NARROWEST, 0.5 / layout.cells), 1.0))


class Parzen:
    """A weighted mixture of one kernel a row and a uniform prior.

    Args:
        layout: of the space.
        rows: canonical rows, shape (n, dim).
        weights: of the rows, shape (n,).
        prior: weight of the uniform component, greater than 0.
        factor: multiplies the bandwidths of ordered columns.
        room: how many kernels may be appended.
    """

    def __init__(self, layout: Layout, rows: Array, weights: Array, prior: float, factor: float, room: int = 0) -> None:
        self.layout = layout
        self.x, self.on, self.codes = layout.split(rows)
        n, o = self.x.shape
        active = self.codes >= 0
        dim = (self.on.sum() + active.sum()) / max(n, 1)
        self.widths = _bandwidths(self.x, weights[:, None] * self.on, dim, factor, layout)
        share = 1.0 / (active.sum(axis=0) + 1)
        self.leak = (layout.sizes - 1) * share / (1 + layout.sizes * share)
        self.count = n + 1
        self.weights = np.ones(n + 1 + room)
        self.weights[0], self.weights[1 : n + 1] = prior, weights
        self._kernels = np.zeros((n + 1 + room, 3 * o + len(layout.owner)))
        self._kernels[0, 3 * o :] = -np.log(layout.sizes)[layout.owner]
        self._fill(self._kernels[1 : n + 1], self.x, self.on, self.codes)

    def append(self, rows: Array) -> None:
        """More kernels, of weight 1; the bandwidths stay."""
        end = self.count + len(rows)
        self._fill(self._kernels[self.count : end], *self.layout.split(rows))
        self.count = end

    def log_mass(self, features: Array, first: int = 0) -> Array:
        """Logarithm of the weighted sum of the kernels from the `first` on (0 is the prior), shape (m,)."""
        t = features @ self._kernels[first : self.count].T
        t += np.log(self.weights[first : self.count])
        top = t.max(axis=1)
        t -= top[:, None]
        return np.asarray(np.log(np.exp(t, out=t).sum(axis=1)) + top)

    def log_density(self, rows: Array) -> Array:
        """Logarithm of the density at canonical rows, shape (m,)."""
        total = self.weights[: self.count].sum()
        return self.log_mass(self.layout.features(rows)) - math.log(total)

    def sample(self, rng: np.random.Generator, m: int) -> Array:
        """Independent points of the cube, shape (m, dim); inactive and discrete columns are not snapped yet."""
        layout, n = self.layout, len(self.x)
        u = rng.random((m, layout.space.dim))
        total = np.cumsum(self.weights[: n + 1])
        kernel = np.searchsorted(total, rng.random(m) * total[-1], side="right")
        informed = kernel > 0
        i = kernel[informed] - 1
        x, at = self.x[i], np.ix_(informed, layout.ordered)
        low, high = ndtr(-x / self.widths), ndtr((1 - x) / self.widths)
        drawn = x + self.widths * ndtri(low + u[at] * (high - low))
        u[at] = np.where(self.on[i], np.minimum(np.maximum(drawn, 0.0), 1.0), u[at])
        codes, at = self.codes[i], np.ix_(informed, layout.nominal)
        # A uniform draw hits the kernel's own category now and then, so that it is kept a little less often.
        moved = self.leak * layout.sizes / np.maximum(layout.sizes - 1, 1)
        kept = (codes >= 0) & (rng.random(codes.shape) >= moved)
        u[at] = np.where(kept, (codes + 0.5) / layout.sizes, u[at])
        return u

    def _fill(self, out: Array, x: Array, on: Mask, codes: Codes) -> None:
        """Kernels as linear functions of the features: -(x - m)^2 / 2 s^2 - log z expands into three columns."""
        layout, s, o = self.layout, self.widths, x.shape[1]
        z, fine = np.empty_like(x), layout.fine
        a, t = x[:, fine], s[fine]
        z[:, fine] = t * _ROOT * (ndtr((1 - a) / t) - ndtr(-a / t))
        if layout.coarse is not None:
            which, centers, squares, widths, owner, first = layout.coarse
            table = np.add.reduceat(np.exp(squares * (-0.5 / (s * s))[owner]) * widths, first)
            z[:, which] = table[np.searchsorted(centers, x[:, which] + (2 * np.arange(len(which)) - 1e-9))]
        precision = on / (s * s)
        scaled = precision * x
        out[:, :o], out[:, o : 2 * o] = -0.5 * precision, scaled
        out[:, 2 * o : 3 * o] = -0.5 * scaled * x - on * np.log(z)
        if len(layout.owner):
            known = codes >= 0
            other = np.log(np.maximum(self.leak, 1e-300) / np.maximum(layout.sizes - 1, 1))
            out[:, 3 * o :] = np.where(known[:, layout.owner], other[layout.owner], -np.log(layout.sizes)[layout.owner])
            i, q = np.nonzero(known)
            out[i, 3 * o + layout.slots[q] + codes[i, q]] = np.log1p(-self.leak)[q]
