"""The columns of a space's cube: nested spaces and conditions, flattened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metaloop.errors import InputError, nearest, refuse
from metaloop.space.parameters import Categorical, Choice, Float, Int, Scalar

if TYPE_CHECKING:
    from metaloop.space.forbidden import Forbidden
    from metaloop.space.space import Space


@dataclass(frozen=True)
class Column:
    """One coordinate of the cube.

    Attributes:
        name: key in the configuration.
        label: unique among the columns; differs from `name` where branches of a Choice share a name.
        parameter: what the coordinate decodes to.
        conditions: ((parent column, allowed numbers on the parent's line), …), all of which must hold.
    """

    name: str
    label: str
    parameter: Scalar
    conditions: tuple[tuple[int, tuple[float, ...]], ...] = ()


class Flattening:
    """Nested spaces -> columns. Names in `when` are looked up in their own space first, then outwards."""

    def __init__(self) -> None:
        self.raw: list[tuple[str, str, Scalar, tuple[tuple[int, Any], ...], dict[str, int], tuple[int, ...]]] = []
        self.forbidden: list[tuple[Forbidden, dict[str, int]]] = []

    def add(
        self, space: Space, outer: tuple[dict[str, int], ...], path: str, inherited: tuple[tuple[int, Any], ...]
    ) -> None:
        """Append the columns of a space and of the spaces inside it."""
        scope: dict[str, int] = {k: v for level in outer for k, v in level.items()}
        own: dict[str, int] = {}
        nested = []
        for name, parameter in space.parameters.items():
            if not isinstance(name, str) or not name:
                raise refuse("parameter name", name, "a non-empty string")
            if isinstance(parameter, Choice):
                scalar: Scalar = Categorical(list(parameter.spaces), when=parameter.when or None)
                nested.append((len(self.raw), name, parameter))
            elif isinstance(parameter, (Float, Int, Categorical)):
                scalar = parameter
            else:
                raise refuse(f"parameter {name!r}", parameter, "a Float, Int, Categorical or Choice")
            if name in scope:
                raise refuse("parameter name", name, "different from the names of the spaces around it")
            own[name] = len(self.raw)
            self.raw.append((name, path + name, scalar, inherited, {}, ()))
        visible = {**scope, **own}
        for name in own:
            entry = self.raw[own[name]]
            self.raw[own[name]] = (*entry[:4], visible, ())
        for index, name, choice in nested:
            for branch, inner in choice.spaces.items():
                if inner is not None:
                    self.add(inner, (*outer, own), f"{path}{name}.{branch}.", (*inherited, (index, branch)))
        self.forbidden += [(clause, self._reachable(visible)) for clause in space.forbidden]

    def _reachable(self, visible: dict[str, int]) -> dict[str, int]:
        """Names a clause may use: those in scope, and those of deeper branches that are unambiguous."""
        deeper: dict[str, list[int]] = {}
        for i, entry in enumerate(self.raw):
            deeper.setdefault(entry[0], []).append(i)
        return {**{k: v[0] for k, v in deeper.items() if len(v) == 1}, **visible}

    def finish(self) -> tuple[Column, ...]:
        """The columns, with every condition resolved to the column it names."""
        counts: dict[str, int] = {}
        for name, *_ in self.raw:
            counts[name] = counts.get(name, 0) + 1
        columns = []
        for name, path, parameter, inherited, visible, _ in self.raw:
            conditions = []
            for parent_index, branch in inherited:
                parent = self.raw[parent_index][2]
                conditions.append((parent_index, tuple(parent.numbers("branch", [branch]).tolist())))
            when = parameter.when
            reachable = self._reachable(visible) if when else {}
            for parent_name, values in when if isinstance(when, tuple) else ():
                if parent_name not in reachable:
                    hint = nearest(parent_name, reachable)
                    raise InputError(f"when of {name!r} names {parent_name!r}, which is not in the space{hint}")
                index = reachable[parent_name]
                parent = self.raw[index][2]
                if not parent.line.discrete:
                    raise refuse(f"when of {name!r}", parent_name, "a parent with countable values, not a real Float")
                numbers = parent.numbers(f"when of {name!r}: {parent_name}", list(values))
                conditions.append((index, tuple(numbers.tolist())))
            label = name if counts[name] == 1 else path
            columns.append(Column(name, label, parameter, tuple(conditions)))
        out = tuple(columns)
        self._check_shared(out)
        return out

    @staticmethod
    def _check_shared(columns: tuple[Column, ...]) -> None:
        """Columns that share a name must exclude each other; a circle of conditions is refused on first use."""
        named: dict[str, list[Column]] = {}
        for a in columns:
            for b in named.setdefault(a.name, []):
                if not any(p == q and not set(x) & set(y) for p, x in a.conditions for q, y in b.conditions):
                    raise refuse("parameter name", a.name, "used twice only in different branches of one Choice")
            named[a.name].append(a)
