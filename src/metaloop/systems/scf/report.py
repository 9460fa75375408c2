"""Numbers and figures: metaloop's switching beside fixed rules, on the same molecules in the same run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from metaloop.report import figures
from metaloop.report.claims import Claim, SystemReport
from metaloop.report.page import Figure
from metaloop.report.style import DATA, INK, applied
from metaloop.systems import RunOptions
from metaloop.systems.scf.cases import CASES, Case
from metaloop.systems.scf.loop import Solution, solve
from metaloop.systems.scf.model import need_pyscf
from metaloop.systems.scf.peers import DIIS, FOLLOWED, Outcome, peers

QUICK = (
    "FeO 1.62 (4) UHF/sto-3g", "VO 1.59 (3) UHF/sto-3g", "N2 2 (0) UHF/6-31g", "F2 2 (0) UHF/6-31g",
    "LiH 3.5 (0) UHF/6-31g", "HF 2.2 (0) UHF/6-31g", "NO 1.15 (1) UHF/6-31g", "H2O RHF/def2-svp",
)  # fmt: skip
SHOWN = QUICK[:3]


def run(options: RunOptions) -> SystemReport:
    """The system: see `metaloop.systems`."""
    need_pyscf()
    chosen = [c for c in CASES if c.name in QUICK] if options.size == "quick" else [c for c in CASES if c.untouched]
    ours: list[Solution] = []
    plain: list[Solution] = []
    theirs: list[dict[str, Outcome]] = []
    stable: list[bool] = []
    for k, case in enumerate(chosen):
        options.progress(k / len(chosen), case.name)
        ours.append(solve(case.mean_field(), seed=options.seed))
        plain.append(solve(case.mean_field(), certified=False, seed=options.seed))
        theirs.append(peers(case.mean_field))
        stable.append(ours[-1].converged and bool(ours[-1].mf.stability(return_status=True)[2]))
    options.progress(1.0, "figures")
    shown = [k for k, c in enumerate(chosen) if c.name in SHOWN] or list(range(min(3, len(chosen))))
    drawn = [_history(chosen[k], ours[k]) for k in shown]
    drawn.append(_bars(chosen, ours, theirs))
    told = min(shown, key=lambda k: len(ours[k].decisions))
    text = [
        f"{len(chosen)} molecules in small basis sets, at {'chosen' if options.size == 'quick' else 'the untouched'} "
        "geometries where the usual solver (DIIS) often fails or stops at a saddle. The cost is the number of density "
        "matrices contracted with the two-electron integrals, those of response functions included.",
        f"What was decided on {chosen[told].name}:",
        *map(str, ours[told].decisions),
    ]
    return SystemReport("scf", options.size, _claims(ours, plain, theirs, stable), 0.0, drawn, text)


def _claims(
    ours: Sequence[Solution], plain: Sequence[Solution], theirs: Sequence[dict[str, Outcome]], stable: Sequence[bool]
) -> list[Claim]:
    n = len(ours)

    def share(name: str, says: str, good: Sequence[bool], target: float, reference: Sequence[bool], who: str) -> Claim:
        value = float(np.mean(good))
        return Claim(name, says, value, (value, value), n, target, float(np.mean(reference)), who, "ratio", "higher")

    def ratio(name: str, says: str, value: float, target: float, count: int) -> Claim:
        return Claim(name, says, value, (value, value), count, target, 1.0, "the peer in this run", "ratio", "lower")

    diis = [t[DIIS].mf for t in theirs]
    follow = [t[FOLLOWED] for t in theirs]
    settled = [bool(m.converged and m.stability(return_status=True)[2]) for m in diis]
    claims = [
        share("converged", "Every case converges.", [s.converged for s in ours], 1.0,
              [bool(m.converged) for m in diis], "PySCF's DIIS, 50 cycles, this run"),
        share("stable", "PySCF's own analysis calls the results internally stable.", stable, 0.98, settled,
              "PySCF's DIIS, 50 cycles, this run"),
        share("not-above", "The energy is not above DIIS's by more than 1 microhartree.",
              [s.energy <= m.e_tot + 1e-6 or not m.converged for s, m in zip(ours, diis, strict=True)], 1.0,
              [o.mf.e_tot <= m.e_tot + 1e-6 or not m.converged for o, m in zip(follow, diis, strict=True)],
              "DIIS-15, Newton and stability following, this run"),
        ratio("cost", "Converged and certified at a share of what DIIS-15, Newton and stability following cost.",
              sum(s.cost for s in ours) / sum(o.cost for o in follow), 0.5, n),
    ]  # fmt: skip
    easy = [k for k in range(n) if settled[k]]
    if easy:
        overhead = float(np.mean([plain[k].cost / theirs[k][DIIS].cost for k in easy]))
        says = "Where DIIS finds a minimum, without certificate it costs hardly more than DIIS."
        claims.append(ratio("easy", says, overhead, 1.1, len(easy)))
    return claims


def _history(case: Case, s: Solution) -> Figure:
    """Energy above the end and residual against the cost, with a mark at each change of course."""
    from matplotlib.figure import Figure as Canvas

    cost = np.array([m.cost for m in s.history], dtype=float)
    above = np.maximum([1e3 * (m.energy - s.energy) for m in s.history], 1e-5)
    residual = np.array([m.residual for m in s.history])
    colors = {"guess": INK, "DIIS": DATA[0], "second order": DATA[1], "way down": DATA[2], "restart": DATA[5]}
    with applied():
        canvas = Canvas(figsize=(7.2, 4.4), layout="constrained")
        axes = canvas.subplots(2, 1, sharex=True)
        for ax, y, label in (
            (axes[0], above, "energy above\nthe end (mEh)"),
            (axes[1], residual, "gradient norm (Eh)"),
        ):
            ax.plot(cost, y, color=INK, lw=0.8, alpha=0.4)
            for what, color in colors.items():
                at = [k for k, m in enumerate(s.history) if m.what == what]
                if at:
                    ax.scatter(cost[at], y[at], s=16, color=color, linewidths=0, label=what, zorder=3)
            ax.set_yscale("log")
            ax.set_ylabel(label)
            ax.minorticks_off()
        for d in s.decisions[:-1]:
            for ax in axes:
                ax.axvline(d.spent, color=DATA[3], lw=0.8, ls=":" if "look" in d.chosen else "-", alpha=0.8)
        axes[1].set_xlabel("density matrices contracted")
        axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2)
    name = "".join(ch if ch.isalnum() else "-" for ch in case.name.split(" ")[0])
    caption = (
        f"{case.name}: every Fock matrix. Solid lines mark a change of method or a way down that was followed, dotted "
        "ones a look at the curvature."
    )
    return Figure(figures.svg(canvas), caption, f"history-{name}")


def _bars(cases: Sequence[Case], ours: Sequence[Solution], theirs: Sequence[dict[str, Outcome]]) -> Figure:
    from matplotlib.figure import Figure as Canvas

    order = sorted(range(len(cases)), key=lambda k: -theirs[k][FOLLOWED].cost)[:30]
    rows = np.arange(len(order))
    series: list[tuple[str, list[int], Any]] = [
        ("metaloop, certified", [ours[k].cost for k in order], DATA[0]),
        ("DIIS-15, Newton, stability", [theirs[k][FOLLOWED].cost for k in order], DATA[1]),
        ("DIIS-50 alone", [theirs[k][DIIS].cost for k in order], DATA[4]),
    ]
    with applied():
        canvas = Canvas(figsize=(7.2, 1.2 + 0.5 * len(order)), layout="constrained")
        ax = canvas.subplots()
        for j, (label, values, color) in enumerate(series):
            ax.barh(rows + 0.26 * (j - 1), values, height=0.24, color=color, label=label)
        failed = [r for r, k in enumerate(order) if not theirs[k][DIIS].mf.converged]
        ax.scatter([series[2][1][r] for r in failed], [r + 0.26 for r in failed], marker="x", s=30, color=INK, zorder=3,
                   label="not converged" if failed else None)  # fmt: skip
        ax.set_yticks(rows, [cases[k].name for k in order])
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set_xlabel("density matrices contracted")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    total = math.fsum(series[0][1]) / math.fsum(series[1][1])
    caption = f"What each case costs; in all, metaloop costs {total:.2f} of DIIS-15, Newton and stability following."
    return Figure(figures.svg(canvas), caption, "costs")
