"""Numbers and figures: how little it takes after learning to learn, on sine waves, characters and wrong labels."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaloop.report import figures
from metaloop.report.claims import Claim, SystemReport
from metaloop.report.page import Figure
from metaloop.report.style import DATA, INK, applied
from metaloop.systems import RunOptions
from metaloop.systems.few_shot import characters, cleaning, loop, peers, prototypes, sinusoid
from metaloop.systems.few_shot.digits import digits

_SHOWN = 1.96


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        waves: meta-steps on sine waves; `tested`: fresh tasks.
        drawn: steps of the prototypical network; `meta`: meta-steps of ANIL, 5-way, 0 to leave it out.
        episodes: of each kind on unseen characters.
        scratch: of them that are also trained from scratch.
        cleanings: random splits of the digits; `outer`: steps of each.
    """

    waves: int
    tested: int
    drawn: int
    meta: int
    episodes: int
    scratch: int
    cleanings: int
    outer: int


SIZES = {
    "quick": Size(6_000, 2000, 100, 0, 100, 2, 1, 60),
    "full": Size(70_000, 10_000, 1500, 1000, 600, 20, 5, 200),
}

TEXT = (
    "Sine waves: a net sees ten points of a wave of unknown amplitude and phase, takes a few gradient steps and is "
    "judged on others. MAML learns the start of those steps; Meta-Curvature also a rate for each weight, and matrices "
    "that mix the gradient of each layer.",
    "Characters: from one drawing of each of some characters that nobody has shown before, tell who is who in other "
    "drawings. Learned on five alphabets (Omniglot's small set, with turned, mirrored and distorted characters as "
    "more), tested on three others and on Lake's 20 published runs. All methods see images brought to one place and "
    "size.",
    "Digits: half of the training labels are drawn at random. A weight for each example is learned by differentiating "
    "the loss on a few hundred clean examples through the training; then nets trained alike on different examples are "
    "compared.",
    "How far this goes: with the strong weight decay that a search on clean examples would find, the corrupted "
    "baseline is nearly as good as the oracle, and there is little left to close (benchmarks/hypercleaning.py).",
)


def run(options: RunOptions) -> SystemReport:
    """The system: see `metaloop.systems`."""
    size, full = SIZES[options.size], options.size == "full"
    drawn: list[Figure] = []
    claims = _waves(size, options, drawn, full) + _characters(size, options, drawn, full)
    claims += _cleanings(size, options, drawn)
    return SystemReport("few-shot", options.size, claims, 0.0, drawn, TEXT)


# --- sine waves ---------------------------------------------------------------------------------------------------


def _waves(size: Size, options: RunOptions, drawn: list[Figure], full: bool) -> list[Claim]:
    options.progress(0.0, "sine waves: MAML")
    maml = loop.learn_waves(size.waves, options.seed)
    options.progress(0.12, "sine waves: learned rates")
    rates = loop.learn_waves(size.waves, options.seed, rates=True)
    errors = sinusoid.errors(maml, (0, 1, 5, 10), size.tested, seed=options.seed + 999)
    errors_rates = sinusoid.errors(rates, (0, 1), size.tested, seed=options.seed + 999)
    drawn.append(_wave_figure(maml, rates))
    source = "MAML in a prototype, same setting, 2,000 tasks: 0.319, 0.131, 0.105"
    claims = []
    if full:
        for steps, target, reference in ((1, 0.335, 0.319), (5, 0.141, 0.131), (10, 0.112, 0.105)):
            value, ends = errors.mean(steps)
            says = f"Sine waves: mean squared error {steps} step{'s' * (steps > 1)} after ten points were seen, MAML."
            claims.append(Claim(f"sine-{steps}", says, value, ends, size.tested, target, reference, source,
                                "squared amplitude", "lower"))  # fmt: skip
        options.progress(0.24, "sine waves: MAML again, on one thread, for its time")
        seconds = _seconds(size.waves, options.seed)
        says = f"CPU seconds of {size.waves:,} meta-steps on one thread, compilation included."
        claims.append(Claim("sine-seconds", says, seconds, (seconds, seconds), 1, 45.0, 41.0, "the same prototype", "s",
                            "lower"))  # fmt: skip
    else:
        gain = errors.after[1] / np.maximum(errors.after[0], 1e-9)
        value, ends = _mean_log(gain)
        says = "Sine waves: squared error after one step over that before, MAML, geometric mean."
        claims.append(
            Claim("sine-gain", says, value, ends, size.tested, 0.6, 1.0, "no adaptation, this run", "ratio", "lower")
        )
    value, ends = errors_rates.mean(1)
    says = "Sine waves: squared error after one step with learned rates (Meta-Curvature)."
    claims.append(
        Claim("sine-rates", says, value, ends, size.tested, 0.15 if full else 0.6, errors.mean(1)[0], "MAML, this run",
              "squared amplitude", "lower")
    )  # fmt: skip
    return claims


_MEASURED = """
import sys, time
from metaloop.systems.few_shot import loop
begun = time.process_time()
loop.learn_waves(int(sys.argv[1]), int(sys.argv[2]))
print(time.process_time() - begun)
"""


def _seconds(meta_steps: int, seed: int) -> float:
    """CPU seconds of learning waves, in a process whose only thread does all the arithmetic."""
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _MEASURED, str(meta_steps), str(seed)]
    return float(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _mean_log(ratios: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    logs = np.log(np.maximum(ratios, 1e-12))
    half = _SHOWN * logs.std(ddof=1) / math.sqrt(len(logs))
    return math.exp(logs.mean()), (math.exp(logs.mean() - half), math.exp(logs.mean() + half))


def _wave_figure(maml: Any, rates: Any) -> Figure:
    import jax
    from matplotlib.figure import Figure as Canvas

    x = np.linspace(-5, 5, 200, dtype=np.float32)[:, None]
    (xs, ys), _ = sinusoid.waves(jax.random.key(12), 2)
    with applied():
        canvas = Canvas(figsize=(7.2, 2.9), layout="constrained")
        axes = canvas.subplots(1, 2, sharey=True)
        for k, ax in enumerate(axes):
            support = (xs[k], ys[k])
            wave = np.asarray(ys[k])[:, 0], np.asarray(xs[k])[:, 0]
            ax.scatter(wave[1], wave[0], color=INK, s=22, zorder=4, label="the ten points")
            for fitted, steps, color, dash, label in (
                (maml, 0, DATA[3], ":", "before any step"), (maml, 1, DATA[0], "--", "MAML, 1 step"),
                (maml, 10, DATA[0], "-", "MAML, 10 steps"), (rates, 1, DATA[1], "-", "learned rates, 1 step"),
            ):  # fmt: skip
                shown = np.asarray(sinusoid.predict(fitted.adapt(support, steps), x))[:, 0]
                ax.plot(x[:, 0], shown, dash, color=color, label=label)
            ax.set_xlabel("input")
        axes[0].set_ylabel("value")
        canvas.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=8)
    caption = "Two waves that the meta-learners have not seen."
    return Figure(figures.svg(canvas), caption, "waves")


# --- characters ---------------------------------------------------------------------------------------------------


def _characters(size: Size, options: RunOptions, drawn: list[Figure], full: bool) -> list[Claim]:
    options.progress(0.25, "characters: prototypical network")
    known, new = characters.training().normalized(), characters.unseen().normalized()
    lake = characters.lake_runs().normalized()
    rng = np.random.default_rng(options.seed)
    tests = {
        "5-way": characters.sample(new, rng, way=5, queries=3, episodes=size.episodes),
        "20-way": characters.sample(new, rng, way=20, queries=3, episodes=max(20, size.episodes // 4)),
        "Lake's runs": lake,
    }
    learned = prototypes.train(known, seed=options.seed, settings=prototypes.Settings(steps=size.drawn))
    errors: dict[str, dict[str, NDArray[np.float64]]] = {
        "nearest neighbor, pixels": {k: e.error(peers.nearest_neighbor(e, blur=1.5)) for k, e in tests.items()},
        "prototypical network": {k: e.error(learned.classify(e)) for k, e in tests.items()},
    }
    options.progress(0.5, "characters: from scratch")
    few = {k: e[slice(0, size.scratch if k != "Lake's runs" or not full else None)] for k, e in tests.items()}
    scratch = {k: e.error(peers.from_scratch(e, seed=options.seed)) for k, e in few.items()}
    errors = {"trained from scratch": scratch, **errors}
    if size.meta:  # its head has as many outputs as the tasks have classes, so it learns one number of them
        options.progress(0.6, "characters: ANIL")
        fitted = loop.learn_characters(known, 5, size.meta, options.seed)[1]
        errors["ANIL"] = {"5-way": tests["5-way"].error(loop.classify(fitted, tests["5-way"]))}
    drawn.append(_character_figure(errors))
    best, nearest = errors["prototypical network"], errors["nearest neighbor, pixels"]
    claims = [_error_claim("unseen-5", "Unseen characters, 5-way one-shot: errors.", best["5-way"], nearest["5-way"],
                           0.1 if full else 0.25)]  # fmt: skip
    if full:
        claims.append(_error_claim("unseen-20", "Unseen characters, 20-way one-shot: errors.", best["20-way"],
                                   nearest["20-way"], 0.25))  # fmt: skip
        claims.append(_error_claim("lake", "Lake's 20 runs, 20-way one-shot within an alphabet: errors.",
                                   best["Lake's runs"], nearest["Lake's runs"], 0.23))  # fmt: skip
    return claims


def _interval(each: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
    half = _SHOWN * each.std(ddof=1) / math.sqrt(len(each))
    return float(each.mean()), (float(each.mean() - half), float(each.mean() + half))


def _error_claim(id: str, says: str, ours: NDArray[np.float64], theirs: NDArray[np.float64], target: float) -> Claim:
    value, ends = _interval(ours)
    peer = "nearest neighbor on normalized pixels, this run"
    return Claim(id, says, value, ends, len(ours), target, float(theirs.mean()), peer, "ratio", "lower")


def _character_figure(errors: dict[str, dict[str, NDArray[np.float64]]]) -> Figure:
    from matplotlib.figure import Figure as Canvas

    tests = list(next(iter(errors.values())))
    with applied():
        canvas = Canvas(figsize=(7.2, 3.2), layout="constrained")
        ax = canvas.subplots()
        width = 0.8 / len(errors)
        for k, (name, found) in enumerate(errors.items()):
            rows = [(i, *_interval(found[t])) for i, t in enumerate(tests) if t in found]
            at = [i + (k - (len(errors) - 1) / 2) * width for i, _, _ in rows]
            ax.bar(at, [100 * v for _, v, _ in rows], width * 0.9, color=DATA[k % len(DATA)], label=name,
                   yerr=[100 * (e[1] - v) for _, v, e in rows], error_kw={"ecolor": INK, "lw": 1})  # fmt: skip
        ax.set_xticks(
            np.arange(len(tests)), ["unseen alphabets,\n5-way", "unseen alphabets,\n20-way", "Lake's 20 runs,\n20-way"]
        )
        ax.set_ylabel("errors (%)")
        ax.set_ylim(0)
        canvas.legend(loc="outside upper center", ncols=len(errors), fontsize=8)
    caption = (
        "One drawing of each character is known. Guessing errs in 80 and 95 %. Lines are 95 % intervals over episodes."
    )
    return Figure(figures.svg(canvas), caption, "characters")


# --- wrong labels -------------------------------------------------------------------------------------------------


def _cleanings(size: Size, options: RunOptions, drawn: list[Figure]) -> list[Claim]:
    setting = cleaning.Setting(outer=size.outer)
    data, found = digits(), list[cleaning.Cleaned]()
    for k in range(size.cleanings):
        options.progress(0.7 + 0.3 * k / size.cleanings, "digits: hyper-cleaning")
        found.append(cleaning.measure(data, setting, options.seed + k))
    drawn.append(_cleaning_figure(found))
    if len(found) < 2:  # one random split has no interval
        return []
    closed = np.array([c.closed for c in found])
    value, ends = _interval(closed)
    n = len(found[0].weights)
    says = f"Digits, half of the labels drawn at random: share of the gap closed by {n:,} learned weights."
    return [Claim("cleaning", says, value, ends, len(found), 0.8, None, "", "ratio", "higher")]


def _cleaning_figure(found: Sequence[cleaning.Cleaned]) -> Figure:
    from matplotlib.figure import Figure as Canvas

    with applied():
        canvas = Canvas(figsize=(7.2, 2.9), layout="constrained")
        left, right = canvas.subplots(1, 2)
        one, edges = found[0], np.linspace(0, 1, 26)
        left.hist(one.weights[~one.bad], edges, color=DATA[0], alpha=0.7, label="right label")
        left.hist(one.weights[one.bad], edges, color=DATA[1], alpha=0.7, label="wrong label")
        left.set_xlabel("learned weight of an example")
        left.set_ylabel("examples")
        left.set_yscale("log")
        left.legend(loc="upper center")
        rows = {"all examples as they are": "baseline", "clean ones alone": "clean_only", "learned weights": "ours",
                "right labels only": "oracle"}  # fmt: skip
        for k, (label, name) in enumerate(rows.items()):
            values = [100 * getattr(c, name) for c in found]
            right.scatter(values, np.full(len(values), k), color=DATA[0] if name == "ours" else INK, s=24, alpha=0.8)
            right.annotate(f"{np.mean(values):.1f}", (np.mean(values), k), xytext=(0, 7), textcoords="offset points",
                           ha="center", fontsize=8)  # fmt: skip
            rows[label] = name
        right.set_yticks(range(len(rows)), list(rows))
        right.margins(x=0.15)
        right.set_ylim(-0.6, len(rows) - 0.3)
        right.set_xlabel("test accuracy (%)")
    caption = (
        "Left: the weights of one run. Right: nets trained alike on different examples; each point is a random split."
    )
    return Figure(figures.svg(canvas), caption, "cleaning")
