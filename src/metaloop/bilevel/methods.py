"""How a hypergradient is taken. Each method is a value; `compute` is what it does, as one function for jax to compile.

With w*(u) the inner solution and H the Hessian of the inner loss there, the implicit function theorem gives

    dF/du = ∂F/∂u - (∂²f/∂u∂w) H⁻¹ ∂F/∂w

and unrolling differentiates the steps that were taken instead (Franceschi et al. 2017; Shaban et al. 2019 truncate the
way; Griewank & Walther 2000 checkpoint it).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from metaloop.bilevel.linear import CG, Linear, Neumann
from metaloop.bilevel.problem import Problem, oracle
from metaloop.bilevel.solvers import Descent, Foreign, norm
from metaloop.bilevel.trees import Tree
from metaloop.errors import refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float, Int


class Raw(NamedTuple):
    """What a method computes: arrays only.

    Attributes:
        value: of the outer loss.
        gradient: with respect to the outer variables, a tree like them.
        inner: the inner solution.
        steps: that the inner solver took.
        first, last: norms of the inner gradient where the search began and ended.
        carried: how much of the outer loss's slope is left where the differentiated part of the way begins, as a share
            of the slope at its end; nan for a method that does not look at the way.
        linear: what the linear solve left behind, or None.
    """

    value: Any
    gradient: Tree
    inner: Tree
    steps: Any
    first: Any
    last: Any
    carried: Any
    linear: Linear | None


class Method(Protocol):
    """A way to take a hypergradient."""

    def compute(self, problem: Problem, u: Tree, start: Tree, data: Any) -> Raw:
        """Solve the inner problem and differentiate."""
        ...


@dataclass(frozen=True)
class Implicit:
    """By the implicit function theorem: memory does not grow with the inner steps; the solve must have converged.

    Args:
        linear: how the linear system is solved: `CG(...)` or `Neumann(...)`.
        damping: added to the Hessian's diagonal.

    Raises:
        InputError: an unknown linear solver, or a negative damping.
    """

    linear: CG | Neumann = field(default_factory=CG)
    damping: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.linear, (CG, Neumann)):
            raise refuse("linear", self.linear, "CG(...) or Neumann(...)")
        require("damping", self.damping, lambda v: 0 <= v < math.inf, "a number of at least 0")

    def compute(self, problem: Problem, u: Tree, start: Tree, data: Any) -> Raw:
        """See `Method`."""
        slope = problem.gradient(u, data)
        begun = problem.begin(u, start)
        if isinstance(problem.solver, Foreign):
            w = problem.solver.solve(slope, u, begun)
            w, steps = (w[0] if isinstance(w, tuple) and len(w) == 2 else w), jnp.asarray(-1)
        else:
            w, steps = problem.solver.solve(slope, u, begun)
        return self.at(problem, u, w, data)._replace(steps=steps, first=norm(slope(begun)))

    def at(self, problem: Problem, u: Tree, w: Tree, data: Any) -> Raw:
        """The same, with w already found."""
        o = oracle(problem, w, u, data)
        # a setting of 0 is "off" and not compiled in
        off = isinstance(self.damping, float) and self.damping == 0.0
        product = o.product if off else lambda p: o.product(p) + self.damping * p
        solved = self.linear.solve(product, o.outer_w)
        gradient = jax.tree.map(jnp.subtract, o.outer_u, o.cross(solved.solution))
        nan = jnp.asarray(jnp.nan)
        return Raw(o.value, gradient, w, jnp.asarray(0), nan, norm(o.gradient), nan, solved)


@dataclass(frozen=True)
class Unrolled:
    """By differentiating every inner step: exact for the steps taken, converged or not.

    Args:
        checkpoint: keep only every square root of `steps`-th point and compute the others again: memory grows with the
            square root of the steps, at the price of walking the way twice.
    """

    checkpoint: bool = False

    def compute(self, problem: Problem, u: Tree, start: Tree, data: Any) -> Raw:
        """See `Method`."""
        return _unrolled(problem, u, start, data, problem.solver, None, self.checkpoint)


@dataclass(frozen=True)
class Truncated:
    """By differentiating the last inner steps only; biased where the earlier ones still matter.

    Args:
        last: how many.

    Raises:
        InputError: fewer than 1.
    """

    last: int = tunable(20, Int(1, 1000, log=True))

    def __post_init__(self) -> None:
        require("last", self.last, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")

    def compute(self, problem: Problem, u: Tree, start: Tree, data: Any) -> Raw:
        """See `Method`."""
        return _unrolled(problem, u, start, data, problem.solver, self.last, False)


@dataclass(frozen=True)
class FiniteDifference:
    """By central differences, one coordinate after the other: the check of all others. In double precision only.

    Args:
        step: of a coordinate, times the larger of its size and 1.

    Raises:
        InputError: a step outside of (0, 1).
    """

    step: float = tunable(1e-5, Float(1e-8, 1e-2, log=True))

    def __post_init__(self) -> None:
        require("step", self.step, lambda v: 0 < v < 1, "a number between 0 and 1")

    def compute(self, problem: Problem, u: Tree, start: Tree, data: Any) -> Raw:
        """See `Method`."""
        flat, shape = ravel_pytree(u)

        def solved(v: Tree) -> tuple[Any, Tree, Any]:
            slope = problem.gradient(v, data)
            if isinstance(problem.solver, Foreign):
                w = problem.solver.solve(slope, v, problem.begin(v, start))
                w, steps = (w[0] if isinstance(w, tuple) and len(w) == 2 else w), jnp.asarray(-1)
            else:
                w, steps = problem.solver.solve(slope, v, problem.begin(v, start))
            return problem.outer_loss(w, v, data), w, steps

        def along(i: Any) -> Any:
            h = self.step * jnp.maximum(1.0, jnp.abs(flat[i]))
            return (solved(shape(flat.at[i].add(h)))[0] - solved(shape(flat.at[i].add(-h)))[0]) / (2 * h)

        value, w, steps = solved(u)
        gradient = shape(jax.lax.map(along, jnp.arange(flat.size)))
        slope = problem.gradient(u, data)
        first, last = norm(slope(problem.begin(u, start))), norm(slope(w))
        return Raw(value, gradient, w, steps, first, last, jnp.asarray(jnp.nan), None)


def _unrolled(
    problem: Problem, u: Tree, start: Tree, data: Any, solver: Descent | Foreign, last: int | None, checkpoint: bool
) -> Raw:
    """Differentiate the last steps, or all of them."""
    if isinstance(solver, Foreign):
        raise refuse("method", "one that unrolls", "Implicit(...), for a solver whose steps are not known")
    whole = solver.steps if last is None else min(last, solver.steps)
    first = norm(problem.gradient(u, data)(problem.begin(u, start)))
    limit = 0.0 if isinstance(solver.tolerance, float) and solver.tolerance == 0.0 else solver.tolerance * first

    def steps(carry: tuple[Tree, Any, Any], v: Tree, count: int, again: bool) -> tuple[Tree, Any, Any]:
        slope, rule = problem.gradient(v, data), solver.rule(v)

        def body(carry: tuple[Tree, Any, Any], _: Any) -> tuple[tuple[Tree, Any, Any], None]:
            w, state, k = carry
            g = slope(w)
            change, after = rule.update(g, state, w)
            moved = jax.tree.map(lambda a, c: (a + c).astype(a.dtype), w, change)
            if isinstance(limit, float):
                return (moved, after, k + 1), None
            on = norm(g) > limit
            kept = jax.tree.map(lambda a, b: jnp.where(on, a, b), (moved, after), (w, state))
            return (*kept, k + on), None

        if not again:
            return jax.lax.scan(body, carry, length=count)[0]
        size = math.isqrt(count)

        @jax.checkpoint
        def part(carry: tuple[Tree, Any, Any], _: Any) -> tuple[tuple[Tree, Any, Any], None]:
            return jax.lax.scan(body, carry, length=size)[0], None

        carry = jax.lax.scan(part, carry, length=count // size)[0]
        return jax.lax.scan(body, carry, length=count % size)[0]

    def through(v: Tree, nudge: Tree) -> tuple[Any, tuple[Tree, Any]]:
        """The outer loss; `nudge`, which is 0, asks what a change where the differentiated part begins would do."""
        w = problem.begin(v, start)
        state, k = solver.rule(v).init(w), jnp.asarray(0)
        if whole < solver.steps:
            fixed = jax.lax.stop_gradient(v)
            w, state, k = jax.lax.stop_gradient(steps((w, state, k), fixed, solver.steps - whole, False))
        w = jax.tree.map(jnp.add, w, nudge)
        w, _, k = steps((w, state, k), v, whole, checkpoint)
        return problem.outer_loss(w, v, data), (w, k)

    nothing = jax.tree.map(jnp.zeros_like, problem.begin(u, start))
    (value, (w, k)), (gradient, back) = jax.value_and_grad(through, argnums=(0, 1), has_aux=True)(u, nothing)
    slope = norm(jax.grad(problem.outer_loss)(w, u, data))
    carried = norm(back) / jnp.maximum(slope, jnp.finfo(slope.dtype).tiny)
    return Raw(value, gradient, w, k, first, norm(problem.gradient(u, data)(w)), carried, None)
