"""Sizing from a catalogue: areas that must be taken from a list of sections.

Branch and bound. The relaxation of a node lets each area lie anywhere between two sections and is sized as in
`metaloop.structure.sizing`; the variable that lies farthest from a section is branched on. Designs are found by
rounding up and by exchanging one or two sections. A relaxation is a local optimum of a problem that is not convex, so
what the tree gives is not a proof, and the result says so.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, count, product

import numpy as np

from metaloop.errors import require
from metaloop.structure.joints import Array
from metaloop.structure.limits import SizingProblem
from metaloop.structure.sizing import FEASIBLE, _Search, _violation, size


@dataclass(frozen=True)
class Selected:
    """The lightest design that was found.

    Attributes:
        areas: all from the catalogue, (g,).
        value: its weight.
        violation: by what share the worst limit is exceeded; 0 where none is.
        relaxed: the weight with areas anywhere between the smallest and the largest section.
        bound: the least weight that the unfinished part of the tree may still hold; `value` where it is finished.
        nodes: relaxations solved.
        analyses: factorizations of a stiffness matrix.
        status: a sentence.
    """

    areas: Array
    value: float
    violation: float
    relaxed: float
    bound: float
    nodes: int
    analyses: int
    status: str


def select(
    problem: SizingProblem, catalogue: Sequence[float], *, starts: int = 3, seed: int = 0, most_nodes: int = 5000
) -> Selected:
    """Minimize the weight over areas from a catalogue.

    Args:
        problem: truss and limits; sections outside of its bounds are left out.
        catalogue: areas of the sections that there are.
        starts, seed: of the first relaxation; see `size`.
        most_nodes: relaxations that may be solved.

    Raises:
        InputError: a catalogue with an area that is not positive, or with none within the bounds.
    """
    low, high = problem.bounds
    require("catalogue", catalogue, lambda c: len(c) > 0 and all(0 < float(a) < np.inf for a in c), "positive areas")
    sections = np.unique(np.asarray(catalogue, dtype=float))
    sections = sections[(sections >= low.max()) & (sections <= high.min())]
    require("catalogue", tuple(sections), lambda c: len(c) > 0, f"areas from {low.max():g} to {high.min():g}")
    require("most_nodes", most_nodes, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
    whole = dataclasses.replace(problem, lower=sections[0], upper=sections[-1])
    root = size(whole, starts=starts, seed=seed)
    tree = _Tree(whole, sections, root.analyses)
    if root.violation > FEASIBLE:
        return Selected(root.areas, root.value, root.violation, root.value, root.value, 1, root.analyses,
                        f"the largest sections exceed the limits by {root.violation:.2g}")  # fmt: skip
    bound = tree.grow(root.areas, root.value, most_nodes)
    violation = tree.violation(tree.best)
    says = (
        "the tree is finished: no other design is lighter where its relaxations are global optima, which is not proved"
        if bound >= tree.value
        else f"stopped after {tree.nodes} relaxations; the tree may still hold a weight of {bound:.6g}"
    )
    return Selected(sections[tree.best], tree.value, violation, root.value, min(bound, tree.value), tree.nodes,
                    tree.analyses, says)  # fmt: skip


class _Tree:
    """The search: the best design so far, as numbers of sections, and what was counted."""

    def __init__(self, problem: SizingProblem, sections: Array, analyses: int) -> None:
        self.problem, self.sections, self.analyses, self.nodes = problem, sections, analyses, 1
        self.weights = problem.truss.weights
        self.best = np.full(len(self.weights), len(sections) - 1)
        self.value = np.inf

    def violation(self, numbers: Array) -> float:
        search = _Search(self.problem, 1)
        self.analyses += 1
        return _violation(search.look(self.sections[numbers]))

    def grow(self, areas: Array, weight: float, most: int) -> float:
        """Best first; returns the least weight among the nodes left."""
        last = len(self.sections) - 1
        g, order = len(areas), count()
        self.round_up(areas)
        open_nodes = [(weight, next(order), areas, np.zeros(g, dtype=int), np.full(g, last))]
        while open_nodes:
            weight, _, areas, low, high = heapq.heappop(open_nodes)
            if weight >= self.value * (1 - 1e-9):
                break
            if self.nodes >= most:
                return weight
            below = np.clip(np.searchsorted(self.sections, areas * (1 + 1e-7), side="right") - 1, low, high)
            above = np.minimum(below + (self.sections[below] < areas * (1 - 1e-7)), high)
            off = np.minimum(areas - self.sections[below], self.sections[above] - areas) * self.weights
            g_at = int(np.argmax(off))
            if off[g_at] <= 1e-9 * weight:  # all areas are sections
                self.offer(np.where(np.abs(areas - self.sections[below]) < 1e-6 * areas, below, above))
                continue
            for least, most_at in ((low[g_at], below[g_at]), (above[g_at], high[g_at])):
                child_low, child_high = low.copy(), high.copy()
                child_low[g_at], child_high[g_at] = least, most_at
                found = self.relax(areas, child_low, child_high)
                if found is not None and found[0] < self.value * (1 - 1e-9):
                    self.round_up(found[1], sweep=False)
                    heapq.heappush(open_nodes, (found[0], next(order), found[1], child_low, child_high))
        return self.value

    def relax(self, areas: Array, low: Array, high: Array) -> tuple[float, Array] | None:
        """The continuous optimum between sections, from the parent's; None where the limits cannot be kept."""
        narrow = dataclasses.replace(self.problem, lower=self.sections[low], upper=self.sections[high])
        search = _Search(narrow, 60)
        found, _ = search.descend(search.look(np.clip(areas, *narrow.bounds)))
        settled = (
            found if found.needed <= 1 else search.look(np.clip(found.analysis.areas * found.needed, *narrow.bounds))
        )
        self.analyses += search.count
        self.nodes += 1
        return None if _violation(settled) > 1e-6 else (settled.analysis.weight, settled.analysis.areas)

    def round_up(self, areas: Array, sweep: bool = True) -> None:
        """The design of the next larger sections, and exchanges from there."""
        numbers = np.minimum(np.searchsorted(self.sections, areas * (1 - 1e-7)), len(self.sections) - 1)
        if self.offer(numbers) or sweep:
            self.exchange()

    def offer(self, numbers: Array) -> bool:
        """Take the design if it is lighter than the best and keeps the limits."""
        weight = float(self.weights @ self.sections[numbers])
        if weight >= self.value * (1 - 1e-12) or self.violation(numbers) > FEASIBLE:
            return False
        self.best, self.value = numbers.copy(), weight
        return True

    def exchange(self) -> None:
        """Move one or two variables by up to two sections, as long as it helps; the lightest candidates first."""
        g, last = len(self.best), len(self.sections) - 1
        moves: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((i,), (s,)) for i in range(g) for s in (-2, -1)]
        moves += [(p, s) for p in combinations(range(g), 2) for s in product((-2, -1, 1, 2), repeat=2) if min(s) < 0]
        better = self.value < np.inf
        while better:
            better = False
            for which, steps in moves:
                numbers = self.best.copy()
                numbers[list(which)] = np.clip(numbers[list(which)] + steps, 0, last)
                better |= self.offer(numbers)
