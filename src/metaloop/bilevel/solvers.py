"""Inner solvers as values: what one step does, how many there are, and what is left when they end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from metaloop.bilevel.trees import Tree, finite
from metaloop.errors import refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float, Int

Gradient = Callable[[Tree], Tree]


class Rule(NamedTuple):
    """An update rule; optax's `GradientTransformation` has the same two fields."""

    init: Callable[[Tree], Any]
    update: Callable[..., tuple[Tree, Any]]


def is_rule(value: Any) -> bool:
    """Whether a value is an update rule, ours or optax's."""
    return hasattr(value, "init") and hasattr(value, "update")


def descent_rule(rates: Any) -> Rule:
    """Gradient descent.

    Args:
        rates: one number, or a tree of them in the shape of the variables (or of a part of their structure).
    """

    def update(gradient: Tree, state: Any, variables: Tree = None) -> tuple[Tree, Any]:
        if jax.tree_util.all_leaves([rates]):
            return jax.tree.map(lambda g: -rates * g, gradient), state
        return jax.tree.map(lambda r, g: jax.tree.map(lambda one: -r * one, g), rates, gradient), state

    return Rule(lambda variables: (), update)


@dataclass(frozen=True)
class Descent:
    """A number of steps of an update rule.

    Args:
        optimizer: a learning rate of plain gradient descent; an optax optimizer; or a function of the outer variables
            that returns either, or a tree of rates: then rates are outer variables themselves.
        steps: at most.
        tolerance: end when the norm of the gradient is this share of the first one; 0 to take all steps.

    Raises:
        InputError: a rate or tolerance that is no finite number of at least 0, or fewer than 1 step.
    """

    optimizer: Any = tunable(0.1, Float(1e-4, 10.0, log=True))
    steps: int = tunable(100, Int(1, 10_000, log=True))
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.optimizer) and not is_rule(self.optimizer):
            require("optimizer", self.optimizer, lambda v: 0 < v < math.inf,
                    "a rate greater than 0, an optax optimizer, or a function of the outer variables")  # fmt: skip
            object.__setattr__(self, "optimizer", float(self.optimizer))
        require("steps", self.steps, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
        require("tolerance", self.tolerance, lambda v: 0 <= v < math.inf, "a number of at least 0")

    def rule(self, outer: Tree) -> Any:
        """The update rule at these outer variables."""
        given = self.optimizer
        if callable(given):
            given = given(outer)
        return given if is_rule(given) else descent_rule(given)

    def run(self, gradient: Gradient, rule: Any, start: Tree, steps: int) -> tuple[Tree, Any]:
        """Some steps, without a memory of the way: variables and the rule's state."""

        def body(_: Any, carry: tuple[Tree, Any]) -> tuple[Tree, Any]:
            return self.step(gradient, rule, *carry)

        out: tuple[Tree, Any] = jax.lax.fori_loop(0, steps, body, (start, rule.init(start)))
        return out

    def step(self, gradient: Gradient, rule: Any, variables: Tree, state: Any) -> tuple[Tree, Any]:
        """One step."""
        change, state = rule.update(gradient(variables), state, variables)
        return jax.tree.map(lambda w, c: (w + c).astype(w.dtype), variables, change), state

    def solve(self, gradient: Gradient, outer: Tree, start: Tree) -> tuple[Tree, Any]:
        """All steps, or as many as the tolerance asks for: variables and the number of steps taken."""
        rule = self.rule(outer)
        if isinstance(self.tolerance, float) and self.tolerance == 0.0:
            return self.run(gradient, rule, start, self.steps)[0], jnp.asarray(self.steps)
        first = norm(gradient(start))

        def goes_on(carry: tuple[Any, Tree, Any, Any]) -> Any:
            k, _, _, size = carry
            return (k < self.steps) & (size > self.tolerance * first)

        def body(carry: tuple[Any, Tree, Any, Any]) -> tuple[Any, Tree, Any, Any]:
            k, w, state, _ = carry
            g = gradient(w)
            change, state = rule.update(g, state, w)
            return k + 1, jax.tree.map(lambda a, c: (a + c).astype(a.dtype), w, change), state, norm(g)

        k, w, _, _ = jax.lax.while_loop(goes_on, body, (jnp.asarray(0), start, rule.init(start), first))
        return w, k

    def first_bad_step(self, gradient: Gradient, outer: Tree, start: Tree) -> Any:
        """The number of steps after which the variables are not finite any more; -1 if they always are."""
        rule = self.rule(outer)

        def body(carry: tuple[Any, Tree, Any]) -> tuple[Any, Tree, Any]:
            k, w, state = carry
            return (k + 1, *self.step(gradient, rule, w, state))

        def goes_on(carry: tuple[Any, Tree, Any]) -> Any:
            return (carry[0] < self.steps) & finite(carry[1])

        k, w, _ = jax.lax.while_loop(goes_on, body, (jnp.asarray(0), start, rule.init(start)))
        return jnp.where(finite(w), -1, k)


@dataclass(frozen=True)
class Foreign:
    """A solver of your own, from any library that jax can call or run outside of it.

    Only implicit gradients can be taken: they need the optimum and not the way to it.

    Args:
        solve: called with (gradient, outer variables, start); returns the inner variables, or a pair of them and the
            residual that it reports (the norm of the inner gradient).

    Raises:
        InputError: no function.
    """

    solve: Callable[[Gradient, Tree, Tree], Any]

    def __post_init__(self) -> None:
        if not callable(self.solve):
            raise refuse("solve", self.solve, "a function of (gradient, outer variables, start)")


def norm(tree: Tree) -> Any:
    """Euclidean norm of all leaves together."""
    return jnp.sqrt(sum(jnp.vdot(leaf, leaf).real for leaf in jax.tree.leaves(tree)))
