"""Numbers and figures of the system: intervals, claims, and what they look like."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from metaloop.optimizers.protocol import Decision
from metaloop.report import Claim
from metaloop.report.evidence import measured_and_predicted, observed_and_true
from metaloop.report.figures import svg
from metaloop.report.intervals import (
    Counts,
    Estimate,
    best_without_hindsight,
    clopper_pearson,
    crossover,
    interval,
    ratio_of_means,
)
from metaloop.report.maps import Cell, heat_map, projections
from metaloop.report.page import Figure
from metaloop.space import Array
from metaloop.study.assurance import trials_needed
from metaloop.systems.choosing.loop import CHOICES, Contest
from metaloop.systems.choosing.model import Boxes

_DEEPEST = math.log(4.0)  # a factor of four has the deepest color
_WORDS = {"Gaussian process": "GP", "CMA-ES": "CMA-ES", "every one": "grid", "random": "random", "Sobol": "Sobol'"}


# --- S1: grids ------------------------------------------------------------------------------------------------------


def grid_claims(counts: Mapping[tuple[int, int], Counts]) -> list[Claim]:
    """What a grid costs, and what it misses; from `inside_missed` of each (levels, settings)."""
    (levels, dim), (asked, *_) = max(counts.items(), key=lambda item: item[1][0])
    _, inside, random, tests = np.sum(list(counts.values()), axis=0)
    finest = max(levels for levels, _ in counts)
    return [
        Claim(
            "grid-cost", f"{levels} values for each of {dim} settings: configurations that a grid asks for.",
            asked, (asked, asked), asked, levels**dim, trials_needed(0.05),
            "RandomSearch: top 5 % with 95 % confidence; Brooks 1958", "trials", "higher",
        ),
        Claim(
            "grid-misses", f"Grids of 2 to {finest} values a setting against regions of up to 90 % of the space built "
            "for them: points inside.", inside, (inside, inside), tests, 0, random, "RandomSearch, as many points",
            "points", "lower",
        ),
    ]  # fmt: skip


def projection_claims(levels: int, dim: int, random: Sequence[tuple[float, float]]) -> list[Claim]:
    """How well each setting by itself is explored, at equal budgets.

    Args:
        levels, dim: of the grid.
        random: of each run of random search, the distinct values and the widest gap of a setting.
    """
    distinct, gaps = np.array(random).T
    n, gap = levels**dim, 1 / (levels - 1)
    ratio, ends = ratio_of_means(gaps, np.full(len(gaps), gap))
    return [
        Claim(
            "distinct-values", f"{n} trials in {dim} settings: distinct values of a setting that random search tries.",
            distinct.mean(), (distinct.min(), distinct.max()), len(distinct), n, levels,
            "GridSearch, as many trials; Bergstra & Bengio 2012", "values", "higher",
        ),
        Claim(
            "widest-gap", f"{n} trials in {dim} settings: the widest interval of a setting that random search leaves "
            "untried, as a multiple of the grid's.", ratio, ends, len(gaps), 1.0, 1.0,
            "GridSearch, as many trials", "ratio", "lower",
        ),
    ]  # fmt: skip


def projection_figure(points: dict[str, Array], region: Boxes) -> Figure:
    """The picture of Bergstra & Bengio 2012, with a region that the grid misses."""
    share = f"a good region, {100 * region.volume:.3g} % of all"
    drawn = projections(points, labels=("setting that matters", "setting that does not"),
                        boxes=(region.lower, region.upper), region=share)  # fmt: skip
    caption = (
        "The same number of trials on a grid and at random. Ticks on the sides are the values tried of each setting: "
        "the grid repeats a few, random search none, and so it falls into the good region between the grid's lines."
    )
    return Figure(svg(drawn), caption, "grid-and-random")


# --- S2: the law of random search -----------------------------------------------------------------------------------


def law(hits: dict[str, Counts], trials: Sequence[int], fraction: float, runs: int) -> tuple[Claim, Figure]:
    """Measured frequencies of a hit against 1 - (1 - α)^n.

    The claim's interval is simultaneous: with 95 % confidence no cell's true probability is further from the law than
    its upper end (Bonferroni over all cells).

    Args:
        hits: by shape, shape (m, number of spaces), out of `runs` each.
        trials, fraction: n, shape (m,), and α.
    """
    cells = sum(counts.size for counts in hits.values())
    predicted = 1.0 - (1.0 - fraction) ** np.array(trials, dtype=float)
    found = {
        shape: tuple(100 * np.array([c / runs, *clopper_pearson(c, runs, 1.0 - 0.05 / cells)]))
        for shape, c in hits.items()
    }
    off = np.concatenate([a - 100 * predicted[:, None] for a in found.values()], axis=2)  # (3, m, k)
    worst, surely = np.abs(off).max(axis=(1, 2)), np.maximum(off[1], -off[2]).max()
    share = f"{100 * fraction:.3g} %"
    claim = Claim(
        "random-law", f"n trials hit a region of {share} with probability 1 - (1 - α)^n whatever its shape: largest "
        "deviation.", worst[0], (max(surely, 0.0), worst[1:].max()), runs, 2.0, None, "", "percentage points", "lower",
    )  # fmt: skip
    drawn = measured_and_predicted(np.array(trials, dtype=float), 100 * predicted, found, x_label="trials",
                                   y_label="runs that hit the region (%)")  # fmt: skip
    caption = (
        f"{runs} runs of random search against regions of every shape, each {share} of its space; dots of a color are "
        "spaces of more and more settings. Below: percentage points off the prediction, with exact intervals that hold "
        "for all dots at once (95 %)."
    )
    return claim, Figure(svg(drawn), caption, "law-of-random-search")


# --- S3 and S4: the choice ------------------------------------------------------------------------------------------


def choice_claims(contest: Contest, *, full: bool) -> list[Claim]:
    """When the surrogate pays, what a ghost peak costs, and how well Auto chooses."""
    name, budgets, regret = contest.table.name, contest.budgets, contest.recommended
    gp, random = regret["GP"], regret["random"]

    def claim(what: str, says: str, found: Estimate, target: float, peer: str, better: str) -> Claim:
        return Claim(f"{what}-{name}", f"{name}. {says}", *found, gp.shape[-1], target, 1.0, peer, "ratio", better)

    claims = [
        claim("exact-signal", f"Exact signal, {budgets[-1]} trials: regret of the surrogate over random search's.",
              ratio_of_means(gp[-1, -1], random[-1, -1]), 1.0, "RandomSearch, this run", "lower"),
        claim("lucky-draw", f"Strongest noise, {budgets[-1]} trials of the Gaussian process: regret of the best single "
              "observation over the incumbent's.", ratio_of_means(contest.best_observed["GP"][0, -1], gp[0, -1]), 1.0,
              "the study's incumbent, this run", "higher"),
    ]  # fmt: skip
    if not full:
        return claims
    chased = [j for j, budget in enumerate(budgets) if budget >= 10]  # the first trials only fill the space
    ghost = ratio_of_means(contest.best_visited["GP"][0, chased], contest.best_visited["random"][0, chased])
    shift = crossover(budgets, gp[0], random[0]) / crossover(budgets, gp[-1], random[-1])
    best = np.stack([_best(contest, *cell)[1] for cell in np.ndindex(gp.shape[:2])])
    return [
        *claims,
        claim("ghost-peak", "Strongest noise: the Gaussian process chases a ghost peak, so that random search has been "
              "at a better configuration; regret of the best one visited, geometric mean over the budgets.",
              ghost, 1.0, "RandomSearch, this run", "higher"),
        claim("crossover", "Noise delays the crossover: trials from which the Gaussian process stays ahead of random "
              "search, strongest noise over exact signal.", interval(shift), 1.0, "exact signal, this run", "higher"),
        claim("auto-regret", f"Auto in {len(best)} cells of budget and noise: its regret over that of the best choice "
              "in each, geometric mean.", ratio_of_means(regret["Auto"].reshape(best.shape), best), 1.25,
              "the best of grid, random and GP, picked on other seeds", "lower"),
    ]  # fmt: skip


def choice_figures(contest: Contest) -> list[Figure]:
    """The crossover map, a ghost peak, and what Auto did."""
    table, name, regret = contest.table, contest.table.name, contest.recommended
    levels, budgets, seeds = (range(n) for n in regret["Auto"].shape)

    def draw(panels: dict[str, Callable[[int, int], Cell]], sides: tuple[str, str]) -> str:
        noise = ["exact" if k is None else f"{table.holdouts[k]} (σ {table.noise(k):.2f})" for k in contest.levels]
        drawn = heat_map(
            {title: [[cell(i, j) for j in budgets] for i in levels] for title, cell in panels.items()},
            rows=noise, columns=[str(b) for b in contest.budgets], sides=sides, framed="the interval excludes a tie",
            bound=_DEEPEST, x_label="budget (trials)", y_label="validation cases (noise σ)",
        )  # fmt: skip
        return svg(drawn)

    def ratio(above: Array, below: Array, note: str = "") -> Cell:
        found, (low, high) = ratio_of_means(above, below)
        return Cell(math.log(found), f"{note}{found:.2f}\n{low:.2f} to {high:.2f}", not low <= 1.0 <= high)

    def surrogate(of: dict[str, Array]) -> Callable[[int, int], Cell]:
        return lambda i, j: ratio(of["GP"][i, j], of["random"][i, j])

    def auto(i: int, j: int) -> Cell:
        winner, best = _best(contest, i, j)
        used = Counter(in_short(contest.auto[i, j, k]) for k in seeds).most_common(1)[0][0]
        return ratio(regret["Auto"][i, j], best, f"{used} (best: {winner})\n")

    crossing = {
        "recommended: the study's incumbent": surrogate(regret),
        "recommended: the best single observation": surrogate(contest.best_observed),
    }
    return [
        Figure(
            draw(crossing, ("Gaussian process better", "random search better")),
            f"{name}: mean regret of the Gaussian process over that of random search, with bootstrap 95 % intervals "
            f"over {len(seeds)} paired seeds. The noise is that of real validation sets of so many cases; σ is in "
            "units of regret, the range from the median to the best configuration.",
            f"crossover-{name}",
        ),
        _ghost(contest),
        Figure(
            draw({"Auto": auto}, ("Auto better", "the best choice better")),
            f"{name}: what Auto used, which choice had the least regret, and Auto's mean regret over that of the best "
            "choice, which was picked on other seeds than it is scored on.",
            f"auto-{name}",
        ),
    ]


def in_short(decisions: Sequence[Decision]) -> str:
    """The methods that some decisions name."""
    text = " ".join(d.chosen for d in decisions)
    return " + ".join(short for words, short in _WORDS.items() if words in text) or "?"


def _best(contest: Contest, level: int, budget: int) -> tuple[str, Array]:
    return best_without_hindsight({name: contest.recommended[name][level, budget] for name in CHOICES})


def _ghost(contest: Contest) -> Figure:
    """The run whose best observation is as much too good as the median run's: a typical one, not the worst."""
    table, shown = contest.table, {}
    for choice, title in (("GP", "Gaussian process"), ("random", "random search")):
        runs = contest.runs[choice]
        gaps = [table.truth[r.visited[r.observed.argmin()]] - r.observed.min() for r in runs]
        run = runs[int(np.argsort(gaps)[len(gaps) // 2])]
        marked = {"best observation": int(run.observed.argmin()), "incumbent": run.incumbents[-1]}
        shown[title] = (run.observed, table.truth[run.visited], marked)
    drawn = observed_and_true(shown, best=float(table.truth.min()), x_label="trial", y_label=f"loss ({table.name})")
    caption = (
        f"{table.name}: what each trial showed on {table.holdouts[0]} validation cases and what its configuration is "
        "really worth, in a typical run: the one with the median gap between the two at its best observation."
    )
    return Figure(svg(drawn), caption, f"ghost-peak-{table.name}")
