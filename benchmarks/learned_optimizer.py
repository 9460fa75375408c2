"""A learned optimizer beside Adam and SGD, on what it was trained for and on what it was not.

Meta-trained on nets with one hidden layer that read handwritten digits, for 200 steps. Tested on fresh ones, on five
times longer runs, deeper and wider nets, another activation, another data set (drawn characters) and regression. Adam's
and momentum's rates are found on the training problems with at least as many inner steps; a second row shows what they
reach with the best rate of each test, which nobody knows beforehand.

Usage: python benchmarks/learned_optimizer.py [--meta-steps 3000] [--seeds 3]
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metaloop.bilevel import PES, Inner, LearnedOptimizer, Unroll, course, meta_train
from metaloop.systems.few_shot.digits import digits

RATES = tuple(float(r) for r in np.geomspace(1e-4, 3.0, 24))
BATCH = 64


def net(sizes, activation):
    def init(key):
        keys = jax.random.split(key, len(sizes) - 1)
        return [{"w": jax.random.normal(k, (a, b)) / jnp.sqrt(a), "b": jnp.zeros(b)}
                for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)]  # fmt: skip

    def apply(params, x):
        for layer in params[:-1]:
            x = activation(x @ layer["w"] + layer["b"])
        return x @ params[-1]["w"] + params[-1]["b"]

    return init, apply


def classify(images, labels, sizes, activation=jnp.tanh):
    """Each problem has a fresh net and a random half of the data."""
    init, apply = net(sizes, activation)
    images, labels = jnp.asarray(images), jnp.asarray(labels)

    def begin(key):
        a, b = jax.random.split(key)
        return init(a), jax.random.choice(b, len(images), (len(images) // 2,), replace=False)

    def loss(params, chosen, key):
        rows = jax.random.choice(key, chosen, (BATCH,))
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, images[rows]), labels[rows]).mean()

    return Inner(begin, loss)


def sinusoids(sizes=(1, 40, 40, 1), activation=jnp.tanh):
    init, apply = net(sizes, activation)

    def begin(key):
        a, b, c = jax.random.split(key, 3)
        return init(a), (jax.random.uniform(b, (), minval=0.5, maxval=3.0), jax.random.uniform(c, (), maxval=6.28))

    def loss(params, data, key):
        x = jax.random.uniform(key, (BATCH, 1), minval=-3.0, maxval=3.0)
        return ((apply(params, x) - data[0] * jnp.sin(2 * x + data[1])) ** 2).mean() + 1e-3

    return Inner(begin, loss)


def score(curves):
    """Geometric mean of the loss along a run, shape (runs,), between 1e-6 and 10; a diverged run counts as 10."""
    return np.exp(np.log(np.clip(np.where(np.isfinite(curves), curves, 10.0), 1e-6, 10.0)).mean(1))


def sgd(rate):
    return optax.sgd(rate, momentum=0.9)


PEERS = {"Adam": optax.adam, "SGD, momentum 0.9": sgd}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meta-steps", type=int, default=3000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--horizon", type=int, default=200)
    given = parser.parse_args()
    from metaloop.systems.few_shot.characters import training

    data = digits()
    half = len(data.training_images) // 2
    known = (data.training_images[:half], data.training_labels[:half])
    other = (data.training_images[half:], data.training_labels[half:])
    drawn = training()
    rows = np.broadcast_to(np.arange(len(drawn.images))[:, None], drawn.images.shape[:2]).ravel()
    chosen = rows < 40
    small = drawn.images.reshape(-1, 28, 28)[chosen].reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(-1, 196)
    kind = classify(*known, (64, 32, 10))
    tests = {
        "as trained, other digits": (classify(*other, (64, 32, 10)), 200),
        "5 times longer": (classify(*other, (64, 32, 10)), 1000),
        "3 hidden layers of 64": (classify(*other, (64, 64, 64, 64, 10)), 200),
        "relu, 128 wide": (classify(*other, (64, 128, 10), jax.nn.relu), 200),
        "drawn characters, 40 classes": (classify(small, rows[chosen], (196, 64, 40)), 200),
        "sine regression": (sinusoids(), 200),
    }
    spent = given.meta_steps * 8 * 20 * 2
    tuning_runs = max(8, spent // (len(RATES) * given.horizon))
    print(
        f"inner steps: {spent:,} for a learned optimizer (PES), {len(RATES) * tuning_runs * given.horizon:,} for a rate"
    )
    tuned = {}
    for name, rule in PEERS.items():
        scores = [
            score(course(kind, rule, r, steps=given.horizon, runs=tuning_runs, seed=10_000)).mean() for r in RATES
        ]
        tuned[name] = RATES[int(np.argmin(scores))]
        print(f"{name}: rate {tuned[name]:.3g}")
    learned = {}
    for name, estimator in {"PES": PES(20), "unrolled": Unroll(20)}.items():
        for seed in range(given.seeds):
            begun = time.process_time()
            trained = meta_train(LearnedOptimizer(), kind, estimator=estimator, horizon=given.horizon,
                                 meta_steps=given.meta_steps, seed=seed)  # fmt: skip
            learned[name, seed] = trained
            print(f"{name} {seed}: {time.process_time() - begun:.0f} CPU s, skipped {trained.skipped}", flush=True)
    print("\nGeometric mean of the loss along 16 runs, over Adam's with its tuned rate: mean [95 % interval]; "
          "in brackets the number of runs that diverged\n")  # fmt: skip
    print("| test | Adam | " + " | ".join([*list(PEERS)[1:], *(f"{n}, best rate of the test" for n in PEERS),
          *(f"learned ({n}), {given.seeds} seeds" for n in ("PES", "unrolled"))]) + " |")  # fmt: skip
    print("|---" * (5 + len(PEERS)) + "|")
    for test, (problem, steps) in tests.items():
        run = {"steps": steps, "runs": 16, "seed": 7}
        base = score(course(problem, optax.adam, tuned["Adam"], **run))
        cells = [f"{base.mean():.4f}"]
        for name, rule in list(PEERS.items())[1:]:
            cells.append(ratio(score(course(problem, rule, tuned[name], **run)), base))
        for rule in PEERS.values():
            scores = [score(course(problem, rule, r, **run)) for r in RATES]
            cells.append(ratio(min(scores, key=np.mean), base))
        for name in ("PES", "unrolled"):
            curves = [course(problem, learned[name, s].recipe.rule, learned[name, s].weights, **run)
                      for s in range(given.seeds)]  # fmt: skip
            lost = sum(int((~np.isfinite(c[:, -1])).sum()) for c in curves)
            cells.append(ratio(np.mean([score(c) for c in curves], axis=0), base) + (f" ({lost})" if lost else ""))
        print(f"| {test} | " + " | ".join(cells) + " |", flush=True)


def ratio(ours, base):
    logs = np.log(ours / base)
    half = 1.96 * logs.std(ddof=1) / np.sqrt(len(logs))
    return f"{np.exp(logs.mean()):.2f} [{np.exp(logs.mean() - half):.2f}, {np.exp(logs.mean() + half):.2f}]"


if __name__ == "__main__":
    main()
