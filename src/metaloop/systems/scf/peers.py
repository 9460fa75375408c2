"""Fixed rules, as programs have them, made of PySCF's own solvers, metered like ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from metaloop.systems.scf.model import metered


@dataclass(frozen=True)
class Outcome:
    """What a fixed rule came to: the mean field, the density matrices contracted, CPU seconds."""

    mf: Any
    cost: int
    seconds: float


DIIS, LATE, EARLY, NEWTON = "DIIS-50", "DIIS-50, Newton", "DIIS-15, Newton", "Newton"
FOLLOWED = "DIIS-15, Newton, stability"
PEERS = (DIIS, LATE, EARLY, NEWTON, FOLLOWED)


def peers(make: Callable[[], Any]) -> dict[str, Outcome]:
    """All fixed rules on one case; what two of them do alike is run once and counted for both.

    Args:
        make: a mean field, built, not run.

    Returns:
        DIIS for 50 cycles; that, then Newton where it failed (as ORCA's default has it); the same after 15 cycles;
        Newton from the guess; and after 15 cycles, following what PySCF's stability analysis finds, ten times at most.
    """
    out = {DIIS: diis(make(), 50)}
    plain = out[DIIS].mf
    out[LATE] = out[DIIS] if plain.converged else _newton(out[DIIS])
    out[EARLY] = out[DIIS] if plain.converged and plain.cycles <= 15 else _newton(diis(make(), 15))
    out[NEWTON] = _newton(Outcome(_quiet(make()), 0, 0.0))
    out[FOLLOWED] = _follow(out[EARLY])
    return out


def diis(mf: Any, cycles: int) -> Outcome:
    """PySCF's default solver."""
    begun = time.process_time()
    mf, meter = metered(_quiet(mf))
    mf.max_cycle = cycles
    mf.kernel()
    return Outcome(mf, meter.count, time.process_time() - begun)


def _quiet(mf: Any) -> Any:
    mf = mf.copy()
    mf.verbose, mf.chkfile = 0, None
    return mf


def _newton(before: Outcome) -> Outcome:
    if before.mf.converged:
        return before
    begun = time.process_time()
    mf, meter = metered(before.mf)
    _second(mf, mf.mo_coeff)
    return Outcome(mf, before.cost + meter.count, before.seconds + time.process_time() - begun)


def _follow(before: Outcome) -> Outcome:
    begun = time.process_time()
    mf, meter = metered(before.mf)
    for _ in range(10):
        orbitals, _, stable, _ = mf.stability(return_status=True)
        if stable:
            break
        _second(mf, orbitals)
    return Outcome(mf, before.cost + meter.count, before.seconds + time.process_time() - begun)


def _second(mf: Any, orbitals: Any) -> None:
    solver = mf.newton()
    solver.max_cycle = 100
    solver.kernel(orbitals, mf.mo_occ)
    for name in ("mo_coeff", "mo_occ", "mo_energy", "e_tot", "converged"):
        setattr(mf, name, getattr(solver, name))
