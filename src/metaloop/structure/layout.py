"""Layout: which joints to connect, chosen from all pairs of them, as a linear program.

The plastic formulation (Dorn, Gomory & Greenberg 1964): the forces q balance the loads in every case, a bar has the
area its largest force needs, and the volume is least. Its dual is a field of virtual displacements u under which no
pair of joints is strained too much,

    Σ over cases of max(σT b·u, -σC b·u, 0)  <=  length + joint cost        for each pair, b·u being its lengthening,

which is Michell's criterion. A pair that breaks it is one that would make the structure lighter, so the program begins
with short bars and adds such pairs until there is none (Gilbert & Tyas 2003). What it ends with is the optimum over all
pairs, and the field proves it.

Where there is no structure the field is not unique, and a field that is strained too much there asks for bars that
nobody needs. So while pairs are added every joint carries a very small random load, which makes the field unique; the
structure is that of the loads alone, and the proof holds for them, as its inequality knows no load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from metaloop.errors import InputError, refuse, require
from metaloop.structure.joints import Array, Bools, Ints, Loads, Supports, coordinates, floats, held, pulls
from metaloop.structure.truss import AXES

BLOCK = 200_000  # pairs looked at together
NEAR = 24  # joints to which each is connected at first
SMALL = 1e-6  # the random loads, as a share of the largest load
TIGHT = 1e-6  # by what share the criterion may be broken where the search ends
SHARE = 0.5  # of the number of bars: as many pairs are added at a time
SEEN = 1e-7  # share of the largest area below which a bar is no part of the result


@dataclass(frozen=True, eq=False)
class LayoutProblem:
    """Joints that may be connected, what holds them and what pulls at them.

    Args:
        nodes: coordinates of the possible joints, shape (n, 2) or (n, 3).
        supports: for each joint that is held, the directions in which it is: ``{0: "xy", 3: "y"}``.
        loads: for each load case, the force on each loaded joint: ``[{1: (0, -1)}]``; one mapping is one case.
        tension, compression: the largest stress, both positive.
        joint: a length added to every bar's, which makes short bars dear and the structure simple.
        domain: corners of a polygon within which all bars must lie, (p, 2), in the plane only; without it any pair may.
        longest: the length of the longest bar that may be.

    Raises:
        InputError: a number out of range, a joint that does not exist, no support, no load, or a load where it is held.
    """

    nodes: ArrayLike
    supports: Supports
    loads: Loads
    tension: float = 1.0
    compression: float = 1.0
    joint: float = 0.0
    domain: ArrayLike | None = None
    longest: float = np.inf

    def __post_init__(self) -> None:
        require("tension", self.tension, lambda v: 0 < v < np.inf, "a positive number")
        require("compression", self.compression, lambda v: 0 < v < np.inf, "a positive number")
        require("joint", self.joint, lambda v: 0 <= v < np.inf, "a number of at least 0")
        require("longest", self.longest, lambda v: v > 0, "a positive number")
        _ = self.forces, self.corners

    @cached_property
    def points(self) -> Array:
        """Coordinates, (n, d)."""
        points = coordinates(self.nodes)
        if len(np.unique(points, axis=0)) < len(points):
            raise refuse("nodes", self.nodes, "joints at different places")
        return points

    @cached_property
    def fixed(self) -> Bools:
        """Which coordinates are held, (n, d)."""
        n, d = self.points.shape
        return held(self.supports, n, AXES[:d])

    @cached_property
    def forces(self) -> Array:
        """Forces on the joints, (cases, n, d)."""
        return pulls(self.loads, self.fixed, AXES[: self.points.shape[1]])

    @cached_property
    def corners(self) -> Array | None:
        """Of the polygon, (p, 2), or None."""
        if self.domain is None:
            return None
        corners = floats("domain", self.domain)
        if self.points.shape[1] != 2 or corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
            raise refuse("domain", self.domain, "at least three corners, of a problem in the plane")
        return corners

    @property
    def potential(self) -> int:
        """How many pairs of joints there are."""
        return len(self.points) * (len(self.points) - 1) // 2

    def allowed(self, pairs: Ints) -> Bools:
        """Which pairs may be bars."""
        a, b = self.points[pairs[:, 0]], self.points[pairs[:, 1]]
        good = np.linalg.norm(b - a, axis=1) <= self.longest
        if self.corners is not None:
            good[good] = inside(self.corners, a[good], b[good])
        return np.asarray(good)


@dataclass(frozen=True)
class Layout:
    """The lightest structure, and the proof.

    Attributes:
        bars: pairs of joints, (m, 2).
        areas: (m,).
        forces: in each load case, tension positive, (cases, m).
        volume: Σ (length + joint cost) area.
        bound: a lower bound of the volume over all allowed pairs, by the virtual displacements.
        gap: volume - bound as a share of the volume.
        strain: the largest value of the criterion over all allowed pairs; 1 at the optimum.
        residual: what equilibrium leaves over, as a share of the largest load.
        displacements: the virtual ones, (cases, n, d).
        rounds: for each linear program: how many bars it had, its volume, and the largest value of the criterion.
        potential: how many pairs of joints there are, allowed or not.
        status: a sentence.
    """

    bars: Ints
    areas: Array
    forces: Array
    volume: float
    bound: float
    gap: float
    strain: float
    residual: float
    displacements: Array
    rounds: tuple[tuple[int, float, float], ...]
    potential: int
    status: str


def layout(
    problem: LayoutProblem,
    *,
    adding: bool = True,
    most_rounds: int = 100,
    progress: Callable[[int, float], None] | None = None,
) -> Layout:
    """The structure of least volume.

    Args:
        problem: joints, supports, loads, and what a bar costs.
        adding: begin with short bars and add pairs; without it all pairs are in one linear program.
        most_rounds: linear programs that may be solved.
        progress: called after each of them with its number and its volume.

    Raises:
        InputError: loads that no structure of allowed bars can carry.
    """
    require("most_rounds", most_rounds, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
    n = len(problem.points)
    near = NEAR if adding else n
    loads = problem.forces
    if adding:
        noise = np.random.default_rng(0).normal(size=loads.shape) * ~problem.fixed
        loads = loads + SMALL * np.abs(loads).max() * noise
    while True:
        bars = _short(problem, near) if near < n else _all(problem)
        solved = _program(problem, bars, loads)
        if solved is None and _program(problem, bars, problem.forces) is not None:
            loads = problem.forces  # some joint can only be loaded in some directions
            continue
        if solved is not None:
            break
        if near >= n:
            raise InputError("loads was a set that no structure of these bars can carry; it may be one that they can")
        near *= 4
    rounds: list[tuple[int, float, float]] = []
    while True:
        _, _, moved, volume = solved
        strain, missing = _broken(problem, moved, bars)
        rounds.append((len(bars), volume, strain))
        if progress is not None:
            progress(len(rounds), volume)
        if not len(missing) or len(rounds) >= most_rounds:
            break
        bars = np.concatenate([bars, missing])
        solved = _solved(problem, bars, loads)
    areas, forces, _, volume = _solved(problem, bars, problem.forces) if loads is not problem.forces else solved
    bound = float((problem.forces * moved).sum()) / max(strain, 1.0)
    kept = areas > SEEN * areas.max()
    residual = _residual(problem, bars[kept], forces[:, kept])
    proved = not len(missing)
    status = (
        "optimal over all allowed pairs of joints"
        if proved
        else f"stopped after {len(rounds)} linear programs; the volume is at most {volume / bound:.4g} times the least"
    )
    return Layout(bars[kept], areas[kept], forces[:, kept], volume, bound, (volume - bound) / volume, strain, residual,
                  moved, tuple(rounds), problem.potential, status)  # fmt: skip


def inside(corners: Array, a: Array, b: Array) -> Bools:
    """Which segments from a to b, (k, 2) each, lie in a polygon; its edge belongs to it.

    Each segment is cut where it meets the edges; it lies inside if the middles of all its pieces do.
    """
    c, d = corners, np.roll(corners, -1, axis=0)
    along, edge = (b - a)[:, None], (d - c)[None]
    apart = c[None] - a[:, None]
    cross = along[..., 0] * edge[..., 1] - along[..., 1] * edge[..., 0]
    flat = np.abs(cross) <= 1e-12 * np.abs(along).max() * np.abs(edge).max()
    safe = np.where(flat, 1.0, cross)
    t = (apart[..., 0] * edge[..., 1] - apart[..., 1] * edge[..., 0]) / safe
    s = (apart[..., 0] * along[..., 1] - apart[..., 1] * along[..., 0]) / safe
    met = ~flat & (t > 0) & (t < 1) & (s > -1e-9) & (s < 1 + 1e-9)
    cuts = np.sort(np.where(met, t, 1.0), axis=1)
    cuts = np.concatenate([np.zeros((len(a), 1)), cuts, np.ones((len(a), 1))], axis=1)
    middles = (cuts[:, 1:] + cuts[:, :-1]) / 2
    points = a[:, None] + middles[..., None] * along
    empty = cuts[:, 1:] - cuts[:, :-1] <= 1e-9
    return np.asarray((empty | _contains(corners, points)).all(axis=1))


def _contains(corners: Array, points: Array) -> Bools:
    """Which points, (..., 2), lie in the polygon or within rounding of its edge."""
    c, d = corners, np.roll(corners, -1, axis=0)
    p = points[..., None, :]
    edge, to = d - c, p - c
    share = np.clip((to * edge).sum(axis=-1) / (edge**2).sum(axis=-1), 0, 1)
    near = np.linalg.norm(to - share[..., None] * edge, axis=-1).min(axis=-1) <= 1e-9 * np.ptp(corners)
    over = (c[:, 1] > p[..., 1]) != (d[:, 1] > p[..., 1])
    rise = np.where(edge[:, 1] == 0, 1.0, edge[:, 1])
    crossed = over & (p[..., 0] < c[:, 0] + (p[..., 1] - c[:, 1]) * edge[:, 0] / rise)
    return np.asarray(near | (crossed.sum(axis=-1) % 2 == 1))


def _short(problem: LayoutProblem, near: int) -> Ints:
    """Each joint with its nearest ones."""
    from scipy.spatial import cKDTree

    n = len(problem.points)
    _, found = cKDTree(problem.points).query(problem.points, k=min(near + 1, n))
    first = np.repeat(np.arange(n), found.shape[1])
    pairs = np.sort(np.stack([first, found.ravel()], axis=1), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    return np.asarray(pairs[problem.allowed(pairs)], dtype=np.intp)


def _all(problem: LayoutProblem) -> Ints:
    """Every allowed pair."""
    pairs = np.stack(np.triu_indices(len(problem.points), 1), axis=1)
    return np.asarray(pairs[problem.allowed(pairs)], dtype=np.intp)


def _directions(problem: LayoutProblem, bars: Ints) -> tuple[Any, Array]:
    """The equilibrium matrix of the free coordinates, sparse (free, m), and the lengths."""
    from scipy.sparse import csr_array

    d = problem.points.shape[1]
    span = problem.points[bars[:, 1]] - problem.points[bars[:, 0]]
    lengths = np.linalg.norm(span, axis=1)
    cosines = span / lengths[:, None]
    each = np.arange(len(bars))
    rows = np.concatenate([bars[:, end, None] * d + np.arange(d) for end in (0, 1)]).ravel()
    # a bar in tension pulls its ends together: the loads it can balance are the opposite
    values = np.concatenate([-cosines, cosines]).ravel()
    whole = csr_array((values, (rows, np.tile(np.repeat(each, d), 2))), shape=(problem.points.size, len(bars)))
    return whole[np.flatnonzero(~problem.fixed.ravel())], lengths


def _solved(problem: LayoutProblem, bars: Ints, forces: Array) -> tuple[Array, Array, Array, float]:
    """The same, where it has a solution because fewer bars had one."""
    solved = _program(problem, bars, forces)
    if solved is None:
        raise RuntimeError("the linear program of the layout was not solved again with more bars")
    return solved


def _program(problem: LayoutProblem, bars: Ints, given: Array) -> tuple[Array, Array, Array, float] | None:
    """Areas, forces, virtual displacements and volume for bars and loads; None where they cannot carry them."""
    import scipy.optimize
    from scipy.sparse import block_diag, csr_array, diags_array, hstack, vstack

    if not len(bars):
        return None
    linprog: Any = scipy.optimize.linprog  # its stubs know no sparse matrices
    balance, lengths = _directions(problem, bars)
    cases, m = len(given), len(bars)
    free = np.flatnonzero(~problem.fixed.ravel())
    loads = given.reshape(cases, -1)[:, free]
    price = lengths + problem.joint
    both = hstack([balance, -balance])
    need = np.concatenate([np.full(m, 1 / problem.tension), np.full(m, 1 / problem.compression)])
    if cases == 1:  # then the area is what the force needs, and the program has no other unknowns
        out = linprog(np.tile(price, 2) * need, A_eq=both, b_eq=loads[0], method="highs-ipm")
    else:
        eye = diags_array(np.ones(m))
        needs = hstack([eye / problem.tension, eye / problem.compression])
        use = hstack([block_diag([needs] * cases), vstack([-eye] * cases)])
        equal = hstack([block_diag([both] * cases), csr_array((loads.size, m))])
        cost = np.concatenate([np.zeros(2 * m * cases), price])
        out = linprog(cost, use, np.zeros(m * cases), equal, loads.ravel(), method="highs-ipm")
    if out.status == 2:
        return None
    if out.status != 0:
        raise RuntimeError(f"the linear program of the layout was not solved: {out.message}")
    split = np.asarray(out.x[: 2 * m * cases]).reshape(cases, 2, m)
    forces = split[:, 0] - split[:, 1]
    needed = np.maximum(forces / problem.tension, -forces / problem.compression)
    areas = needed.max(axis=0)
    moved = np.zeros((cases, problem.points.size))
    moved[:, free] = np.asarray(out.eqlin.marginals).reshape(cases, -1)
    return areas, forces, moved.reshape(problem.forces.shape), float(price @ areas)


def _broken(problem: LayoutProblem, moved: Array, bars: Ints) -> tuple[float, Ints]:
    """The largest value of the criterion over all allowed pairs, and the pairs to add.

    Of the pairs that break it only the worst are taken: all at once would bring many that the first make needless.
    """
    n = len(problem.points)
    known = bars[:, 0] * n + bars[:, 1]
    worst = float(_criterion(problem, moved, bars).max())
    found, values = [], []
    rows = max(1, BLOCK // n)
    for low in range(0, n - 1, rows):
        first = np.arange(low, min(low + rows, n - 1))
        count = n - 1 - first
        start = np.repeat(first, count)
        pairs = np.stack(
            [start, np.arange(len(start)) - np.repeat(np.cumsum(count) - count, count) + start + 1], axis=1
        )
        strain = _criterion(problem, moved, pairs)
        high = strain > 1
        pairs, strain = pairs[high], strain[high]
        good = problem.allowed(pairs)
        pairs, strain = pairs[good], strain[good]
        worst = max(worst, float(strain.max(initial=0.0)))
        new = (strain > 1 + TIGHT) & ~np.isin(pairs[:, 0] * n + pairs[:, 1], known)
        found.append(pairs[new])
        values.append(strain[new])
    pairs, strain = np.concatenate(found), np.concatenate(values)
    most = max(100, int(SHARE * len(bars)))
    missing = np.asarray(pairs[np.argsort(-strain, kind="stable")[:most]], dtype=np.intp)
    return worst, missing


def _criterion(problem: LayoutProblem, moved: Array, pairs: Ints) -> Array:
    """The left side over the right of the module's inequality, (pairs,)."""
    span = problem.points[pairs[:, 1]] - problem.points[pairs[:, 0]]
    lengths = np.linalg.norm(span, axis=1)
    total = np.zeros(len(pairs))
    for u in moved:
        longer = ((u[pairs[:, 1]] - u[pairs[:, 0]]) * span).sum(axis=1) / lengths
        total += np.maximum(np.maximum(longer * problem.tension, -longer * problem.compression), 0)
    return np.asarray(total / (lengths + problem.joint))


def _residual(problem: LayoutProblem, bars: Ints, forces: Array) -> float:
    balance, _ = _directions(problem, bars)
    free = np.flatnonzero(~problem.fixed.ravel())
    loads = problem.forces.reshape(len(forces), -1)[:, free]
    return float(np.abs(balance @ forces.T - loads.T).max() / np.abs(loads).max())
