"""Hypergradients of a ridge regression in JAXopt, TorchOpt and PyTorch: time, memory and error.

    python hypergradient.py in.npz --peer jaxopt

The inner loss is w -> |X w - y|² / 2n + Σ exp(u) w² / 2, the outer loss |Xv w - yv|² / 2m, both in float32; the inner
solver is gradient descent from w = 0, T steps at a fixed rate. The hypergradient is the outer loss's gradient in u.
in.npz holds X (n, d), y (n,), Xv (m, d), yv (m,), u (d,), rate, T and exact, the hypergradient to compare with.

Peers:
    jaxopt          jaxopt.GradientDescent, implicit differentiation, its default linear solver (CG, normal equations)
    jaxopt-unroll   the same solver, implicit_diff=False: its own unrolled loop, which keeps a copy of X for each step
    jaxopt-scan     the same solver's update under jax.lax.scan: differentiated through its steps without these copies
    torchopt        torchopt.diff.implicit.custom_root, its default linear solver (CG, normal equations)
    torchopt-cg     the same with torchopt.linear_solve.solve_cg: the Hessian is symmetric and positive
    torch-unrolled  autograd through the steps
    torch-cg        at most 20 steps of conjugate gradients on Hessian products by autograd

In torch, a step is written out, two products with X and in one expression; nothing is recorded during the solve, except
by torch-unrolled. One line of JSON: CPU milliseconds of the inner solve alone (nothing recorded, whatever the peer) and
of the whole hypergradient, five repeats of each after a warm-up (a repeat is the mean of as many calls as 50 ms hold);
the error relative to exact, 2-norm; for JAXopt, the bytes of temporaries of the compiled hypergradient. One thread.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

REPEATS, REPEAT_SECONDS, CG_STEPS = 5, 0.05, 20


class Problem(NamedTuple):
    """The arrays of in.npz, in float32; of a peer's own type once it has them."""

    x: Any
    y: Any
    xv: Any
    yv: Any
    u: Any
    rate: float
    steps: int


class Peer(NamedTuple):
    solve: Callable[[], Any]
    hypergradient: Callable[[], Any]
    temp_bytes: int | None = None


def jaxopt_peer(problem: Problem, name: str) -> Peer:
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    import jax

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # JAXopt is no longer maintained, it says
        import jaxopt
    jnp = jax.numpy
    x, y, xv, yv, u = (jax.device_put(a) for a in problem[:5])

    def inner(w: Any, u: Any, x: Any, y: Any) -> Any:
        return 0.5 / len(y) * jnp.sum((x @ w - y) ** 2) + 0.5 * jnp.sum(jnp.exp(u) * w**2)

    implicit = name == "jaxopt"
    descent = jaxopt.GradientDescent(
        inner, stepsize=problem.rate, maxiter=problem.steps, tol=0, acceleration=False, implicit_diff=implicit
    )

    def solution(u: Any, x: Any, y: Any) -> Any:
        first = jnp.zeros_like(u)
        if name != "jaxopt-scan":
            return descent.run(first, u, x, y).params

        def step(carry: Any, _: None) -> tuple[Any, None]:
            return descent.update(*carry, u, x, y), None

        begin = jaxopt.OptStep(first, descent.init_state(first, u, x, y))
        return jax.lax.scan(step, begin, length=problem.steps)[0].params

    def outer(u: Any, x: Any, y: Any, xv: Any, yv: Any) -> Any:
        return 0.5 / len(yv) * jnp.sum((xv @ solution(u, x, y) - yv) ** 2)

    solve = jax.jit(solution)
    compiled = jax.jit(jax.grad(outer)).lower(u, x, y, xv, yv).compile()
    return Peer(
        lambda: solve(u, x, y).block_until_ready(),
        lambda: compiled(u, x, y, xv, yv).block_until_ready(),
        compiled.memory_analysis().temp_size_in_bytes,
    )


class Torch:
    """What the PyTorch peers share: the problem's tensors, losses and solver."""

    def __init__(self, problem: Problem):
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        self.x, self.y, self.xv, self.yv, self.u = (torch.from_numpy(a) for a in problem[:5])
        self.rate, self.steps, self.n = problem.rate, problem.steps, len(problem.y)

    def descend(self, u: Any) -> Any:
        """The inner solution; recorded if u is."""
        torch, xt = self.torch, self.x.T
        shrink, w = 1 - self.rate * u.exp(), torch.zeros_like(u)
        for _ in range(self.steps):
            residual = torch.addmv(self.y, self.x, w, beta=-1)
            w = torch.addmv(shrink * w, xt, residual, alpha=-self.rate / self.n)
        return w

    def solve(self) -> Any:
        with self.torch.no_grad():
            return self.descend(self.u)

    def inner_gradient(self, w: Any, u: Any) -> Any:
        return self.x.T @ (self.x @ w - self.y) / self.n + u.exp() * w

    def inner(self, w: Any, u: Any) -> Any:
        return 0.5 / self.n * (self.x @ w - self.y).square().sum() + 0.5 * (u.exp() * w.square()).sum()

    def outer(self, w: Any) -> Any:
        return 0.5 / len(self.yv) * (self.xv @ w - self.yv).square().sum()

    def leaf(self) -> Any:
        return self.u.clone().requires_grad_()

    def unrolled(self) -> Any:
        u = self.leaf()
        return self.torch.autograd.grad(self.outer(self.descend(u)), u)[0]

    def by_cg(self) -> Any:
        grad = self.torch.autograd.grad
        u, w = self.leaf(), self.solve().requires_grad_()
        (right,) = grad(self.outer(w), w)
        (slope,) = grad(self.inner(w, u), w, create_graph=True)
        answer, residual = self.torch.zeros_like(right), right.clone()
        direction, square = residual.clone(), residual.dot(residual)
        enough = square * self.torch.finfo(right.dtype).eps ** 2
        for _ in range(CG_STEPS):
            if square <= enough:
                break
            (product,) = grad(slope, w, direction, retain_graph=True)
            rate = square / direction.dot(product)
            answer += rate * direction
            residual -= rate * product
            square, before = residual.dot(residual), square
            direction = residual + square / before * direction
        return -grad(slope, u, answer)[0]

    def by_torchopt(self, linear_solver: Callable[..., Any]) -> Callable[[], Any]:
        from torchopt.diff.implicit import custom_root

        # TorchOpt calls the solver with nothing recorded: what a solver that calls autograd has to turn on again, one
        # that is written out need not.
        @custom_root(self.inner_gradient, argnums=1, solve=linear_solver())
        def root(w: Any, u: Any) -> Any:
            return self.descend(u)

        def hypergradient() -> Any:
            u = self.leaf()
            return self.torch.autograd.grad(self.outer(root(self.torch.zeros_like(u), u)), u)[0]

        return hypergradient


def torch_peer(problem: Problem, name: str) -> Peer:
    shared = Torch(problem)
    if name == "torch-unrolled":
        return Peer(shared.solve, shared.unrolled)
    if name == "torch-cg":
        return Peer(shared.solve, shared.by_cg)
    from torchopt import linear_solve

    solver = linear_solve.solve_cg if name == "torchopt-cg" else linear_solve.solve_normal_cg
    return Peer(shared.solve, shared.by_torchopt(solver))


def cpu_ms(call: Callable[[], Any]) -> list[float]:
    call()  # may compile
    begun = time.process_time()
    call()
    calls = math.ceil(REPEAT_SECONDS / max(time.process_time() - begun, 1e-6))
    repeats = []
    for _ in range(REPEATS):
        begun = time.process_time()
        for _ in range(calls):
            call()
        repeats.append(round((time.process_time() - begun) / calls * 1000, 4))
    return repeats


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", metavar="in.npz")
    peers = ["jaxopt", "jaxopt-unroll", "jaxopt-scan", "torchopt", "torchopt-cg", "torch-unrolled", "torch-cg"]
    parser.add_argument("--peer", choices=peers, required=True)
    given = parser.parse_args()
    with np.load(given.problem) as arrays:
        floats = (np.ascontiguousarray(arrays[name], np.float32) for name in ("X", "y", "Xv", "yv", "u"))
        problem = Problem(*floats, rate=float(arrays["rate"]), steps=int(arrays["T"]))
        exact = arrays["exact"].astype(np.float64)
    peer = (jaxopt_peer if given.peer.startswith("jaxopt") else torch_peer)(problem, given.peer)
    found = np.asarray(peer.hypergradient(), np.float64)
    line = {
        "peer": given.peer,
        "solve_cpu_ms": cpu_ms(peer.solve),
        "total_cpu_ms": cpu_ms(peer.hypergradient),
        "relative_error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact)),
    }
    print(json.dumps(line if peer.temp_bytes is None else {**line, "temp_bytes": peer.temp_bytes}))
