"""Where nodes and elements of a box lie in flat arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Grid:
    """Elements in a box; nodes and elements are numbered alike, see `kernels`.

    Attributes:
        shape: elements along each axis.
    """

    shape: tuple[int, ...]

    @property
    def axes(self) -> int:
        """How many."""
        return len(self.shape)

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """Nodes along each axis."""
        return tuple(n + 1 for n in self.shape)

    @cached_property
    def box(self) -> Ints:
        """Nodes along three axes, 1 along the first in the plane."""
        return np.asarray((1,) * (3 - self.axes) + self.nodes, np.int64)

    @cached_property
    def size(self) -> int:
        """How many nodes."""
        return math.prod(self.nodes)

    @cached_property
    def strides(self) -> Ints:
        """From a node to its next along each axis."""
        return np.asarray([math.prod(self.nodes[a + 1 :]) for a in range(self.axes)], np.int64)

    @cached_property
    def offsets(self) -> Ints:
        """From an element's number to its corners'; bit a of a corner says on which side it lies along axis a."""
        return sides(self.axes) @ self.strides

    @cached_property
    def coarser(self) -> Grid:
        """Of half as many elements along each axis, rounded up: the last ones may have fewer children."""
        return Grid(tuple((n + 1) // 2 for n in self.shape))

    def elements(self) -> Ints:
        """The numbers of all elements, shape (elements,)."""
        numbers = np.arange(self.size).reshape(self.nodes)
        return numbers[tuple(slice(0, n) for n in self.shape)].ravel()

    def spread(self, values: npt.NDArray[np.float64], dtype: npt.DTypeLike = np.float64) -> npt.NDArray[np.float64]:
        """Values of elements, shape (..., *shape), at their numbers, shape (..., nodes), 0 where no element is."""
        lead = values.shape[: values.ndim - self.axes]
        out = np.zeros((*lead, *self.nodes), dtype)
        out[self._inner(len(lead))] = values
        return out.reshape(*lead, self.size)

    def gathered(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The inverse of `spread`."""
        whole = values.reshape(*values.shape[:-1], *self.nodes)
        return np.ascontiguousarray(whole[self._inner(values.ndim - 1)])

    def _inner(self, lead: int) -> tuple[slice, ...]:
        return (slice(None),) * lead + tuple(slice(0, n) for n in self.shape)


def sides(axes: int) -> Ints:
    """On which side a corner lies along each axis, 0 or 1, shape (2^d, d)."""
    return np.asarray(np.arange(2**axes)[:, None] >> np.arange(axes) & 1, np.int64)
