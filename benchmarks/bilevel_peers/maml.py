"""MAML on sine waves in PyTorch and the libraries on top of it: pace and meta-gradient.

    python maml.py --engine torch-batched --steps 5 [--seconds 8]
    python maml.py --engine torch-batched --steps 5 --gradient in.npz out.npz

The problem is of Finn, Abbeel & Levine 2017, "Model-agnostic meta-learning for fast adaptation of deep networks":
amplitude U[0.1, 5], phase U[0, π], x U[-5, 5]; two hidden layers of 40 ReLU units; a meta-batch of 25 tasks of 10
support and 10 query points; the mean square error; `--steps` inner steps of gradient descent at rate 0.01, all
derivatives of second order; Adam at 0.001 outside. Every engine runs on one thread, draws the same tasks and takes the
same (fused) Adam step.

Engines:
    torch           one task after another, torch.autograd.grad with create_graph
    torch-batched   the same, all tasks at once: batched weights by hand, no vmap
    func            torch.func.grad for the inner steps under vmap, autograd outside: torch.func's fastest eager form
    func-compiled   vmap(grad(task)) of torch.func under torch.compile; needs a C++ compiler
    higher          higher.innerloop_ctx for each task
    torchopt        torchopt.MetaSGD, the network's state extracted and put back for each task

A run warms up (a compilation falls there), then counts meta-steps for about `--seconds` of CPU in three parts, and
prints a line of JSON. With --gradient, nothing is timed: in.npz holds the weights w0 b0 w1 b1 w2 b2, each w (in, out),
and the tasks xs ys xq yq, each (25, 10, 1); the gradient of the mean query loss over the tasks is written to out.npz
under the weights' names, in float64. Needs torch; higher and torchopt for the engines of these names.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

NAMES = ("w0", "b0", "w1", "b1", "w2", "b2")
TASKS, POINTS, INNER_RATE, OUTER_RATE = 25, 10, 0.01, 0.001

Weights = dict[str, Tensor]
Tasks = tuple[Tensor, Tensor, Tensor, Tensor]  # xs, ys, xq, yq; each (TASKS, POINTS, 1)
MetaGradient = Callable[[Tasks], None]  # leaves the meta-gradient in the parameters' .grad


def draw(generator: torch.Generator) -> Tasks:
    """A meta-batch of tasks."""
    amplitude, phase = torch.rand(2, TASKS, 1, 1, generator=generator)
    x = torch.rand(2, TASKS, POINTS, 1, generator=generator).mul_(10).sub_(5)
    y = torch.sin(x - phase * math.pi).mul_(amplitude * 4.9 + 0.1)
    return x[0], y[0], x[1], y[1]


def initial() -> Weights:
    """Weights drawn as torch.nn.Linear draws them, each matrix (in, out)."""
    torch.manual_seed(0)
    layers = [nn.Linear(1, 40), nn.Linear(40, 40), nn.Linear(40, 1)]
    tensors = [t for layer in layers for t in (layer.weight.detach().T.contiguous(), layer.bias.detach())]
    return dict(zip(NAMES, tensors, strict=True))


# Weights in a dictionary: plain PyTorch and torch.func.


def loss(weights: Weights, x: Tensor, y: Tensor) -> Tensor:
    """The mean square error of one task."""
    hidden = torch.relu(torch.addmm(weights["b0"], x, weights["w0"]))
    hidden = torch.relu(torch.addmm(weights["b1"], hidden, weights["w1"]))
    return (torch.addmm(weights["b2"], hidden, weights["w2"]) - y).square().mean()


def descended(weights: Weights, gradient: Iterable[Tensor]) -> Weights:
    return {name: w - INNER_RATE * g for (name, w), g in zip(weights.items(), gradient, strict=True)}


def torch_loop(weights: Weights, steps: int) -> MetaGradient:
    def meta_gradient(tasks: Tasks) -> None:
        for xs, ys, xq, yq in zip(*tasks, strict=True):
            fast = weights
            for _ in range(steps):
                fast = descended(fast, torch.autograd.grad(loss(fast, xs, ys), fast.values(), create_graph=True))
            (loss(fast, xq, yq) / TASKS).backward()

    return meta_gradient


def torch_batched(weights: Weights, steps: int) -> MetaGradient:
    def total(fast: Weights, x: Tensor, y: Tensor) -> Tensor:
        """The sum of the tasks' losses: its gradient holds each task's own, as no weights are shared."""
        hidden = torch.relu(torch.baddbmm(fast["b0"], x, fast["w0"]))
        hidden = torch.relu(torch.baddbmm(fast["b1"], hidden, fast["w1"]))
        return (torch.baddbmm(fast["b2"], hidden, fast["w2"]) - y).square().sum() / POINTS

    def meta_gradient(tasks: Tasks) -> None:
        xs, ys, xq, yq = tasks
        fast = {name: torch.atleast_2d(w).expand(TASKS, -1, -1) for name, w in weights.items()}
        for _ in range(steps):
            fast = descended(fast, torch.autograd.grad(total(fast, xs, ys), fast.values(), create_graph=True))
        (total(fast, xq, yq) / TASKS).backward()

    return meta_gradient


def adapted_loss(steps: int) -> Callable[..., Tensor]:
    """One task's query loss after its inner steps, with torch.func."""
    inner = torch.func.grad(loss)

    def query_loss(weights: Weights, xs: Tensor, ys: Tensor, xq: Tensor, yq: Tensor) -> Tensor:
        for _ in range(steps):
            weights = descended(weights, inner(weights, xs, ys).values())
        return loss(weights, xq, yq)

    return query_loss


def func(weights: Weights, steps: int) -> MetaGradient:
    losses = torch.func.vmap(adapted_loss(steps), in_dims=(None, 0, 0, 0, 0))

    def meta_gradient(tasks: Tasks) -> None:
        losses(weights, *tasks).mean().backward()

    return meta_gradient


def func_compiled(weights: Weights, steps: int) -> MetaGradient:
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # else it starts a pool of processes
    gradients = torch.func.vmap(torch.func.grad(adapted_loss(steps)), in_dims=(None, 0, 0, 0, 0))

    @torch.compile(fullgraph=True)
    def mean_gradient(weights: Weights, tasks: Tasks) -> Weights:
        return {name: g.mean(0) for name, g in gradients(weights, *tasks).items()}

    constants = {name: w.detach() for name, w in weights.items()}  # the same memory: Adam works in place

    def meta_gradient(tasks: Tasks) -> None:
        for name, g in mean_gradient(constants, tasks).items():
            weights[name].grad = g

    return meta_gradient


# Weights in a module: the libraries.


def network(weights: Weights) -> nn.Sequential:
    """A module of these weights; the matrices become (out, in)."""
    net = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    net.to(weights["w0"].dtype)
    with torch.no_grad():
        for parameter, w in zip(net.parameters(), weights.values(), strict=True):
            parameter.copy_(w.T if w.ndim == 2 else w)
    return net


def higher_engine(net: nn.Module, steps: int) -> MetaGradient:
    import higher

    inner = torch.optim.SGD(net.parameters(), lr=INNER_RATE)

    def meta_gradient(tasks: Tasks) -> None:
        for xs, ys, xq, yq in zip(*tasks, strict=True):
            with higher.innerloop_ctx(net, inner, copy_initial_weights=False) as (fast, descent):
                for _ in range(steps):
                    descent.step(nn.functional.mse_loss(fast(xs), ys))
                (nn.functional.mse_loss(fast(xq), yq) / TASKS).backward()

    return meta_gradient


def torchopt_engine(net: nn.Module, steps: int) -> MetaGradient:
    import torchopt

    inner = torchopt.MetaSGD(net, lr=INNER_RATE)

    def meta_gradient(tasks: Tasks) -> None:
        at_first = torchopt.extract_state_dict(net, by="reference")
        inner_at_first = torchopt.extract_state_dict(inner, by="reference")
        losses = []
        for xs, ys, xq, yq in zip(*tasks, strict=True):
            for _ in range(steps):
                inner.step(nn.functional.mse_loss(net(xs), ys))
            losses.append(nn.functional.mse_loss(net(xq), yq))
            torchopt.recover_state_dict(net, at_first)
            torchopt.recover_state_dict(inner, inner_at_first)
        torch.stack(losses).mean().backward()

    return meta_gradient


PLAIN = {"torch": torch_loop, "torch-batched": torch_batched, "func": func, "func-compiled": func_compiled}
MODULES = {"higher": higher_engine, "torchopt": torchopt_engine}


def build(engine: str, weights: Weights, steps: int) -> tuple[list[Tensor], MetaGradient]:
    """The parameters, in the order of NAMES, and what leaves the meta-gradient in them."""
    if engine in PLAIN:
        leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
        return list(leaves.values()), PLAIN[engine](leaves, steps)
    net = network(weights)
    return list(net.parameters()), MODULES[engine](net, steps)


def gradient(engine: str, steps: int, given: str, to: str) -> None:
    with np.load(given) as arrays:
        weights = {name: torch.from_numpy(arrays[name].astype(np.float64)) for name in NAMES}
        tasks = tuple(torch.from_numpy(arrays[name].astype(np.float64)) for name in ("xs", "ys", "xq", "yq"))
    parameters, meta_gradient = build(engine, weights, steps)
    meta_gradient(tasks)
    found = [p.grad.numpy() for p in parameters]
    if engine in MODULES:  # there the matrices are (out, in)
        found = [g.T for g in found]
    np.savez(to, **dict(zip(NAMES, found, strict=True)))


def pace(engine: str, steps: int, seconds: float) -> list[float]:
    """Meta-steps per second of CPU in each of three parts."""
    parameters, meta_gradient = build(engine, initial(), steps)
    adam = torch.optim.Adam(parameters, lr=OUTER_RATE, fused=True)
    generator = torch.Generator().manual_seed(1)

    def run_for(seconds: float) -> float:
        done, begun = 0, time.process_time()
        while (spent := time.process_time() - begun) < seconds:
            adam.zero_grad()
            meta_gradient(draw(generator))
            adam.step()
            done += 1
        return done / spent

    run_for(1e-9)  # the first step alone: it may compile
    run_for(seconds / 8)
    return [round(run_for(seconds / 3), 2) for _ in range(3)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=[*PLAIN, *MODULES], required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--gradient", nargs=2, metavar=("IN", "OUT"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.gradient:
        gradient(given.engine, given.steps, *given.gradient)
    else:
        version = importlib.metadata.version(given.engine if given.engine in MODULES else "torch")
        rates = pace(given.engine, given.steps, given.seconds)
        line = {"engine": given.engine, "steps": given.steps, "meta_steps_per_cpu_s": rates, "version": version}
        print(json.dumps(line))
