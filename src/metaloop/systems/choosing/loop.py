"""The outer loop: the library's own optimizers and studies, put to the questions of S1 to S4."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metaloop.optimizers.gaussian_process import GaussianProcess
from metaloop.optimizers.grid import GridSearch
from metaloop.optimizers.protocol import AnyOptimizer, Decision
from metaloop.optimizers.random import RandomSearch
from metaloop.report.intervals import Counts
from metaloop.selection.auto import Auto
from metaloop.space import Array, Space
from metaloop.study import Study
from metaloop.systems.choosing.model import Region, TuningTable, cube, missed_region

_BLOCK = 2000  # runs of random search held at a time
CHOICES = ("grid", "random", "GP")


def grid(levels: int, dim: int) -> Array:
    """Every point that `GridSearch` asks for in the unit cube, in order, shape (n, dim)."""
    recipe = GridSearch(levels=levels)
    rows, _ = recipe.ask(recipe.init(cube(dim), 0), levels**dim + 1)  # one more than there should be
    return rows


def random_points(dim: int, n: int, seed: int) -> Array:
    """The first n points that `RandomSearch` asks for in the unit cube, shape (n, dim)."""
    return RandomSearch().ask(RandomSearch().init(cube(dim), seed), n)[0]


def inside_missed(levels: int, dim: int, fractions: Sequence[float], seed: int) -> Counts:
    """Ask a grid for all its points, and see which of them, and of random ones, lie in regions built to be missed.

    Returns:
        configurations that the grid asked for, those inside a region, as many random points inside a region, and
        points times regions; shape (4,).
    """
    points, regions = grid(levels, dim), [missed_region(levels, dim, fraction) for fraction in fractions]
    searched = points, random_points(dim, len(points), seed)
    inside = [sum(int(region.contains(rows).sum()) for region in regions) for rows in searched]
    return np.array([len(points), *inside, len(points) * len(regions)])


def distinct_and_gap(points: Array) -> tuple[float, float]:
    """How many values of a setting differ, and the widest interval without any: means over the columns of points."""
    ordered = np.sort(points, axis=0)
    walls = np.concatenate([np.zeros((1, points.shape[1])), ordered, np.ones((1, points.shape[1]))])
    steps = np.diff(walls, axis=0)
    return float((1 + (steps[1:-1] > 0).sum(axis=0)).mean()), float(steps.max(axis=0).mean())


def hit_counts(
    space: Space, regions: Mapping[str, Region], trials: Sequence[int], runs: int, seed: int
) -> dict[str, Counts]:
    """How many of so many independent runs of random search hit each region.

    Args:
        space, regions: to search, and to hit, by name.
        trials: m numbers, increasing: a run is as long as the last, and is looked at after each.
        runs, seed: of random search.

    Returns:
        by region, shape (m,).
    """
    hits = {name: np.zeros(len(trials), dtype=np.intp) for name in regions}
    recipe = RandomSearch()
    state = recipe.init(space, seed)
    for begin in range(0, runs, _BLOCK):
        block = min(_BLOCK, runs - begin)
        rows, state = recipe.ask(state, block * trials[-1])
        for name, region in regions.items():
            inside = region.contains(rows).reshape(block, trials[-1])
            first = np.where(inside.any(axis=1), inside.argmax(axis=1), trials[-1])
            hits[name] += (first[:, None] < np.array(trials)).sum(axis=0)
    return hits


@dataclass(frozen=True)
class Run:
    """One search through a table.

    Attributes:
        visited: number of the configuration of each trial, shape (n,).
        observed: what the trials showed, shape (n,).
        incumbents: the trial that the study recommends after each of the budgets.
        decisions: the optimizer's own, if it explains itself.
    """

    visited: Counts
    observed: Array
    incumbents: tuple[int, ...]
    decisions: tuple[Decision, ...]


def search(
    table: TuningTable,
    optimizer: AnyOptimizer,
    level: int | None,
    seed: int,
    budgets: Sequence[int],
    *,
    noisy: bool | None = None,
) -> Run:
    """Search a table by a study.

    Args:
        table: to search.
        optimizer: a recipe.
        level: of the noise, see `TuningTable.objective`.
        seed: of the search and of the noise.
        budgets: numbers of trials after which a recommendation is asked for, increasing; the last is planned for.
        noisy: what the study is told of the objective; None to let it judge.
    """
    study = Study(space=table.space, seed=seed, optimizer=optimizer, budget=budgets[-1])
    loss = table.objective(level, seed)
    incumbents = []
    for budget in budgets:
        while len(study.trials) < budget and (asked := study.ask_many(1)):
            study.tell(asked[0], loss(asked[0].config))
        best = study.incumbent(noisy)
        assert best is not None
        incumbents.append(best.trial)
    visited = table.index(np.array([t.row for t in study.trials]))
    observed = np.array([t.value for t in study.trials])
    return Run(visited, observed, tuple(incumbents), study.why().decisions)


@dataclass(frozen=True)
class Contest:
    """The choices and Auto on one table.

    Regrets are by contestant, of shape (levels, budgets, seeds); what the table cannot tell from 0 is its resolution.

    Attributes:
        table: which was searched.
        levels: noise levels, the strongest first; None is the truth itself.
        budgets: numbers of trials, increasing.
        recommended: regret of what the study recommends.
        best_observed: of the best single observation.
        best_visited: the least regret among the configurations visited.
        auto: decisions of Auto, by (level, budget, seed).
        runs: those of the strongest noise and the largest budget, by choice, one a seed.
    """

    table: TuningTable
    levels: tuple[int | None, ...]
    budgets: tuple[int, ...]
    recommended: dict[str, Array]
    best_observed: dict[str, Array]
    best_visited: dict[str, Array]
    auto: dict[tuple[int, int, int], tuple[Decision, ...]]
    runs: dict[str, list[Run]]


def contest(
    table: TuningTable,
    levels: Sequence[int | None],
    budgets: Sequence[int],
    seeds: Sequence[int],
    progress: Callable[[float, str], None],
) -> Contest:
    """Grid, random search, the Gaussian process and Auto; those with one seed see the same draws of the noise.

    Random search and the Gaussian process do not read the budget, so each budget is a point on their way; the grid
    and Auto do, and run anew for each. Auto alone is not told whether there is noise.
    """
    shape = (len(levels), len(budgets), len(seeds))
    recommended, observed, visited = ({n: np.empty(shape) for n in (*CHOICES, "Auto")} for _ in range(3))
    found = Contest(table, tuple(levels), tuple(budgets), recommended, observed, visited, {}, {n: [] for n in CHOICES})

    def file(name: str, run: Run, i: int, columns: Sequence[int], k: int) -> None:
        for j, trial in zip(columns, run.incumbents, strict=True):
            regret = np.maximum(table.regret(run.visited[: budgets[j]]), table.resolution)
            recommended[name][i, j, k] = regret[trial]
            observed[name][i, j, k] = regret[run.observed[: budgets[j]].argmin()]
            visited[name][i, j, k] = regret.min()
        if i == 0 and name in CHOICES and columns[-1] == len(budgets) - 1:
            found.runs[name].append(run)

    for k, seed in enumerate(seeds):
        for i, level in enumerate(levels):
            progress((k + i / len(levels)) / len(seeds), f"{table.name} searched, seed {k + 1} of {len(seeds)}")
            noisy = level is not None
            for name, recipe in (("random", RandomSearch()), ("GP", GaussianProcess())):
                file(name, search(table, recipe, level, seed, budgets, noisy=noisy), i, range(len(budgets)), k)
            for j, budget in enumerate(budgets):
                side = max(2, int(budget ** (1 / table.space.dim) + 1e-9))
                lattice = GridSearch(levels=side, shuffle=True)
                file("grid", search(table, lattice, level, seed, [budget], noisy=noisy), i, [j], k)
                run = search(table, Auto(), level, seed, [budget])
                file("Auto", run, i, [j], k)
                found.auto[i, j, k] = run.decisions
    return found
