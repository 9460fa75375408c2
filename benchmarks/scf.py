"""Self-consistent fields: metaloop's switching against fixed rules, by density matrices contracted.

    OMP_NUM_THREADS=1 python benchmarks/scf.py [--quick] [--half design|untouched] [--starts 1] [--cache DIR]

Cases and their split: metaloop.systems.scf.cases. "Certified stable" is PySCF's own `stability()` afterwards, not
counted; "full" is the lowest eigenvalue of the whole orbital Hessian, which PySCF's Davidson can miss. The lowest known
energy is the lowest over all methods and a number of perturbed starts. The runs of the peers and the perturbed starts
are kept in a cache outside the repository, those of metaloop are not.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from metaloop.systems.scf import solve
from metaloop.systems.scf.cases import CASES
from metaloop.systems.scf.model import Field, metered
from metaloop.systems.scf.peers import PEERS, peers

OURS = {"metaloop": True, "metaloop, no certificate": False}
REFERENCE = "DIIS-15, Newton, stability"


def lowest_curvature(mf):
    """Of the whole Hessian, times 2 as PySCF counts."""
    g, product, _ = mf.newton().gen_g_hop(mf.mo_coeff, mf.mo_occ, mf.get_fock())
    n = len(g)
    if n == 0:
        return math.inf
    return 2 * float(np.linalg.eigvalsh(np.array([product(e) for e in np.eye(n)]))[0])


def perturbed(case, seed):
    """A start from randomly rotated orbitals, spins apart."""
    rng = np.random.default_rng(seed)
    field = Field(case.mean_field())
    at = field.start()
    gradient, _ = field.curvature(at)
    return field.rotate(at, rng.normal(0, 0.5 / math.sqrt(len(gradient)) * 3, len(gradient))).dm


def checked(mf, cost, seconds, full, claimed=None):
    """A row of the table; what is checked is not counted."""
    mf, _ = metered(mf)
    mf.verbose = 0
    row = {"energy": float(mf.e_tot), "converged": bool(mf.converged), "cost": cost, "cpu": seconds, "claimed": claimed}
    row["stable"] = bool(mf.converged and mf.stability(return_status=True)[2])
    if full:
        row["full"] = bool(mf.converged and lowest_curvature(mf) > -1e-4)
    return row


def ours(case, certified):
    begun = time.process_time()
    s = solve(case.mean_field(), certified=certified)
    return checked(s.mf, s.cost, time.process_time() - begun, certified, s.stable)


def reference(case, starts):
    """The peers, and the lowest energies of some perturbed starts where DIIS-50 finds no minimum."""
    out, seen = {}, {}
    for name, o in peers(case.mean_field).items():
        key = id(o)
        if key not in seen:
            seen[key] = checked(o.mf, o.cost, o.seconds, name == REFERENCE)
        out[name] = seen[key]
    for k in range(0 if out["DIIS-50"]["stable"] else starts):
        s = solve(case.mean_field(), perturbed(case, k))
        out[f"start {k}"] = {"energy": s.energy, "converged": s.converged}
    return out


def measure(cases, starts, cache):
    cache.mkdir(parents=True, exist_ok=True)
    out = {}
    for case in cases:
        file = cache / f"{case.name}--{starts}.json".replace("/", "_").replace(" ", "_")
        if not file.exists():
            file.write_text(json.dumps(reference(case, starts)))
        rows = json.loads(file.read_text()) | {name: ours(case, certified) for name, certified in OURS.items()}
        out |= {(case, name): row for name, row in rows.items()}
    return out


def table(cases, runs, title):
    names = [*PEERS, *OURS]
    lowest = {c: min(r["energy"] for (k, _), r in runs.items() if k is c and r["converged"]) for c in cases}
    hard = [c for c in cases if not runs[c, "DIIS-50"]["stable"]]
    print(f"\n## {title}: {len(cases)} cases, {len(hard)} of them hard (DIIS-50 fails or ends on a saddle)\n")
    print("| method | converged | stable (PySCF) | stable (full Hessian) | lowest energy | cost | of reference "
          "| hard: geometric mean of reference | CPU s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    whole = sum(runs[c, REFERENCE]["cost"] for c in cases)
    for m in names:
        rows = [runs[c, m] for c in cases]
        ratio = [runs[c, m]["cost"] / runs[c, REFERENCE]["cost"] for c in hard]
        mean = math.exp(np.mean(np.log(ratio))) if ratio else math.nan
        low = sum(runs[c, m]["converged"] and runs[c, m]["energy"] < lowest[c] + 1e-5 for c in cases)
        full = sum(r["full"] for r in rows) if all("full" in r for r in rows) else "–"
        cost = sum(r["cost"] for r in rows)
        print(f"| {m} | {sum(r['converged'] for r in rows)} | {sum(r['stable'] for r in rows)} | {full} | {low} "
              f"| {cost} | {cost / whole:.2f} | {mean:.2f} | {sum(r['cpu'] for r in rows):.1f} |")  # fmt: skip
    easy = [c for c in cases if c not in hard]
    for m in OURS:
        ratio = [runs[c, m]["cost"] / runs[c, "DIIS-50"]["cost"] for c in easy]
        if ratio:
            print(f"\n{m}, {len(easy)} cases that DIIS-50 solves: {np.mean(ratio):.2f} of its cost on average, "
                  f"{max(ratio):.2f} at most.")  # fmt: skip
        worse = [c.name for c in cases if runs[c, "DIIS-50"]["converged"]
                 and runs[c, m]["energy"] > runs[c, "DIIS-50"]["energy"] + 1e-6]  # fmt: skip
        print(f"{m}, energy above that of DIIS-50 by more than 1 microhartree: {worse or 'never'}.")
    print("\nHard cases, energy above the lowest known in mEh / cost (X: not converged, u: unstable by PySCF, "
          "f: by the full Hessian)\n")  # fmt: skip
    print("| case | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for c in hard:
        cells = []
        for m in names:
            r = runs[c, m]
            mark = "X" if not r["converged"] else "u" if not r["stable"] else "f" if not r.get("full", True) else ""
            cells.append(f"{1e3 * (r['energy'] - lowest[c]):.1f}{mark} / {r['cost']}")
        print(f"| {c.name} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--half", choices=["design", "untouched"])
    parser.add_argument("--starts", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "metaloop-scf")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for half in [args.half] if args.half else ["design", "untouched"]:
        cases = [c for c in CASES if c.untouched == (half == "untouched")]
        if args.quick:
            cases = cases[::6]
        table(cases, measure(cases, 1 if args.quick else args.starts, args.cache), f"The {half} half")


if __name__ == "__main__":
    main()
