"""A peer of `benchmarks/hypergradient.py`, run as a child in an environment of its own: one ridge hypergradient.

The inner loss is 0.5 / n |X w - y|² + 0.5 Σ exp(u) w², minimized by `T` steps of gradient descent from 0; the outer loss
0.5 / m |Xv w - yv|². Reads the arrays from an .npz, prints one JSON object with CPU milliseconds of the inner solve alone
and of solve and hypergradient, and the relative error against the exact gradient.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import numpy as np

REPEATS = 5
PRODUCTS = 20


def timed(run):
    """CPU milliseconds, several times."""
    out = []
    for _ in range(REPEATS):
        begun = time.process_time()
        run()
        out.append(1e3 * (time.process_time() - begun))
    return out


def by_jaxopt(d, implicit):
    import jax
    import jax.numpy as jnp
    import jaxopt

    a = {k: jnp.asarray(d[k]) for k in ("X", "y", "Xv", "yv")}
    u, steps, rate = jnp.asarray(d["u"]), int(d["T"]), float(d["rate"])

    def inner(w, u, a):
        r = a["X"] @ w - a["y"]
        return 0.5 * jnp.vdot(r, r) / r.size + 0.5 * jnp.vdot(jnp.exp(u) * w, w)

    solver = jaxopt.GradientDescent(inner, stepsize=rate, maxiter=steps, tol=0.0, acceleration=False,
                                    implicit_diff=implicit)  # fmt: skip

    def solve(u, a):
        return solver.run(jnp.zeros_like(u), u, a).params

    def outer(u, a):
        r = a["Xv"] @ solve(u, a) - a["yv"]
        return 0.5 * jnp.vdot(r, r) / r.size

    alone, both = jax.jit(solve), jax.jit(jax.grad(outer))
    jax.block_until_ready((alone(u, a), both(u, a)))
    temp = both.lower(u, a).compile().memory_analysis().temp_size_in_bytes
    return (lambda: jax.block_until_ready(alone(u, a))), (lambda: np.asarray(both(u, a))), temp


def by_torch(d, method):
    import torch

    torch.set_num_threads(1)
    x, y, xv, yv, u = (torch.from_numpy(d[k]) for k in ("X", "y", "Xv", "yv", "u"))
    steps, rate = int(d["T"]), float(d["rate"])

    def slope(w, u):
        return x.T @ (x @ w - y) / len(y) + torch.exp(u) * w

    def solve(u):
        w = torch.zeros_like(u)
        for _ in range(steps):
            w = w - rate * slope(w, u)
        return w

    def alone():
        with torch.no_grad():
            return solve(u)

    def outer(w):
        r = xv @ w - yv
        return 0.5 * (r @ r) / len(yv)

    def unrolled():
        v = u.clone().requires_grad_()
        return torch.autograd.grad(outer(solve(v)), v)[0].numpy()

    def cg():
        w = alone().requires_grad_()
        v = u.clone().requires_grad_()
        b = torch.autograd.grad(outer(w), w)[0]
        g = slope(w, v)

        def product(p):
            return torch.autograd.grad(g, w, p, retain_graph=True)[0]

        z, r = torch.zeros_like(b), b.clone()
        p, left = r.clone(), r @ r
        for _ in range(PRODUCTS):
            h = product(p)
            alpha = left / (p @ h)
            z, r = z + alpha * p, r - alpha * h
            now = r @ r
            p, left = r + now / left * p, now
        return -torch.autograd.grad(g, v, z)[0].numpy()

    def by_torchopt():
        import torchopt

        def optimality(w, u):
            return slope(w, u)

        @torchopt.diff.implicit.custom_root(optimality, argnums=1)
        def solver(w, u):
            with torch.no_grad():
                return solve(u)

        v = u.clone().requires_grad_()
        return torch.autograd.grad(outer(solver(torch.zeros_like(u), v)), v)[0].numpy()

    return alone, {"torch-unrolled": unrolled, "torch-cg": cg, "torchopt": by_torchopt}[method], None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--peer", required=True, choices=["jaxopt", "jaxopt-unrolled", "torchopt", "torch-unrolled",
                                                          "torch-cg"])  # fmt: skip
    given = parser.parse_args()
    d = dict(np.load(given.source))
    made = by_jaxopt(d, given.peer == "jaxopt") if given.peer.startswith("jaxopt") else by_torch(d, given.peer)
    alone, both, temp = made
    found = both()
    error = float(np.linalg.norm(found - d["exact"]) / np.linalg.norm(d["exact"]))
    print(json.dumps({"peer": given.peer, "solve_cpu_ms": timed(alone), "total_cpu_ms": timed(both),
                      "relative_error": error, "temp_bytes": temp}))  # fmt: skip


if __name__ == "__main__":
    main()
