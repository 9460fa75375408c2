"""One square or cubic element in the basis of its reflections, where its matrix is almost diagonal.

A box of isotropic material looks the same after reflection in each of its d axes. In the basis of sums and differences
of its corner values along the axes, its matrix therefore falls apart into 2^d blocks, one for each character of the
reflection group, with one row for each component: 8 blocks of 3 x 3 in place of a matrix of 24 x 24.

A parity p is a bit mask of axes: bit a is set where the corner values are differenced along axis a and not summed.
Component a of a displacement changes its sign in a reflection along axis a, so the parity p of component a belongs to
the character p ^ (1 << a); a temperature does not, and p belongs to p.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from metaloop.errors import require

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Element:
    """The physics of one element of unit modulus.

    Attributes:
        axes: d, 2 or 3.
        components: of the unknown at a node: d displacements, or one temperature.
        matrix: of the corner values, shape (2^d · components,) * 2, ordered by corner, then component; bit a of a
            corner's number says on which side it lies along axis a.
        shifts: the parity that each component adds to a character, shape (components,).
    """

    axes: int
    components: int
    matrix: Array
    shifts: npt.NDArray[np.int64]

    @property
    def blocks(self) -> Array:
        """The matrix in the basis of reflections, shape (2^d, components, components): one block a character."""
        whole = self.in_parities(self.matrix)
        at = np.arange(2**self.axes)
        return np.ascontiguousarray(whole[at, :, at, :])

    @cached_property
    def turn(self) -> Array:
        """From corner values to the basis of reflections, shape (2^d · components,) * 2."""
        corners, c = 2**self.axes, self.components
        parity = np.arange(corners)[:, None] ^ self.shifts  # of (character, component)
        out = signs(self.axes)[parity][..., None] * np.eye(c)[:, None, :]  # (character, component, corner, component)
        return np.asarray(out.reshape(corners * c, corners * c))

    def in_parities(self, matrix: Array) -> Array:
        """A matrix of corner values in the basis of reflections, shape (..., 2^d, components, 2^d, components).

        Args:
            matrix: shape (..., 2^d · components, 2^d · components).
        """
        corners = 2**self.axes
        turned = self.turn @ matrix @ self.turn.T / corners**2
        shape = (corners, self.components, corners, self.components)
        return np.asarray(turned.reshape(*matrix.shape[:-2], *shape))

    def in_corners(self, matrix: Array) -> Array:
        """The inverse of `in_parities`."""
        size = 2**self.axes * self.components
        flat = matrix.reshape(*matrix.shape[:-4], size, size)
        return np.asarray(self.turn.T @ flat @ self.turn)


def signs(axes: int) -> Array:
    """What a corner's value counts in a parity: ±1, shape (2^d parities, 2^d corners)."""
    corners = np.arange(2**axes)
    apart = np.bitwise_count(corners[:, None] & ~corners & (2**axes - 1))
    return np.asarray((-1.0) ** apart)


def elastic(axes: int, poisson: float = 0.3) -> Element:
    """A square in plane stress, or a cube, of unit edges, thickness and Young's modulus.

    Args:
        axes: 2 or 3.
        poisson: Poisson's ratio, from -1 to 1/2 (in two dimensions 1), exclusive.

    Raises:
        InputError: another number of axes, or a ratio outside its range.
    """
    require("axes", axes, lambda v: v in (2, 3), "2 or 3")
    top = 1.0 if axes == 2 else 0.5
    require("poisson", poisson, lambda v: -1 < v < top, f"a number between -1 and {top:g}")
    shear = 1 / (2 * (1 + poisson))
    first = poisson / (1 - poisson**2) if axes == 2 else poisson / ((1 + poisson) * (1 - 2 * poisson))
    n = axes
    strains = [(a, a) for a in range(n)] + list(itertools.combinations(range(n), 2))
    law = np.zeros((len(strains), len(strains)))
    law[:n, :n] = first
    law[np.arange(n), np.arange(n)] += 2 * shear
    law[np.arange(n, len(strains)), np.arange(n, len(strains))] = shear
    total = np.zeros((2**n * n, 2**n * n))
    for weight, slopes in _quadrature(n):
        b = np.zeros((len(strains), 2**n, n))
        for row, (a, c) in enumerate(strains):
            b[row, :, a] += slopes[:, c]
            if a != c:
                b[row, :, c] += slopes[:, a]
        b = b.reshape(len(strains), -1)
        total += weight * b.T @ law @ b
    return Element(n, n, total, 1 << np.arange(n))


def conducting(axes: int) -> Element:
    """A square or a cube of unit edges and conductivity.

    Raises:
        InputError: another number of axes than 2 or 3.
    """
    require("axes", axes, lambda v: v in (2, 3), "2 or 3")
    total = sum(weight * slopes @ slopes.T for weight, slopes in _quadrature(axes))
    return Element(axes, 1, np.asarray(total), np.zeros(1, np.int64))


def _quadrature(axes: int) -> list[tuple[float, Array]]:
    """Gauss's points: (weight, slopes of the corners' shape functions, shape (2^d, d))."""
    found = []
    sides = np.arange(2**axes)[:, None] >> np.arange(axes) & 1
    for point in itertools.product((0.5 - np.sqrt(1 / 12), 0.5 + np.sqrt(1 / 12)), repeat=axes):
        along = np.where(sides == 1, point, 1 - np.asarray(point))
        slopes = np.empty((2**axes, axes))
        for a in range(axes):
            others = np.delete(along, a, axis=1)
            slopes[:, a] = (2 * sides[:, a] - 1) * others.prod(axis=1)
        found.append((1 / 2**axes, slopes))
    return found
