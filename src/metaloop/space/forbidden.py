"""Forbidden combinations: dicts of values, or comparisons between parameters, evaluated on whole arrays."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from metaloop.errors import InputError, nearest, refuse
from metaloop.space.parameters import Array, Mask

if TYPE_CHECKING:
    from metaloop.space.columns import Column

Forbidden: TypeAlias = Mapping[str, Any] | str

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Clause:
    """One forbidden combination: equalities on number lines, or a comparison of values."""

    equalities: tuple[tuple[int, tuple[float, ...]], ...] = ()
    names: tuple[tuple[str, int], ...] = ()
    comparison: ast.expr | None = None

    def matches(self, v: Array, active: Mask | None, columns: Sequence[Column]) -> Mask:
        """Which rows the clause forbids, shape (n,). `v` holds numbers on the lines, shape (n, dim)."""
        used = [j for j, _ in self.equalities] + [j for _, j in self.names]
        hit: Mask = np.ones(len(v), dtype=bool)
        if active is not None:
            hit &= active[:, used].all(axis=1)
        for j, numbers in self.equalities:
            hit &= np.isin(v[:, j], numbers)
        if self.comparison is not None:
            values = {name: _column_values(columns[j], v[:, j]) for name, j in self.names}
            with np.errstate(all="ignore"):
                hit &= np.asarray(_evaluate(self.comparison, values), dtype=bool)
        return hit


def _column_values(column: Column, numbers: Array) -> Any:
    line = column.parameter.line
    if line.discrete:
        return np.array(column.parameter.values(numbers.tolist()))
    return numbers


def parse(clause: Forbidden, columns: Sequence[Column], scope: Mapping[str, int]) -> Clause:
    """A clause as the user wrote it -> something that runs on arrays.

    Raises:
        InputError: an unknown name, a value outside its parameter, or anything but arithmetic and comparisons.
    """

    def find(name: str) -> int:
        if name not in scope:
            raise InputError(f"forbidden names {name!r}, which is not in the space{nearest(name, scope)}")
        return scope[name]

    if isinstance(clause, Mapping) and clause:
        equalities = []
        for name, values in clause.items():
            j = find(name)
            if not columns[j].parameter.line.discrete:
                raise refuse("forbidden", dict(clause), f"a comparison such as '{name} > 0.5' for the real {name!r}")
            listed = list(values) if isinstance(values, (list, set, frozenset, range)) else [values]
            numbers = columns[j].parameter.numbers(f"forbidden {name}", listed)
            equalities.append((j, tuple(numbers.tolist())))
        return Clause(equalities=tuple(equalities))
    if not isinstance(clause, str):
        raise refuse("forbidden clause", clause, "a non-empty dict of values or a comparison such as 'low >= high'")
    try:
        tree = ast.parse(clause, mode="eval").body
    except SyntaxError:
        raise refuse("forbidden clause", clause, "a comparison such as 'low >= high'") from None
    names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
    resolved = tuple((name, find(name)) for name in names)
    if not names or not isinstance(tree, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        raise refuse("forbidden clause", clause, "a comparison between parameters such as 'low >= high'")
    probe = Clause(names=resolved, comparison=tree)
    try:
        # The first number of every line: enough to see whether the types and operators fit together.
        probe.matches(np.array([[c.parameter.line.first for c in columns]]), None, columns)
    except (TypeError, KeyError, ValueError):
        raise refuse("forbidden clause", clause, "arithmetic, comparisons, and/or/not over numbers") from None
    return probe


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of a whitelisted expression; anything else is a KeyError. No names but the parameters', no calls."""
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=value) if isinstance(value, (int, float, str, bool)):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_evaluate(operand, values))
        case ast.BoolOp(op=op, values=parts):
            combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
            out = _evaluate(parts[0], values)
            for part in parts[1:]:
                out = combine(out, _evaluate(part, values))
            return out
        case ast.Compare(left=left, ops=ops, comparators=rights):
            out = True
            a = _evaluate(left, values)
            for compare, right in zip(ops, rights, strict=True):
                b = _evaluate(right, values)
                out = np.logical_and(out, _BINARY[type(compare)](a, b))
                a = b
            return out
        case _:
            raise KeyError(type(node).__name__)
