"""How good are TPE's choices? Ours beside Optuna's and Rustuna's TPE and random search, paired, from one run.

    python benchmarks/tpe_quality.py [--peer-python /path/to/python] [--seeds 10] [--keep FOLDER] [--quick]

Problems: cross-validated losses of scikit-learn models on wine, Friedman's function and nested Gaussian shells,
tabulated once and interpolated between the grid's nodes; two-level pipelines; interacting categories; ragged functions
and plateaus of real numbers; some of them with noise. None of them had a part in choosing TPE's defaults. The tables,
and what the other samplers did, are kept in FOLDER. Printed: the normalized regret (0 = optimum, 1 = the median of
random points) of the best point as observed, free of noise, as the mean over problems and seeds; and the ratio ours /
other with a 95 % bootstrap interval (problems are drawn, then seeds within them, the same for both).
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import datetime
import itertools
import json
import math
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from metaloop.space import Array, Categorical, Choice, Config, Float, Int, Space

OURS = "metaloop TPE()"
RANDOM = "random search"
PEERS = ("Optuna TPESampler()", "Optuna TPESampler(multivariate=True, group=True)", "Rustuna TPESampler()")
MARKS = (50, 100, 200)
NOISE = 0.1  # standard deviation, where there is noise, as a share of median minus optimum


@dataclass(frozen=True)
class Problem:
    """A loss over configurations.

    Attributes:
        loss: free of noise.
        best: its minimum.
        typical: its median over random points.
        noise: standard deviation of what is told.
    """

    name: str
    space: Space
    loss: Callable[[Config], float]
    best: float
    typical: float
    noise: float = 0.0


def problem(name: str, space: Space, loss: Callable[[Config], float], best: float = 0.0) -> Problem:
    rows = space.sample(np.random.default_rng(0), 1000)
    return Problem(name, space, loss, best, float(np.median([loss(c) for c in space.decode(rows)])))


def noisy(clean: Problem) -> Problem:
    return replace(clean, name=f"{clean.name}, noisy", noise=NOISE * (clean.typical - clean.best))


# --- real losses ---------------------------------------------------------------------------------------------------

# Model -> its parameters and, for each, the values at which it is tabulated.
GRIDS: dict[str, dict[str, tuple[Any, list[Any]]]] = {
    "neighbors": {
        "k": (Int(1, 50, log=True), [1, 2, 3, 4, 5, 7, 9, 13, 20, 32, 50]),
        "weights": (Categorical(["uniform", "distance"]), ["uniform", "distance"]),
        "p": (Int(1, 2), [1, 2]),
    },
    "boosting": {
        "rate": (Float(0.02, 0.64, log=True), [0.02, 0.04, 0.08, 0.16, 0.32, 0.64]),
        "depth": (Int(1, 4), [1, 2, 3, 4]),
        "share": (Categorical([0.5, 1.0], ordered=True), [0.5, 1.0]),
        "trees": (Int(1, 64, log=True), [1, 2, 4, 8, 16, 32, 64]),
    },
    "network": {
        "width": (Int(2, 32, log=True), [2, 4, 8, 16, 32]),
        "alpha": (Float(1e-4, 10.0, log=True), [1e-4, 1e-2, 1.0, 10.0]),
        "rate": (Float(1e-3, 0.3, log=True), [1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3]),
        "activation": (Categorical(["relu", "tanh"]), ["relu", "tanh"]),
    },
    "rbf": {
        "alpha": (Float(1e-5, 10.0, log=True), np.logspace(-5, 1, 9).tolist()),
        "gamma": (Float(1e-4, 1.0, log=True), np.logspace(-4, 0, 9).tolist()),
    },
    "laplacian": {
        "alpha": (Float(1e-5, 10.0, log=True), np.logspace(-5, 1, 9).tolist()),
        "gamma": (Float(1e-4, 1.0, log=True), np.logspace(-4, 0, 9).tolist()),
    },
    "polynomial": {
        "alpha": (Float(1e-5, 10.0, log=True), np.logspace(-5, 1, 9).tolist()),
        "gamma": (Float(1e-4, 1.0, log=True), np.logspace(-4, 0, 9).tolist()),
        "degree": (Int(2, 4), [2, 3, 4]),
    },
}
DATA = {
    "wine": ("neighbors", "boosting", "network"),
    "shells": ("neighbors", "boosting"),
    "friedman": ("neighbors", "boosting", "rbf", "laplacian", "polynomial"),
}


def tabulate(path: Path) -> None:
    """Cross-validated losses at every node of the grids; takes a minute or two."""
    from sklearn.datasets import load_wine, make_friedman1, make_gaussian_quantiles
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.metrics import log_loss
    from sklearn.model_selection import KFold
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    warnings.simplefilter("ignore")
    data = {
        "wine": load_wine(return_X_y=True),
        "shells": make_gaussian_quantiles(n_samples=300, n_features=5, n_classes=3, random_state=0),
        "friedman": make_friedman1(n_samples=150, n_features=8, noise=1.0, random_state=0),
    }

    def estimator(name: str, model: str, s: dict[str, Any]) -> Any:
        if model == "neighbors":
            kind = KNeighborsRegressor if name == "friedman" else KNeighborsClassifier
            return kind(s["k"], weights=s["weights"], p=s["p"])
        if model == "boosting":
            kind = GradientBoostingRegressor if name == "friedman" else GradientBoostingClassifier
            return kind(learning_rate=s["rate"], max_depth=s["depth"], subsample=s["share"], n_estimators=64,
                        random_state=0)  # fmt: skip
        if model == "network":
            return MLPClassifier(s["width"], activation=s["activation"], alpha=s["alpha"],
                                 learning_rate_init=s["rate"], max_iter=40, random_state=0)  # fmt: skip
        return KernelRidge(alpha=s["alpha"], kernel=model, gamma=s["gamma"], degree=s.get("degree", 3))

    def loss(name: str, y: Array, out: Array) -> float:
        if name == "friedman":
            return math.log(np.mean((y - out) ** 2))
        clipped = np.clip(out, 0.01, 1.0)
        if name == "wine":
            return float(log_loss(y, clipped / clipped.sum(axis=1, keepdims=True)))
        return float((out.argmax(axis=1) != y).mean())

    tables = {}
    for name, models in DATA.items():
        x, y = data[name]
        folds = list(KFold(3, shuffle=True, random_state=0).split(x))
        y = (y - y.mean()) / y.std() if name == "friedman" else y
        for model in models:
            grids = {k: values for k, (_, values) in GRIDS[model].items()}
            trees = grids.pop("trees", None)
            cells = []
            for node in itertools.product(*grids.values()):
                per_fold = []
                for train, test in folds:
                    scaler = StandardScaler().fit(x[train])
                    fitted = estimator(name, model, dict(zip(grids, node, strict=True)))
                    fitted.fit(scaler.transform(x[train]), y[train])
                    points = scaler.transform(x[test])
                    method = "predict" if name == "friedman" else "predict_proba"
                    if trees is None:
                        per_fold.append([loss(name, y[test], getattr(fitted, method)(points))])
                    else:
                        staged = list(getattr(fitted, f"staged_{method}")(points))
                        per_fold.append([loss(name, y[test], staged[t - 1]) for t in trees])
                cells.append(np.mean(per_fold, axis=0))
            shape = [len(values) for _, values in GRIDS[model].values()]
            tables[f"{name}/{model}"] = np.array(cells).reshape(shape)
    np.savez(path, **tables)


def interpolated(model: str, table: Array) -> Callable[[Config], float]:
    """The table as a function of a configuration, multilinear between its nodes: the minimum is at a node."""
    axes = []
    for name, (parameter, values) in GRIDS[model].items():
        scale = math.log if getattr(parameter, "log", False) else float
        axes.append((name, None if isinstance(parameter, Categorical) else scale, values))

    def at(config: Config) -> float:
        out: Any = table
        for name, scale, values in axes:
            if scale is None:
                out = out[values.index(config[name])]
                continue
            place = float(np.interp(scale(config[name]), [scale(v) for v in values], range(len(values))))
            low = min(int(place), len(values) - 2)
            out = out[low] + (place - low) * (out[low + 1] - out[low])
        return float(out)

    return at


def real(path: Path) -> list[Problem]:
    tables, out = np.load(path), []
    for name, models in DATA.items():
        inner = {m: Space({k: parameter for k, (parameter, _) in GRIDS[m].items()}) for m in models}
        at = {m: interpolated(m, tables[f"{name}/{m}"]) for m in models}
        lows = {m: float(tables[f"{name}/{m}"].min()) for m in models}
        choice = Space(model=Choice(inner))
        out.append(problem(name, choice, lambda c, at=at: at[c["model"]](c), min(lows.values())))
        if name != "shells":
            out.append(problem(f"{name}, boosting only", inner["boosting"], at["boosting"], lows["boosting"]))
    return [*out, noisy(out[0]), noisy(out[3])]


# --- made-up losses, each with its minimum of 0 known --------------------------------------------------------------


def pipeline(seed: int) -> Problem:
    """Two stages, each one of several methods with settings of its own; some settings have settings."""
    rng = np.random.default_rng([1, seed])

    def stage(methods: int) -> tuple[Choice, Callable[[str, Config], float]]:
        spaces: dict[str, Space | None] = {}
        terms: dict[str, Any] = {}
        prices = rng.permutation(np.append(0.0, np.sort(rng.uniform(0.05, 0.6, methods - 1))))
        for i in range(methods):
            a, b, m = f"a{i}", f"b{i}", f"mode{i}"
            spaces[f"m{i}"] = Space({
                a: Float(1e-3, 10.0, log=True), m: Categorical(["plain", "tuned"]), b: Int(1, 9, when={m: "tuned"}),
            })  # fmt: skip
            terms[f"m{i}"] = (a, b, m, rng.uniform(-2.5, 0.5), int(rng.integers(1, 10)), rng.uniform(0.02, 0.2))
        price = dict(zip(spaces, prices.tolist(), strict=True))

        def cost(method: str, c: Config) -> float:
            a, b, m, at, value, gain = terms[method]
            mode = gain if c[m] == "plain" else gain * min(1.5, abs(c[b] - value) / 4)
            return price[method] + 0.1 * (math.log10(c[a]) - at) ** 2 + mode

        return Choice(spaces), cost

    (first, cost1), (second, cost2) = stage(4), stage(3)
    # The second stage's names differ from the first's, so that one configuration can hold both.
    renamed = Choice({k: Space({f"{n}'": _renamed(p) for n, p in s.parameters.items()}) for k, s in
                      second.spaces.items() if s is not None})  # fmt: skip
    space = Space(first=first, second=renamed)

    def loss(c: Config) -> float:
        other = {k.removesuffix("'"): v for k, v in c.items() if k.endswith("'")}
        return cost1(c["first"], c) + cost2(c["second"], other)

    return problem(f"pipeline {seed}", space, loss)


def _renamed(parameter: Any) -> Any:
    when = {f"{k}'": list(v) for k, v in parameter.when}
    return replace(parameter, when=when or None)


def interactions(seed: int, categories: int = 5, values: int = 4) -> Problem:
    """Categories that act in pairs, and two real numbers whose best place depends on the first category."""
    rng = np.random.default_rng([2, seed])
    pairs = {(i, j): rng.exponential(0.2, (values, values)) for i in range(categories) for j in range(i)}
    places = rng.uniform(0.1, 0.9, (values, 2))

    def coupling(code: tuple[int, ...]) -> float:
        return float(sum(table[code[i], code[j]] for (i, j), table in pairs.items()))

    best = min(map(coupling, itertools.product(range(values), repeat=categories)))
    space = Space({f"c{i}": Categorical(list(range(values))) for i in range(categories)}
                  | {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})  # fmt: skip

    def loss(c: Config) -> float:
        code = tuple(c[f"c{i}"] for i in range(categories))
        return coupling(code) - best + float(((np.array([c["x"], c["y"]]) - places[code[0]]) ** 2).sum())

    return problem(f"interactions {seed}", space, loss)


def continuous(kind: str, dim: int, seed: int) -> Problem:
    """Real numbers only: a rotated, ragged funnel, or plateaus."""
    rng = np.random.default_rng([3, dim, seed])
    at = rng.uniform(0.1, 0.9, dim)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    scale = 10 ** (1.5 * rng.permutation(dim) / (dim - 1))

    def loss(c: Config) -> float:
        x = np.fromiter(c.values(), float, dim) - at
        if kind == "funnel":
            z = turn @ x
            return float(1 - math.exp(-3 * math.sqrt(np.mean(z**2))) + 0.1 * np.mean(1 - np.cos(12 * z)))
        return float((scale * np.round(8 * x) ** 2).sum() + 0.01 * np.abs(x).sum())

    return problem(f"{kind} {dim}", Space({f"x{j}": Float(0.0, 1.0) for j in range(dim)}), loss)


def problems(path: Path) -> list[Problem]:
    made = [pipeline(0), pipeline(1), interactions(0), continuous("funnel", 5, 0), continuous("plateaus", 8, 0),
            continuous("funnel", 20, 0)]  # fmt: skip
    return [*real(path), *made, noisy(made[2])]


# --- runs ----------------------------------------------------------------------------------------------------------


def regrets(p: Problem, suggest: Callable[[], tuple[Any, Config]], tell: Callable[[Any, float], None], seed: int,
            budget: int) -> list[float]:  # fmt: skip
    """Normalized regret of the best point as observed, at each of the marks."""
    rng, seen, true = np.random.default_rng([seed, 1]), [], []
    for _ in range(budget):
        handle, config = suggest()
        true.append(p.loss(config))
        seen.append(true[-1] + p.noise * rng.standard_normal())
        tell(handle, seen[-1])
    return [(true[int(np.argmin(seen[:m]))] - p.best) / (p.typical - p.best) for m in MARKS if m <= budget]


def run_ours(name: str, p: Problem, seed: int, budget: int) -> list[float]:
    from metaloop.optimizers import TPE, RandomSearch

    optimizer: Any = TPE() if name == OURS else RandomSearch()
    state = optimizer.init(p.space, seed)

    def suggest() -> tuple[Any, Config]:
        nonlocal state
        points, state = optimizer.ask(state, 1)
        return points, p.space.decode(points)[0]

    def tell(points: Any, value: float) -> None:
        nonlocal state
        state = optimizer.tell(state, points, [value])

    return regrets(p, suggest, tell, seed, budget)


def suggested(trial: Any, space: Space) -> Config:
    """One configuration, parameter by parameter, as Optuna's and Rustuna's users ask for it."""
    numbers: dict[int, float] = {}
    config = {}
    for j, column in enumerate(space.columns):
        if all(numbers.get(parent) in allowed for parent, allowed in column.conditions):
            q = column.parameter
            if isinstance(q, Categorical):
                value: Any = trial.suggest_categorical(column.label, list(q.choices))
            elif isinstance(q, Int):
                value = trial.suggest_int(column.label, q.low, q.high, log=q.log)
            else:
                value = trial.suggest_float(column.label, q.low, q.high, log=q.log)
            numbers[j] = float(q.numbers(column.label, [value])[0])
            config[column.name] = value
    return config


def peer_study(name: str, seed: int) -> Any:
    if name == PEERS[2]:
        import rustuna

        return rustuna.create_study(sampler=rustuna.samplers.TPESampler(seed=seed))
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = {"multivariate": True, "group": True} if name == PEERS[1] else {}
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, **settings))


def run_peer(name: str, p: Problem, seed: int, budget: int) -> list[float]:
    study = peer_study(name, seed)

    def suggest() -> tuple[Any, Config]:
        trial = study.ask()
        return trial.number, suggested(trial, p.space)

    return regrets(p, suggest, study.tell, seed, budget)


def child(name: str, tables: Path, seeds: int, budget: int) -> None:
    """Print one JSON line: regrets, shape (problems, seeds, marks), and versions; or what is missing."""
    from importlib.metadata import PackageNotFoundError, version

    warnings.simplefilter("ignore")
    package = "metaloop" if name in (OURS, RANDOM) else name.split()[0].lower()
    try:
        versions = {k: version(k) for k in (package, "numpy")}
    except PackageNotFoundError:
        print(json.dumps({"missing": package}))
        return
    run = run_ours if name in (OURS, RANDOM) else run_peer
    out = [[run(name, p, seed, budget) for seed in range(seeds)] for p in problems(tables)]
    print(json.dumps({"regrets": out, "versions": versions}))


# --- the table -----------------------------------------------------------------------------------------------------


def ratios(ours: Array, other: Array, draws: int = 2000) -> Array:
    """Ratio of mean regrets: (value, low, high) for each mark, shape (marks, 3); shapes (problems, seeds, marks)."""
    rng, (p, s, _) = np.random.default_rng(0), ours.shape
    drawn = []
    for _ in range(draws):
        i, j = rng.integers(p, size=(p, 1)), rng.integers(s, size=(p, s))
        drawn.append(ours[i, j].mean(axis=(0, 1)) / other[i, j].mean(axis=(0, 1)))
    center = ours.mean(axis=(0, 1)) / other.mean(axis=(0, 1))
    return np.column_stack([center, *np.quantile(drawn, [0.025, 0.975], axis=0)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has optuna and rustuna")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "metaloop_tpe_quality")
    parser.add_argument("--quick", action="store_true", help="two seeds, 50 evaluations")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seeds, budget = (2, MARKS[0]) if options.quick else (options.seeds, MARKS[-1])
    tables = options.keep / "tables.npz"
    if options.child:
        child(options.child, tables, seeds, budget)
        return
    options.keep.mkdir(parents=True, exist_ok=True)
    if not tables.exists():
        tabulate(tables)
    marks = [m for m in MARKS if m <= budget]
    found: dict[str, Array] = {}
    versions: dict[str, str] = {}
    for name in (OURS, *PEERS, RANDOM):
        kept = options.keep / f"{name}, {seeds} seeds, {budget} evaluations.json"
        if name == OURS or not kept.exists():
            python = sys.executable if name in (OURS, RANDOM) else options.peer_python
            command = [python, __file__, "--child", name, "--keep", str(options.keep), "--seeds", str(seeds)]
            done = subprocess.run(command + ["--quick"] * options.quick, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr}")
            kept.write_text(done.stdout.splitlines()[-1])
        out = json.loads(kept.read_text())
        if "missing" in out:
            print(f"{name}: not installed")
            continue
        found[name], versions = np.array(out["regrets"]), versions | out["versions"]
    names = [p.name for p in problems(tables)]
    print(f"Mean normalized regret over {len(names)} problems and {seeds} seeds, and ratio ours / other [95 %]; "
          f"{datetime.date.today()}\n")  # fmt: skip
    print("| sampler | " + " | ".join(f"{m} | ratio" for m in marks) + " |\n|---|" + "---|---|" * len(marks))
    for name, r in found.items():
        versus = ratios(found[OURS], r)
        cells = [f"{mean:.4f} | {v:.2f} [{low:.2f}, {high:.2f}]" for mean, (v, low, high) in
                 zip(r.mean(axis=(0, 1)), versus, strict=True)]  # fmt: skip
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\nBy problem, after {marks[-1]} evaluations:\n\n| problem | " + " | ".join(found) + " |")
    print("|---|" + "---|" * len(found))
    for i, name in enumerate(names):
        print(f"| {name} | " + " | ".join(f"{r[i, :, -1].mean():.4f}" for r in found.values()) + " |")
    print("\n" + ", ".join(f"{k} {v}" for k, v in sorted(versions.items())))


if __name__ == "__main__":
    main()
