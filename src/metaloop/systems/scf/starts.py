"""Where to start from: a race of guesses, and a second start where the first one's end may not be the lowest.

Minima differ in which orbitals are filled, and the guess decides that more than the solver does. Guesses cost nothing
but their Fock matrices, and whether two of them fill the same orbitals is seen without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from metaloop.control import Halving
from metaloop.online import Decision, Switching, SwitchState
from metaloop.systems.scf.course import FIRST, SOUND, UNIT, Course
from metaloop.systems.scf.model import Extrapolation, Point

GUESSES = ("mod_huckel", "atom")  # PySCF's, beside the given one
RACE = 3  # steps of each guess
SHARE = 1 / 3  # of what the first start cost, to be risked on others
_WORTH = 0.5  # of what the first start cost: with less a fresh one is not begun
_TURN = 1.5  # norm of a random rotation
_LOWER = 1e-6  # Hartree
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
    """Go on from the guess that is lowest after some steps, where others fill other orbitals.

    Returns:
        the others, best first, but for the given one, which `own` takes up.
    """
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
    state.log.append(Decision(paid, seen, f"go on from {first.name}", "a lower minimum", unit=UNIT))
    if order[0] != 0:
        course.left = (starts[0].at, starts[0].extrapolation)
    return [starts[k] for k in order[1:] if k != 0]


def own(course: Course) -> None:
    """Go on with DIIS as it was left, while it may still come below the end.

    A step with the inverse Hessian lowers the energy by g @ H^-1 @ g, which is at most the residual's square over the
    lowest curvature. It gives up where PySCF would: after its number of cycles.
    """
    if course.left is None:
        return
    model, limit = course.model, course.at.energy - _LOWER
    at, model.extrapolation = course.left
    while at.energy - at.residual**2 / SOUND < limit and model.extrapolation.cycle < model.mf.max_cycle:
        last, at = at, model.first(at)
        course.at = at
        course.note(FIRST)
        if abs(at.energy - last.energy) < course.energy_tolerance and at.residual < course.tolerance:
            break


def again(course: Course, recipe: Switching, state: SwitchState, starts: list[Start], share: float) -> SwitchState:
    """Risk a share of what the first start cost on others; the lowest end of all, and what is known of it."""
    model, end = course.model, _End(course, state)
    own(course)
    first, risked = state.spent, share * state.spent + model.meter.count
    names = [s.name for s in starts] or [str(model.mf.init_guess)]
    while recipe.certify and (left := risked - model.meter.count) > 2 * model.spins:
        begun = float(model.meter.count)
        if starts:
            start = starts.pop(0)
        elif left > _WORTH * first and any(m.what == "way down" for m in course.history):
            names.append(names.pop(0))
            start = _turned(course, names[-1])
        else:  # too little to come to an end, or no sign of other minima
            break
        course.known, course.at, course.best, course.modes = end.at, start.at, start.at, []
        model.extrapolation = start.extrapolation
        other = _taught(recipe, state, float(model.meter.count))
        course.drive(replace(recipe, most=min(recipe.most, risked)), other)
        if course.best.energy < end.at.energy - _LOWER:
            course.drive(recipe, other)
        gain = f"it ended {course.at.energy - end.at.energy:+.3g} Hartree from the lowest"
        state.log.append(Decision(begun, "there may be other minima", f"start again from {start.name}",
                                  f"a lower one for at most {left:.0f} {UNIT}", gain, UNIT))  # fmt: skip
        end.take(course, other, recipe.tolerance)
    course.known = None
    if course.lowest is not None and course.lowest.energy < end.at.energy - _LOWER:
        begun = float(model.meter.count)
        other = _taught(recipe, state, begun, 1)
        gain = f"{course.lowest.energy - end.at.energy:.3g} Hartree"
        state.log.append(Decision(begun, "the end is above what was passed", "finish there", gain, unit=UNIT))
        course.at = course.best = course.lowest
        course.drive(replace(recipe, near=0.0), other)  # second order never goes up
        end.take(course, other, recipe.tolerance)
    course.at, course.verdict = end.at, end.verdict
    end.state.log = state.log
    return end.state


def _turned(course: Course, name: str) -> Start:
    """A guess with orbitals rotated at random."""
    model = course.model
    at = model.start(model.guess(name))
    n = model.size(at)
    course.at = model.rotate(at, course.rng.normal(0, _TURN / math.sqrt(n), n))
    model.forget()
    course.note("restart")
    return Start(f"{name}, rotated", course.at, model.extrapolation, course.at.energy)


def _taught(recipe: Switching, state: SwitchState, spent: float, at: int = 0) -> SwitchState:
    """A new state that knows what things cost."""
    new = recipe.init(state.methods, at=at, unit=UNIT)
    new.price, new.look, new.saddles, new.spent = state.price, state.look, state.saddles, spent
    return new


class _End:
    """The lowest end so far."""

    def __init__(self, course: Course, state: SwitchState) -> None:
        self.at, self.verdict, self.state = course.at, course.verdict, state

    def take(self, course: Course, state: SwitchState, tolerance: float) -> None:
        """Where the course is, if that converged, and is lower or the end so far did not."""
        lower = course.at.energy < self.at.energy - _LOWER or not _converged(self.state, tolerance)
        if lower and _converged(state, tolerance):
            self.at, self.verdict, self.state = course.at, course.verdict, state


def _converged(state: SwitchState, tolerance: float) -> bool:
    return bool(state.residuals) and state.residuals[-1] <= tolerance
