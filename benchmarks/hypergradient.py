"""Hypergradients whose exact value is known: cost beside the inner solve, error, memory, and peers on the same data.

Ridge regression with a log-penalty for each feature, n = 2 d or more, of chosen condition number; the inner solver is
gradient descent, converged or not. Then up to a million outer variables (a logistic model with a weight for each
example), and an outer loop beside black-box optimizers that get as many inner solves.

Usage: python benchmarks/hypergradient.py [--peer-python .venv-bilevel/bin/python] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np

import metaloop as ml
from metaloop.bilevel import CG, Descent, Implicit, OuterDescent, Problem, Truncated, Unrolled, hypergradient, learn
from metaloop.bilevel.hypergradient import plan

PEERS = ("jaxopt", "jaxopt-scan", "torchopt", "torchopt-cg", "torch-cg", "torch-unrolled")


def ridge(n, d, condition, seed=0):
    """Data, penalties, and the exact gradient for u; condition None for a plain Gaussian design."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if condition is not None:
        left, _, right = np.linalg.svd(x, full_matrices=False)
        x = (left * np.sqrt(np.geomspace(1.0, 1 / condition, d) * n)) @ right
    w, xv = rng.normal(size=d), rng.normal(size=(n // 2, d))
    y, yv = x @ w + 0.5 * rng.normal(size=n), xv @ w + 0.5 * rng.normal(size=n // 2)
    u = np.full(d, -4.0 if condition is None else np.log(0.1 / condition))
    h = x.T @ x / n + np.diag(np.exp(u))
    best = np.linalg.solve(h, x.T @ y / n)
    exact = -np.linalg.solve(h, xv.T @ (xv @ best - yv) / len(yv)) * np.exp(u) * best
    edges = np.linalg.eigvalsh(h)[[0, -1]]
    data = {"X": x, "y": y, "Xv": xv, "yv": yv}
    return data, u, exact, edges


def single(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), tree)


def inner(w, u, d):
    r = d["X"] @ w - d["y"]
    return 0.5 * jnp.vdot(r, r) / r.size + 0.5 * jnp.vdot(jnp.exp(u) * w, w)


def outer(w, u, d):
    r = d["Xv"] @ w - d["yv"]
    return 0.5 * jnp.vdot(r, r) / r.size


def cpu_ms(run, repeats=5):
    """CPU milliseconds, several times, after one run; short ones are run many times within a repeat."""
    jax.block_until_ready(run())
    begun = time.process_time()
    jax.block_until_ready(run())
    times = max(1, int(0.05 / max(time.process_time() - begun, 1e-4)))
    out = []
    for _ in range(repeats):
        begun = time.process_time()
        for _ in range(times):
            jax.block_until_ready(run())
        out.append(1e3 * (time.process_time() - begun) / times)
    return out


def temporary(problem, method, u, w, data):
    made = jax.jit(lambda u, w, d: method.compute(problem, u, w, d))
    return made.lower(u, w, data).compile().memory_analysis().temp_size_in_bytes


def off(found, exact):
    return float(np.linalg.norm(np.asarray(found, float) - exact) / np.linalg.norm(exact))


def costs():
    print("\n| condition | inner steps | method | products (√κ) | solve (CPU ms) | total / solve "
          "| total / (solve + products) | relative error | in double precision | said | temp MB |")  # fmt: skip
    print("|---" * 11 + "|")
    for condition, steps, limit in (
        (None, 100, 40),
        (None, 1000, 40),
        (10, 1000, 20),
        (100, 1000, 100),
        (1e4, 1000, 2000),
        (1e4, 100_000, 2000),
    ):
        size = (2000, 1000) if condition is None else (1000, 500) if steps <= 1000 else (300, 150)
        double, v, exact, edges = ridge(*size, condition)
        data, u = single((double, v))
        w = jnp.zeros_like(u)
        problem = Problem(inner, outer, Descent(float(1 / edges[1]), steps=steps))
        solve = jax.jit(lambda u, w, d, p=problem: p.solver.solve(p.gradient(u, d), u, w)[0])
        product = jax.jit(lambda w, v, u, d, p=problem: jax.jvp(p.gradient(u, d), (w,), (v,))[1])
        alone = np.median(cpu_ms(lambda: solve(u, w, data), 5 if steps <= 1000 else 2))
        one = np.median(cpu_ms(lambda: product(w, w, u, data), 20))
        methods = {f"Implicit(CG({limit}))": Implicit(CG(limit))}
        if steps <= 1000:
            methods |= {
                "Unrolled()": Unrolled(),
                "Unrolled(checkpoint=True)": Unrolled(True),
                "Truncated(20)": Truncated(20),
            }
        for name, method in methods.items():
            h = hypergradient(problem, u, w, data=data, method=method, warn=False)
            fine = hypergradient(problem, v, np.zeros_like(v), data=double, method=method, warn=False)
            total = np.median(cpu_ms(lambda m=method: plan(problem, m)(u, w, data), 5 if steps <= 1000 else 2))
            said = ", ".join(f.kind for f in h.findings) or "sound"
            taken = int(plan(problem, method)(u, w, data).linear.products) if isinstance(method, Implicit) else 0
            kappa = edges[1] / edges[0]
            print(
                f"| {kappa:.3g} | {steps} | {name} | {taken or ''} ({np.sqrt(kappa):.0f}) | {alone:.1f} "
                f"| {total / alone:.3f} | {total / (alone + one * taken):.3f} | {off(h.gradient, exact):.1e} "
                f"| {off(fine.gradient, exact):.1e} | {said} | {temporary(problem, method, u, w, data) / 1e6:.2f} |",
                flush=True,
            )


def beside_peers(python, rounds):
    print("\n| inner steps | who | overhead over the solve (CPU ms), median [least, most] | / ours | relative error |")
    print("|---|---|---|---|---|")
    for steps in (100, 1000):
        data, u, exact, edges = ridge(2000, 1000, None)
        problem = Problem(inner, outer, Descent(float(1 / edges[1]), steps=steps))
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in.npz"
            a, v = single((data, u))
            np.savez(source, **jax.tree.map(np.asarray, a), u=np.asarray(v), rate=1 / edges[1], T=steps, exact=exact)
            w = jnp.zeros_like(v)
            solve = jax.jit(lambda u, w, d: problem.solver.solve(problem.gradient(u, d), u, w)[0])
            method = Implicit(CG(40))
            script = str(Path(__file__).parent / "bilevel_peers" / "hypergradient.py")
            for _ in range(rounds):
                alone, total = cpu_ms(lambda: solve(v, w, a)), cpu_ms(lambda: plan(problem, method)(v, w, a))
                gradient = plan(problem, method)(v, w, a).gradient
                found.setdefault("metaloop, CG(40)", []).append(
                    (np.median(total) - np.median(alone), off(gradient, exact))
                )
                for peer in PEERS if python else ():
                    said = json.loads(subprocess.run([python, script, str(source), "--peer", peer], check=True,
                                                     capture_output=True, text=True).stdout)  # fmt: skip
                    extra = np.median(said["total_cpu_ms"]) - np.median(said["solve_cpu_ms"])
                    found.setdefault(peer, []).append((extra, said["relative_error"]))
        mine = np.array([e for e, _ in found["metaloop, CG(40)"]])
        for name, rows in found.items():
            extra = np.array([e for e, _ in rows])
            print(f"| {steps} | {name} | {np.median(extra):.1f} [{extra.min():.1f}, {extra.max():.1f}] | "
                  f"{np.median(extra / mine):.1f} | {rows[0][1]:.1e} |", flush=True)  # fmt: skip


def memory():
    print("\n| method | temp bytes at 100 steps | at 10,000 | ratio |")
    print("|---|---|---|---|")
    data, u, _, edges = ridge(1000, 500, None)
    data, u = single((data, u))
    for name, method in {"Implicit(CG())": Implicit(), "Truncated(20)": Truncated(20), "Unrolled(checkpoint=True)":
                         Unrolled(True), "Unrolled()": Unrolled()}.items():  # fmt: skip
        made = [Problem(inner, outer, Descent(float(1 / edges[1]), steps=s)) for s in (100, 10_000)]
        sizes = [temporary(p, method, u, jnp.zeros_like(u), data) for p in made]
        print(f"| {name} | {sizes[0]:,} | {sizes[1]:,} | {sizes[1] / sizes[0]:.2f} |", flush=True)


def many():
    """A weight for each example of a least-squares model: the exact gradient by a direct solve."""
    print("\n| outer variables | inner steps | solve (CPU ms) | total / solve | products | relative error |")
    print("|---|---|---|---|---|---|")

    def weighted(w, u, d):
        r = d["X"] @ w - d["y"]
        return 0.5 * jnp.vdot(jax.nn.sigmoid(u) * r, r) / r.size + 5e-3 * jnp.vdot(w, w)

    for count, steps in ((1000, 1000), (100_000, 1000), (1_000_000, 100), (1_000_000, 1000)):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(count, 20)).astype(np.float32)
        truth = rng.normal(size=20)
        y = (x @ truth + rng.normal(size=count)).astype(np.float32)
        xv = rng.normal(size=(500, 20)).astype(np.float32)
        data = {"X": x, "y": y, "Xv": xv, "yv": (xv @ truth).astype(np.float32)}
        u = rng.normal(size=count).astype(np.float32)
        s = 1 / (1 + np.exp(-u.astype(float)))
        h = (x.astype(float).T * s) @ x / count + 1e-2 * np.eye(20)
        best = np.linalg.solve(h, (x.astype(float).T * s) @ y / count)
        v = np.linalg.solve(h, xv.T.astype(float) @ (xv @ best - data["yv"]) / 500)
        exact = -s * (1 - s) * (x @ best - y) * (x @ v) / count
        problem = Problem(weighted, outer, Descent(float(1 / np.linalg.eigvalsh(h)[-1]), steps=steps))
        a, uj = jax.tree.map(jnp.asarray, (data, u))
        w = jnp.zeros(20)
        solve = jax.jit(lambda u, w, d, p=problem: p.solver.solve(p.gradient(u, d), u, w)[0])
        method = Implicit(CG(20))
        alone, total = np.median(cpu_ms(lambda: solve(uj, w, a), 2)), np.median(cpu_ms(
            lambda: plan(problem, method)(uj, w, a), 2))  # fmt: skip
        h = hypergradient(problem, uj, w, data=a, method=method, warn=False)
        print(
            f"| {count:,} | {steps} | {alone:.1f} | {total / alone:.3f} | {h.products} "
            f"| {off(h.gradient, exact):.1e} |",
            flush=True,
        )


def logit(x):
    x = np.clip(x, 1e-4, 1 - 1e-4)
    return jnp.asarray(np.log(x / (1 - x)), jnp.float32)


def beside_black_boxes():
    print("\nRidge, penalties shared by groups of features: validation loss over the best of all after as many inner "
          "solves (95 % interval over 5 data sets)\n")  # fmt: skip
    print("| outer variables | inner solves | hypergradients | Auto | CMA-ES | random |")
    print("|---|---|---|---|---|---|")
    for groups, budget in ((2, 50), (20, 100), (200, 200)):
        rows = {name: [] for name in ("hypergradients", "Auto", "CMA-ES", "random")}
        for seed in range(5):
            data = single(ridge(150, 200, None, seed)[0])
            which = jnp.asarray(np.arange(200) % groups)

            def grouped(w, u, d, which=which):
                return inner(w, -8 + 9.5 * jax.nn.sigmoid(u)[which], d)

            problem = Problem(grouped, outer, Descent(0.15, steps=300))
            solve = jax.jit(lambda u, p=problem, d=data: p.outer_loss(
                p.solver.solve(p.gradient(u, d), u, jnp.zeros(200))[0], u, d))  # fmt: skip
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                recipe = OuterDescent(Implicit(CG(50, 1e-3)), rate=0.3, steps=budget, look=budget, warm=False)
                start = np.zeros(groups, np.float32)
                rows["hypergradients"].append(
                    learn(problem, start, np.zeros(200, np.float32), data=data, recipe=recipe).value
                )
                for name, recipe in (("Auto", ml.Auto()), ("CMA-ES", ml.CMAES()), ("random", ml.RandomSearch())):
                    found = ml.minimize(
                        lambda x: float(solve(logit(x))),
                        [(0.0, 1.0)] * groups,
                        budget=budget,
                        optimizer=recipe,
                        seed=seed,
                        noisy=False,
                        progress=False,
                    )
                    rows[name].append(found.value)
        best = np.min(list(rows.values()), axis=0)
        cells = []
        for values in rows.values():
            logs = np.log(np.array(values) / best)
            half = 1.96 * logs.std(ddof=1) / np.sqrt(len(logs))
            cells.append(
                f"{np.exp(logs.mean()):.3f} [{np.exp(logs.mean() - half):.3f}, {np.exp(logs.mean() + half):.3f}]"
            )
        print(f"| {groups} | {budget} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["costs", "peers", "memory", "many", "black-boxes"])
    given = parser.parse_args()
    for name, part in {"costs": costs, "peers": lambda: beside_peers(given.peer_python, given.rounds), "memory": memory,
                       "many": many, "black-boxes": beside_black_boxes}.items():  # fmt: skip
        if name in given.only:
            part()


if __name__ == "__main__":
    main()
