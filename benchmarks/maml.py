"""Meta-steps of MAML per CPU second, ours beside those of torch, and what the learned start and rates are worth.

The sinusoid of Finn et al. 2017: 2 x 40 net, 25 tasks of 10 + 10 points a meta-step, second order, Adam. Every engine
runs on one thread, one after the other and in several rounds, after compilation. Before that, all of them compute the
meta-gradient of the same weights and tasks, which must agree.

Usage: python benchmarks/maml.py [--peer-python .venv-bilevel/bin/python] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import numpy as np
import optax

from metaloop.bilevel import MAML, MetaCurvature, MetaSGD, fit
from metaloop.systems.few_shot.sinusoid import MODEL, errors, start, waves

PEERS = ("func", "func-compiled", "torch-batched", "torchopt", "higher")
TITLES = {
    "ours": "metaloop",
    "func": "torch.func",
    "func-compiled": "torch.func under torch.compile",
    "torch-batched": "torch, batched by hand",
    "torchopt": "TorchOpt",
    "higher": "higher",
}
CHUNK = 1000


def ours(steps: int, seconds: float) -> list[float]:
    """Meta-steps per CPU second, three times, after compilation."""
    recipe = MAML(steps=steps)
    warm = fit(recipe, MODEL, waves, meta_steps=CHUNK, chunk=CHUNK)
    rates = []
    for _ in range(3):
        begun, done = time.process_time(), len(warm.losses)
        while time.process_time() - begun < seconds / 3:
            more = len(warm.losses) + int(1000 * seconds)
            warm = fit(recipe, MODEL, waves, meta_steps=more - more % CHUNK, chunk=CHUNK, resume=warm)
        rates.append((len(warm.losses) - done) / (time.process_time() - begun))
    return rates


def gradient(steps: int, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The mean meta-gradient, in double precision."""
    with jax.enable_x64(True):
        params = [{"w": jax.numpy.asarray(given[f"w{i}"]), "b": jax.numpy.asarray(given[f"b{i}"])} for i in range(3)]
        tasks = ((given["xs"], given["ys"]), (given["xq"], given["yq"]))
        tasks = jax.tree.map(jax.numpy.asarray, tasks)

        def loss(variables: dict[str, Any]) -> Any:
            return jax.vmap(lambda task: MAML(steps=steps).judged(MODEL, variables, task))(tasks).mean()

        slope = jax.grad(loss)({"start": params})["start"]
        return {f"{name}{i}": np.asarray(slope[i][name]) for i in range(3) for name in "wb"}


def child(python: str, *arguments: str) -> str:
    """What a peer prints."""
    script = Path(__file__).parent / "bilevel_peers" / "maml.py"
    return subprocess.run([python, str(script), *arguments], check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    peers = PEERS if given.peer_python else ()

    if peers:
        key = jax.random.key(7)
        (xs, ys), (xq, yq) = waves(key)
        arrays = {f"{n}{i}": np.asarray(layer[n], float) for i, layer in enumerate(start(key)) for n in "wb"}
        arrays |= {k: np.asarray(v, float) for k, v in (("xs", xs), ("ys", ys), ("xq", xq), ("yq", yq))}
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
            np.savez(source, **arrays)
            for steps in (1, 5):
                mine = gradient(steps, arrays)
                for peer in peers:
                    child(
                        given.peer_python, "--engine", peer, "--steps", str(steps), "--gradient", str(source), str(out)
                    )
                    theirs = np.load(out)
                    apart = np.sqrt(sum(((theirs[k] - mine[k]) ** 2).sum() for k in mine))
                    apart /= np.sqrt(sum((v**2).sum() for v in mine.values()))
                    print(f"meta-gradient, {steps} inner steps: {TITLES[peer]} and ours differ by {apart:.1e}")

    print("\n| inner steps | engine | meta-steps per CPU s, best, worst | ours / it, median [least, most] |")
    print("|---|---|---|---|")
    for steps in (1, 5):
        rates: dict[str, list[list[float]]] = {name: [] for name in ("ours", *peers)}
        for _ in range(given.rounds):
            rates["ours"].append(ours(steps, given.seconds))
            for peer in peers:
                said = child(
                    given.peer_python, "--engine", peer, "--steps", str(steps), "--seconds", str(given.seconds)
                )
                rates[peer].append(json.loads(said)["meta_steps_per_cpu_s"])
        for name, found in rates.items():
            ratios = [np.median(a) / np.median(b) for a, b in zip(rates["ours"], found, strict=True)]
            flat = np.concatenate(found)
            print(f"| {steps} | {TITLES[name]} | {flat.max():.0f}, {flat.min():.0f} | {np.median(ratios):.1f} "
                  f"[{min(ratios):.1f}, {max(ratios):.1f}] |", flush=True)  # fmt: skip

    print("\n| 70,000 meta-steps | seed | CPU s, with compilation | error after 1 step | 5 steps | 10 steps |")
    print("|---|---|---|---|---|---|")
    falling = [optax.adam(optax.cosine_decay_schedule(rate, 70_000)) for rate in (3e-3, 6e-3)]
    clipped = optax.chain(optax.clip_by_global_norm(1.0), falling[1])
    rows: list[tuple[str, Any, tuple[int, ...], Any]] = [
        ("MAML, 1 step", MAML(), (1, 5, 10), None),
        ("MAML, judged after steps 1 and 2", MAML(2, every_step=True), (1, 5, 10), None),
        ("Meta-SGD, 1 step", MetaSGD(rate=0.05), (1,), falling[0]),
        ("Meta-Curvature, 1 step", MetaCurvature(rate=0.01), (1,), clipped),
    ]
    for name, recipe, steps, optimizer in rows:
        for seed in range(given.seeds):
            begun = time.process_time()
            fitted = fit(recipe, MODEL, waves, meta_steps=70_000, seed=seed, optimizer=optimizer)
            spent = time.process_time() - begun
            tested = errors(fitted, steps, 10_000, seed=999)
            means = [(tested.mean(k)[0], tested.mean(k)[0] - tested.mean(k)[1][0]) for k in steps]
            cells = " | ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in means)
            print(f"| {name} | {seed} | {spent:.1f} | {cells} {'| ' * (3 - len(steps))}|", flush=True)


if __name__ == "__main__":
    main()
