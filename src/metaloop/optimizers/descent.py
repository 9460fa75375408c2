"""One local minimization that waits for values instead of calling for them.

It says what it waits for: values at a *base* point and at points that differ from it in one coordinate. None of them
depends on another, so any number may be out at once and come back in any order. While the length of a step is in
question, its end may be the next iterate, so differences around it can be waited for ahead of the answer.

Sources: Nocedal & Wright, Numerical Optimization, 2nd ed. 2006, chapters 3, 7 and 8; Gill, Murray & Wright, Practical
Optimization, 1981, section 8.6 (when to pass from forward to central differences); Berahas, Byrd & Nocedal, SIAM J.
Optim. 29 (2019), and Shi, Xie, Byrd & Nocedal, SIAM J. Optim. 32 (2022): line searches and pairs under noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.optimizers import finite_differences as differences
from metaloop.optimizers.quasi_newton import box_step, inverse_times, next_length
from metaloop.optimizers.state import state
from metaloop.space import Array, Space

OPEN, OUT, TOLD, FAILED = range(4)  # not asked yet, asked, came back, came back without a value
_BASE = -1  # the column of the base point itself
_ROUNDING = 2.0**-52
_FIRST_STEP = 1e-4  # of differences, before any curvature is known: best for second derivatives, about eps**(1/4)
_DOUBT = 0.1  # share of the slope that errors of the differences may make up
_DOUBT_NEXT = 0.03  # the same for the next gradient, whose slope will be smaller
_SHARPER = 0.3  # times the present error, below which differences are worth taking again
_SHORT = 10.0  # steps shorter than so many differences: what the differences see is not what the step needs
_CONTRADICTION = 0.5  # relative gap between a decrease and what the gradients say
_LOUD = 3.0  # times the noise expected, from which differences are taken anew
_CLOSER = 0.01  # spacing of the second difference table, in that of the first
_WORTH = 0.05  # share of a decrease that another step length has to promise
_WORTH_PAID = 0.2  # the same once differences around the present end are out


@state
@dataclass
class Batch:
    """Points that are waited for: a base, and copies of it with one coordinate changed.

    Attributes:
        base: row, shape (dim,).
        column: the coordinate that differs, -1 for the base itself, shape (k,).
        at: its value, shape (k,).
        status: OPEN, OUT, TOLD or FAILED, shape (k,).
        value: what came back, NaN until then, shape (k,).
    """

    base: Array
    column: npt.NDArray[np.int64]
    at: Array
    status: npt.NDArray[np.int64]
    value: Array

    @classmethod
    def around(cls, base: Array) -> Batch:
        """A batch without points yet."""
        none = np.empty(0, dtype=np.int64)
        return cls(base, none, np.empty(0), none, np.empty(0))

    def add(self, space: Space, column: list[int], at: list[float]) -> None:
        """Wait for more points; forbidden ones have failed already."""
        first, k = len(self.at), len(at)
        self.column, self.at = np.append(self.column, np.array(column, dtype=np.int64)), np.append(self.at, at)
        self.status, self.value = np.append(self.status, np.full(k, OPEN)), np.append(self.value, np.full(k, np.nan))
        if space.has_forbidden and k:
            rows = np.stack([self.row(i) for i in range(first, first + k)])
            self.status[first:][~space.allowed(rows)] = FAILED

    def row(self, i: int) -> Array:
        """The i-th point, shape (dim,)."""
        out = self.base.copy()
        if self.column[i] != _BASE:
            out[self.column[i]] = self.at[i]
        return out

    def rows(self, status: int) -> Array:
        """The points with a status, shape (k, dim)."""
        return np.array([self.row(int(i)) for i in np.flatnonzero(self.status == status)]).reshape(-1, len(self.base))

    def find(self, row: Array) -> int:
        """The index of a point that has not come back; -1 if there is none."""
        differs = np.flatnonzero((row != self.base) & ~(np.isnan(row) & np.isnan(self.base)))
        if len(differs) > 1:
            return -1
        column, at = (differs[0], row[differs[0]]) if len(differs) else (_BASE, 0.0)
        hits = np.flatnonzero((self.column == column) & (self.at == at) & (self.status <= OUT))
        return int(hits[0]) if len(hits) else -1

    @property
    def complete(self) -> bool:
        """Whether nothing is waited for."""
        return bool((self.status > OUT).all())


@state
@dataclass
class Descent:
    """A local minimization over the continuous columns of one row; the other columns stay as they are.

    Attributes:
        x: the iterate, a canonical row.
        value: what it brought: the objective, or the violation while `infeasible`.
        reach: longest first step, in widths of the cube; `memory` the number of pairs kept.
        noise: standard deviation of a value beyond rounding; `measured` whether by this descent, `suspected` what the
            first of two difference tables said.
        free: columns that move, shape (n,); all arrays below but `batch` and `tried` belong to them.
        h: steps of the differences; `curvature` the second derivatives that they follow from.
        batch: what is waited for.
        phase: "gradient" (waits for differences), "search" (for a step length), "noise" (for a difference table), or
            "done".
        central: whether differences that are waited for are central; `again` whether to sharpen those at x.
        g: gradient at x; `error` how far it may be off.
        s, y: the memory, oldest first, shape (m, n).
        last_x, last_g, last_value: the iterate before x, shape (0,) where forgotten.
        step: from x to the minimum of the model; `slope` and `fall` the derivative and the predicted decrease along it.
        tried: (length, value) in this search, shape (k, 2).
    """

    space: Space
    x: Array
    value: float
    infeasible: bool
    reach: float
    memory: int
    noise: float
    free: npt.NDArray[np.int64]
    h: Array
    curvature: Array
    batch: Batch
    g: Array
    error: Array
    s: Array
    y: Array
    last_x: Array
    last_g: Array
    step: Array
    tried: Array
    last_value: float = math.nan
    slope: float = 0.0
    fall: float = math.inf
    phase: str = "gradient"
    central: bool = True
    again: bool = False
    measured: bool = False
    suspected: float = math.inf

    @classmethod
    @np.errstate(all="ignore")
    def begin(
        cls, space: Space, x: Array, value: float, infeasible: bool, reach: float, memory: int, noise: float
    ) -> Descent:
        """A descent from a point whose value is known; `noise` is what others measured, 0 where nobody did."""
        free = np.flatnonzero(np.isinf(space.cells) & ~np.isnan(x))
        zero, none, one = np.zeros(len(free)), np.empty(0), np.ones(len(free))
        pairs = np.empty((0, len(free)))
        out = cls(space, x, value, infeasible, reach, memory, noise, free, _FIRST_STEP * one, one, Batch.around(x),
                  zero, zero, pairs, pairs, none, none, zero, np.empty((0, 2)))  # fmt: skip
        if noise > 0:
            out._expect_noise()
        out.advance()
        return out

    def look_ahead(self) -> bool:
        """Wait for the differences at the end of a step before its value is known; whether that is news."""
        return self.phase == "search" and len(self.batch.at) == 1 and self._want_differences()

    @np.errstate(all="ignore")  # values may be anything; a model that is not finite ends the descent
    def advance(self) -> None:
        """Go as far as the values that have come back allow."""
        while self.phase != "done":
            if self.phase == "search":
                if self.batch.status[0] <= OUT:
                    return
                self._judge()
            elif not self.batch.complete or (self.phase == "gradient" and self._want_differences()):
                return
            elif self.phase == "gradient":
                self._differentiate()
                self._choose()
            else:
                self._measure()

    # --- gradient ----------------------------------------------------------------------------------------------

    def _want_differences(self) -> bool:
        """Wait for the differences that are missing, in place of failed ones too; whether there are any."""
        batch, columns, at = self.batch, list[int](), list[float]()
        for column, h in zip(self.free.tolist(), self.h.tolist(), strict=True):
            mine = batch.column == column
            missing = (2 if self.central else 1) - int((batch.status[mine] != FAILED).sum())
            if missing > 0:
                places = differences.places(float(batch.base[column]), h)
                more = places[~np.isin(places, batch.at[mine])][:missing].tolist()
                columns += [column] * len(more)
                at += more
        batch.add(self.space, columns, at)
        return self._want_differences() if at and batch.complete else bool(at)

    def _differentiate(self) -> None:
        """Gradient, its error and the curvature from the batch; a column without any value has slope 0."""
        batch, n = self.batch, len(self.free)
        self.g, second, h = np.zeros(n), np.full(n, np.nan), np.full(n, np.inf)
        for j, column in enumerate(self.free.tolist()):
            mine = np.flatnonzero((batch.column == column) & (batch.status == TOLD))[:2]
            if len(mine):
                offsets = batch.at[mine] - batch.base[column]
                h[j] = abs(offsets[0])
                self.g[j], second[j] = differences.derivatives(offsets, batch.value[mine] - self.value)
        noise, parabola = self._noise(), ~np.isnan(second)
        # A second derivative is known no better than noise / h**2.
        self.curvature = np.where(parabola, np.maximum(np.abs(second), noise / h**2), self.curvature)
        self.error = differences.errors(noise, self.curvature, h, parabola)
        self.error[np.isinf(h)] = 0.0

    def _noise(self) -> float:
        """How far a value may be off: what was measured, or rounding of the value and of the coordinates."""
        return max(self.noise, _ROUNDING * (abs(self.value) + float(np.abs(self.g).sum())), 1e-300)

    def _blurred(self) -> bool:
        """Whether other differences, not tried yet, would make the slope much surer."""
        noise, length = self._noise(), np.abs(self.step)
        h = differences.steps(noise, self.curvature, True)
        best = differences.errors(noise, self.curvature, h, np.True_)
        return not self.again and bool(best @ length < _SHARPER * (self.error @ length))

    def _anew(self, again: bool) -> None:
        """Take the gradient at x by central differences; `again` where that was done on the same grounds."""
        self.phase, self.central, self.batch, self.again = "gradient", True, Batch.around(self.x), again
        self.h = differences.steps(self._noise(), self.curvature, True)

    # --- step --------------------------------------------------------------------------------------------------

    def _pairs(self) -> tuple[Array, Array]:
        """The memory with the latest change, if that shows curvature beyond its error."""
        if len(self.last_x):
            s, y = self.x[self.free] - self.last_x, self.g - self.last_g
            if s @ y > self.error @ np.abs(s) + 1e-12 * math.sqrt((s @ s) * (y @ y)):
                keep = self.memory - 1
                return np.vstack([self.s[-keep:], s]), np.vstack([self.y[-keep:], y])
        return self.s, self.y

    def _choose(self) -> None:
        """The step to the model's minimum, or what has to be known first."""
        (s, y), u, noise = self._pairs(), self.x[self.free], self._noise()
        h0, reach = 1.0 / self.curvature, 1.0 if len(s) else self.reach
        if len(s):
            h0 *= (s[-1] @ y[-1]) / (y[-1] @ (h0 * y[-1]))  # [NW] (7.20), for a diagonal matrix
        low, high = np.maximum(-u, -reach), np.minimum(1.0 - u, reach)
        self.step, self.fall = box_step(lambda r: inverse_times(s, y, h0, r), self.g, low, high)
        self.slope = float(self.g @ self.step)
        length, doubt = np.abs(self.step), float(self.error @ np.abs(self.step))
        nothing = not (self.slope < 0 and self.fall > noise and doubt < -self.slope)
        short = length.max(initial=0.0) <= _SHORT * self.h.max(initial=0.0)
        if not doubt <= -_DOUBT * self.slope and self._blurred():
            self._anew(again=True)
        elif not self.measured and len(u) and (nothing or short or self._contradicted()):
            self._begin_table()
        elif nothing:
            self.phase = "done"
        else:
            forward = differences.steps(noise, self.curvature, False)
            doubt = float(differences.errors(noise, self.curvature, forward, np.False_) @ length)
            self.central = doubt > -_DOUBT_NEXT * self.slope
            self.h = differences.steps(noise, self.curvature, True) if self.central else forward
            self.tried = np.empty((0, 2))
            self._try(1.0)

    def _contradicted(self) -> bool:
        """Whether the last decrease is far from what the gradients at both ends say."""
        if not len(self.last_x):
            return False
        rise = self.value - self.last_value
        said = 0.5 * float((self.g + self.last_g) @ (self.x[self.free] - self.last_x))
        return abs(rise - said) > _CONTRADICTION * max(abs(rise), abs(said))

    # --- line search -------------------------------------------------------------------------------------------

    def _end(self, length: float) -> Array:
        """The row at the end of a step."""
        row = self.x.copy()
        row[self.free] = np.clip(row[self.free] + length * self.step, 0.0, 1.0)
        return row

    def _try(self, length: float) -> None:
        row = self._end(length)
        self.tried = np.vstack([self.tried, [length, np.nan]])
        if (row[self.free] == self.x[self.free]).all():
            self._fail()
        else:
            self.phase, self.batch = "search", Batch.around(row)
            self.batch.add(self.space, [_BASE], [0.0])

    def _judge(self) -> None:
        """The value at the end of the step has come back."""
        self.tried[-1, 1] = self.batch.value[0]
        u = self.x[self.free]
        room = np.where(self.step > 0, (1.0 - u) / self.step, np.where(self.step < 0, -u / self.step, np.inf))
        longest = float(room.min(initial=np.inf))
        worth = _WORTH if len(self.batch.at) == 1 else _WORTH_PAID  # differences around this end are paid for already
        length = next_length(self.value, self.slope, self.tried, longest, 2.0 * self._noise(), worth)
        if math.isnan(length):
            self._fail()
        elif length:
            self._try(length)
        else:
            self._accept()

    def _accept(self) -> None:
        best = int(np.nanargmin(self.tried[:, 1]))
        if best < len(self.tried) - 1:
            self.batch = Batch.around(self._end(float(self.tried[best, 0])))
        self.s, self.y = self._pairs()
        self.last_x, self.last_g, self.last_value = self.x[self.free], self.g, self.value
        self.x, self.value = self.batch.base, float(self.tried[best, 1])
        self.phase, self.again = "gradient", False

    def _fail(self) -> None:
        """No length goes down: a better gradient, the noise, another model, or the end, in this order."""
        if self._blurred():
            self._anew(again=True)
        elif not self.measured:
            self._begin_table()
        elif len(self.s) or len(self.last_x):
            self._forget()
            self._choose()
        else:
            self.phase = "done"

    def _forget(self) -> None:
        self.s = self.y = self.s[:0]
        self.last_x = self.last_g = np.empty(0)

    # --- noise -------------------------------------------------------------------------------------------------

    def _begin_table(self, spacing: float = 1.0) -> None:
        """Wait for values at equal distances, in steps of the differences, along the column of the longest step."""
        j = int(np.argmax(np.abs(self.step)))
        column, u = int(self.free[j]), float(self.x[self.free[j]])
        inwards = math.copysign(spacing * min(self.h[j], 0.5 / differences.TABLE), 0.5 - u)
        self.phase, self.batch = "noise", Batch.around(self.x)
        at = u + inwards * np.arange(1, differences.TABLE)
        self.batch.add(self.space, [column] * len(at), at.tolist())

    def _measure(self) -> None:
        """The difference table has come back; a high level has to show at another scale too, where a kink does not."""
        expected, once = self._noise(), self.suspected < math.inf
        level = float(np.minimum(differences.noise_level(np.append(self.value, self.batch.value)), self.suspected))
        loud = _LOUD * expected < level < math.inf
        if loud and not once:
            self.suspected = level
            self._begin_table(_CLOSER)
            return
        self.noise, self.measured = level if math.isfinite(level) else 0.0, True
        if loud:
            self._forget()
            self._expect_noise()
        else:
            self._choose()

    def _expect_noise(self) -> None:
        """Take the gradient with steps that suit the noise; the curvature seen so far, if any, was noise too."""
        self.curvature = np.full(len(self.free), max(abs(self.value), 10.0 * self.noise))
        self._anew(again=False)
