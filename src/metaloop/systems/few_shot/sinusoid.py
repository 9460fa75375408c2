"""Sine waves from ten points: the regression problem on which meta-learners are compared.

Source: Finn, Abbeel & Levine 2017, section 5.1: amplitude from 0.1 to 5, phase from 0 to π, inputs from -5 to 5, a net
with two hidden layers of 40 rectified units, mean squared error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from metaloop.bilevel import Fitted, Model

HIDDEN = (40, 40)
META_BATCH = 25
SHOTS = 10
_PARTS = 2000  # tasks tested at once


def start(key: Any) -> list[dict[str, Any]]:
    """Fresh weights of the net (He et al. 2015)."""
    sizes = (1, *HIDDEN, 1)
    keys = jax.random.split(key, len(sizes) - 1)
    gains = [2.0] * len(HIDDEN) + [1.0]
    return [
        {"w": jax.random.normal(k, (a, b)) * math.sqrt(gain / a), "b": jnp.zeros(b)}
        for k, a, b, gain in zip(keys, sizes[:-1], sizes[1:], gains, strict=True)
    ]


def predict(weights: list[dict[str, Any]], x: Any) -> Any:
    """The net's values at x, shape (n, 1)."""
    for layer in weights[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ weights[-1]["w"] + weights[-1]["b"]


def loss(weights: list[dict[str, Any]], batch: tuple[Any, Any]) -> Any:
    """Mean squared error on (x, y), shapes (n, 1)."""
    return ((predict(weights, batch[0]) - batch[1]) ** 2).mean()


MODEL = Model(start, loss)


def waves(key: Any, tasks: int = META_BATCH, shots: int = SHOTS, queries: int = SHOTS) -> tuple[Any, Any]:
    """Random tasks: (support, query), each of (x, y) with shapes (tasks, shots or queries, 1)."""
    drawn = jax.random.uniform(key, (tasks, shots + queries + 2, 1))
    amplitude, phase = 0.1 + 4.9 * drawn[:, :1], math.pi * drawn[:, 1:2]
    x = 10 * drawn[:, 2:] - 5
    y = amplitude * jnp.sin(x - phase)
    return (x[:, :shots], y[:, :shots]), (x[:, shots:], y[:, shots:])


@dataclass(frozen=True)
class Errors:
    """Mean squared errors on fresh tasks after so many steps of adaptation, shape (tasks,) for each."""

    after: dict[int, NDArray[np.float64]]

    def mean(self, steps: int) -> tuple[float, tuple[float, float]]:
        """Mean and 95 % interval."""
        each = self.after[steps]
        half = 1.96 * each.std(ddof=1) / math.sqrt(len(each))
        return float(each.mean()), (float(each.mean() - half), float(each.mean() + half))


_judge = jax.jit(jax.vmap(loss))


def errors(fitted: Fitted, steps: tuple[int, ...], tasks: int, seed: int, queries: int = 100) -> Errors:
    """What a meta-learner makes of tasks that it has not seen.

    Args:
        fitted: the meta-learner.
        steps: numbers of steps of adaptation.
        tasks: how many fresh tasks, a multiple of 2000 beyond that.
        seed: of the tasks.
        queries: points that each is judged on.
    """
    size = min(tasks, _PARTS)
    found: dict[int, list[Any]] = {k: [] for k in steps}
    for part in range(tasks // size):
        support, query = waves(jax.random.fold_in(jax.random.key(seed), part), size, SHOTS, queries)
        for k in steps:
            found[k].append(np.asarray(_judge(fitted.adapt_all(support, k), query), dtype=float))
    return Errors({k: np.concatenate(v) for k, v in found.items()})
