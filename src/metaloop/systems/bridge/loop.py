"""The outer loops: classes of design on the sheet, each begun with the last one's best; and the road bridge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.structure import SIMP, Problem, Topology, optimize
from metaloop.structure.bars import Bars, improve, ten_bars
from metaloop.systems.bridge.model import Judged, judged, road_bridge, sheet

Array = npt.NDArray[np.float64]
Told = Callable[[float, str], None]


@dataclass(frozen=True)
class Step:
    """A class of design: what it may change, and the best found in it.

    Attributes:
        name: "hand", "sizing", "shape" or "topology".
        variables: how many numbers it decides.
        design: black and white, all with the same number of black cells.
        solves: analyses it took, without those of the judge.
    """

    name: str
    variables: int
    design: Judged
    solves: int


@dataclass(frozen=True)
class Ladder:
    """All classes on one sheet, from small to large.

    Attributes:
        problem: the sheet.
        steps: in order.
        bars: of the hand, the sizing and the shape design.
    """

    problem: Problem
    steps: list[Step]
    bars: list[Bars]


def climb(height: int, told: Told, iterations: int = 100) -> Ladder:
    """Hand → sizing → shape → topology, on equal material, judged by one evaluator.

    The classes are nested: widths, widths and joints, the density of every element. Each search begins with the best of
    the class before (the last one with even material too, as is usual; the better counts), and keeps that if it finds
    nothing better, so that none can be worse.

    Args:
        height: elements of the sheet; its length has twice as many.
        told: the share done, and what is being done.
        iterations: of each search.
    """
    problem = sheet(height)
    count = round(problem.fraction * np.prod(problem.shape))

    def judge(bars: Bars) -> float:
        return judged(problem, bars.cells(count)).compliance

    told(0.0, "hand design")
    hand, movable = ten_bars((problem.shape[0], problem.shape[1]), count)
    steps = [Step("hand", 0, judged(problem, hand.cells(count)), 0)]
    told(0.05, "sizing")
    sized = improve(problem, hand, judge, iterations=iterations)
    steps.append(Step("sizing", len(hand.widths), judged(problem, sized.bars.cells(count)), sized.solves))
    told(0.2, "shape")
    shaped = improve(problem, sized.bars, judge, movable=movable, iterations=iterations)
    variables = len(hand.widths) + int(movable.sum())
    steps.append(Step("shape", variables, judged(problem, shaped.bars.cells(count)), shaped.solves))
    told(0.45, "topology")
    recipe = SIMP(
        radius=max(1.5, height / 32),
        sharpness=32,
        penalty_start=1,
        ramp=0.5,
        update="mma",
        iterations=max(200, 2 * iterations),
    )
    found = optimize(problem, recipe)
    again = optimize(problem, recipe, start=np.clip(0.1 + 0.8 * shaped.bars.densities(), 0, 1))
    judgments = [judged(problem, t.black_and_white) for t in (found, again)]
    design = min([*judgments, steps[-1].design], key=lambda j: j.compliance)
    steps.append(Step("topology", int(np.prod(problem.shape)), design, len(found.history) + len(again.history)))
    return Ladder(problem, steps, [hand, sized.bars, shaped.bars])


def lightest(ladder: Ladder, told: Told, iterations: int = 100) -> float:
    """The share of the hand design's material with which a topology is as stiff as it.

    By bisection over the volume; each is a search of its own.
    """
    target = ladder.steps[0].design.compliance
    low, high = 0.3, 1.0
    for k in range(6):
        told(0.7 + 0.05 * k, "mass at equal stiffness")
        middle = 0.5 * (low + high)
        problem = ladder.problem.with_(fraction=middle * ladder.problem.fraction)
        radius = max(1.5, problem.shape[1] / 32)
        found = optimize(problem, SIMP(radius=radius, sharpness=32, penalty_start=1, ramp=0.5, iterations=iterations))
        if judged(problem, found.black_and_white).compliance > target:
            low = middle
        else:
            high = middle
    return high


def cross(fineness: int, told: Told, iterations: int) -> Topology:
    """The road bridge.

    Args:
        fineness: see `road_bridge`.
        told: the share done, and what is being done.
        iterations: of the search.
    """
    problem = road_bridge(fineness)
    recipe = SIMP(radius=1.8, sharpness=16, penalty_start=1.5, iterations=iterations, precision=5e-3)
    return optimize(problem, recipe, progress=lambda k, c, d: told(k / iterations, f"bridge, compliance {c:.3g}"))
