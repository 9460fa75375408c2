"""What every part of the wing does with trees of arrays: names of leaves, precision, who depends on what."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

Tree: TypeAlias = Any  # a nested dict, list or tuple of arrays
R = TypeVar("R")


def names(tree: Tree) -> list[str]:
    """A name for each leaf, as one would write it: `layer.weight`; a tree that is one array is `the array`."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return [".".join(str(getattr(p, "key", getattr(p, "idx", getattr(p, "name", p)))) for p in path) or "the array"
            for path in paths]  # fmt: skip


def precision(*trees: Tree) -> AbstractContextManager[Any]:
    """Double precision inside, if any leaf is double: no global setting changes."""
    if any(getattr(leaf, "dtype", None) == np.float64 for leaf in jax.tree.leaves(trees)):
        double: AbstractContextManager[Any] = jax.enable_x64(True)
        return double
    return contextlib.nullcontext()


def arrays(tree: Tree) -> Tree:
    """The tree with numpy's arrays: double ones are awkward as jax's where its default is single. Nothing is copied."""
    return jax.tree.map(np.asarray, tree)


def used(function: Callable[..., Any], *args: Tree) -> list[bool]:
    """Which leaves of the arguments a function's result depends on: what it was written to read, whatever the values.

    Args:
        function: of trees of arrays.
        args: an example of each.

    Returns:
        one flag a leaf, in the order of `jax.tree.leaves(args)`.
    """
    closed = jax.make_jaxpr(function)(*args)
    needed = {v for v in closed.jaxpr.outvars if not isinstance(v, Literal)}
    for equation in reversed(closed.jaxpr.eqns):
        if needed.intersection(equation.outvars):
            needed.update(v for v in equation.invars if not isinstance(v, Literal))
    return [v in needed for v in closed.jaxpr.invars]


def floats(recipe: Any) -> dict[str, float]:
    """The float settings of a recipe and of the recipes it holds, by dotted name: what a compiled plan takes as input.

    A setting of 0 stands for "off" and is not among them: it shapes the plan.
    """
    out: dict[str, float] = {}
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if isinstance(value, float) and value != 0.0:
            out[f.name] = value
        elif dataclasses.is_dataclass(value):
            out |= {f"{f.name}.{k}": v for k, v in floats(value).items()}
    return out


def with_floats(recipe: R, values: dict[str, Any]) -> R:
    """The recipe with some float settings replaced, by traced numbers too: nothing is checked again."""
    own = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}  # type: ignore[arg-type]
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        head, dot, rest = key.partition(".")
        if dot:
            nested.setdefault(head, {})[rest] = value
        else:
            own[head] = value
    own |= {head: with_floats(own[head], inner) for head, inner in nested.items()}
    copy = object.__new__(type(recipe))
    for key, value in own.items():
        object.__setattr__(copy, key, value)
    return copy


def shape_of(recipe: R) -> R:
    """The recipe without its float settings: equal for all that share a compiled plan."""
    return with_floats(recipe, dict.fromkeys(floats(recipe), 1.0))


def finite(tree: Tree) -> Any:
    """Whether all numbers of a tree are finite, as an array of one flag."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
