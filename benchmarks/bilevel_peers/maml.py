"""A peer of `benchmarks/maml.py`, run as a child in an environment of its own: MAML on sine waves in torch.

`--engine func` torch.func (vmap and grad over tasks), `torchopt` (MetaSGD, the way its documentation shows), `higher`
(innerloop_ctx for each task), `torch` (a loop with create_graph). Prints one JSON object; with `--gradient IN OUT` it
writes the mean meta-gradient of given weights and tasks instead.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)
TASKS, POINTS, RATE, OUTER = 25, 10, 0.01, 1e-3


def net(dtype):
    return nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1)).to(dtype)


def tasks(dtype):
    amplitude = 0.1 + 4.9 * torch.rand(TASKS, 1, 1, dtype=dtype)
    phase = math.pi * torch.rand(TASKS, 1, 1, dtype=dtype)
    x = 10 * torch.rand(TASKS, 2 * POINTS, 1, dtype=dtype) - 5
    y = amplitude * torch.sin(x - phase)
    return x[:, :POINTS], y[:, :POINTS], x[:, POINTS:], y[:, POINTS:]


def mse(a, b):
    return ((a - b) ** 2).mean()


def by_func(model, steps):
    from torch.func import functional_call, grad, vmap

    def loss(params, x, y):
        return mse(functional_call(model, params, (x,)), y)

    def one(params, xs, ys, xq, yq):
        inner = params
        for _ in range(steps):
            g = grad(loss)(inner, xs, ys)
            inner = {k: v - RATE * g[k] for k, v in inner.items()}
        return loss(inner, xq, yq)

    def total(params, *data):
        return vmap(one, in_dims=(None, 0, 0, 0, 0))(params, *data).mean()

    slope = grad(total)

    def backward(data):
        params = dict(model.named_parameters())
        for name, g in slope({k: p.detach() for k, p in params.items()}, *data).items():
            params[name].grad = g

    return backward


def by_torch(model, steps):
    from torch.func import functional_call

    def backward(data):
        total = 0.0
        for xs, ys, xq, yq in zip(*data, strict=True):
            params = dict(model.named_parameters())
            for _ in range(steps):
                value = mse(functional_call(model, params, (xs,)), ys)
                g = torch.autograd.grad(value, list(params.values()), create_graph=True)
                params = {k: p - RATE * s for (k, p), s in zip(params.items(), g, strict=True)}
            total = total + mse(functional_call(model, params, (xq,)), yq)
        (total / TASKS).backward()

    return backward


def by_higher(model, steps):
    import higher

    def backward(data):
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        for xs, ys, xq, yq in zip(*data, strict=True):
            with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (inner, change):
                for _ in range(steps):
                    change.step(mse(inner(xs), ys))
                (mse(inner(xq), yq) / TASKS).backward()

    return backward


def by_torchopt(model, steps):
    import torchopt

    inner = torchopt.MetaSGD(model, lr=RATE)

    def backward(data):
        begun = torchopt.extract_state_dict(model, by="reference", detach_buffers=True)
        state = torchopt.extract_state_dict(inner, by="reference")
        total = 0.0
        for xs, ys, xq, yq in zip(*data, strict=True):
            for _ in range(steps):
                inner.step(mse(model(xs), ys))
            total = total + mse(model(xq), yq)
            torchopt.recover_state_dict(model, begun)
            torchopt.recover_state_dict(inner, state)
        (total / TASKS).backward()

    return backward


ENGINES = {"func": by_func, "torch": by_torch, "higher": by_higher, "torchopt": by_torchopt}
PACKAGE = {"func": "torch", "torch": "torch", "higher": "higher", "torchopt": "torchopt"}


def given_gradient(engine, steps, source, out):
    arrays = {k: torch.from_numpy(v.astype(np.float64)) for k, v in np.load(source).items()}
    model = net(torch.float64)
    layers = [m for m in model if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for i, layer in enumerate(layers):
            layer.weight.copy_(arrays[f"w{i}"].T)
            layer.bias.copy_(arrays[f"b{i}"])
    ENGINES[engine](model, steps)([arrays[k] for k in ("xs", "ys", "xq", "yq")])
    found = {f"w{i}": layer.weight.grad.T.numpy() for i, layer in enumerate(layers)}
    np.savez(out, **found, **{f"b{i}": layer.bias.grad.numpy() for i, layer in enumerate(layers)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--gradient", nargs=2)
    given = parser.parse_args()
    torch.manual_seed(0)
    if given.gradient:
        given_gradient(given.engine, given.steps, *given.gradient)
        return
    model = net(torch.float32)
    outer = torch.optim.Adam(model.parameters(), lr=OUTER)
    backward = ENGINES[given.engine](model, given.steps)

    def step():
        outer.zero_grad()
        backward(tasks(torch.float32))
        outer.step()

    for _ in range(5):
        step()
    rates = []
    for _ in range(3):
        begun, done = time.process_time(), 0
        while time.process_time() - begun < given.seconds / 3:
            step()
            done += 1
        rates.append(done / (time.process_time() - begun))
    version = importlib.metadata.version(PACKAGE[given.engine])
    print(json.dumps({"engine": given.engine, "steps": given.steps, "meta_steps_per_cpu_s": rates, "version": version}))


if __name__ == "__main__":
    main()
