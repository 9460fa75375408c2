"""Joints, supports, loads and groups as people write them, turned into arrays; what cannot be used is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metaloop.errors import refuse, require

Array = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
Supports = Mapping[int, str]
Loads = Mapping[int, Sequence[float]] | Sequence[Mapping[int, Sequence[float]]]


def floats(name: str, value: ArrayLike) -> Array:
    """Numbers as an array.

    Raises:
        InputError: something else.
    """
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise refuse(name, value, "numbers") from None


def coordinates(nodes: ArrayLike, dimensions: tuple[int, ...] = (2, 3)) -> Array:
    """Of the joints, (n, d).

    Raises:
        InputError: another shape, fewer than two joints, or a number that is not finite.
    """
    points = floats("nodes", nodes)
    if points.ndim != 2 or points.shape[1] not in dimensions or len(points) < 2 or not np.isfinite(points).all():
        raise refuse("nodes", nodes, "finite coordinates of shape " + " or ".join(f"(n, {d})" for d in dimensions))
    return points


def connections(name: str, value: ArrayLike, joints: int) -> Ints:
    """The joints at both ends of each member, (m, 2).

    Raises:
        InputError: another shape, or a joint that does not exist.
    """
    ends = np.asarray(value)
    if ends.ndim != 2 or ends.shape[1] != 2 or not len(ends) or ends.dtype.kind not in "iu":
        raise refuse(name, value, "whole numbers of shape (m, 2)")
    if ends.min() < 0 or ends.max() >= joints:
        raise refuse(name, int(ends.min() if ends.min() < 0 else ends.max()), f"0 to {joints - 1}")
    return ends.astype(np.intp)


def held(supports: Supports, joints: int, letters: str) -> Bools:
    """Which coordinates of the joints are held, (n, len(letters)).

    Raises:
        InputError: a joint or a letter that does not exist, or no support.
    """
    out = np.zeros((joints, len(letters)), dtype=bool)
    for joint, directions in supports.items():
        _joint("supports", joint, joints)
        if not isinstance(directions, str) or not directions or set(directions) - set(letters):
            raise refuse(f"supports[{joint}]", directions, f"some of the letters {letters!r}")
        out[joint, [letters.index(a) for a in directions]] = True
    if not out.any():
        raise refuse("supports", supports, "a mapping that holds at least one joint")
    return out


def pulls(loads: Loads, fixed: Bools, letters: str) -> Array:
    """Forces on the joints in each load case, (cases, n, len(letters)).

    Raises:
        InputError: no case, a case of no force, a joint that does not exist, or a force where it is held.
    """
    cases = [loads] if isinstance(loads, Mapping) else list(loads)
    if not cases:
        raise refuse("loads", loads, "at least one load case")
    forces = np.zeros((len(cases), *fixed.shape))
    for k, case in enumerate(cases):
        for joint, force in case.items():
            name = f"loads[{k}][{joint}]"
            _joint(f"loads[{k}]", joint, len(fixed))
            vector = floats(name, force)
            if vector.shape != (len(letters),) or not np.isfinite(vector).all():
                raise refuse(name, force, f"{len(letters)} finite numbers, in {', '.join(letters)}")
            forces[k, joint] = vector
            if (both := np.flatnonzero((vector != 0) & fixed[joint])).size:
                raise refuse(name, force, f"0 in {letters[both[0]]}, where the joint is held")
        if not forces[k].any():
            raise refuse(f"loads[{k}]", case, "a case with at least one force")
    return forces


def groups(given: ArrayLike | None, members: int) -> Ints:
    """The design variable of each member, (m,).

    Raises:
        InputError: another shape, or numbers that leave one out.
    """
    if given is None:
        return np.arange(members)
    group = np.asarray(given)
    if group.shape != (members,) or group.dtype.kind not in "iu" or set(group.tolist()) != set(range(group.max() + 1)):
        raise refuse("groups", given, f"{members} whole numbers that leave none out from 0 on")
    return group.astype(np.intp)


def refuse_bare(name: str, points: Array, ends: Ints) -> Array:
    """The lengths of the members, (m,).

    Raises:
        InputError: a joint without a member, or a member of no length.
    """
    bare = np.setdiff1d(np.arange(len(points)), ends)
    if bare.size:
        raise refuse(name, f"without one at joint {bare[0]}", "a set that reaches every joint")
    lengths = np.linalg.norm(points[ends[:, 1]] - points[ends[:, 0]], axis=1)
    if (short := np.flatnonzero(lengths <= 1e-12 * np.ptp(points, axis=0).max())).size:
        raise refuse(f"{name}[{short[0]}]", ends[short[0]].tolist(), "a pair of joints at different places")
    return np.asarray(lengths)


def _joint(name: str, joint: object, joints: int) -> None:
    require(
        f"{name}'s joint", joint, lambda j: j == int(j) and 0 <= j < joints, f"a whole number from 0 to {joints - 1}"
    )
