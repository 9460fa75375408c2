"""What one setting may be: Float, Int, Categorical, and Choice (one of several nested spaces).

Every parameter is a value. To the codec it is a number line: a continuous one (in natural or logarithmic units), or
the whole numbers `first..last`, which a discrete parameter maps to its own values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError, refuse

if TYPE_CHECKING:
    from metaloop.space.space import Space

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
When: TypeAlias = tuple[tuple[str, tuple[Any, ...]], ...]

_MAX_EXACT = 2**53  # whole numbers beyond this have no exact double


@dataclass(frozen=True)
class Line:
    """The number line on which the codec lays a parameter.

    Attributes:
        first: lowest number.
        last: highest number.
        log: equal steps of the unit interval are equal ratios.
        discrete: only whole numbers count.
        ordered: neighbours on the line are similar (false for plain categories).
    """

    first: float
    last: float
    log: bool = False
    discrete: bool = False
    ordered: bool = True


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise refuse(name, value, "a finite number")
    if not math.isfinite(value):
        raise refuse(name, value, "a finite number")
    return float(value)


def _conditions(when: Mapping[str, Any] | When | None) -> When:
    """Normalise `when` to ((parent, (value, ...)), ...); a value or a list of values is accepted."""
    if when is None:
        return ()
    if isinstance(when, tuple):
        return when
    if not isinstance(when, Mapping) or not when:
        raise refuse("when", when, "a dict such as {'kernel': 'poly'} or {'kernel': ['poly', 'rbf']}")
    out = []
    for parent, values in when.items():
        listed = tuple(values) if isinstance(values, (list, set, frozenset, range)) else (values,)
        if not listed:
            raise refuse(f"when[{parent!r}]", values, "a value or a non-empty list of values")
        out.append((str(parent), listed))
    return tuple(out)


@dataclass(frozen=True)
class Float:
    """A real number in [low, high].

    Args:
        low, high: inclusive bounds, low < high.
        log: search equal ratios instead of equal differences; needs low > 0.
        step: only low, low + step, low + 2 step, … up to high; excludes `log`.
        when: the parameter exists only while its parents have these values, e.g. ``{"kernel": "poly"}``.

    Raises:
        InputError: bounds that are reversed, equal, not finite, or not positive with `log`.
    """

    low: float
    high: float
    log: bool = field(default=False, kw_only=True)
    step: float | None = field(default=None, kw_only=True)
    when: Mapping[str, Any] | When | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        low, high = _finite("low", self.low), _finite("high", self.high)
        if not low < high:
            raise refuse("low, high", (self.low, self.high), "two numbers with low < high")
        if self.log and low <= 0:
            raise refuse("low", self.low, "greater than 0 when log=True")
        if not math.isfinite(high - low):
            raise refuse("low, high", (self.low, self.high), "bounds whose difference is finite")
        if self.step is not None:
            if self.log:
                raise refuse("step", self.step, "None when log=True")
            step = _finite("step", self.step)
            if not 0 < step <= high - low:
                raise refuse("step", self.step, f"greater than 0 and at most high - low = {high - low}")
            object.__setattr__(self, "step", step)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)
        object.__setattr__(self, "when", _conditions(self.when))

    @property
    def line(self) -> Line:
        """The codec's number line."""
        if self.step is None:
            return Line(self.low, self.high, log=self.log)
        return Line(0, math.floor((self.high - self.low) / self.step + 1e-9), discrete=True)

    def values(self, numbers: Sequence[float]) -> list[Any]:
        """Numbers on the line -> values."""
        if self.step is None:
            return list(numbers)
        low, step, digits = self.low, self.step, _decimals(self.low, self.step)
        return [round(low + k * step, digits) for k in numbers]

    def numbers(self, name: str, values: Sequence[Any]) -> Array:
        """Values -> numbers on the line.

        Raises:
            InputError: a value that is no number, out of bounds, or off the steps.
        """
        v = _as_numbers(name, values)
        tolerance = 1e-9 * (self.high - self.low)
        bad = ~((v >= self.low) & (v <= self.high))
        if self.step is not None:
            k = np.floor((v - self.low) / self.step + 0.5)
            bad |= ~(np.abs(self.low + k * self.step - v) <= tolerance)
        if bad.any():
            allowed = f"a number in [{self.low}, {self.high}]" + (f" in steps of {self.step}" if self.step else "")
            raise refuse(name, values[int(np.argmax(bad))], allowed)
        return v if self.step is None else k


@dataclass(frozen=True)
class Int:
    """A whole number from low to high, both included.

    Args:
        low, high: inclusive bounds, low <= high.
        log: search equal ratios; needs low >= 1.
        step: only low, low + step, …; excludes `log`.
        when: see `Float`.

    Raises:
        InputError: bounds that are reversed, not whole, beyond 2**53, or below 1 with `log`.
    """

    low: int
    high: int
    log: bool = field(default=False, kw_only=True)
    step: int = field(default=1, kw_only=True)
    when: Mapping[str, Any] | When | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if isinstance(value, bool) or _finite(name, value) != int(value) or abs(value) > _MAX_EXACT:
                raise refuse(name, value, "a whole number of at most 2**53")
            object.__setattr__(self, name, int(value))
        if not self.low <= self.high:
            raise refuse("low, high", (self.low, self.high), "two whole numbers with low <= high")
        if self.log and self.low < 1:
            raise refuse("low", self.low, "at least 1 when log=True")
        if self.step < 1 or (self.log and self.step != 1):
            raise refuse("step", self.step, "at least 1" if not self.log else "1 when log=True")
        object.__setattr__(self, "when", _conditions(self.when))

    @property
    def line(self) -> Line:
        """The codec's number line."""
        if self.step == 1:
            return Line(self.low, self.high, log=self.log, discrete=True)
        return Line(0, (self.high - self.low) // self.step, discrete=True)

    def values(self, numbers: Sequence[float]) -> list[Any]:
        """Numbers on the line -> values."""
        if self.step == 1:
            return list(map(int, numbers))
        return [self.low + self.step * int(k) for k in numbers]

    def numbers(self, name: str, values: Sequence[Any]) -> Array:
        """Values -> numbers on the line.

        Raises:
            InputError: a value that is not a whole number in bounds.
        """
        v = _as_numbers(name, values)
        bad = ~((v >= self.low) & (v <= self.high) & (v == np.floor(v)))
        if self.step != 1:
            bad |= np.mod(v - self.low, self.step) != 0
        if bad.any():
            allowed = f"a whole number from {self.low} to {self.high}"
            raise refuse(name, values[int(np.argmax(bad))], allowed + (f" by {self.step}" if self.step != 1 else ""))
        return v if self.step == 1 else (v - self.low) / self.step


@dataclass(frozen=True)
class Categorical:
    """One of a list of choices.

    Args:
        choices: at least one; strings, numbers, booleans, None, or tuples of these; all different.
        ordered: neighbours in the list are similar (small, medium, large).
        when: see `Float`.

    Raises:
        InputError: no choices, a duplicate, or a choice that a file could not hold.
    """

    choices: Sequence[Any]
    ordered: bool = field(default=False, kw_only=True)
    when: Mapping[str, Any] | When | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, Iterable):
            raise refuse("choices", self.choices, "a list of choices")
        choices = tuple(_plain(c) for c in self.choices)
        if not choices:
            raise refuse("choices", list(choices), "a list with at least one choice")
        for i, c in enumerate(choices):
            if c in choices[:i]:
                raise refuse("choices", list(choices), f"all different; {c!r} equals an earlier choice")
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "when", _conditions(self.when))

    @property
    def line(self) -> Line:
        """The codec's number line."""
        return Line(0, len(self.choices) - 1, discrete=True, ordered=self.ordered)

    def values(self, numbers: Sequence[float]) -> list[Any]:
        """Numbers on the line -> values."""
        choices = self.choices
        return [choices[int(k)] for k in numbers]

    def numbers(self, name: str, values: Sequence[Any]) -> Array:
        """Values -> numbers on the line.

        Raises:
            InputError: a value that is not among the choices.
        """
        index = {c: float(k) for k, c in enumerate(self.choices)}
        try:
            return np.array([index[v] for v in values], dtype=float)
        except (KeyError, TypeError):
            for v in values:
                try:
                    known = v in index
                except TypeError:  # unhashable: certainly not a choice
                    known = False
                if not known:
                    raise refuse(name, v, f"one of {list(self.choices)}") from None
            raise


class Choice:
    """One of several nested spaces: ``Choice(svm=Space(C=…), mlp=Space(width=…))``.

    It flattens to a `Categorical` of the branch names and, for every parameter of a branch, a condition that this
    branch is chosen. Branches may use the same parameter name, since only one of them is active at a time.

    Args:
        spaces: a dict of branch name -> Space (or the same as keywords); None is a branch without parameters.
        when: see `Float`.
    """

    __slots__ = ("spaces", "when")
    spaces: dict[str, Space | None]
    when: When

    def __init__(
        self,
        branches: Mapping[str, Space | None] | None = None,
        /,
        *,
        when: Mapping[str, Any] | When | None = None,
        **spaces: Space | None,
    ) -> None:
        self.spaces = {**(branches or {}), **spaces}
        self.when = _conditions(when)
        if not self.spaces:
            raise refuse("Choice", {}, "at least one branch, e.g. Choice(svm=Space(...), mlp=Space(...))")
        for name, space in self.spaces.items():
            if not (space is None or hasattr(space, "columns")):
                raise refuse(f"branch {name!r}", space, "a Space, or None for a branch without parameters")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and (self.spaces, self.when) == (other.spaces, other.when)

    def __hash__(self) -> int:
        return hash((tuple(self.spaces.items()), self.when))

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v!r}" for k, v in self.spaces.items())
        return f"Choice({inner}{', when=' + repr(dict(self.when)) if self.when else ''})"


Scalar: TypeAlias = Float | Int | Categorical
Parameter: TypeAlias = Float | Int | Categorical | Choice


def _plain(value: Any) -> Any:
    """A choice as plain Python data, so that equality, hashing and JSON agree."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list):
        raise refuse("choices", value, "strings, numbers, booleans, None or tuples of these; make the list a tuple")
    if isinstance(value, tuple):
        return tuple(_plain(v) for v in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse("choices", value, "finite where a number")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise refuse("choices", value, "strings, numbers, booleans, None or tuples; name other objects and look them up")


def _as_numbers(name: str, values: Sequence[Any]) -> Array:
    """A list of numbers as an array; strings, booleans and None are refused rather than cast."""
    allowed = {int, float}
    if not set(map(type, values)) <= allowed:
        for v in values:
            if type(v) not in allowed and not isinstance(v, (np.integer, np.floating)):
                raise refuse(name, v, "a number")
    try:
        return np.array(values, dtype=float)
    except OverflowError:
        raise InputError(f"{name} holds a whole number too large for a double") from None


def _decimals(*numbers: float) -> int:
    """Decimal places that write every one of `numbers` exactly as printed."""
    places = [-int(Decimal(repr(x)).as_tuple().exponent) for x in numbers]
    return max(0, *places)
