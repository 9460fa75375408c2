"""A space of configurations and its codec to the unit cube.

A *configuration* is a dict of active parameters. A *row* is its point in the unit cube: one coordinate a column, NaN
where the parameter is inactive; discrete values sit at the centre of their cell. Optimizers see rows only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError, nearest, refuse
from metaloop.space.columns import Column, Flattening
from metaloop.space.forbidden import Clause, Forbidden, parse
from metaloop.space.parameters import Array, Float, Mask, Parameter

Config = dict[str, Any]
Index = npt.NDArray[np.intp]

_LARGEST_TABLE = 1_000_000  # values of a parent that a condition can tell apart
_REJECTIONS = 100_000  # draws before a space counts as unsatisfiable


class Space:
    """What may vary: named parameters, their conditions, and combinations that are forbidden.

    ```python
    space = Space(lr=Float(1e-5, 1e-1, log=True), kernel=Categorical(["rbf", "poly"]),
                  degree=Int(2, 5, when={"kernel": "poly"}))
    ```

    Args:
        parameters: a dict of name -> parameter, for names that are no Python identifiers.
        forbidden: combinations that never occur: dicts such as ``{"kernel": "poly", "degree": [4, 5]}`` (all must
            match) or comparisons such as ``"low >= high"``. A clause with an inactive parameter does not apply.
        named: more parameters, as keywords.

    Raises:
        InputError: an unknown, repeated or self-referring name, or a condition that can never hold.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter] | None = None,
        /,
        *,
        forbidden: Sequence[Forbidden] = (),
        **named: Parameter,
    ) -> None:
        both = set(parameters or {}) & set(named)
        if both:
            raise refuse("parameter name", min(both), "given once, in the dict or as a keyword")
        self.parameters: dict[str, Parameter] = {**(parameters or {}), **named}
        if isinstance(forbidden, (str, Mapping)):
            raise refuse("forbidden", forbidden, "a list of dicts or comparisons")
        self.forbidden: tuple[Forbidden, ...] = tuple(forbidden)
        if not self.parameters:
            raise refuse("Space", {}, "at least one parameter")
        flat = Flattening()
        flat.add(self, (), "", ())
        self.columns: tuple[Column, ...] = flat.finish()
        _ = self._tests  # refuses conditions that go in circles
        self._check_reachable()
        self._clauses: tuple[Clause, ...] = tuple(parse(text, self.columns, scope) for text, scope in flat.forbidden)

    @classmethod
    def from_bounds(cls, bounds: Any) -> Space:
        """A box from scipy-style bounds: a list of (low, high), or a `scipy.optimize.Bounds`; names x0, x1, …

        Raises:
            InputError: anything else, or a pair that is no interval.
        """
        if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
            low, high = np.broadcast_arrays(np.atleast_1d(bounds.lb), np.atleast_1d(bounds.ub))
            bounds = list(zip(low.tolist(), high.tolist(), strict=True))
        try:
            pairs = [(low, high) for low, high in bounds]
        except (TypeError, ValueError):
            raise refuse("bounds", bounds, "a Space, or a list of (low, high) pairs") from None
        if not pairs:
            raise refuse("bounds", bounds, "a list with at least one (low, high) pair")
        out: dict[str, Parameter] = {}
        for i, (low, high) in enumerate(pairs):
            try:
                out[f"x{i}"] = Float(low, high)
            except InputError:
                raise refuse(f"bounds[{i}]", (low, high), "two finite numbers with low < high") from None
        return cls(out)

    # --- what an optimizer may ask -----------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def labels(self) -> tuple[str, ...]:
        """Unique column labels, in order."""
        return tuple(c.label for c in self.columns)

    @cached_property
    def cells(self) -> Array:
        """Number of values per column, shape (dim,); inf where continuous."""
        return np.array([ln.last - ln.first + 1 if ln.discrete else np.inf for ln in self._lines])

    @cached_property
    def categorical(self) -> Mask:
        """Columns whose values have no order, shape (dim,)."""
        return np.array([not ln.ordered for ln in self._lines])

    @cached_property
    def conditional(self) -> Mask:
        """Columns that are not always active, shape (dim,)."""
        return np.array([bool(c.conditions) for c in self.columns])

    @property
    def has_forbidden(self) -> bool:
        """Whether some combinations are excluded."""
        return bool(self._clauses)

    # --- the codec ---------------------------------------------------------------------------------------------

    @cached_property
    def _lines(self) -> list[Any]:
        return [c.parameter.line for c in self.columns]

    @cached_property
    def _scale(self) -> tuple[Array, Array, Index, Index, Array, Array]:
        """(origin, width, log columns, discrete columns, first, last).

        scaled = origin + u * width; a number is its exponential (log) and then the nearest whole (discrete).
        """
        first = np.array([ln.first for ln in self._lines], dtype=float)
        last = np.array([ln.last for ln in self._lines], dtype=float)
        discrete = np.array([ln.discrete for ln in self._lines])
        log = np.array([ln.log for ln in self._lines])
        half = np.where(discrete, 0.5, 0.0)  # a whole number owns the unit interval around it
        low, high = first - half, last + half
        with np.errstate(divide="ignore", invalid="ignore"):
            origin = np.where(log, np.log(np.where(log, low, 1.0)), low)
            end = np.where(log, np.log(np.where(log, high, 1.0)), high)
        return origin, end - origin, np.flatnonzero(log), np.flatnonzero(discrete), first, last

    def _numbers(self, rows: Array) -> Array:
        """Rows -> numbers on the lines, inactive columns included (NaN reads as the centre)."""
        origin, width, log, discrete, first, last = self._scale
        v: Array = origin + rows * width
        missing = np.isnan(v)
        if missing.any():
            v = np.where(missing, origin + 0.5 * width, v)
        if log.size:
            v[:, log] = np.exp(v[:, log])
        if discrete.size:
            v[:, discrete] = np.floor(v[:, discrete] + 0.5)
        return np.minimum(np.maximum(v, first), last)

    def _rows(self, v: Array) -> Array:
        """Numbers on the lines -> rows."""
        origin, width, log, _, _, _ = self._scale
        t = v.copy()
        if log.size:
            t[:, log] = np.log(t[:, log])
        u: Array = np.minimum(np.maximum((t - origin) / width, 0.0), 1.0)
        return u

    def _settle(self, u: Array, v: Array) -> Array:
        """`u` with continuous coordinates moved by a few ulps to where they decode to `v`, if such a place exists."""
        continuous = np.isinf(self.cells)
        off = (self._numbers(u) != v) & continuous
        some = np.flatnonzero(off.any(axis=1))
        if not len(some):
            return u
        best, off, v = u[some], off[some], v[some]
        up = down = best
        for _ in range(8):
            up, down = np.nextafter(up, 2.0), np.nextafter(down, -1.0)
            for near in (np.minimum(up, 1.0), np.maximum(down, 0.0)):
                hit = off & (self._numbers(near) == v)
                best = np.where(hit, near, best)
                off &= ~hit
        u[some] = best
        return u

    @cached_property
    def _tests(self) -> list[tuple[int, int, Mask, float]]:
        """Conditions as (column, parent, allowed? by number, first number), parents first."""
        out = []
        for j in self._order:
            for parent, allowed in self.columns[j].conditions:
                line = self.columns[parent].parameter.line
                last = max(allowed)
                if last - line.first > _LARGEST_TABLE:
                    raise refuse(f"when of {self.columns[j].label!r}", last, f"among a parent's first {_LARGEST_TABLE}")
                # The table ends just past the last allowed number; nothing beyond it is allowed.
                table = np.isin(np.arange(line.first, last + 2), allowed)
                out.append((j, parent, table, line.first))
        return out

    def _active(self, v: Array) -> Mask | None:
        """Which columns exist, from numbers; None where all do."""
        if not self._tests:
            return None
        active = np.ones(v.shape, dtype=bool)
        for j, parent, table, first in self._tests:
            k = np.minimum(v[:, parent] - first, len(table) - 1).astype(np.intp)
            active[:, j] &= active[:, parent] & table[k]
        return active

    @cached_property
    def _order(self) -> tuple[int, ...]:
        """Conditional columns, parents first."""
        order: dict[int, None] = {}  # a set that remembers its order
        visiting: set[int] = set()

        def visit(j: int) -> None:
            if j in order:
                return
            if j in visiting:
                raise refuse(f"when of {self.columns[j].label!r}", self.columns[j].label, "free of circles")
            visiting.add(j)
            for parent, _ in self.columns[j].conditions:
                visit(parent)
            order[j] = None

        for j in range(self.dim):
            visit(j)
        return tuple(j for j in order if self.columns[j].conditions)

    def _check_reachable(self) -> None:
        """Refuse a column whose conditions, with those of its parents, can never hold together."""
        needs: dict[int, dict[int, set[float]]] = {}
        for j in self._order:
            need = needs.setdefault(j, {})
            for parent, allowed in self.columns[j].conditions:
                for p, values in [(parent, set(allowed)), *needs.get(parent, {}).items()]:
                    need[p] = need[p] & values if p in need else set(values)
                    if not need[p]:
                        label, other = self.columns[j].label, self.columns[p].label
                        raise refuse(f"when of {label!r}", f"never true: it needs {other!r} to have two values at once",
                                     "conditions that can hold together")  # fmt: skip

    def active(self, rows: Array) -> Mask:
        """Which parameters exist in each row, shape (n, dim)."""
        active = self._active(self._numbers(self._checked(rows)))
        return np.ones(np.shape(rows), dtype=bool) if active is None else active

    def snap(self, rows: Array) -> Array:
        """The canonical rows, within [0, 1]: discrete coordinates at their cell's centre, inactive ones NaN."""
        rows = np.minimum(np.maximum(self._checked(rows), 0.0), 1.0)
        missing = np.isnan(rows)
        if missing.any():
            rows = np.where(missing, 0.5, rows)
        discrete = self._scale[3]
        if not discrete.size:
            return rows
        v = self._numbers(rows)
        rows[:, discrete] = self._rows(v)[:, discrete]
        active = self._active(v)
        if active is not None:
            rows[~active] = np.nan
        return rows

    def allowed(self, rows: Array) -> Mask:
        """Which rows match no forbidden clause, shape (n,)."""
        rows = self._checked(rows)
        ok = np.ones(len(rows), dtype=bool)
        if self._clauses:
            v = self._numbers(rows)
            active = self._active(v)
            for clause in self._clauses:
                ok &= ~clause.matches(v, active, self.columns)
        return ok

    def sample(self, rng: np.random.Generator, n: int) -> Array:
        """Independent rows: uniform in the cube, conditioned on being allowed; shape (n, dim).

        Raises:
            InputError: the forbidden clauses leave (next to) nothing.
        """
        rows = self.snap(rng.random((n, self.dim)))
        if not self._clauses:
            return rows
        kept = rows[self.allowed(rows)]
        tried = n
        while len(kept) < n:
            if tried > max(_REJECTIONS, 100 * n) and len(kept) < 1 + n // 1000:
                raise refuse("forbidden", list(self.forbidden), f"satisfiable; {tried} random draws were all forbidden")
            rows = self.snap(rng.random((max(n, 256), self.dim)))
            tried += len(rows)
            kept = np.concatenate([kept, rows[self.allowed(rows)]])
        return kept[:n]

    def repair(self, rows: Array, rng: np.random.Generator) -> Array:
        """Canonical, allowed rows close to `rows`: a forbidden row is moved by growing random steps until it is not."""
        rows = self.snap(rows)
        if not self._clauses:
            return rows
        for i in np.flatnonzero(~self.allowed(rows)):
            start = np.where(np.isnan(rows[i]), 0.5, rows[i])
            for spread in (0.02, 0.05, 0.1, 0.2, 0.4):
                near = self.snap(start + spread * rng.standard_normal((64, self.dim)))
                good = np.flatnonzero(self.allowed(near))
                if len(good):
                    rows[i] = near[good[0]]
                    break
            else:
                rows[i] = self.sample(rng, 1)[0]
        return rows

    def decode(self, rows: Array) -> list[Config]:
        """Rows -> configurations.

        Args:
            rows: shape (n, dim), or one row of shape (dim,); every point of the cube is accepted.

        Returns:
            n dicts of the active parameters, in column order.
        """
        v = self._numbers(self._checked(rows))
        if not len(v):
            return []
        names = [c.name for c in self.columns]
        values = [c.parameter.values(col) for c, col in zip(self.columns, v.T.tolist(), strict=True)]
        active = self._active(v)
        if active is None:
            return [dict(zip(names, vals, strict=True)) for vals in zip(*values, strict=True)]
        out: list[Config] = [{}] * len(v)
        for pattern, members in _patterns(active):
            keep = np.flatnonzero(pattern)
            some = [names[j] for j in keep]
            if len(members) == len(v):
                return [dict(zip(some, vals, strict=True)) for vals in zip(*[values[j] for j in keep], strict=True)]
            picked = [[values[j][i] for i in members] for j in keep]
            for i, vals in zip(members, zip(*picked, strict=True), strict=True):
                out[i] = dict(zip(some, vals, strict=True))
        return out

    def encode(self, configs: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> Array:
        """Configurations -> canonical rows, shape (n, dim).

        `decode(encode(c)) == c` for every configuration that `decode` made and for every discrete value; a real number
        from elsewhere may move by the last bit of its place in the interval.

        Raises:
            InputError: a missing, unknown or inactive parameter, or a value out of bounds. Forbidden combinations are
                encoded; `allowed` tells.
        """
        if isinstance(configs, Mapping):
            configs = [configs]
        n = len(configs)
        v = np.full((n, self.dim), np.nan)
        for j, column in enumerate(self.columns):
            if not column.conditions:
                try:
                    v[:, j] = column.parameter.numbers(column.label, [c[column.name] for c in configs])
                except KeyError:
                    i = next(i for i, c in enumerate(configs) if column.name not in c)
                    raise self._missing(column, configs[i]) from None
        active = np.ones((n, self.dim), dtype=bool)
        for j in self._order:
            column = self.columns[j]
            for child, parent, table, first in self._tests:
                if child == j:
                    k = np.where(active[:, parent], np.minimum(v[:, parent] - first, len(table) - 1), 0)
                    active[:, j] &= active[:, parent] & table[k.astype(np.intp)]
            members = np.flatnonzero(active[:, j]).tolist()
            try:
                v[members, j] = column.parameter.numbers(column.label, [configs[i][column.name] for i in members])
            except KeyError:
                i = next(i for i in members if column.name not in configs[i])
                raise self._missing(column, configs[i]) from None
        counts = active.sum(axis=1)
        sizes = np.fromiter(map(len, configs), dtype=int, count=n)
        if (sizes != counts).any():
            i = int(np.argmax(sizes != counts))
            present = {c.name for c, on in zip(self.columns, active[i], strict=True) if on}
            extra = next(k for k in configs[i] if k not in present)
            known = {c.name for c in self.columns}
            if extra not in known:
                raise InputError(f"unknown parameter {extra!r}; the space has {sorted(known)}{nearest(extra, known)}")
            raise refuse(extra, configs[i][extra], "absent: its condition does not hold in this configuration")
        inactive = ~active
        if inactive.any():
            v[inactive] = np.broadcast_to(self._scale[4], v.shape)[inactive]
        rows = self._settle(self._rows(v), v)
        rows[inactive] = np.nan
        return rows

    def describe(self, row: Array) -> str:
        """One row as `name=value, …`, numbers to four digits."""
        config = self.decode(row)[0]
        return ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in config.items())

    def _missing(self, column: Column, config: Mapping[str, Any]) -> InputError:
        known = {c.name for c in self.columns}
        unknown = [k for k in config if k not in known]
        if unknown:
            return InputError(
                f"unknown parameter {unknown[0]!r}; the space has {sorted(known)}{nearest(str(unknown[0]), known)}"
            )
        return InputError(f"parameter {column.label!r} is missing; this configuration has {sorted(map(str, config))}")

    def _checked(self, rows: Array) -> Array:
        rows = np.atleast_2d(np.asarray(rows, dtype=float))
        if rows.shape[-1] != self.dim or rows.ndim != 2:
            raise refuse("rows", rows.shape, f"an array of shape (n, {self.dim})")
        return rows

    # --- a value among values ----------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The space as JSON text; `Space.from_json` gives an equal space back."""
        from metaloop.space.serialization import dumps

        return dumps(self)

    @classmethod
    def from_json(cls, text: str) -> Space:
        """The space that `to_json` wrote.

        Raises:
            InputError: text that is no space, or of a newer format.
        """
        from metaloop.space.serialization import loads

        return loads(text)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Space)
            and list(self.parameters.items()) == list(other.parameters.items())
            and self.forbidden == other.forbidden
        )

    def __hash__(self) -> int:
        return hash((tuple(self.parameters.items()), repr(self.forbidden)))

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v!r}" for k, v in self.parameters.items())
        return f"Space({inner}{', forbidden=' + repr(list(self.forbidden)) if self.forbidden else ''})"


def _patterns(active: Mask) -> Iterator[tuple[Mask, list[int]]]:
    """Groups of rows with the same active columns."""
    if (active == active[0]).all():
        yield active[0], list(range(len(active)))
        return
    packed = np.packbits(active, axis=1)
    key = np.ascontiguousarray(packed).view([("", packed.dtype)] * packed.shape[1]).ravel()
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    for k, i in enumerate(first):
        yield active[i], np.flatnonzero(inverse == k).tolist()
