"""The outer loop: which step next, by `metaloop.online.Switching`, and from which start."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metaloop.errors import refuse, require
from metaloop.online import Decision, Method, Switching, Verdict
from metaloop.systems.scf.course import FIRST, SECOND, SHIFTED, UNIT, Course, Moment
from metaloop.systems.scf.model import Field
from metaloop.systems.scf.starts import SHARE, again, race

# Tuned on the design half of benchmarks/scf.py.
DEFAULT = Switching(near=5e-3, early=0.1, odds=0.7)


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


def solve(
    mf: Any,
    dm0: Any = None,
    *,
    certified: bool = True,
    recipe: Switching | None = None,
    seed: int = 0,
    shift: float = 0.0,
    share: float = SHARE,
) -> Solution:
    """Converge a mean field to a minimum.

    Args:
        mf: RHF, UHF, ROHF, RKS, UKS or ROKS of PySCF with real orbitals; it is not changed. Its `conv_tol` and
            `conv_tol_grad` say when it is converged.
        dm0: the density matrix to begin with; PySCF's guess by default.
        certified: whether to look for internal instabilities, and to follow them.
        recipe: the supervisor's settings; its `tolerance` and `certify` are set here.
        seed: of the directions in which instabilities are looked for, and of rotated starts.
        share: what may be risked on other starts, of what the first one cost, >= 0, where there are signs of other
            minima: the more, the likelier the lowest one. Without a certificate there are none.
        shift: > 0 for one more method between DIIS and second order: DIIS with a level shift of so many Hartree.

    Returns:
        the solution. What did not converge says so.

    Raises:
        InputError: PySCF is missing, or this is no mean field of a built molecule.
    """
    if not isinstance(recipe, Switching | None):
        raise refuse("recipe", recipe, "a metaloop.online.Switching")
    require("share", share, lambda v: v >= 0, "a number of at least 0")
    require("shift", shift, lambda v: v >= 0, "a number of at least 0")
    model = Field(mf)
    tolerance = float(mf.conv_tol_grad or math.sqrt(float(mf.conv_tol)))
    recipe = replace(recipe or DEFAULT, tolerance=tolerance, certify=certified)
    if math.isinf(recipe.most):
        recipe = replace(recipe, most=1500.0 * model.spins)
    unit = float(model.spins)
    ladder = [Method(FIRST, unit, rate=0.4), Method(SECOND, 12 * unit, 25 * unit, rate=0.15)]
    if shift:
        ladder.insert(1, Method(SHIFTED, unit, 10 * unit, rate=0.6))
    state = recipe.init(ladder, look=8 * unit, unit=UNIT)
    run = Course(
        model, start := model.start(dm0), np.random.default_rng(seed), start, tolerance, float(mf.conv_tol), shift=shift
    )
    run.note("guess")
    others = race(run, state) if certified and dm0 is None else []
    state.spent = float(model.meter.count)
    run.drive(recipe, state)
    state = again(run, recipe, state, others, share)
    converged = bool(state.residuals and state.residuals[-1] <= tolerance)
    out = model.settle(run.at)
    out.converged = converged
    stable = state.stable if certified and converged else None
    if run.verdict is not None and run.verdict.stable is None:
        stable = None
    return Solution(
        out, converged, stable, run.at.energy, model.meter.count, tuple(state.log), tuple(run.history), run.verdict
    )
