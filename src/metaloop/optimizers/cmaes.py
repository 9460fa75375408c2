"""CMA-ES: a normal distribution that learns the objective's shape from rankings, restarted with a growing population.

Sources, cited beside the lines: [T] Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772 (v2);
[I] Hansen, Injecting External Solutions Into CMA-ES, arXiv 1110.4181; [M] Hamano et al., CMA-ES with Margin,
arXiv 2205.13482; [R] Auger & Hansen, A Restart CMA Evolution Strategy With Increasing Population Size, CEC 2005.
Only ranks are used, so every strictly increasing transformation of the objective gives the same search (but for the
restart rules TolFun and Stagnation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from metaloop.errors import refuse, require
from metaloop.optimizers.protocol import Observation, Status, Told, check_tell, generator
from metaloop.optimizers.search_distribution import Gaussian, Strategy, fold, strategy, unfold, widen
from metaloop.optimizers.state import plan, state
from metaloop.recipe import tunable
from metaloop.space import Array, Float, Space

_MAX_PENDING = 10_000  # asked points whose raw sample is remembered; older ones count as points from outside
_RESAMPLE = 10  # draws per point before a forbidden one is repaired
_LARGEST = 512  # times the first population: nine doublings, as many restarts as [R] and its successors make
_WINDOW = 2_000  # generations that the stagnation test looks back at most, so that memory stays flat
_TOL_FUN, _TOL_X, _TOL_UP = 1e-12, 1e-12, 1e4  # [T] B.3


@state
@dataclass
class CMAESState:
    """What the run has learned so far.

    Attributes:
        normal: the search distribution.
        stretch: factor on the sampling deviation of each column, >= 1 where discrete ([M]'s A), shape (d,).
        population: lambda of this run.
        generation: updates and restarts so far; names the distribution that a point was sampled from.
        begun: the generation at which this run began.
        restarts: how often it has begun anew.
        stopped: why the last run ended; empty in the first.
        batch: how many told points make up this generation; more than `population` after a large ask.
        pending: raw samples of asked points and their generation (-1: settled), shape (capacity, d + 1).
        asked: rows of `pending` in use.
        told: raw points, generation, failed (0/1), violation, value, shape (capacity, d + 4).
        count: rows of `told` in use.
        best, median: values in the latest generations, oldest first, shape (g,).
        bar: (failed, violation, value) at the middle of the last generation, shape (3,).
        scale: spread of the values in the run's first generation.
        barren: generations in a row without any usable value.
    """

    space: Space
    rng: np.random.Generator
    normal: Gaussian
    stretch: Array
    population: int
    pending: Array
    told: Array
    best: Array
    median: Array
    bar: Array
    generation: int = 0
    begun: int = 0
    restarts: int = 0
    stopped: str = ""
    batch: int = 0
    asked: int = 0
    count: int = 0
    scale: float = 1.0
    barren: int = 0
    slots: dict[bytes, list[int]] | None = plan()

    @property
    def sigma(self) -> float:
        """The step size, in units of the cube."""
        return self.normal.sigma

    @property
    def mean(self) -> Array:
        """The distribution's mean in the cube, shape (d,); inactive coordinates included."""
        return fold(self.space, self.normal.mean)


@dataclass(frozen=True)
class CMAES:
    """CMA-ES with negative weights, bounds, integers, asynchronous tells and restarts (IPOP).

    The distribution is updated whenever as many points have been told as the population has (or as the largest ask
    of the generation had). Points of an older distribution are used too, with their step clipped; so are points from
    outside that are at least as good as the middle of the last generation.

    At the walls of the cube the objective is mirrored (see `fold`).

    Args:
        sigma0: first step size, in widths of the unit cube, in (0, 10].
        population_factor: the first population is this times 4 + floor(3 ln d), and at least 4.
        damping: factor on the step size's damping; below 1 it changes faster.
        covariance_rate: factor on the covariance's learning rates, in (0, 1.5]; below 1 for noisy objectives.
        restart_factor: the population grows by this with each restart, at least 1, up to 512 times the first.
        mean: where the first run begins, one number in [0, 1] per column of the space; None is the centre. Later runs
            begin at uniform random points.

    Raises:
        InputError: a setting out of range.
    """

    sigma0: float = tunable(0.2, Float(0.02, 1.0, log=True))
    population_factor: float = tunable(1.0, Float(0.5, 4.0, log=True))
    damping: float = tunable(1.0, Float(0.3, 3.0, log=True))
    covariance_rate: float = tunable(1.0, Float(0.2, 1.5, log=True))
    restart_factor: float = tunable(2.0, Float(1.0, 4.0))
    mean: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        most = {"sigma0": 10.0, "population_factor": 1e6, "damping": 1e6, "covariance_rate": 1.5}
        for name, high in most.items():
            require(name, getattr(self, name), partial(_positive, high), f"a number in (0, {high:g}]")
        require("restart_factor", self.restart_factor, lambda v: 1 <= v <= 100, "a number in [1, 100]")
        if self.mean is not None:
            if not all(0 <= m <= 1 for m in self.mean):
                raise refuse("mean", self.mean, "coordinates in [0, 1], or None")
            object.__setattr__(self, "mean", tuple(map(float, self.mean)))

    def init(self, space: Space, seed: int) -> CMAESState:
        """A fresh state.

        Raises:
            InputError: a mean whose length is not the space's number of columns.
        """
        d = space.dim
        if self.mean is not None and len(self.mean) != d:
            raise refuse("mean", self.mean, f"{d} numbers, one per column of the space")
        mean = np.full(d, 0.5) if self.mean is None else np.array(self.mean)
        population = self._first_population(d)
        out = CMAESState(
            space=space,
            rng=generator(seed),
            normal=Gaussian.isotropic(mean, self.sigma0),
            stretch=np.ones(d),
            population=population,
            pending=np.empty((0, d + 1)),
            told=np.empty((0, d + 4)),
            best=np.empty(0),
            median=np.empty(0),
            bar=np.full(3, np.inf),
        )
        widen(out.normal, out.stretch, space, population)
        return out

    def ask(self, state: CMAESState, n: int) -> tuple[Array, CMAESState]:
        """n samples of the current distribution, shape (n, d)."""
        raw, rows = _sample(state, n)
        if n:
            _remember(state, raw, rows)
            state.batch = max(state.batch, n)
        return rows, state

    def tell(self, state: CMAESState, points: Array, told: Sequence[Told] | Array) -> CMAESState:
        """Take points up; whenever a generation is complete, the distribution is updated."""
        rows, seen = check_tell(state.space, points, told)
        d = state.space.dim
        for row, key, observation in zip(rows, _keys(rows), seen, strict=True):
            if observation.status is Status.PENDING:
                continue
            sample = _recall(state, key)
            if observation.status is Status.RELEASED:
                if sample is not None and sample[d] == state.generation:
                    state.batch -= 1  # it will not come back, so the generation does not wait for it
            elif sample is None:
                entry = np.concatenate([unfold(state.space, row, state.normal.mean), [-1.0], _rank_key(observation)])
                if tuple(entry[d + 1 :]) <= tuple(state.bar):  # Deb's rules
                    state.told, state.count = _append(state.told, state.count, entry[None])
            elif sample[d] >= state.begun:  # what an earlier run asked would pull this one back to where that one was
                entry = np.concatenate([sample, _rank_key(observation)])
                state.told, state.count = _append(state.told, state.count, entry[None])
            if state.count >= max(state.population, state.batch):
                self._advance(state)
        return state

    def _first_population(self, d: int) -> int:
        return max(4, math.floor(self.population_factor * (4 + math.floor(3 * math.log(d)))))  # (48)

    def _advance(self, state: CMAESState) -> None:
        """One generation: rank, update, widen, and begin anew where a stopping rule holds."""
        d, normal = state.space.dim, state.normal
        s = strategy(d, state.count, self.damping, self.covariance_rate)
        entries = state.told[: state.count]
        keys = entries[:, d + 1 :]
        order = np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0]))
        entries, keys = entries[order], keys[order]
        ties = np.zeros(len(keys), dtype=bool)
        ties[1:] = (keys[1:] == keys[:-1]).all(axis=1)
        y = (entries[:, :d] - normal.mean) / (normal.sigma * state.stretch)
        foreign = entries[:, d] != state.generation
        if foreign.any():  # [I]: y is clipped to the Mahalanobis length c_y
            length = np.sqrt((((y @ normal.B) / normal.D) ** 2).sum(axis=1))
            c_y = math.sqrt(d) + 2 * d / (d + 2)
            y = np.where(foreign[:, None], y * np.minimum(1.0, c_y / np.maximum(length, 1e-300))[:, None], y)
        normal.update(s, y, ties)
        # Points of many workers come back several generations late. Generations then grow until a point is about
        # one late: older samples rank worse merely for being old, which would shrink the step size.
        own = entries[:, d] >= 0
        late = float(np.median(state.generation - entries[own, d])) if own.any() else 0.0
        state.batch = int(late * state.count)
        state.count = 0
        state.generation += 1
        state.bar = keys[(len(keys) - 1) // 2].copy()
        reason = "" if normal.decompose(s) else "ConditionCov"
        reason = reason or _reason(state, keys, s, self.sigma0)
        if reason:
            self._restart(state, reason)
        widen(state.normal, state.stretch, state.space, state.population)

    def _restart(self, state: CMAESState, reason: str) -> None:
        """A new run from a random mean, with a larger population [R]."""
        d = state.space.dim
        state.normal = Gaussian.isotropic(state.rng.random(d), self.sigma0)
        state.stretch = np.ones(d)
        larger = max(state.population, int(state.population * self.restart_factor))
        state.population = min(larger, _LARGEST * self._first_population(d))
        state.generation += 1
        state.begun = state.generation
        state.batch = 0
        state.restarts += 1
        state.stopped = reason
        state.best, state.median = np.empty(0), np.empty(0)
        state.bar = np.full(3, np.inf)
        state.barren = 0


# --- when a run ends -----------------------------------------------------------------------------------------------


def _reason(state: CMAESState, keys: Array, s: Strategy, sigma0: float) -> str:
    """Which stopping rule of [T] B.3 holds after an update, by name; empty where none does."""
    normal, population = state.normal, len(keys)
    d = len(normal.mean)
    short = 10 + math.ceil(30 * d / population)
    deviations = normal.sigma * np.sqrt(np.maximum(np.diag(normal.C), 0.0))
    if not np.isfinite(normal.sigma) or not np.isfinite(normal.mean).all():
        return "ConditionCov"
    if normal.sigma * normal.D[-1] > _TOL_UP * sigma0:
        return "TolXUp"
    if (deviations < _TOL_X * sigma0).all() and (normal.sigma * np.abs(normal.p_c) < _TOL_X * sigma0).all():
        return "TolX"
    axis = normal.updates % d
    if (normal.mean == normal.mean + 0.1 * normal.sigma * normal.D[axis] * normal.B[:, axis]).all():
        return "NoEffectAxis"
    if (normal.mean == normal.mean + 0.2 * deviations * state.stretch).any():
        return "NoEffectCoord"
    if keys[0, 0]:  # everything failed
        state.barren += 1
        return "EqualFunValues" if state.barren >= short else ""
    state.barren = 0
    if keys[0, 1]:  # nothing feasible: values say nothing about progress yet
        state.best, state.median = np.empty(0), np.empty(0)
        return ""
    usable = np.where((keys[:, 0] == 0) & (keys[:, 1] == 0), keys[:, 2], np.inf)
    if normal.updates == 1:
        state.scale = _range(usable[np.isfinite(usable)])
    state.best = np.append(state.best, usable[0])[-_WINDOW:]
    state.median = np.append(state.median, usable[population // 2])[-_WINDOW:]
    if len(state.best) >= short:
        recent = _range(state.best[-short:])
        if recent == 0:
            return "EqualFunValues"
        # relative to the first spread where that is small, so that the objective's unit does not matter
        tolerance = _TOL_FUN * min(1.0, state.scale)
        if recent < tolerance and _range(usable) < tolerance:
            return "TolFun"
    long = max(120 + math.ceil(30 * d / population), min(_WINDOW, math.ceil(0.2 * normal.updates)))
    if len(state.best) >= long and not _improves(state.best[-long:]) and not _improves(state.median[-long:]):
        return "Stagnation"
    return ""


def _range(values: Array) -> float:
    """Largest minus smallest, 0 of nothing; inf rather than a warning where that overflows."""
    if not len(values):
        return 0.0
    low, high = float(values.min()), float(values.max())
    return 0.0 if low == high else high - low  # Python floats overflow silently


def _improves(history: Array) -> bool:
    """Whether the median of the last 30 % is below that of the first 30 %."""
    k = max(1, int(0.3 * len(history)))
    return bool(np.sort(history[-k:])[k // 2] < np.sort(history[:k])[k // 2])


def _positive(most: float, value: float) -> bool:
    return 0 < value <= most


# --- sampling ------------------------------------------------------------------------------------------------------


def _sample(state: CMAESState, n: int) -> tuple[Array, Array]:
    """Raw samples, not confined to the cube, and their canonical, allowed rows; both (n, d)."""
    space, normal = state.space, state.normal
    transform = (normal.B * normal.D).T * (normal.sigma * state.stretch)
    raw = normal.mean + state.rng.standard_normal((n, space.dim)) @ transform  # (38)-(40)
    rows = space.snap(fold(space, raw))
    if not space.has_forbidden:
        return raw, rows
    for _ in range(_RESAMPLE):
        bad = ~space.allowed(rows)
        if not bad.any():
            return raw, rows
        raw[bad] = normal.mean + state.rng.standard_normal((int(bad.sum()), space.dim)) @ transform
        rows[bad] = space.snap(fold(space, raw[bad]))
    repaired = space.repair(rows, state.rng)
    moved = (repaired != rows) & ~np.isnan(repaired)
    return np.where(moved, unfold(space, repaired, normal.mean), raw), repaired


# --- bookkeeping ---------------------------------------------------------------------------------------------------


def _rank_key(seen: Observation) -> Array:
    """(failed, violation, value): smaller is better, in this order (Deb 2000)."""
    if seen.status is not Status.OK:
        return np.array([1.0, 0.0, 0.0])
    violation = seen.violation
    return np.array([0.0, violation if math.isfinite(violation) else np.inf, seen.value])


def _keys(rows: Array) -> list[bytes]:
    """What a told row is recognized by: its bytes, to 40 binary places, since codecs may move the last ones."""
    return [row.tobytes() for row in np.rint(rows * 2.0**40)]


def _append(log: Array, used: int, rows: Array) -> tuple[Array, int]:
    """A log with rows added, and how much of it is in use; it grows by doubling."""
    end = used + len(rows)
    if end > len(log):
        log = np.concatenate([log[:used], rows, np.zeros((max(16, end) - len(rows), log.shape[1]))])
    else:
        log[used:end] = rows
    return log, end


def _remember(state: CMAESState, raw: Array, rows: Array) -> None:
    """Pending points by their row; settled entries are swept out when the log is full."""
    _index(state)
    if state.asked + len(raw) > max(len(state.pending), 64):
        kept = state.pending[: state.asked]
        kept = kept[kept[:, -1] >= 0]
        kept = kept[max(0, len(kept) + len(raw) - _MAX_PENDING) :]
        state.pending, state.asked, state.slots = kept.copy(), len(kept), None
    entries = np.column_stack([raw, np.full(len(raw), float(state.generation))])
    start = state.asked
    state.pending, state.asked = _append(state.pending, start, entries)
    slots = _index(state)
    for i, key in enumerate(_keys(rows), start):
        slots.setdefault(key, []).append(i)


def _index(state: CMAESState) -> dict[bytes, list[int]]:
    """Key -> places in the log, oldest first."""
    if state.slots is None:
        state.slots = {}
        live = np.flatnonzero(state.pending[: state.asked, -1] >= 0)
        raw = state.pending[live, :-1]
        for i, key in zip(live.tolist(), _keys(state.space.snap(fold(state.space, raw))), strict=True):
            state.slots.setdefault(key, []).append(i)
    return state.slots


def _recall(state: CMAESState, key: bytes) -> Array | None:
    """The oldest pending sample with this row, and its generation; it is pending no more."""
    slots = _index(state)
    places = slots.get(key)
    if not places:
        return None
    i = places.pop(0)
    if not places:
        del slots[key]
    sample: Array = state.pending[i].copy()
    state.pending[i, -1] = -1.0
    return sample
