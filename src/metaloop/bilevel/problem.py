"""A bilevel problem: an inner loss that is solved, an outer loss that judges the solution, variables of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.flatten_util import ravel_pytree

from metaloop.bilevel.solvers import Descent, Foreign
from metaloop.bilevel.trees import Tree, names, used
from metaloop.errors import InputError, refuse

Loss = Callable[[Tree, Tree, Any], Any]


@dataclass(frozen=True)
class Problem:
    """Minimize over u the outer loss at w*(u), which the inner solver finds for the inner loss.

    Args:
        inner_loss: of (inner variables w, outer variables u, data) -> a number.
        outer_loss: of the same.
        solver: how w is found.
        start: where its search begins, as a function of u, where that is itself to be found (a learned
            initialization); None for a start that is given with each call.

    Raises:
        InputError: losses that are no functions, or an unknown kind of solver.
    """

    inner_loss: Loss
    outer_loss: Loss
    solver: Descent | Foreign = field(default_factory=Descent)
    start: Callable[[Tree], Tree] | None = None

    def __post_init__(self) -> None:
        for name in ("inner_loss", "outer_loss"):
            if not callable(getattr(self, name)):
                raise refuse(name, getattr(self, name), "a function of (inner variables, outer variables, data)")
        if not isinstance(self.solver, (Descent, Foreign)):
            raise refuse("solver", self.solver, "Descent(...) or Foreign(a function)")

    def begin(self, outer: Tree, start: Tree | None) -> Tree:
        """Where the inner search begins."""
        return self.start(outer) if self.start is not None else start

    def gradient(self, outer: Tree, data: Any) -> Callable[[Tree], Tree]:
        """The gradient of the inner loss as a function of w."""
        return jax.grad(lambda w: self.inner_loss(w, outer, data))


@dataclass(frozen=True)
class Oracle:
    """All that implicit gradients ask of an inner and an outer loss, on flat vectors of one framework.

    Attributes:
        gradient: of the inner loss with respect to w, shape (n,).
        product: its Hessian times a vector, (n,) -> (n,).
        cross: a vector (n,) -> the gradient with respect to u of (inner gradient · vector), a tree like u.
        value: of the outer loss.
        outer_w: its gradient with respect to w, shape (n,).
        outer_u: its direct gradient with respect to u, a tree like u.
    """

    gradient: Any
    product: Callable[[Any], Any]
    cross: Callable[[Any], Tree]
    value: Any
    outer_w: Any
    outer_u: Tree


def oracle(problem: Problem, w: Tree, u: Tree, data: Any) -> Oracle:
    """The oracle at a point, by jax."""
    flat, shape = ravel_pytree(w)

    def slope(x: Any, v: Tree) -> Any:
        return ravel_pytree(jax.grad(problem.inner_loss)(shape(x), v, data))[0]

    gradient, product = jax.linearize(lambda x: slope(x, u), flat)
    value, (outer_w, outer_u) = jax.value_and_grad(problem.outer_loss, argnums=(0, 1))(w, u, data)

    def cross(vector: Any) -> Tree:
        return jax.vjp(lambda v: slope(flat, v), u)[1](vector)[0]

    return Oracle(gradient, product, cross, value, ravel_pytree(outer_w)[0], outer_u)


@dataclass(frozen=True)
class Roles:
    """Which outer variables enter where, one flag a leaf."""

    names: list[str]
    inner: list[bool]
    outer: list[bool]
    start: list[bool]
    solver: list[bool]

    @property
    def only_on_the_way(self) -> list[str]:
        """Names of those that change the way of the solver but not its optimum."""
        rows = zip(self.names, self.inner, self.outer, self.start, self.solver, strict=True)
        return [n for n, i, o, s, r in rows if (s or r) and not (i or o)]

    @property
    def unused(self) -> list[str]:
        """Names of those that enter nowhere."""
        rows = zip(self.names, self.inner, self.outer, self.start, self.solver, strict=True)
        return [n for n, *enters in rows if not any(enters)]


def roles(problem: Problem, u: Tree, start: Tree | None, data: Any) -> Roles:
    """Who enters where, read off the traced functions.

    Raises:
        InputError: losses that do not return one number, or that refuse the shapes they are given.
    """
    n = len(jax.tree.leaves(u))
    begun = None if problem.start is None else used(problem.start, u)
    try:
        w = jax.eval_shape(problem.begin, u, start) if problem.start is not None else start
        w = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jax.numpy.shape(leaf), jax.numpy.result_type(leaf)), w)
        flags = []
        for name in ("inner_loss", "outer_loss"):
            loss = getattr(problem, name)
            out = jax.eval_shape(loss, w, u, data)
            if getattr(out, "shape", None) != ():
                raise refuse(name, getattr(out, "shape", out), "a function that returns one number, of shape ()")
            flags.append(used(lambda v, x, loss=loss: loss(x, v, data), u, w)[:n])
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the losses do not fit the shapes given: {str(error).splitlines()[0]}") from error
    solver = [False] * n
    if isinstance(problem.solver, Descent) and callable(problem.solver.optimizer):
        rule = problem.solver

        def one(v: Tree, x: Tree) -> Tree:
            made = rule.rule(v)
            return rule.step(lambda y: y, made, x, made.init(x))[0]

        solver = used(one, u, w)[:n]
    return Roles(names(u), flags[0], flags[1], begun or [False] * n, solver)
