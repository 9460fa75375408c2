"""The one suite that every optimizer passes, ours and yours::

from metaloop.testing import check_optimizer
check_optimizer(MyOptimizer())
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from metaloop.optimizers.archive import same
from metaloop.optimizers.protocol import FAILED, PENDING, RELEASED, AnyOptimizer, Observation, Status, Stops, Told
from metaloop.optimizers.state import dump, load
from metaloop.space import Array, Categorical, Choice, Float, Int, Space

SPACES: dict[str, Space] = {
    "box": Space.from_bounds([(-5.0, 5.0)] * 3),
    "one dimension": Space(x=Float(1e-4, 1e2, log=True)),
    "integers": Space(n=Int(1, 1000, log=True), k=Int(-3, 7), step=Float(0.0, 1.0, step=0.125)),
    "mixed": Space(
        rate=Float(1e-5, 1e-1, log=True),
        depth=Int(1, 12),
        kernel=Categorical(["rbf", "poly", "linear"]),
        size=Categorical(["s", "m", "l"], ordered=True),
        degree=Int(2, 5, when={"kernel": "poly"}),
    ),
    "nested": Space(
        model=Choice(
            svm=Space(C=Float(1e-3, 1e3, log=True), gamma=Float(1e-4, 1e1, log=True)),
            mlp=Space(width=Int(8, 512, log=True), rate=Float(1e-4, 1e-1, log=True)),
            constant=None,
        )
    ),
    "forbidden": Space(a=Float(0.0, 1.0), b=Float(0.0, 1.0), c=Categorical(["x", "y"]), forbidden=["a + b > 1.2"]),
    "all categories": Space(p=Categorical(list("abcde")), q=Categorical(list("xyz"))),
}


def smooth(rows: Array) -> Array:
    """A sphere around 0.3 of every active coordinate, shape (n,)."""
    return np.asarray(np.nansum((rows - 0.3) ** 2, axis=1))


def check_optimizer(optimizer: AnyOptimizer, spaces: Sequence[str] = tuple(SPACES), rounds: int = 6) -> None:
    """Assert that an optimizer keeps the protocol (see `metaloop.optimizers.protocol`).

    Args:
        optimizer: the recipe to check.
        spaces: which of `SPACES` it claims to handle.
        rounds: ask/tell rounds per check.

    Raises:
        AssertionError: naming the broken promise and the space.
    """
    for name in spaces:
        space = SPACES[name]
        for check in _CHECKS:
            try:
                check(optimizer, space, rounds)
            except AssertionError as error:
                raise AssertionError(f"{type(optimizer).__name__} on {name!r}, {check.__name__}: {error}") from error


def _valid(space: Space, points: Array, n: int) -> None:
    assert points.shape[1:] == (space.dim,), f"points have shape {points.shape}"
    assert len(points) <= n, f"{len(points)} points were returned when {n} were asked"
    snapped = space.snap(points)
    assert ((snapped == points) | (np.isnan(snapped) & np.isnan(points))).all(), "points are not canonical rows"
    assert space.allowed(points).all(), "a forbidden point was asked"
    space.encode(space.decode(points))


def _run(optimizer: AnyOptimizer, space: Space, seed: int, rounds: int, n: int = 3) -> tuple[list[bytes], Any]:
    state = optimizer.init(space, seed)
    asked = []
    for _ in range(rounds):
        points, state = optimizer.ask(state, n)
        asked.append(points.tobytes())
        if len(points):
            state = optimizer.tell(state, points, smooth(points))
    return asked, state


def respects_the_space(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """Every asked point is a canonical, allowed row, for n = 1 and n = 1000."""
    state = optimizer.init(space, 1)
    for n in [1, 1, 2, 5, 1000]:
        points, state = optimizer.ask(state, n)
        _valid(space, points, n)
        if len(points):
            state = optimizer.tell(state, points, smooth(points))
    points, state = optimizer.ask(state, 1)
    _valid(space, points, 1)


def repeats_with_the_seed(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """The same seed asks the same, whatever the global random state; the global state is not touched."""
    first, _ = _run(optimizer, space, 7, rounds)
    before = str(np.random.get_state())  # noqa: NPY002 - the point is that nobody touches it
    second, _ = _run(optimizer, space, 7, rounds)
    after = str(np.random.get_state())  # noqa: NPY002
    assert first == second, "the same seed asked other points"
    assert before == after, "the global random state was used"


def survives_bytes(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """A state that went through bytes, with asks pending, goes on exactly like one that did not."""
    for cut in range(rounds):
        _, state = _run(optimizer, space, 3, cut)
        pending, state = optimizer.ask(state, 2)
        stored = dump(state)
        twin = load(stored, space)
        assert dump(twin) == stored, "state -> bytes -> state -> bytes differs"
        for _ in range(3):
            if len(pending):
                state = optimizer.tell(state, pending, smooth(pending))
                twin = optimizer.tell(twin, pending, smooth(pending))
            pending, state = optimizer.ask(state, 2)
            other, twin = optimizer.ask(twin, 2)
            assert pending.tobytes() == other.tobytes(), f"a restored state asked other points (cut {cut})"


def takes_failures(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """NaN, infinities, failed, pending, released and constrained observations leave it working."""
    state = optimizer.init(space, 2)
    infeasible = Observation((1.0,), constraints=(0.5, -1.0))
    odd: list[Told] = [np.nan, np.inf, -np.inf, FAILED, infeasible, 1e300, -1e300, 0.0]
    for _ in range(rounds):
        points, state = optimizer.ask(state, len(odd))
        _valid(space, points, len(odd))
        if len(points):
            state = optimizer.tell(state, points, odd[: len(points)])
    outside = space.sample(np.random.default_rng(5), 3)
    state = optimizer.tell(state, outside, [PENDING, PENDING, PENDING])
    state = optimizer.tell(state, outside, [RELEASED, 0.5, FAILED])
    points, state = optimizer.ask(state, 2)
    _valid(space, points, 2)
    everything_failed = optimizer.init(space, 4)
    for _ in range(rounds):
        points, everything_failed = optimizer.ask(everything_failed, 4)
        _valid(space, points, 4)
        if len(points):
            everything_failed = optimizer.tell(everything_failed, points, [FAILED] * len(points))


def takes_any_order(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """Tells shuffled, late, missing, and for points never asked."""
    rng = np.random.default_rng(0)
    state = optimizer.init(space, 5)
    out: list[Array] = []
    for _ in range(2 * rounds):
        points, state = optimizer.ask(state, 4)
        _valid(space, points, 4)
        out += list(points)
        for _ in range(3):
            if out:
                row = out.pop(int(rng.integers(len(out))))[None]
                state = optimizer.tell(state, row, smooth(row))
    outside = space.sample(rng, 5)
    state = optimizer.tell(state, outside, smooth(outside))
    points, state = optimizer.ask(state, 3)
    _valid(space, points, 3)


def takes_a_flat_objective(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """A constant objective is no reason to stop, divide by zero or leave the space."""
    state = optimizer.init(space, 6)
    for _ in range(4 * rounds):
        points, state = optimizer.ask(state, 3)
        _valid(space, points, 3)
        if not len(points):
            return
        state = optimizer.tell(state, points, np.zeros(len(points)))


def takes_intermediate_values(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """Intermediate values change nothing but whether an evaluation is ended, which survives bytes."""
    state = optimizer.init(space, 9)
    stops = optimizer.stop if isinstance(optimizer, Stops) else None
    for _ in range(rounds):
        points, state = optimizer.ask(state, 3)
        if not len(points):
            return
        before = None if stops else dump(state)
        for fidelity in (0.1, 0.4, 0.8):
            seen = [Observation((value,), fidelity=fidelity, status=Status.RUNNING) for value in smooth(points)]
            state = optimizer.tell(state, points, seen)
        assert before is None or dump(state) == before, "an intermediate value changed a state that does not stop"
        if stops:
            ended, twin = [stops(state, p) for p in points], load(dump(state), space)
            assert ended == [stops(twin, p) for p in points], "a restored state ends other evaluations"
        state = optimizer.tell(state, points, smooth(points))
    points, state = optimizer.ask(state, 1)
    _valid(space, points, 1)


def has_no_finished_pending(optimizer: AnyOptimizer, space: Space, rounds: int) -> None:
    """Telling every asked point leaves nothing pending, where the state keeps an archive."""
    _, state = _run(optimizer, space, 8, rounds)
    archive = getattr(state, "archive", None)
    if archive is not None:
        assert not len(archive.pending), "told points are still pending"
        assert not any(same(archive.pending, row).any() for row in archive.rows)


_CHECKS: tuple[Callable[[AnyOptimizer, Space, int], None], ...] = (
    respects_the_space,
    repeats_with_the_seed,
    survives_bytes,
    takes_failures,
    takes_any_order,
    takes_a_flat_objective,
    takes_intermediate_values,
    has_no_finished_pending,
)
