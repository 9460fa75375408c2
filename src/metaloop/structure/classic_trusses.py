"""The trusses on which sizing methods are compared, with what is known of their optima. Inches, kips, ksi, pounds.

Geometry, loads and limits of the 10-, 25- and 72-bar trusses are those of Schmit & Farshi (1974), Haftka & Gürdal
(1992) and Sedaghati (2005); of the 200-bar truss those of Degertekin & Hayalioglu (2013); all read in later codes that
cite them, not in the papers. The designs reported there are recomputed in the tests: their weights are the reported
ones and they keep the limits to the digits given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from metaloop.structure.joints import Loads
from metaloop.structure.limits import SizingProblem
from metaloop.structure.truss import Truss

# the 42 sections of the discrete 10-bar truss, as tabulated with it
SECTIONS = (
    1.62, 1.80, 1.99, 2.13, 2.38, 2.62, 2.63, 2.88, 2.93, 3.09, 3.13, 3.38, 3.47, 3.55, 3.63, 3.84, 3.87, 3.88, 4.18,
    4.22, 4.49, 4.59, 4.80, 4.97, 5.12, 5.74, 7.22, 7.97, 11.5, 13.5, 13.9, 14.2, 15.5, 16.0, 16.9, 18.8, 19.9, 22.0,
    22.9, 26.5, 30.0, 33.5,
)  # fmt: skip


@dataclass(frozen=True)
class Classic:
    """A problem of the literature.

    Attributes:
        problem: what is to be sized.
        best: the smallest known weight, pounds, with this library's digits.
        source: who reports it, and how many digits; "this library" where no report was seen.
    """

    problem: SizingProblem
    best: float
    source: str


def ten_bar(loads: dict[int, tuple[float, float]]) -> Truss:
    """The cantilever of two bays of 360 in; joints 0 and 1 at its tip, above and below, 4 and 5 at the wall."""
    nodes = [(720, 360), (720, 0), (360, 360), (360, 0), (0, 360), (0, 0)]
    bars = [(4, 2), (2, 0), (5, 3), (3, 1), (2, 3), (0, 1), (4, 3), (5, 2), (2, 1), (3, 0)]
    return Truss(nodes, bars, {4: "xy", 5: "xy"}, loads, modulus=1e4, density=0.1)


def ten_bar_stress(bar_9: float = 25.0) -> SizingProblem:
    """Stress limits only, 100 kip at joints 1 and 3; the ninth bar may be of another strength, ksi."""
    limit = np.full(10, 25.0)
    limit[8] = bar_9
    return SizingProblem(ten_bar({1: (0, -100), 3: (0, -100)}), tension=limit, compression=limit, lower=0.1)


def ten_bar_case(case: int) -> SizingProblem:
    """With displacements within 2 in: case 1 is 100 kip down at joints 1 and 3, case 2 150 down there, 50 up above."""
    loads = {1: (0.0, -100.0), 3: (0.0, -100.0)}
    if case == 2:
        loads = {0: (0.0, 50.0), 1: (0.0, -150.0), 2: (0.0, 50.0), 3: (0.0, -150.0)}
    return SizingProblem(ten_bar(loads), tension=25.0, compression=25.0, displacement=2.0, lower=0.1)


def twenty_five_bar() -> SizingProblem:
    """A transmission tower of 8 groups under 2 load cases; all displacements within 0.35 in."""
    s, base = 37.5, 100.0
    nodes = [(-s, 0, 200), (s, 0, 200), (-s, s, 100), (s, s, 100), (s, -s, 100), (-s, -s, 100),
             (-base, base, 0), (base, base, 0), (base, -base, 0), (-base, -base, 0)]  # fmt: skip
    bars = [(0, 1), (0, 3), (1, 2), (0, 4), (1, 5), (1, 3), (1, 4), (0, 2), (0, 5), (2, 5), (3, 4), (2, 3), (4, 5),
            (2, 9), (5, 6), (3, 8), (4, 7), (3, 6), (2, 7), (4, 9), (5, 8), (5, 9), (2, 6), (3, 7), (4, 8)]  # fmt: skip
    group = np.repeat(np.arange(8), [1, 4, 4, 2, 2, 4, 4, 4])
    loads: Loads = [{0: (0, 20, -5), 1: (0, -20, -5)}, {0: (1, 10, -5), 1: (0, 10, -5), 2: (0.5, 0, 0), 5: (0.5, 0, 0)}]
    truss = Truss(nodes, bars, dict.fromkeys((6, 7, 8, 9), "xyz"), loads, modulus=1e4, density=0.1, groups=group)
    buckling = np.array([35.092, 11.590, 17.305, 35.092, 35.092, 6.759, 6.959, 11.082])
    return SizingProblem(truss, tension=40.0, compression=buckling[group], displacement=0.35, lower=0.01)


def seventy_two_bar() -> SizingProblem:
    """Four storeys of 60 in on a base of 120 in, 16 groups from the foot up, 2 load cases; the top within 0.25 in."""
    square = [(0, 0), (120, 0), (120, 120), (0, 120)]
    nodes = [(x, y, 60 * level) for level in range(5) for x, y in square]
    bars, group = [], []
    for storey in range(4):
        low, high = [4 * storey + k for k in range(4)], [4 * storey + 4 + k for k in range(4)]
        turn = [(k, (k + 1) % 4) for k in range(4)]
        parts = [
            [(low[k], high[k]) for k in range(4)],
            [pair for a, b in turn for pair in ((low[a], high[b]), (low[b], high[a]))],
            [(high[a], high[b]) for a, b in turn],
            [(high[0], high[2]), (high[1], high[3])],
        ]
        for number, part in enumerate(parts):
            bars += part
            group += [4 * storey + number] * len(part)
    loads = [{16: (5, 5, -5)}, dict.fromkeys(range(16, 20), (0, 0, -5))]
    truss = Truss(nodes, bars, dict.fromkeys(range(4), "xyz"), loads, modulus=1e4, density=0.1, groups=group)
    limit = np.full((20, 3), np.inf)
    limit[16:, :2] = 0.25
    return SizingProblem(truss, tension=25.0, compression=25.0, displacement=limit, lower=0.1)


def two_hundred_bar() -> SizingProblem:
    """A planar tower of 29 groups under 3 load cases, stresses within 10 ksi, no limit on displacements."""
    rows: list[list[int]] = []
    nodes: list[tuple[float, float]] = []
    for level in range(11):
        count = 5 if level % 2 == 0 else 9
        rows.append([len(nodes) + k for k in range(count)])
        nodes += [(960.0 * k / (count - 1), 1800.0 - 144.0 * level) for k in range(count)]
    nodes += [(240.0, 0.0), (720.0, 0.0)]
    bars: list[tuple[int, int]] = []
    group: list[int] = []

    def add(a: int, b: int, number: int) -> None:
        bars.append((a, b))
        group.append(number)

    for part in range(5):
        # a part is a chord row of 5 joints, a row of 9 below it and the chord row that follows
        chord, posts, inner, feet, braces = (
            (0, 1, 2, 4, 5) if part == 0 else tuple(5 * part + k for k in (1, 2, 3, 4, 5))
        )
        upper, middle, lower = rows[2 * part], rows[2 * part + 1], rows[2 * part + 2]
        for a, b in pairwise(upper):
            add(a, b, chord)
        for k, joint in enumerate(upper):
            add(joint, middle[2 * k], posts)
            for side in (2 * k - 1, 2 * k + 1):
                if 0 <= side < 9:
                    add(joint, middle[side], braces)
        for k, (a, b) in enumerate(pairwise(middle)):
            add(a, b, 3 if k in (0, 7) else inner)
        for k, joint in enumerate(lower):
            add(middle[2 * k], joint, feet)
            for side in (2 * k - 1, 2 * k + 1):
                if 0 <= side < 9:
                    add(middle[side], joint, braces)
    last = rows[10]
    for a, b in pairwise(last):
        add(a, b, 26)
    for foot, (left, above, right) in zip((75, 76), (last[:3], last[2:]), strict=True):
        add(left, foot, 27)
        add(above, foot, 28)
        add(right, foot, 27)

    push = {row[0]: (1.0, 0.0) for row in rows}
    down = {joint: (0.0, -10.0) for row in rows for joint in (row if len(row) == 5 else row[::2])}
    both = {joint: (push.get(joint, (0.0, 0.0))[0], -10.0) for joint in down}
    truss = Truss(nodes, bars, {75: "xy", 76: "xy"}, [push, down, both], modulus=3e4, density=0.283, groups=group)
    return SizingProblem(truss, tension=10.0, compression=10.0, lower=0.1)


CLASSICS: dict[str, Callable[[], Classic]] = {
    "10-bar, stress": lambda: Classic(ten_bar_stress(), 1593.181, "Haftka & Gürdal 1992: 1593.2"),
    "10-bar, stress, bar 9 at 75 ksi": lambda: Classic(ten_bar_stress(75.0), 1497.60, "this library"),
    "10-bar, case 1": lambda: Classic(ten_bar_case(1), 5060.854, "Haftka & Gürdal 1992, Sedaghati 2005: 5060.85"),
    "10-bar, case 2": lambda: Classic(ten_bar_case(2), 4676.923, "this library"),
    "25-bar": lambda: Classic(twenty_five_bar(), 545.1627, "Lamberti 2008: 545.16"),
    "72-bar": lambda: Classic(seventy_two_bar(), 379.6148, "Sedaghati 2005: 379.62"),
    "200-bar": lambda: Classic(two_hundred_bar(), 25446.6575, "this library"),
}
