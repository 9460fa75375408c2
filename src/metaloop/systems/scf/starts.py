"""Where to start from: a race of guesses, and a second start where the first one's end may not be the lowest.

Minima differ in which orbitals are filled, and the guess decides that more than the solver does. Guesses cost nothing
but their Fock matrices, and whether two of them fill the same orbitals is seen without one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metaloop.control import Halving
from metaloop.online import Decision, Switching, SwitchState
from metaloop.systems.scf.course import FIRST, Course
from metaloop.systems.scf.model import Extrapolation, Point

GUESSES = ("mod_huckel", "atom")  # PySCF's, beside the given one
RACE = 4  # steps of each guess
SHARE = 0.5  # of what the first start cost, to be risked on another one
_APART = 1.0  # electrons in different orbitals, from which on a guess is another one


@dataclass
class Start:
    """A guess, and where it has come.

    Attributes:
        name: PySCF's.
        at, extrapolation: where it is.
        lowest: energy so far, in Hartree.
    """

    name: str
    at: Point
    extrapolation: Extrapolation
    lowest: float


def race(course: Course, state: SwitchState) -> list[Start]:
    """Go on from the guess that is lowest after some steps, where others fill other orbitals; the others, best first."""
    model = course.model
    mine = str(model.mf.init_guess)
    starts = [Start(mine, course.at, model.extrapolation, course.at.energy)]
    guesses: dict[str, Any] = {mine: course.at.dm}
    for name in GUESSES:
        dm = None if name in guesses else model.guess(name)
        if dm is not None and min(model.apart(dm, other) for other in guesses.values()) >= _APART:
            guesses[name] = dm
    if len(guesses) == 1:
        return []
    paid = float(model.meter.count)
    for name, dm in list(guesses.items())[1:]:
        course.at = model.start(dm)
        course.note("guess")
        starts.append(Start(name, course.at, model.extrapolation, course.at.energy))
    recipe = Halving()
    arms = recipe.init(len(starts))
    budget = float(RACE * model.spins * len(starts))
    while arms.cost.sum() < budget:
        k = recipe.decide(arms, budget)
        before, start = model.meter.count, starts[k]
        model.extrapolation = start.extrapolation
        course.at = start.at = model.first(start.at)
        course.note(FIRST)
        start.lowest = min(start.lowest, start.at.energy)
        recipe.observe(arms, k, -start.lowest, float(model.meter.count - before))
    order = sorted(range(len(starts)), key=lambda j: (not arms.alive[j], starts[j].lowest))
    first = starts[order[0]]
    course.at, model.extrapolation = first.at, first.extrapolation
    said = ", ".join(f"{s.name} {s.lowest:.3f}" for s in starts)
    seen = f"{len(starts)} guesses fill different orbitals and reach {said} Hartree"
    state.log.append(Decision(paid, seen, f"go on from {first.name}", "a lower minimum"))
    return [starts[k] for k in order[1:]]


def again(course: Course, recipe: Switching, state: SwitchState, starts: list[Start]) -> SwitchState:
    """Risk a share of what the first start cost on the others; whichever ended lowest, and what is known of it."""
    model = course.model
    budget = SHARE * state.spent
    end, verdict, ended = course.at, course.verdict, state
    for start in starts:
        begun = float(model.meter.count)
        if budget <= 2 * model.spins:
            break
        course.known, course.at, course.best, course.modes = end, start.at, start.at, []
        model.extrapolation = start.extrapolation
        other = recipe.init(state.methods)
        other.price, other.look, other.saddles = state.price, state.look, state.saddles
        other.spent = begun
        course.drive(replace(recipe, most=min(recipe.most, begun + budget)), other)
        if course.best.energy < end.energy - 1e-6:
            course.drive(recipe, other)
        won = course.at.energy < end.energy - 1e-6 and other.residuals[-1] <= recipe.tolerance
        gain = f"{start.name} ended {course.at.energy - end.energy:+.3g} Hartree from it"
        state.log.append(Decision(begun, "another guess fills other orbitals", f"start again from {start.name}",
                                  f"a lower minimum for at most {budget:.0f} more", gain))  # fmt: skip
        budget -= model.meter.count - begun
        if won:
            end, verdict, ended = course.at, course.verdict, other
    course.at, course.verdict = end, verdict
    if ended is not state:
        ended.log = state.log
    return ended
