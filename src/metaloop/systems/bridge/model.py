"""Two problems: a sheet on which design classes are compared, and a road bridge in three dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.errors import require
from metaloop.structure import Problem, cantilever, empty, evaluate

Array = npt.NDArray[np.float64]

MATERIAL = 0.4  # of the sheet


def sheet(height: int = 48) -> Problem:
    """A sheet twice as long as high, clamped at its left edge, with a load at its lower right corner.

    Args:
        height: elements; the length has twice as many.
    """
    return cantilever((2 * height, height), MATERIAL)


@dataclass(frozen=True)
class Judged:
    """A black and white design, and its compliance.

    Attributes:
        cells: 0 or 1, shape `problem.shape`.
        compliance: of unit load and modulus.
        residual: of the solve.
    """

    cells: Array
    compliance: float
    residual: float


def judged(problem: Problem, cells: Array) -> Judged:
    """The one evaluator for all classes of design: black cells of modulus 1, white ones of 1e-9."""
    found = evaluate(problem, cells, tolerance=1e-5)
    return Judged(cells, float(found.values[0]), found.residual)


# Of the road bridge, in meters; the span is 10 / 3 of the height.
SPAN, HEIGHT, WIDTH = 50.0, 15.0, 10.0
DECK = 5.0  # height of the deck's lower face above the supports' foot
CLEAR = 0.125  # share of the width at each side that is left to the structure, beside the traffic
FOOT = 1.5  # length of a support
SHARE = 0.12  # of the box that may be material, the deck included


def road_bridge(fineness: int = 8) -> Problem:
    """A deck under traffic on two abutments, with room for the traffic, symmetric about both middle planes.

    x runs along the span, y up, z across. Two load cases: traffic everywhere, and on one half of the span (by symmetry,
    that is on either half). The deck is solid, the room above it stays free but for its sides.

    Args:
        fineness: elements in 5 m; at least 4. The box has 60 fineness³ elements: 245,760 at 16.

    Raises:
        InputError: less than 4.
    """
    require("fineness", fineness, lambda v: v >= 4 and v == int(v), "a whole number of at least 4")
    size = 5.0 / fineness
    shape = tuple(round(length / size) for length in (SPAN, HEIGHT, WIDTH))
    nx, _, nz = shape
    supports, _ = empty(shape)
    foot = max(1, round(FOOT / size))
    for end in (slice(0, foot + 1), slice(nx - foot, nx + 1)):
        supports[:, end, 0, :] = True
    low = round(DECK / size)
    top = low + max(1, round(0.6 / size))
    solid, void = np.zeros(shape, bool), np.zeros(shape, bool)
    solid[:, low:top] = True
    side = max(2, math.ceil(CLEAR * nz))
    void[:, top:, side : nz - side] = True
    nodes = np.ones((nx + 1, nz + 1))
    nodes[[0, -1]] *= 0.5
    nodes[:, [0, -1]] *= 0.5
    half = nodes.copy()
    half[nx // 2 + 1 :] = 0
    half[nx // 2] *= 0.5
    loads = np.zeros((2, 3, *(n + 1 for n in shape)))
    for case, spread in enumerate((nodes, half)):
        loads[case, 1, :, top, :] = -spread / nodes.sum()
    return Problem(shape, supports, loads, SHARE, solid=solid, void=void, symmetry=(0, 2), size=size)


def girders(problem: Problem, count: int) -> Array:
    """What is built where nobody optimizes: two plate girders beside the traffic, of so many elements in all.

    They stand on the supports' level below the deck and rise beside the traffic, as high as the material reaches.
    """
    nx, ny, nz = problem.shape
    cells = problem.solid.astype(float)
    deck = np.flatnonzero(problem.solid[nx // 2, :, nz // 2])
    legs = np.zeros(problem.shape, bool)
    ends = np.flatnonzero(problem.supports[1, :, 0, 0])
    foot = int((ends < nx // 2).sum()) - 1
    legs[:foot, : deck[0]] = legs[nx - foot :, : deck[0]] = True
    cells[legs & ~problem.void] = 1
    side = np.flatnonzero(~problem.void[nx // 2, deck[-1] + 1])
    # From the deck upwards and downwards by turns, layer by layer.
    above, below = list(range(deck[-1] + 1, ny)), list(range(deck[0] - 1, -1, -1))
    layers = [y for pair in zip(above, below + above[len(below) :], strict=False) for y in pair]
    for y in dict.fromkeys(layers):
        layer = np.zeros(problem.shape, bool)
        layer[:, y, side] = True
        layer &= (cells == 0) & ~problem.void
        room = count - int(cells.sum())
        if room <= 0:
            break
        order = np.flatnonzero(layer)
        middle = np.abs(np.unravel_index(order, problem.shape)[0] - (nx - 1) / 2)
        cells.ravel()[order[np.argsort(middle, kind="stable")[:room]]] = 1
    return cells
