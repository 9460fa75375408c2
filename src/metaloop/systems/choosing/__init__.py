"""Choosing the tool: grid search, random search or a surrogate, and why the choice is itself the problem.

`metaloop system choosing`. The rooms: `model` (regions of exact volume, and a real model's tuning table), `loop` (the
optimizers put to the question), `report` (intervals, claims, figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metaloop.report import SystemReport
from metaloop.systems import RunOptions, System
from metaloop.systems.choosing import report
from metaloop.systems.choosing.loop import contest, distinct_and_gap, grid, hit_counts, inside_missed, random_points
from metaloop.systems.choosing.model import Best, cube, missed_region, shapes, tuning_table

_FRACTION = 1 / 16  # of the good regions: 192 of the 3072 configurations of svm-digits, exactly
_TRIALS = (1, 2, 5, 10, 20, 47, 80)  # 47 put the best into the top sixteenth with 95 % confidence
_SHARES = (0.01, 0.05, 0.25, 0.9)  # of the space, that a grid is made to miss

TEXT = (
    "A grid tries every combination of a few values per setting, random search independent points, a surrogate (here a "
    "Gaussian process) the point where it expects most. This run measures what each is worth, on regions of exactly "
    "known volume and on a real model.",
    "svm-digits: 3072 configurations of three settings of a support vector machine on handwritten digits. At full size "
    "also boosting-diabetes: 2000 configurations of four settings of gradient-boosted trees on the progression of "
    "diabetes. Each was trained and validated on many random splits: their mean is the truth, and what a search "
    "sees is one split at random, on a validation set of so many cases. All noise is real.",
    "Regret is a configuration's distance from the best one, as a share of that of the median one; what the table "
    "cannot tell from 0 counts as its standard error. The incumbent is what the library recommends: the best posterior "
    "mean where it knows of noise. Auto is not told whether there is any.",
)


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        meshes: (levels, settings) of the grids.
        dims: numbers of settings of the regions.
        runs: of random search for the projections; a hundred times as many for the law.
        tables: to search, with the number of paired seeds of each.
        levels: of the noise, the strongest first: which validation set of a table; None for the truth.
        budgets: numbers of trials, increasing.
    """

    meshes: tuple[tuple[int, int], ...]
    dims: tuple[int, ...]
    runs: int
    tables: dict[str, int]
    levels: tuple[int | None, ...]
    budgets: tuple[int, ...]


SIZES = {
    "quick": Size(((2, 10), (3, 6), (5, 6), (10, 4), (101, 2), (10_001, 1)), (2, 6), 400,
                  {"svm-digits": 24}, (0, 2, None), (5, 10, 20, 40)),
    "full": Size(((2, 16), (3, 10), (5, 8), (10, 5), (301, 2), (20_001, 1)), (2, 3, 6), 2000,
                 {"svm-digits": 80, "boosting-diabetes": 40}, (0, 1, 2, 3, None), (5, 10, 20, 40, 80)),
}  # fmt: skip


def measure(size: Size, options: RunOptions) -> SystemReport:
    """The report at any size; claims that need the full one are left out of a quick one."""
    seed, progress = options.seed, options.progress
    progress(0.0, "grids asked for all their points")
    claims = report.grid_claims({mesh: inside_missed(*mesh, _SHARES, seed) for mesh in size.meshes})
    spread = [distinct_and_gap(random_points(3, 4**3, seed + k)) for k in range(size.runs)]
    claims += report.projection_claims(4, 3, spread)
    points = {"grid: 8 values of each setting": grid(8, 2), "random: 64 values of each": random_points(2, 64, seed)}
    figures = [report.projection_figure(points, missed_region(8, 2, 0.1))]

    progress(0.05, "regions hit at random")
    runs, real = 100 * size.runs, tuning_table("svm-digits")
    hits = [hit_counts(cube(d), shapes(d, _FRACTION, levels=5), _TRIALS, runs, seed) for d in size.dims]
    by_shape = {shape: np.stack([h[shape] for h in hits], axis=1) for shape in hits[0]}
    best = {"best of svm-digits": Best(real, round(_FRACTION * len(real.truth)))}
    by_shape |= {name: h[:, None] for name, h in hit_counts(real.space, best, _TRIALS, runs, seed).items()}
    claim, figure = report.law(by_shape, _TRIALS, _FRACTION, runs)
    claims.append(claim)
    figures.append(figure)

    share = 0.9 / len(size.tables)
    for k, (name, seeds) in enumerate(size.tables.items()):

        def part(done: float, doing: str, begun: float = 0.1 + share * k) -> None:
            progress(begun + share * done, doing)

        found = contest(tuning_table(name), size.levels, size.budgets, range(seed, seed + seeds), part)
        claims += report.choice_claims(found, full=options.size == "full")
        figures += report.choice_figures(found)
    return SystemReport("choosing", options.size, claims, 0.0, figures, TEXT)


SYSTEM = System(
    "choosing",
    "a grid misses what random search finds, a surrogate pays where the signal allows it, and the library chooses",
    (
        "Brooks (1958): A discussion of random methods for seeking maxima. Operations Research 6.",
        "Bergstra & Bengio (2012): Random search for hyper-parameter optimization. JMLR 13.",
        "Jones, Schonlau & Welch (1998): Efficient global optimization of expensive black-box functions. Journal of "
        "Global Optimization 13.",
        "Clopper & Pearson (1934): The use of confidence or fiducial limits. Biometrika 26.",
        "Data: handwritten digits (Alpaydin & Kaynak 1998, UCI, CC BY 4.0) and diabetes progression (Efron, Hastie, "
        "Johnstone & Tibshirani 2004), both as bundled with scikit-learn; tables by benchmarks/make_tuning_table.py.",
    ),
    lambda options: measure(SIZES[options.size], options),
)

__all__ = ["SIZES", "SYSTEM", "Size", "contest", "hit_counts", "measure", "missed_region", "shapes", "tuning_table"]
