"""Numbers and figures: the portfolio beside what people use, on problems with known values, in one run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.online.sampling import Estimate, Status
from metaloop.report import figures
from metaloop.report.claims import Claim, SystemReport
from metaloop.report.intervals import clopper_pearson
from metaloop.report.page import Figure
from metaloop.report.style import DATA, FAILED, INK, applied
from metaloop.space import Array
from metaloop.systems import RunOptions
from metaloop.systems.sampling.loop import solve
from metaloop.systems.sampling.model import Case, cases, named
from metaloop.systems.sampling.peers import Answer, need_vegas, peers

QUICK = (
    "Genz oscillatory, d = 6", "two peaks, d = 4", "diagonal ridge, d = 8", "tilted peak, d = 6",
    "half-space 1e-4, d = 4", "two modes, d = 4",
)  # fmt: skip
SHOWN = ("Genz oscillatory, d = 6", "diagonal ridge, d = 8", "two modes, d = 4")
OURS, VEGAS = "metaloop", "vegas+"


@dataclass(frozen=True)
class Runs:
    """What was found on one case.

    Attributes:
        ours: estimates, one for each seed.
        theirs: of every peer its answers, one for each seed.
    """

    case: Case
    ours: Sequence[Estimate]
    theirs: Mapping[str, Sequence[Answer]]

    def scores(self, name: str) -> Array:
        """Squared relative errors times the mean number of evaluations, one for each seed."""
        answers: Sequence[Estimate | Answer] = self.ours if name == OURS else self.theirs[name]
        errors = np.array([a.value for a in answers]) / self.case.exact - 1
        return np.asarray(np.maximum(errors**2, 1e-26) * np.mean([a.evaluations for a in answers]))

    @property
    def best(self) -> str:
        """The peer that proved best."""
        return min(self.theirs, key=lambda name: float(self.scores(name).mean()))

    def misses(self) -> list[float]:
        """Errors in half-widths of the interval, of the answers with enough evidence."""
        told = [e for e in self.ours if e.status is Status.OK]
        return [(e.value - self.case.exact) / max((e.interval[1] - e.interval[0]) / 2, 1e-300) for e in told]


def run(options: RunOptions) -> SystemReport:
    """The system: see `metaloop.systems`."""
    need_vegas()
    quick = options.size == "quick"
    budget, repeats = (32_768, 5) if quick else (200_000, 20)
    chosen = [named(n) for n in QUICK] if quick else [c for c in cases() if c.untouched]
    found = []
    for k, case in enumerate(chosen):
        options.progress(0.8 * k / len(chosen), case.name)
        found.append(measured(case, budget, range(repeats * options.seed, repeats * (options.seed + 1))))
    options.progress(0.8, "error against evaluations")
    drawn = [_bars(found), _intervals(found), _curves([named(n) for n in SHOWN], [1 << k for k in range(11, 16)])]
    told = found[-1].ours[0]
    text = [
        f"{len(chosen)} problems with known values, {'used' if quick else 'not used'} in the design; {budget} "
        f"evaluations each, {repeats} runs a method. Whatever is spent on learning counts.",
        f"What was decided on {found[-1].case.name}:",
        *told.why().splitlines(),
    ]
    return SystemReport("sampling", options.size, _claims(found, full=not quick), 0.0, drawn, text)


def measured(case: Case, budget: int, seeds: Sequence[int]) -> Runs:
    """Ours and every peer, with the same budget and as many runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what peers divide by
        theirs = {name: [peer(case, budget, s) for s in seeds] for name, peer in peers(case).items()}
    return Runs(case, [solve(case, budget, s) for s in seeds], theirs)


def _ratio(found: Sequence[Runs], against: dict[str, str]) -> tuple[float, tuple[float, float]]:
    """Geometric mean over cases of ours / theirs, and its 95 % interval (runs are drawn again within each case)."""
    rng, draws, logs = np.random.default_rng(0), 2000, []
    value = 0.0
    for r in found:
        mine, theirs = r.scores(OURS), r.scores(against[r.case.name])
        value += math.log(mine.mean() / theirs.mean())
        again = [rng.choice(s, (draws, len(s))).mean(axis=1) for s in (mine, theirs)]
        logs.append(np.log(again[0] / again[1]))
    low, high = np.quantile(np.mean(logs, axis=0), [0.025, 0.975])
    middle = value / len(found)
    return math.exp(middle), (math.exp(min(low, middle)), math.exp(max(high, middle)))


def _claims(found: Sequence[Runs], *, full: bool) -> list[Claim]:
    n, claims = sum(len(r.ours) for r in found), []
    value, ends = _ratio(found, {r.case.name: r.best for r in found})
    claims.append(
        Claim("hindsight", "Variance per evaluation over that of the best peer in hindsight, geometric mean.", value,
              ends, n, 1.5, 1.0, "Monte Carlo, Sobol', vegas+, cross-entropy, subset simulation: this run", "ratio",
              "lower")
    )  # fmt: skip
    hard = [r for r in found if r.case.group != "smooth"]
    value, ends = _ratio(hard, dict.fromkeys((r.case.name for r in hard), VEGAS))
    claims.append(
        Claim("vegas", "Variance per evaluation over that of vegas+ on peaks, ridges and rare events.", value, ends,
              sum(len(r.ours) for r in hard), 1e-3, 1.0, "vegas+, in this run", "ratio", "lower")
    )  # fmt: skip
    misses = [m for r in found for m in r.misses()]
    silent = float(sum(abs(m) > 3 for m in misses))
    quiet = [
        sum(abs(a.value / r.case.exact - 1) > 0.5 for name, s in r.theirs.items() if name == VEGAS for a in s)
        for r in found
    ]
    claims.append(
        Claim("silent", "Answers off by more than 3 half-widths of their interval that do not say so.", silent,
              (silent, silent), n, 0.0, float(sum(quiet)),
              "vegas+: answers off by more than half of the value, this run", "answers", "lower")
    )  # fmt: skip
    if full:
        hits = sum(abs(m) <= 1 for m in misses)
        low, high = clopper_pearson(np.array(hits), len(misses), 0.95)
        claims.append(
            Claim("coverage", "Intervals at 95 % that hold the known value.", hits / len(misses),
                  (float(low), float(high)), len(misses), 0.92, None, "", "ratio", "higher")
        )  # fmt: skip
        shy = n - len(misses)
        low, high = clopper_pearson(np.array(shy), n, 0.95)
        claims.append(
            Claim("enough", "Runs that end without enough evidence.", shy / n, (float(low), float(high)), n, 0.05, None,
                  "", "ratio", "lower")
        )  # fmt: skip
    return claims


def _bars(found: Sequence[Runs]) -> Figure:
    from matplotlib.figure import Figure as Canvas

    names = list(dict.fromkeys(name for r in found for name in r.theirs))
    marks = dict(zip(names, ("o", "s", "D", "^", "v", "P"), strict=False))
    colors = dict(zip(names, (INK, *DATA[1:]), strict=False))
    rows = np.arange(len(found))
    with applied():
        canvas = Canvas(figsize=(7.2, 1.6 + 0.42 * len(found)), layout="constrained")
        ax = canvas.subplots()
        own = [math.sqrt(r.scores(OURS).mean()) for r in found]
        ax.scatter(own, rows, marker="*", s=130, color=DATA[0], label=OURS, zorder=4)
        for name in names:
            mine = [k for k, r in enumerate(found) if name in r.theirs]
            ax.scatter([math.sqrt(found[k].scores(name).mean()) for k in mine], mine, marker=marks[name], s=28,
                       color=colors[name], label=name, alpha=0.9, zorder=3)  # fmt: skip
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.set_yticks(rows, [r.case.name for r in found])
        ax.invert_yaxis()
        ax.set_xlabel("relative error × √evaluations (lower is better)")
        ax.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3)
    caption = "Root of the mean squared relative error times the evaluations used; an answer of 0 has relative error 1."
    return Figure(figures.svg(canvas), caption, "errors")


def _intervals(found: Sequence[Runs]) -> Figure:
    from matplotlib.figure import Figure as Canvas

    with applied():
        canvas = Canvas(figsize=(7.2, 1.2 + 0.42 * len(found)), layout="constrained")
        ax = canvas.subplots()
        ax.axvspan(-1, 1, color=DATA[2], alpha=0.15, lw=0)
        for k, r in enumerate(found):
            misses = np.array(r.misses())
            y = k + np.linspace(-0.25, 0.25, len(misses)) if len(misses) > 1 else np.full(len(misses), float(k))
            outside = np.abs(misses) > 1
            ax.scatter(np.clip(misses, -3.5, 3.5), y, s=14, c=[FAILED if o else DATA[0] for o in outside], linewidths=0)
            shy = len(r.ours) - len(misses)
            if shy:
                ax.annotate(f"{shy} without enough evidence", (3.6, k), ha="right", va="center", fontsize=8)
        ax.set_xlim(-3.7, 3.7)
        ax.set_yticks(np.arange(len(found)), [r.case.name for r in found])
        ax.invert_yaxis()
        ax.set_xlabel("(estimate - known value) / half-width of the interval at 95 %")
    caption = "Every run of metaloop. Between -1 and 1 the interval holds the known value; few may be outside."
    return Figure(figures.svg(canvas), caption, "intervals")


def _curves(chosen: Sequence[Case], budgets: Sequence[int]) -> Figure:
    from matplotlib.figure import Figure as Canvas

    with applied():
        canvas = Canvas(figsize=(7.2, 3.0), layout="constrained")
        for ax, case in zip(canvas.subplots(1, len(chosen)), chosen, strict=True):
            found = [measured(case, b, range(2)) for b in budgets]
            names = [n for n in peers(case) if n != "Sobol', 8 replicates"]
            for name, color in zip([OURS, *names], (DATA[0], INK, *DATA[1:]), strict=False):
                scores = [math.sqrt(r.scores(name).mean()) for r in found]
                used = [np.mean([a.evaluations for a in (r.ours if name == OURS else r.theirs[name])]) for r in found]
                ax.plot(used, np.array(scores) / np.sqrt(used), color=color, label=name, lw=2 if name == OURS else 1.2,
                        marker="o", ms=4 if name == OURS else 2.5)  # fmt: skip
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.minorticks_off()
            ax.set_title(case.name)
            ax.set_xlabel("evaluations")
        canvas.axes[0].set_ylabel("relative error")
        handles, labels = canvas.axes[-1].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside upper center", ncols=4)
    caption = "Relative error (root mean square of 2 runs) against the evaluations used; 1 is an answer of 0."
    return Figure(figures.svg(canvas), caption, "curves")
