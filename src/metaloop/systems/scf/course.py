"""One course through the space of determinants: its steps, and the supervisor that chooses them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from metaloop.online import Move, Switching, SwitchState, Verdict, certify
from metaloop.systems.scf.model import DENSE, Extrapolation, Field, Point

Array = npt.NDArray[np.float64]

FIRST, SHIFTED, SECOND = "DIIS", "level shift", "second order"
UNIT = "density matrices"
SOUND = 0.05  # Hartree, of the estimate of the lowest curvature
_SAME = 0.1  # electrons in different orbitals, below which two determinants are one


@dataclass(frozen=True)
class Moment:
    """One Fock matrix of a solution's history.

    Attributes:
        cost: density matrices contracted so far.
        energy: total, in Hartree.
        residual: norm of the orbital gradient, in Hartree.
        what: the step that led here: "guess", "DIIS", "level shift", "second order", "way down" or "restart".
    """

    cost: int
    energy: float
    residual: float
    what: str


@dataclass
class Course:
    """A solution in the making.

    Attributes:
        model, at, rng: the mean field, where it is, and what directions are drawn from.
        best: the lowest point since the last way down.
        lowest: the lowest of all.
        left: where DIIS was from the given guess when it was left, and what it remembered.
        tolerance, energy_tolerance: of the gradient, and of the change of the energy, at the end, in Hartree.
        known: a minimum that is not worth reaching again.
        shift: of the virtual orbitals under a level shift, in Hartree.
        radius: of the trust region.
        modes: directions of low curvature, with the points at which they were seen.
        history, verdict: for the solution.
    """

    model: Field
    at: Point
    rng: np.random.Generator
    best: Point
    tolerance: float
    energy_tolerance: float
    lowest: Point | None = None
    left: tuple[Point, Extrapolation] | None = None
    known: Point | None = None
    shift: float = 0.0
    radius: float = 0.4
    modes: list[tuple[Array, Point]] = field(default_factory=list)
    history: list[Moment] = field(default_factory=list)
    verdict: Verdict | None = None

    def note(self, what: str) -> None:
        """One more point of the history."""
        self.history.append(Moment(self.model.meter.count, self.at.energy, self.at.residual, what))
        if self.at.energy < self.best.energy:
            self.best = self.at
        if self.lowest is None or self.at.energy < self.lowest.energy:
            self.lowest = self.at

    def carried(self) -> list[Array]:
        """The directions of low curvature as rotations from here."""
        return [self.model.carry(mode, home, self.at) for mode, home in self.modes]

    def second(self) -> bool:
        """One trust-region step; whether the curvature is positive as far as it was seen."""
        gradient, space = self.model.curvature(self.at)
        space.extend(space.precondition(gradient, 0.0))
        for mode in self.carried():
            space.extend(mode)
        size = float(np.linalg.norm(gradient))
        while True:
            x, expected, residual = space.step(gradient, self.radius)
            bounded = float(np.linalg.norm(x)) > 0.99 * self.radius
            accuracy = 0.4 if bounded else 0.2  # a step that is cut short need not be good
            if np.linalg.norm(residual) <= accuracy * size or len(space.basis) >= 12:
                break
            if not space.extend(space.precondition(residual, min(float(space.ritz()[0][0]), 0.0))):
                break
        new = self.model.rotate(self.at, x)
        value, vector, _, _ = space.lowest()
        self.modes = [(vector, self.at)]
        ratio = (new.energy - self.at.energy) / (2 * expected) if expected else 1.0
        length = float(np.linalg.norm(x))
        if new.energy < self.at.energy + 1e-9:
            if ratio > 0.75 and bounded:
                self.radius = min(2 * self.radius, 1.0)
            elif ratio < 0.25:
                self.radius = max(self.radius / 3, 0.02)
            self.at = new
        else:
            self.radius = min(self.radius, length) / 3
        return value > 0

    def seems_sound(self) -> bool:
        """Whether the estimated Hessian, which costs nothing, is well above zero, or too large to say."""
        if self.model.size(self.at) > DENSE:
            return True
        return float(np.linalg.eigvalsh(self.model.model(self.at))[0]) > SOUND

    def look(self, tolerance: float) -> bool | None:
        """Whether it goes down from here; more carefully at the end than before it."""
        early = self.at.residual > tolerance
        # Curvature is known up to the order of the gradient.
        threshold = max(1e-5, 0.3 * self.at.residual if early else 0.0)
        _, space = self.model.curvature(self.at)
        starts = self.carried()
        starts += space.guesses(4)
        self.verdict = certify(space, starts, threshold=threshold, rng=self.rng, accuracy=0.05 if early else 0.005)
        self.modes = [(self.verdict.vector, self.at)]
        return self.verdict.stable

    def follow(self) -> None:
        """Go down."""
        assert self.verdict is not None
        self.at = self.model.down(self.at, self.verdict)
        self.model.forget()
        self.modes, self.radius = [], 0.4

    def restart(self) -> None:
        """Orbitals rotated at random."""
        x = self.rng.standard_normal(len(self.model.curvature(self.at)[0]))
        self.at = self.model.rotate(self.at, 0.5 * x / float(np.linalg.norm(x)))
        self.model.forget()
        self.modes, self.radius = [], 0.4

    def drive(self, recipe: Switching, state: SwitchState) -> None:
        """Step until the supervisor stops, or it comes to what is known."""
        model, last = self.model, math.inf
        while True:
            at, paid = self.at, model.meter.count
            before = state.at
            move = recipe.decide(state)
            if self.left is None and before == 0 and (state.at or move is Move.FOLLOW):
                self.left = (at, model.extrapolation)
            if state.at != before:
                model.forget()
                if state.at > before and self.best.energy < at.energy:
                    self.at = self.best
            if move is Move.STOP:
                break
            if move is Move.STEP:
                sound = True
                if state.method.name != SECOND:
                    self.at = model.first(self.at, self.shift * (state.method.name == SHIFTED))
                    sound = self.at.residual > recipe.early or not recipe.certify or self.seems_sound()
                else:
                    sound = self.second()
                self.note(state.method.name)
                change = abs(self.at.energy - last)
                last = self.at.energy
                # As in PySCF, both have to be small; a residual a little above the tolerance asks for one more step.
                small = change < self.energy_tolerance * max(1.0, 100 * (state.at > 0))
                residual = self.at.residual if small else max(self.at.residual, 1.01 * recipe.tolerance)
                recipe.observe(state, residual, model.meter.count - paid, self.at.energy, sound=sound)
                if self.known is not None and model.apart(self.at.dm, self.known.dm) < _SAME:
                    break
            elif move is Move.LOOK:
                stable = self.look(recipe.tolerance)
                recipe.saw(state, stable, model.meter.count - paid)
            else:
                if move is Move.FOLLOW:
                    self.follow()
                else:
                    self.restart()
                self.best = self.at
                self.note("way down" if move is Move.FOLLOW else "restart")
                last = self.at.energy
                recipe.followed(state, self.at.residual, model.meter.count - paid, self.at.energy)
