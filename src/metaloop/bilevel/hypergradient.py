"""`hypergradient`: the slope of an outer loss through an inner solve, and whether that number means anything."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from metaloop.bilevel import diagnosis
from metaloop.bilevel.diagnosis import Finding
from metaloop.bilevel.linear import CG, eigenvalues
from metaloop.bilevel.methods import Implicit, Method, Raw, Truncated, Unrolled
from metaloop.bilevel.problem import Problem, Roles, roles
from metaloop.bilevel.solvers import Descent, norm
from metaloop.bilevel.trees import Tree, arrays, floats, precision, shape_of, with_floats
from metaloop.errors import InputError, refuse

_SURE = 1e-6  # share of the first inner gradient below which a solve has converged without a closer look
_PLANS = 128  # compiled plans kept
_MEMORY = 1e9  # bytes that unrolling may keep before points are computed again instead
_COPIES = 3.0  # of the inner variables that unrolling keeps a step, about
_MOST = 2000  # products that "auto" may take


class HypergradientWarning(UserWarning):
    """A hypergradient does not mean what it seems to."""


@dataclass(frozen=True)
class Hypergradient:
    """The slope of the outer loss, and how far to trust it.

    Attributes:
        value: of the outer loss.
        gradient: with respect to the outer variables, a tree like them, of numpy arrays.
        inner: the inner solution, of numpy arrays.
        method: that was used.
        why: why "auto" chose it; empty where it did not choose.
        steps: that the inner solver took; -1 where it did not say.
        inner_residual: norm of the inner gradient at the solution.
        inner_error: the relative error of `gradient` that stems from the inner solve, as far as estimated: by how much
            it changes after one Newton step more. 0 where the solve has plainly converged, nan where the method needs
            no convergence.
        linear_residual: of the linear system (of the forgotten part of the way for `Truncated`), relative; else nan.
        products: Hessian-vector products taken.
        condition: the condition number of the inner Hessian as far as the linear solve has seen it; nan if it has not.
        findings: what is wrong; empty where nothing is.
    """

    value: float
    gradient: Tree
    inner: Tree
    method: Any
    why: str
    steps: int
    inner_residual: float
    inner_error: float
    linear_residual: float
    products: int
    condition: float
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def hypergradient(
    problem: Problem,
    outer: Tree,
    start: Tree | None = None,
    *,
    data: Any = None,
    method: Method | str = "auto",
    warn: bool = True,
) -> Hypergradient:
    """The gradient of the outer loss with respect to the outer variables, through the inner solve.

    ```python
    problem = Problem(
        inner_loss=lambda w, u, d: jnp.mean((d["x"] @ w - d["y"]) ** 2) + jnp.exp(u) @ w**2,
        outer_loss=lambda w, u, d: jnp.mean((d["x_val"] @ w - d["y_val"]) ** 2),
        solver=Descent(0.1, steps=1000),
    )
    h = hypergradient(problem, outer=jnp.zeros(10), start=jnp.zeros(10), data=data)
    h.gradient, h.sound, h.condition
    ```

    All is computed in the precision of the arrays given: double if any of them is. Compiled once for each problem,
    method and shape: keep the problem, and the functions in it, from call to call.

    Args:
        problem: inner and outer loss and the inner solver.
        outer: where the gradient is wanted: a tree of float arrays.
        start: where the inner search begins, a tree; None where the problem says.
        data: what both losses are given beside the variables: a tree of arrays.
        method: `Implicit(...)`, `Unrolled(...)`, `Truncated(...)`, `FiniteDifference(...)`, or "auto": implicit where
            the solve has converged and the system can be solved, unrolled elsewhere and where the start or the
            learning rate is what is sought.
        warn: give every finding as a `HypergradientWarning` too.

    Returns:
        the gradient, and what is wrong with it.

    Raises:
        InputError: no start, trees without float arrays, losses that do not fit, outer variables that enter nowhere.
    """
    if (start is None) == (problem.start is None):
        raise InputError("start was given twice or not at all; give it here or in the problem")
    with precision(outer, start, data):
        outer, start = _arrays("outer", outer), None if start is None else _arrays("start", start)
        who = _roles(problem, outer, start, data)
        if who.unused:
            raise InputError(f"outer variable {who.unused[0]!r} enters neither loss, nor the start, nor the solver")
        out = _auto(problem, outer, start, data, who) if method == "auto" else _one(
            problem, _known(method), outer, start, data, who, "")  # fmt: skip
    if warn:
        for finding in out.findings:
            warnings.warn(finding.says, HypergradientWarning, stacklevel=2)
    return out


def _known(method: Any) -> Any:
    if not hasattr(method, "compute"):
        raise refuse("method", method, "'auto', Implicit(...), Unrolled(...), Truncated(...) or FiniteDifference(...)")
    return method


def _arrays(name: str, tree: Tree) -> Tree:
    """The tree as jax arrays.

    Raises:
        InputError: no leaves, or leaves that are not real floats.
    """
    try:
        out = jax.tree.map(jnp.asarray, tree)
    except (TypeError, ValueError):
        raise refuse(name, tree, "a float array, or a dict, list or tuple of them") from None
    leaves = jax.tree.leaves(out)
    if not leaves or not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise refuse(name, tree, "a float array, or a dict, list or tuple of them")
    return out


# --- compiled plans -----------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=_PLANS)
def _compiled(problem: Problem, method: Any) -> Callable[..., Raw]:
    """One compiled function for all problems and methods that differ in float settings only."""

    def run(of_problem: dict[str, Any], of_method: dict[str, Any], u: Tree, start: Tree, data: Any) -> Raw:
        made: Raw = with_floats(method, of_method).compute(with_floats(problem, of_problem), u, start, data)
        return made

    return jax.jit(run)


def plan(problem: Problem, method: Any) -> Callable[[Tree, Tree, Any], Raw]:
    """The compiled computation of (outer, start, data), for loops that look after the findings themselves."""
    made, p, m = _compiled(shape_of(problem), shape_of(method)), floats(problem), floats(method)
    return lambda outer, start, data: made(p, m, outer, start, data)


@functools.lru_cache(maxsize=_PLANS)
def _newton(problem: Problem, method: Implicit) -> Callable[..., tuple[Any, Any]]:
    """How much one Newton step changes an implicit gradient, relative to its parts; and the products that took."""

    def run(
        of_problem: dict[str, Any], of_method: dict[str, Any], u: Tree, w: Tree, gradient: Tree, data: Any
    ) -> tuple[Any, Any]:
        p, m = with_floats(problem, of_problem), with_floats(method, of_method)
        flat, shape = ravel_pytree(w)
        slope, product = jax.linearize(lambda x: ravel_pytree(p.gradient(u, data)(shape(x)))[0], flat)
        step = with_floats(m.linear, {"tolerance": 0.05}).solve(lambda v: product(v) + m.damping * v, slope)
        after = m.at(p, u, shape(flat - step.solution), data)
        direct = jax.grad(p.outer_loss, argnums=1)(w, u, data)
        parts = norm(after.gradient) + norm(direct)
        error = norm(jax.tree.map(jnp.subtract, after.gradient, gradient)) / parts
        assert after.linear is not None
        return error, step.products + after.linear.products

    return jax.jit(run)


@functools.lru_cache(maxsize=_PLANS)
def _first_bad(problem: Problem) -> Callable[..., Any]:
    def run(of_problem: dict[str, Any], u: Tree, start: Tree, data: Any) -> Any:
        p = with_floats(problem, of_problem)
        return p.solver.first_bad_step(p.gradient(u, data), u, p.begin(u, start))  # type: ignore[union-attr]

    return jax.jit(run)


_known_roles: dict[Any, Roles] = {}


def _roles(problem: Problem, u: Tree, start: Tree, data: Any) -> Roles:
    leaves, structure = jax.tree.flatten((u, start, data))
    shapes = tuple((np.shape(x), str(getattr(x, "dtype", type(x)))) for x in leaves)
    key = (shape_of(problem), structure, shapes)
    if key not in _known_roles:
        if len(_known_roles) >= _PLANS:
            _known_roles.clear()
        _known_roles[key] = roles(problem, u, start, data)
    return _known_roles[key]


# --- diagnosis ----------------------------------------------------------------------------------------------------


def _one(
    problem: Problem, method: Any, u: Tree, start: Tree, data: Any, who: Roles, why: str
) -> Hypergradient:  # fmt: skip
    raw = plan(problem, method)(u, start, data)
    finite = all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves((raw.value, raw.gradient)))
    nan = math.nan
    out = Hypergradient(
        value=float(raw.value),
        gradient=arrays(raw.gradient),
        inner=arrays(raw.inner),
        method=method,
        why=why,
        steps=int(raw.steps),
        inner_residual=float(raw.last),
        inner_error=nan,
        linear_residual=nan,
        products=0,
        condition=nan,
        findings=(),
    )
    if not finite:
        steps = problem.solver.steps if isinstance(problem.solver, Descent) else 0
        at = int(_first_bad(shape_of(problem))(floats(problem), u, start, data)) if steps else -1
        return replace(out, findings=(diagnosis.not_finite(at, steps, out.value),))
    if isinstance(method, Implicit):
        return _judge_implicit(problem, method, out, raw, u, data, who)
    if isinstance(method, (Unrolled, Truncated)) and isinstance(problem.solver, Descent):
        last = method.last if isinstance(method, Truncated) and method.last < problem.solver.steps else None
        begun = [n for n, from_start in zip(who.names, who.start, strict=True) if from_start]
        carried = float(raw.carried)
        wrong = diagnosis.way(carried, last, begun[0] if begun else "")
        residual = math.nan if last is None else carried
        return replace(out, linear_residual=residual, findings=() if wrong is None else (wrong,))
    return out


def _judge_implicit(
    problem: Problem, method: Implicit, out: Hypergradient, raw: Raw, u: Tree, data: Any, who: Roles
) -> Hypergradient:
    assert raw.linear is not None
    found = [diagnosis.no_way_to(who.only_on_the_way[0])] if who.only_on_the_way else []
    wrong = diagnosis.linear(method, raw.linear)
    found += [wrong] if wrong else []
    error, more = 0.0, 0
    if not (wrong and wrong.kind == "indefinite") and not out.inner_residual <= _SURE * float(raw.first):
        check = _newton(shape_of(problem), shape_of(method))
        changed, taken = check(floats(problem), floats(method), u, raw.inner, raw.gradient, data)
        error, more = float(changed), int(taken)
        found += [diagnosis.unconverged(error)] if not error <= diagnosis.WRONG else []
    seen = eigenvalues(raw.linear.alphas, raw.linear.betas)
    return replace(
        out,
        inner_error=error,
        linear_residual=float(raw.linear.residual),
        products=int(raw.linear.products) + more,
        condition=float(seen[-1] / seen[0]) if len(seen) and seen[0] > 0 else math.nan,
        findings=tuple(found),
    )


# --- the choice ---------------------------------------------------------------------------------------------------


def _auto(problem: Problem, u: Tree, start: Tree, data: Any, who: Roles) -> Hypergradient:
    """Implicit if the solve has converged and the system can be solved; else unrolled, within memory."""
    walks = isinstance(problem.solver, Descent)
    if walks and who.only_on_the_way:
        why = f"{who.only_on_the_way[0]!r} matters on the way to the optimum only, so the way is differentiated"
        return _walk(problem, u, start, data, who, why)
    found = _one(problem, Implicit(), u, start, data, who, "")
    if [f.kind for f in found.findings] == ["linear"]:
        found = _one(problem, Implicit(CG(limit=_MOST)), u, start, data, who, "")
    if found.findings and walks:
        return _walk(problem, u, start, data, who, f"not implicit ({found.findings[0].kind}: {found.findings[0].says})")
    why = "the inner solve has converged" if walks else "the solver is foreign: only its optimum is known"
    if math.isfinite(found.condition):
        series, cg = _terms(found.condition, found.method.linear.tolerance)
        why += (
            f"; the condition number is {found.condition:.3g}, for which conjugate gradients need up to {cg} products "
            f"and a Neumann series {series}"
        )
    return replace(found, why=why)


def _walk(problem: Problem, u: Tree, start: Tree, data: Any, who: Roles, why: str) -> Hypergradient:
    """Unrolled; points are computed again where there are too many to keep."""
    assert isinstance(problem.solver, Descent)
    w = jax.eval_shape(problem.begin, u, start) if problem.start is not None else start
    size = sum(math.prod(np.shape(leaf)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(w))
    kept = _COPIES * size * problem.solver.steps
    why += f"; that keeps about {kept / 1e6:.2g} MB"
    why += ", so points are computed again instead" if kept > _MEMORY else ""
    return _one(problem, Unrolled(checkpoint=kept > _MEMORY), u, start, data, who, why)


def _terms(condition: float, tolerance: float) -> tuple[int, int]:
    """Products that a Neumann series and conjugate gradients need at most (Saad, Iterative Methods, 6.11)."""
    k = max(condition, 1.0 + 1e-9)
    fall = -math.log(tolerance)
    series = math.ceil(fall / -math.log1p(-1 / k)) if k > 1 else 1
    root = math.sqrt(k)
    ratio = (root - 1) / (root + 1)
    cg = math.ceil((fall + math.log(2)) / -math.log(ratio)) if ratio > 0 else 1
    return series, cg
