"""What an optimizer is, and what it is told.

An optimizer is a recipe (a frozen dataclass) with three methods over a state::

    state         = optimizer.init(space, seed)
    points, state = optimizer.ask(state, n)
    state         = optimizer.tell(state, points, observations)

* `points` are canonical rows of the unit cube, shape (m, dim): what `space.snap` returns (NaN where inactive).
* `ask` returns at most n rows, all allowed by the space; fewer, or none, when there is nothing left to try.
* Asked points are *pending* until told. Asks without tells, tells out of order, in parts or for points that were never
  asked are all normal.
* A status of PENDING told for a point says that somebody else is evaluating it; RELEASED that nobody will any more.
* RUNNING is an intermediate value at a lower fidelity, of an evaluation that goes on. Optimizers that `Stops` read it
  and may end the evaluation; the others never see it.
* Each call takes the state over: the old one is dead, so arrays in it may be reused.
* The state is a function of the seed and the calls in order: no clock, no global random state.
* All objective values are minimized.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from metaloop import registry
from metaloop.errors import refuse
from metaloop.recipe import is_recipe
from metaloop.space import Array, Space


class Status(StrEnum):
    """What became of a point. The values are what a study stores."""

    OK = "ok"
    FAILED = "failed"
    PENDING = "pending"
    RELEASED = "released"
    RUNNING = "running"


@dataclass(frozen=True)
class Observation:
    """What came back from one evaluation.

    Attributes:
        values: objective values, each to be minimized; empty unless the status is OK or RUNNING.
        constraints: violated where > 0.
        fidelity: the share of a full evaluation that was run, in (0, 1].
        cost: what the evaluation cost, in the objective's own unit.
        seconds: from ask to tell, as a study recorded them; None where nobody did.
        status: OK, FAILED (evaluated, no usable value), PENDING, RELEASED or RUNNING (an intermediate value).
    """

    values: tuple[float, ...] = ()
    constraints: tuple[float, ...] = ()
    fidelity: float = 1.0
    cost: float | None = None
    seconds: float | None = None
    status: Status = Status.OK

    @property
    def value(self) -> float:
        """The first objective; NaN where there is none."""
        return self.values[0] if self.values else math.nan

    @property
    def violation(self) -> float:
        """Sum of the violated constraints; 0 where feasible."""
        return sum(c for c in self.constraints if c > 0)


Told: TypeAlias = Observation | float

FAILED = Observation(status=Status.FAILED)
PENDING = Observation(status=Status.PENDING)
RELEASED = Observation(status=Status.RELEASED)


def observations(told: Sequence[Told] | Array) -> list[Observation]:
    """Plain numbers as observations; a NaN or an infinity is a failure."""
    out = []
    for item in told:
        if isinstance(item, Observation):
            valued = item.status in (Status.OK, Status.RUNNING)
            finite = not valued or (bool(item.values) and all(map(math.isfinite, item.values)))
            out.append(item if finite else FAILED)
        else:
            value = float(item)
            out.append(Observation((value,)) if math.isfinite(value) else FAILED)
    return out


def check_tell(
    space: Space, points: Array, told: Sequence[Told] | Array, *, reports: bool = False
) -> tuple[Array, list[Observation]]:
    """The arguments of `tell`, as canonical rows and observations.

    Args:
        space: of the points.
        points: shape (m, dim).
        told: one for each point.
        reports: keep RUNNING observations; they are left out otherwise.

    Raises:
        InputError: shapes that do not fit.
    """
    rows = space.snap(points)
    if len(rows) != len(told):
        raise refuse("observations", len(told), f"one for each of the {len(rows)} points")
    seen = observations(told)
    if not reports and any(o.status is Status.RUNNING for o in seen):
        final = [o.status is not Status.RUNNING for o in seen]
        return rows[final], [o for o in seen if o.status is not Status.RUNNING]
    return rows, seen


S = TypeVar("S")


class Optimizer(Protocol[S]):
    """The one protocol of everything that searches; see the module's text."""

    def init(self, space: Space, seed: int) -> S:
        """A fresh state."""
        ...

    def ask(self, state: S, n: int) -> tuple[Array, S]:
        """At most n points to evaluate next, shape (m, dim), m <= n."""
        ...

    def tell(self, state: S, points: Array, told: Sequence[Told] | Array) -> S:
        """What came back for some points, shape (m, dim)."""
        ...


AnyOptimizer: TypeAlias = Optimizer[Any]


@dataclass(frozen=True)
class Decision:
    """One automatic decision, explained.

    Attributes:
        trial: number of observations that had been told when it was taken.
        seen: what was observed.
        rule: the rule or model that decided.
        chosen: what was done.
        expected: what it was expected to bring.
        happened: what it brought; empty until known.
    """

    trial: int
    seen: str
    rule: str
    chosen: str
    expected: str
    happened: str = ""

    def __str__(self) -> str:
        when = f"After {self.trial} trials" if self.trial else "At the start"
        text = f"{when}: {self.seen}. Because {self.rule}, {self.chosen}. Expected: {self.expected}."
        return f"{text} What happened: {self.happened}." if self.happened else text


@runtime_checkable
class Explains(Protocol):
    """An optimizer that takes decisions and can say why."""

    def decisions(self, state: Any) -> tuple[Decision, ...]:
        """The decisions so far, oldest first."""
        ...


@runtime_checkable
class Attributes(Protocol):
    """An optimizer in which several take turns, and that can say whose a point was."""

    def turns(self, state: Any) -> tuple[tuple[str, ...], Array]:
        """Who asked each told point, in the order told, and what it brought.

        Returns:
            names, n of them, "" where nobody did (a start, a repetition); values as minimized, shape (n,), NaN where a
            point failed or is not feasible.
        """
        ...


@runtime_checkable
class Stops(Protocol):
    """An optimizer that reads intermediate values (told as RUNNING) and may end an evaluation early."""

    def stop(self, state: Any, point: Array) -> bool:
        """Whether the evaluation of a pending point, shape (dim,), should end with its latest value; a mere look."""
        ...


@runtime_checkable
class ReadsBudget(Protocol):
    """An optimizer that plans ahead: its `budget` (trials), and `seconds` if it has it, are filled in where None."""

    budget: int | None


def generator(seed: int, *path: int) -> np.random.Generator:
    """A random generator of one's own for each purpose: a function of the seed and the path."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *path])))


def find_optimizer(optimizer: AnyOptimizer | str) -> AnyOptimizer:
    """A recipe from a recipe or its registered name.

    Raises:
        InputError: an unknown name, a class instead of an instance, or something without init/ask/tell.
    """
    if isinstance(optimizer, str):
        return registry.find("optimizers", optimizer)()  # type: ignore[no-any-return]
    if isinstance(optimizer, type):
        raise refuse("optimizer", optimizer, f"an instance; write {optimizer.__name__}()")
    missing = [m for m in ("init", "ask", "tell") if not callable(getattr(optimizer, m, None))]
    if missing or not is_recipe(optimizer):
        raise refuse("optimizer", optimizer, "a name, or a frozen dataclass with init, ask and tell")
    return optimizer
