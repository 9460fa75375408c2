"""`learn`: descend an outer loss with hypergradients, warm-starting the inner solve, and looking at their soundness."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from metaloop.bilevel.diagnosis import WRONG
from metaloop.bilevel.hypergradient import Hypergradient, HypergradientWarning, hypergradient
from metaloop.bilevel.problem import Problem
from metaloop.bilevel.solvers import norm
from metaloop.bilevel.trees import Tree, arrays, finite, floats, precision, shape_of, with_floats
from metaloop.errors import InputError, refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float, Int


@dataclass(frozen=True)
class OuterDescent:
    """How an outer loss is descended.

    Args:
        method: of the hypergradient; "auto" chooses at the first step and stays with that.
        rate: of Adam for the outer variables; not used where `optimizer` is given.
        steps: of the outer loop.
        optimizer: an optax optimizer; None for Adam with `rate`.
        warm: begin each inner solve where the last one ended, where the problem has no start of its own.
        look: outer steps between two looks at the hypergradient's soundness.

    Raises:
        InputError: a rate that is not greater than 0, fewer than 1 step, or something else than an optimizer.
    """

    method: Any = "auto"
    rate: float = tunable(0.05, Float(1e-4, 1.0, log=True))
    steps: int = tunable(100, Int(10, 1000, log=True))
    optimizer: Any = None
    warm: bool = True
    look: int = 25

    def __post_init__(self) -> None:
        require("rate", self.rate, lambda v: 0 < v < float("inf"), "a number greater than 0")
        for name in ("steps", "look"):
            require(name, getattr(self, name), lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
        if self.optimizer is not None and not (hasattr(self.optimizer, "init") and hasattr(self.optimizer, "update")):
            raise refuse("optimizer", self.optimizer, "an optax optimizer, or None")


@dataclass(frozen=True)
class Learned:
    """What an outer loop found.

    Attributes:
        outer: the outer variables at the smallest outer loss met, of numpy arrays.
        inner: the inner solution there.
        value: that loss.
        values: of all steps, shape (steps,).
        looks: (step, hypergradient) each time that its soundness was looked at. An inner solve counts as unconverged
            if the error that it makes matters beside the gradient of the first step.
    """

    outer: Tree
    inner: Tree
    value: float
    values: npt.NDArray[np.float64]
    looks: tuple[tuple[int, Hypergradient], ...] = field(repr=False)

    @property
    def sound(self) -> bool:
        """Whether no look found anything."""
        return all(h.sound for _, h in self.looks)


def learn(
    problem: Problem,
    outer: Tree,
    start: Tree | None = None,
    *,
    data: Any = None,
    recipe: OuterDescent | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> Learned:
    """Minimize the outer loss.

    Args:
        problem: inner and outer loss and the inner solver.
        outer: the outer variables to begin with.
        start: where the inner search begins; None where the problem says.
        data: for both losses: a tree of arrays, or a function of a random key that jax can trace (a new draw each
            outer step).
        recipe: how; `OuterDescent()` if None.
        seed: of the draws of data.
        progress: called after each outer step with its number and the outer loss.

    Raises:
        InputError: as `hypergradient`; an outer loss or gradient that is not finite, with its step.
    """
    recipe = OuterDescent() if recipe is None else recipe
    drawn = data if callable(data) else None
    key = jax.random.key(seed)
    with precision(outer, start, data if drawn is None else None):
        outer, start = jax.tree.map(jnp.array, (outer, start))
        data = None if drawn is not None else jax.tree.map(jnp.asarray, data)
        optimizer = _adam(recipe.rate) if recipe.optimizer is None else recipe.optimizer
        state, method = optimizer.init(outer), recipe.method
        best: tuple[float, Tree, Tree] = (float("inf"), outer, start)
        values, looks, first = [], list[tuple[int, Hypergradient]](), 0.0
        for k in range(recipe.steps):
            now = drawn(jax.random.fold_in(key, k)) if drawn is not None else data
            if k % recipe.look == 0 or k == recipe.steps - 1:
                seen = hypergradient(problem, outer, start, data=now, method=method, warn=False)
                size = float(norm(seen.gradient))
                first = first or size
                if seen.inner_error * size <= WRONG * first:  # at the optimum any error is large beside the gradient
                    seen = replace(seen, findings=tuple(f for f in seen.findings if f.kind != "unconverged"))
                looks.append((k, seen))
                method = seen.method
                _warn(looks)
            step = _step(shape_of(problem), shape_of(method), optimizer, recipe.warm)
            before = outer
            value, good, inner, outer, state, start = step(
                floats(problem), floats(method), outer, start, state, now
            )  # fmt: skip
            values.append(float(value))
            if not bool(good):
                raise InputError(
                    f"the outer loss or its gradient is not finite at outer step {k}: {values[-1]:g}; take a smaller "
                    "rate, or see `hypergradient` there"
                )
            if values[-1] < best[0]:
                best = (values[-1], before, inner)
            if progress is not None:
                progress(k + 1, values[-1])
    return Learned(arrays(best[1]), arrays(best[2]), best[0], np.array(values), tuple(looks))


def _warn(looks: list[tuple[int, Hypergradient]]) -> None:
    """Each kind of finding once."""
    known = {f.kind for _, h in looks[:-1] for f in h.findings}
    for finding in looks[-1][1].findings:
        if finding.kind not in known:
            warnings.warn(f"outer step {looks[-1][0]}: {finding.says}", HypergradientWarning, stacklevel=3)


@functools.lru_cache(maxsize=16)
def _adam(rate: float) -> Any:
    import optax

    return optax.adam(rate)


@functools.lru_cache(maxsize=64)
def _step(problem: Problem, method: Any, optimizer: Any, warm: bool) -> Callable[..., Any]:
    def run(
        of_problem: dict[str, Any], of_method: dict[str, Any], outer: Tree, start: Tree, state: Any, data: Any
    ) -> tuple[Any, ...]:
        p = with_floats(problem, of_problem)
        raw = with_floats(method, of_method).compute(p, outer, start, data)
        change, state = optimizer.update(raw.gradient, state, outer)
        moved = jax.tree.map(lambda u, c: (u + c).astype(u.dtype), outer, change)
        good = finite((raw.value, raw.gradient))
        return raw.value, good, raw.inner, moved, state, raw.inner if warm and p.start is None else start

    return jax.jit(run)
