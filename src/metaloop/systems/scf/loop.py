"""The outer loop: which step next, by `metaloop.online.Switching`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.control import Halving
from metaloop.errors import refuse
from metaloop.online import Decision, Method, Move, Switching, SwitchState, Verdict, certify
from metaloop.systems.scf.model import DENSE, Field, Point

Array = npt.NDArray[np.float64]

FIRST, SECOND = "DIIS", "second order"
_SOUND = 0.05  # Hartree, of the estimate of the lowest curvature
GUESSES = ("mod_huckel", "atom")  # PySCF's, beside the given one
RACE = 4  # steps of each guess
_APART = 1.0  # electrons in different orbitals, from which on a guess is another one
# Tuned on the design half of benchmarks/scf.py.
DEFAULT = Switching(near=5e-3, early=0.1, odds=0.7)


@dataclass(frozen=True)
class Moment:
    """One Fock matrix of a solution's history.

    Attributes:
        cost: density matrices contracted so far.
        energy: total, in Hartree.
        residual: norm of the orbital gradient, in Hartree.
        what: the step that led here: "guess", "DIIS", "second order", "way down" or "restart".
    """

    cost: int
    energy: float
    residual: float
    what: str


@dataclass(frozen=True)
class Solution:
    """What `solve` found.

    Attributes:
        mf: the converged mean field, a copy of the given one, with orbitals, occupations and energy.
        converged: whether the energy and the gradient are below PySCF's own tolerances.
        stable: whether no internal instability was found; None where that was not asked.
        energy: total, in Hartree.
        cost: density matrices contracted.
        decisions: changes of course, oldest first.
        history: one a Fock matrix.
        verdict: the last certificate.
    """

    mf: Any
    converged: bool
    stable: bool | None
    energy: float
    cost: int
    decisions: tuple[Decision, ...]
    history: tuple[Moment, ...]
    verdict: Verdict | None = None

    def why(self) -> str:
        """The decisions, one a line."""
        return "\n".join(map(str, self.decisions))


@dataclass
class _Run:
    """A solution in the making."""

    model: Field
    at: Point
    rng: np.random.Generator
    best: Point
    radius: float = 0.4
    modes: list[tuple[Array, Point]] = field(default_factory=list)
    history: list[Moment] = field(default_factory=list)
    verdict: Verdict | None = None

    def note(self, what: str) -> None:
        self.history.append(Moment(self.model.meter.count, self.at.energy, self.at.residual, what))
        if self.at.energy < self.best.energy:
            self.best = self.at

    def carried(self) -> list[Array]:
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
        return float(np.linalg.eigvalsh(self.model.model(self.at))[0]) > _SOUND

    def look(self, tolerance: float) -> bool | None:
        """Whether it goes down from here; more carefully at the end than before it."""
        early = self.at.residual > tolerance
        # Curvature is known up to the order of the gradient.
        threshold = max(5e-5, 0.3 * self.at.residual if early else 0.0)
        _, space = self.model.curvature(self.at)
        starts = self.carried()
        starts += space.guesses(4)
        self.verdict = certify(space, starts, threshold=threshold, rng=self.rng, accuracy=0.05 if early else 0.02)
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


    def drive(self, recipe: Switching, state: SwitchState, energy_tolerance: float) -> None:
        """Step until the supervisor stops."""
        model, last = self.model, math.inf
        while True:
            at, paid = self.at, model.meter.count
            before = state.at
            move = recipe.decide(state)
            if state.at != before:
                model.forget()
                if state.at > before and self.best.energy < at.energy:
                    self.at = self.best
            if move is Move.STOP:
                break
            if move is Move.STEP:
                sound = True
                if state.method.name == FIRST:
                    self.at = model.first(self.at)
                    sound = self.at.residual > recipe.early or not recipe.certify or self.seems_sound()
                else:
                    sound = self.second()
                self.note(state.method.name)
                change = abs(self.at.energy - last)
                last = self.at.energy
                # As in PySCF, both have to be small; a residual a little above the tolerance asks for one more step.
                small = change < energy_tolerance * max(1.0, 100 * (state.at > 0))
                residual = self.at.residual if small else max(self.at.residual, 1.01 * recipe.tolerance)
                recipe.observe(state, residual, model.meter.count - paid, self.at.energy, sound=sound)
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

    def race(self, state: SwitchState) -> None:
        """Go on from the guess that is lowest after some steps, where others fill other orbitals."""
        model, mine = self.model, str(self.model.mf.init_guess)
        names, arms, seen = [mine], [(self.at, model.extrapolation)], [self.at.dm]
        guesses: list[Any] = [None]
        for name in GUESSES:
            dm = None if name == mine else model.guess(name)
            if dm is not None and min(model.apart(dm, other) for other in seen) >= _APART:
                names.append(name)
                guesses.append(dm)
                seen.append(dm)
        if len(names) == 1:
            return
        paid = model.meter.count
        for dm in guesses[1:]:
            at = model.start(dm)
            arms.append((at, model.extrapolation))
            self.at = at
            self.note("guess")
        recipe = Halving()
        race, lowest = recipe.init(len(arms)), [at.energy for at, _ in arms]
        budget = float(RACE * model.spins * len(arms))
        while race.cost.sum() < budget:
            k = recipe.decide(race, budget)
            before = model.meter.count
            model.extrapolation = arms[k][1]
            self.at = model.first(arms[k][0])
            arms[k] = (self.at, model.extrapolation)
            lowest[k] = min(lowest[k], self.at.energy)
            self.note(FIRST)
            recipe.observe(race, k, -lowest[k], float(model.meter.count - before))
        k = min(range(len(arms)), key=lambda j: lowest[j] if race.alive[j] else math.inf)
        self.at, model.extrapolation = arms[k]
        said = ", ".join(f"{n} {e:.3f}" for n, e in zip(names, lowest, strict=True))
        state.log.append(Decision(float(paid), f"{len(arms)} guesses fill different orbitals and reach {said} Hartree",
                                  f"go on from {names[k]}", "a lower minimum"))


def solve(
    mf: Any, dm0: Any = None, *, certified: bool = True, recipe: Switching | None = None, seed: int = 0
) -> Solution:
    """Converge a mean field to a minimum.

    Args:
        mf: RHF, UHF, ROHF, RKS, UKS or ROKS of PySCF with real orbitals; it is not changed. Its `conv_tol` and
            `conv_tol_grad` say when it is converged.
        dm0: the density matrix to begin with; PySCF's guess by default.
        certified: whether to look for internal instabilities, and to follow them.
        recipe: the supervisor's settings; its `tolerance` and `certify` are set here.
        seed: of the directions in which instabilities are looked for.

    Returns:
        the solution. What did not converge says so.

    Raises:
        InputError: PySCF is missing, or this is no mean field of a built molecule.
    """
    if not isinstance(recipe, Switching | None):
        raise refuse("recipe", recipe, "a metaloop.online.Switching")
    model = Field(mf)
    tolerance = float(mf.conv_tol_grad or math.sqrt(float(mf.conv_tol)))
    recipe = replace(recipe or DEFAULT, tolerance=tolerance, certify=certified)
    if math.isinf(recipe.most):
        recipe = replace(recipe, most=1500.0 * model.spins)
    unit = float(model.spins)
    state = recipe.init([Method(FIRST, unit, rate=0.4), Method(SECOND, 12 * unit, 25 * unit, rate=0.15)], look=8 * unit)
    run = _Run(model, start := model.start(dm0), np.random.default_rng(seed), start)
    run.note("guess")
    if certified and dm0 is None:
        run.race(state)
    state.spent = float(model.meter.count)
    run.drive(recipe, state, float(mf.conv_tol))
    converged = bool(state.residuals and state.residuals[-1] <= tolerance)
    out = model.settle(run.at)
    out.converged = converged
    stable = state.stable if certified and converged else None
    if run.verdict is not None and run.verdict.stable is None:
        stable = None
    return Solution(
        out, converged, stable, run.at.energy, model.meter.count, tuple(state.log), tuple(run.history), run.verdict
    )
