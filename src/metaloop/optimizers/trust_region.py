"""A trust region around a quadratic model, without derivatives, with restarts, and aware of noise.

Sources: Powell 2009 (BOBYQA); Conn, Scheinberg & Vicente 2009 (geometry steps); Cartis, Fiala, Marteau & Roberts 2019
(restarts, noise). The model is `metaloop.optimizers.quadratic_model`. It may hold any number of points, so every point
that is told counts, wherever it comes from, and a run begins with one.

Exact values: the region's center is the run's best point. A step goes to the model's least value within the region;
the radius follows the ratio of what was gained to what was expected. Where that failed, the direction that the points
cover least is looked into before the radius shrinks. A run that has settled is polished every second turn; in between
new runs begin far from what is known. Noisy values: the center moves where the model's gain exceeds its uncertainty,
steps are drawn from the posterior (Thompson 1933), and the radius shrinks where the model's error exceeds the noise in
its slope.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.errors import require
from metaloop.optimizers.archive import Archive, same
from metaloop.optimizers.protocol import Status, Told, check_tell, generator
from metaloop.optimizers.quadratic_model import NOISES, QuadraticModel, minimize_in_ball_and_box
from metaloop.optimizers.state import state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Mask, Space

NEW, LIVE, SETTLED, OVER = 0.0, 1.0, 2.0, 3.0  # what a run is doing

_UNSEEN = 50.0  # variance of a slope, of at most SLOPE, beyond which its direction counts as never looked into
_UNCOVERED = 4.0  # … as looked into too little for a step to be judged by
_SHRINK, _SMALLEST = 0.92, 1e-12
_LITTLE = 1e-4  # a run settles when a step promises less than this share of the values' spread
_SETTLED_RADIUS = 1e-3
_LARGEST = 1e100  # values beyond are clipped: their squares stay finite
_PER_ASK = 4  # points of one ask that the model chooses, and twice the dimension more; others begin new runs


@state
@dataclass
class TrustRegionState:
    """Points, runs, and what is out.

    Attributes:
        center: of each run, shape (r, d); value: the best value there, shape (r,).
        radius: of each run, shape (r,); phase: NEW, LIVE, SETTLED or OVER, shape (r,).
        look: whether the next step of a run looks into uncovered directions, shape (r,).
        out: asked points in the cube, shape (m, d).
        plan: of each, (run, whether it is a model's step, expected gain, length in radii), shape (m, 4).
        turn: points asked so far.
        noisy: whether equal points gave different values; None until a point was told twice.
    """

    space: Space
    archive: Archive
    rng: np.random.Generator
    center: Array
    value: Array
    radius: Array
    phase: Array
    look: Mask
    out: Array
    plan: Array
    turn: int
    noisy: bool | None


@dataclass(frozen=True)
class TrustRegion:
    """Quadratic-model trust region for some to some tens of real columns, from about 3 evaluations a column on.

    Discrete columns are treated as real and rounded; categorical ones stay at the run's value, but for a random
    exchange now and then.

    Args:
        radius: first radius, in widths of the unit cube, in (0, 1].
        noisy: whether equal points may give different values; None to find out by evaluating one point twice.

    Raises:
        InputError: a setting out of range.
    """

    radius: float = tunable(0.2, Float(0.02, 0.5, log=True))
    noisy: bool | None = None

    def __post_init__(self) -> None:
        require("radius", self.radius, lambda v: 0 < v <= 1, "a number in (0, 1]")

    def init(self, space: Space, seed: int) -> TrustRegionState:
        """A fresh state, with one run at the center of the cube."""
        d, none = space.dim, np.empty((0, space.dim))
        return TrustRegionState(
            space, Archive.empty(d), generator(seed), np.full((1, d), 0.5), np.array([np.nan]), np.array([self.radius]),
            np.array([NEW]), np.zeros(1, dtype=bool), none, np.empty((0, 4)), 0, self.noisy,
        )  # fmt: skip

    # --- ask ---------------------------------------------------------------------------------------------------

    def ask(self, state: TrustRegionState, n: int) -> tuple[Array, TrustRegionState]:
        """n points, shape (n, dim)."""
        s = state
        rows = np.empty((n, s.space.dim))
        known = {row.tobytes() for row in np.concatenate([s.archive.rows, s.archive.pending]) + 0.0}
        for i in range(n):
            raw, plan = self._next(s) if i < _PER_ASK + 2 * s.space.dim else (s.rng.random(s.space.dim), _beginning(-1))
            row = s.space.repair(_exchanged(s, raw)[None], s.rng)[0]
            for spread in (0.02, 0.1, 0.5):
                # a step that rounds to what is known: look around instead
                if (row + 0.0).tobytes() not in known or plan[1] == _REPEAT:
                    break
                row = s.space.repair((raw + spread * s.rng.standard_normal(s.space.dim))[None], s.rng)[0]
            known.add((row + 0.0).tobytes())
            rows[i] = row
            s.archive.pend(row[None])
            s.out = np.concatenate([s.out, row[None]])
            s.plan = np.concatenate([s.plan, [plan]])
            s.turn += 1
        return rows, s

    def _next(self, s: TrustRegionState) -> tuple[Array, tuple[float, ...]]:
        """The next point and its plan."""
        told = len(s.archive)
        if s.noisy is None and told > s.space.dim + 2 and not (s.plan[:, 1] == _REPEAT).any():
            good = np.flatnonzero(np.isfinite(s.archive.values))
            if len(good):
                best = s.archive.rows[good[np.argmin(s.archive.merit()[good])]]
                return _filled(best), (-1.0, _REPEAT, 0.0, 0.0)
        for _ in range(20):
            run = self._run(s)
            found = self._begin(s, run) if s.phase[run] == NEW else self._step(s, run)
            if found is not None:
                return found
        return s.rng.random(s.space.dim), _beginning(-1)

    def _run(self, s: TrustRegionState) -> int:
        """Whose turn it is: a settled run every second time, else the one that is under way, else a new one."""
        settled, under_way = np.flatnonzero(s.phase == SETTLED), np.flatnonzero(s.phase <= LIVE)
        waiting = {int(r) for r in s.plan[s.plan[:, 1] == _START, 0]}
        under_way = under_way[[int(r) not in waiting for r in under_way]]
        if len(settled) and (s.turn % 2 == 0 or s.noisy):
            return int(settled[np.argmin(s.value[settled])]) if s.noisy else self._best(s, settled)
        if len(under_way):
            return int(under_way[0])
        return self._add_run(s)

    def _best(self, s: TrustRegionState, settled: npt.NDArray[np.intp]) -> int:
        """The best settled run; a new one at the best point of all, where others found that far from every run."""
        points, values = _points(s)
        best = int(np.argmin(values))
        if values[best] >= np.nanmin(s.value):
            return int(settled[np.argmin(s.value[settled])])
        reach = 4.0 * np.sort(((points - points[best]) ** 2).sum(axis=1))[: s.space.dim + 2][-1]
        radius = float(np.clip(math.sqrt(reach), _SETTLED_RADIUS, self.radius))
        return self._append_run(s, points[best], float(values[best]), radius, LIVE)

    def _append_run(self, s: TrustRegionState, center: Array, value: float, radius: float, phase: float) -> int:
        s.center, s.value = np.concatenate([s.center, center[None]]), np.append(s.value, value)
        s.radius, s.phase = np.append(s.radius, radius), np.append(s.phase, phase)
        s.look = np.append(s.look, False)
        return len(s.phase) - 1

    def _add_run(self, s: TrustRegionState) -> int:
        """A run from where little is known and what is near ranks well (inverse-distance mean, less distance)."""
        d = s.space.dim
        starts = s.rng.random((256, d))
        points, values = _points(s)
        points, values = points[-500:], values[-500:]
        merit = np.zeros(len(starts))
        if len(points):
            squares = ((starts[:, None, :] - points) ** 2).sum(axis=2)
            weights = 1.0 / np.maximum(squares, 1e-12)
            rank = np.argsort(np.argsort(values, kind="stable")) / len(values)
            gap = np.sqrt(squares.min(axis=1))
            merit = (weights @ rank) / weights.sum(axis=1) - 2.0 * gap / max(float(gap.max()), 1e-12)
        start = starts[int(np.argmin(merit))]
        return self._append_run(s, start, math.nan, self.radius, NEW)

    def _begin(self, s: TrustRegionState, run: int) -> tuple[Array, tuple[float, ...]] | None:
        """The start of a run: its center, or the best of what is known near it."""
        points, values = _points(s)
        if run == 0 and len(values):
            s.center[run], s.value[run] = points[np.argmin(values)], values.min()
            s.phase[run] = LIVE
            return None
        return s.center[run].copy(), (float(run), _START, 0.0, 0.0)

    def _step(self, s: TrustRegionState, run: int) -> tuple[Array, tuple[float, ...]] | None:
        """The next point of a run; None where it has settled or is over."""
        points, values = _points(s)
        if not len(values):
            return None
        center = s.center[run]
        squares = ((points - center) ** 2).sum(axis=1)
        if not s.noisy:
            near = np.flatnonzero((squares <= s.radius[run] ** 2) & (values < s.value[run]))
            if len(near):  # others have found a better point close by
                best = near[np.argmin(values[near])]
                s.center[run], s.value[run] = points[best], values[best]
                center, squares = s.center[run], ((points - points[best]) ** 2).sum(axis=1)
            if s.phase[run] == LIVE and self._joins(s, run):
                s.phase[run] = OVER
                return None
        return (
            self._noisy_step(s, run, points, values) if s.noisy else self._exact_step(s, run, points, values, squares)
        )

    def _joins(self, s: TrustRegionState, run: int) -> bool:
        """Whether a run has come to a place where another one has settled or ended."""
        others = s.center[s.phase >= SETTLED]
        close = min(float(s.radius[run]), 0.1)
        return bool((((others - s.center[run]) ** 2).sum(axis=1) < close**2).any())

    def _exact_step(
        self, s: TrustRegionState, run: int, points: Array, values: Array, squares: Array
    ) -> tuple[Array, tuple[float, ...]] | None:
        d = s.space.dim
        center, best = s.center[run], float(s.value[run])
        index = _nearest(squares, 60 if d <= 8 else 4 * d + 50)
        index = index[squares[index] > 0]
        mine = _filled(s.out[s.plan[:, 0] == run])
        gap = ((mine - center) ** 2).sum(axis=1)
        mine = mine[(gap > 0) & (gap < (4.0 * s.radius[run]) ** 2)]
        while True:
            radius = float(s.radius[run])
            low, high = _box(center, radius)
            if not len(index):
                return self._look(s, run, np.eye(d)[0], None)
            steps, gains = (points[index] - center) / radius, values[index] - best
            model = QuadraticModel(steps, gains)
            if len(mine):  # what is out is believed to be as the model says, and covers its direction
                believed = (mine - center) / radius
                steps = np.concatenate([steps, believed])
                model = QuadraticModel(steps, np.concatenate([gains, [model.value(t) for t in believed]]))
            covariance = model.gradient_covariance()
            unseen = covariance.diagonal()
            if unseen.max() > _UNSEEN:
                return self._look(s, run, np.eye(d)[int(np.argmax(unseen))], model)
            step = minimize_in_ball_and_box(model.gradient, model.hessian, low, high)
            gain, length = -model.value(step), math.sqrt(float(step @ step))
            target = np.clip(center + radius * step, 0.0, 1.0)
            taken = len(mine) > 0 and bool((((mine - target) ** 2).sum(axis=1) < (0.1 * radius) ** 2).any())
            nothing = not gain > 4e-16 * abs(best) or bool((target == center).all())
            if s.look[run] or nothing or taken:
                w, q = np.linalg.eigh(covariance)
                s.look[run] = False
                if w[-1] > _UNCOVERED or taken:
                    return self._look(s, run, q[:, -1] if w[-1] > _UNCOVERED else s.rng.standard_normal(d), model)
                s.radius[run] *= 0.25 if nothing else _SHRINK
                if s.radius[run] < _SMALLEST:
                    s.phase[run] = OVER
                    return None
                continue
            if s.phase[run] == LIVE:
                small = radius < 0.1 * self.radius or length < 0.1
                if (gain < _LITTLE * _spread(values) and small) or radius < _SETTLED_RADIUS:
                    s.phase[run] = SETTLED
                    return None
            return target, (float(run), _STEP, gain, length)

    def _look(
        self, s: TrustRegionState, run: int, direction: Array, model: QuadraticModel | None
    ) -> tuple[Array, tuple[float, ...]]:
        """A point one radius along a direction, on the side that the model prefers, or where there is more room."""
        center, radius = s.center[run], float(s.radius[run])
        low, high = _box(center, radius)
        direction = direction / max(math.sqrt(float(direction @ direction)), 1e-300)
        sides = []
        for u in (direction, -direction):
            moving = np.abs(u) > 1e-12
            wall = np.where(u > 0, high, low)[moving] / u[moving]
            sides.append(u * min(1.0, float(wall.min())))
        room = [float(u @ u) for u in sides]
        if min(room) > 0.25:
            first = model is None or model.value(sides[0]) <= model.value(sides[1])
        else:
            first = room[0] > room[1]
        return np.clip(center + radius * sides[0 if first else 1], 0.0, 1.0), (float(run), _LOOK, 0.0, 1.0)

    def _noisy_step(
        self, s: TrustRegionState, run: int, points: Array, values: Array
    ) -> tuple[Array, tuple[float, ...]]:
        d = s.space.dim
        s.phase[run] = SETTLED  # a single run: noise leaves nothing to restart for
        model, gains, low, high = self._regression(s, run, points, values)
        step = minimize_in_ball_and_box(model.gradient, model.hessian, low, high)
        gain, length = model.constant - model.value(step), math.sqrt(float(step @ step))
        moved = gain > model.difference_deviation(step)
        covariance = model.gradient_covariance()
        unsure = math.sqrt(max(float(np.trace(covariance)), 0.0) / d)
        if moved:
            s.center[run] = np.clip(s.center[run] + s.radius[run] * step, 0.0, 1.0)
            if length > 0.9:
                s.radius[run] = min(1.5 * float(s.radius[run]), 0.5 * math.sqrt(d))
        if (length < 0.7 or not moved) and model.error > unsure:
            s.radius[run] *= 0.8
        model, gains, low, high = self._regression(s, run, points, values)
        gradient, hessian = model.draw(s.rng, gains)
        step = minimize_in_ball_and_box(gradient, hessian, low, high)
        return np.clip(s.center[run] + s.radius[run] * step, 0.0, 1.0), (float(run), _LOOK, 0.0, 1.0)

    def _regression(
        self, s: TrustRegionState, run: int, points: Array, values: Array
    ) -> tuple[QuadraticModel, Array, Array, Array]:
        """The model of a noisy run, its data, and its box."""
        d, center, radius = s.space.dim, s.center[run], float(s.radius[run])
        squares = ((points - center) ** 2).sum(axis=1)
        most = 100 if d <= 8 else 8 * d
        index = _nearest(squares, max(most, 1))
        within = np.flatnonzero(squares <= (1.5 * radius) ** 2)
        if len(within) > most:
            index = within[np.linspace(0, len(within) - 1, most).astype(int)]
        gains = values[index] - float(np.median(values[index]))
        model = QuadraticModel((points[index] - center) / radius, gains, NOISES)
        return model, gains, *_box(center, radius)

    # --- tell --------------------------------------------------------------------------------------------------

    def tell(self, state: TrustRegionState, points: Array, told: Sequence[Told] | Array) -> TrustRegionState:
        """File what came back; a step changes its run's radius."""
        s = state
        rows, seen = check_tell(s.space, points, told)
        for row, one in zip(rows, seen, strict=True):
            if s.noisy is None and one.status is Status.OK:
                equal = same(s.archive.rows, row) & np.isfinite(s.archive.values)
                if equal.any():
                    s.noisy = bool((s.archive.values[equal] != one.value).any())
            s.archive.add(row[None], [one])
            if one.status is Status.PENDING:
                continue
            hits = np.flatnonzero(same(s.out, row))
            if not len(hits):
                continue
            plan = s.plan[hits[0]]
            keep = np.arange(len(s.out)) != hits[0]
            s.out, s.plan = s.out[keep], s.plan[keep]
            if one.status is not Status.RELEASED and plan[0] >= 0:
                usable = one.status is Status.OK and one.violation == 0
                value = min(max(one.value, -_LARGEST), _LARGEST) if usable else math.inf
                self._judge(s, int(plan[0]), plan, _filled(row), value)
        return s

    def _judge(self, s: TrustRegionState, run: int, plan: Array, point: Array, value: float) -> None:
        _, kind, gain, length = plan
        if kind == _START:
            s.center[run], s.value[run] = point, value
            s.phase[run] = LIVE if math.isfinite(value) else OVER
            return
        if s.noisy:
            return
        gained = s.value[run] - value
        if not math.isfinite(value):
            s.radius[run] *= 0.5
        elif kind == _STEP:
            ratio = gained / gain
            if ratio >= 0.7:
                if length > 0.9:
                    s.radius[run] = min(2.0 * float(s.radius[run]), 0.5 * math.sqrt(s.space.dim))
                elif length < 0.5:
                    s.radius[run] *= max(2.0 * length, 0.1)
            elif ratio >= 0.1:
                s.radius[run] *= max(0.5, min(1.0, length))
            else:
                s.look[run] = True
                if length < 0.5:
                    s.radius[run] *= max(2.0 * length, 0.1)
        if gained > 0:
            s.center[run], s.value[run] = point, value


_STEP, _LOOK, _START, _REPEAT = 0.0, 1.0, 2.0, 3.0  # why a point was asked


def _beginning(run: int) -> tuple[float, ...]:
    return (float(run), _START if run >= 0 else _LOOK, 0.0, 0.0)


def _filled(rows: Array) -> Array:
    """Rows as points of the cube: inactive coordinates at its center."""
    return np.where(np.isnan(rows), 0.5, rows)


def _points(s: TrustRegionState) -> tuple[Array, Array]:
    """The points with a usable value, and their values."""
    merit = s.archive.merit()
    usable = np.isfinite(merit)
    return _filled(s.archive.rows[usable]), np.clip(merit[usable], -_LARGEST, _LARGEST)


def _spread(values: Array) -> float:
    return float(np.median(values) - values.min())


def _nearest(squares: Array, most: int) -> npt.NDArray[np.intp]:
    return np.argpartition(squares, most)[:most] if len(squares) > most else np.arange(len(squares))


def _box(center: Array, radius: float) -> tuple[Array, Array]:
    """The cube around a center in radii, shapes (d,); no farther than the ball needs."""
    return np.minimum(np.maximum(-center / radius, -2.0), 0.0), np.maximum(np.minimum((1 - center) / radius, 2.0), 0.0)


def _exchanged(s: TrustRegionState, raw: Array) -> Array:
    """Now and then another category in one of the categorical columns."""
    columns = np.flatnonzero(s.space.categorical)
    if len(columns) and s.rng.random() < 0.3:
        raw = raw.copy()
        raw[s.rng.choice(columns)] = s.rng.random()
    return raw
