"""Which solver next, while it runs: go on, switch up, switch back, look for a way down, follow it, or stop.

A supervisor for iterative solvers that knows nothing of what they solve: it sees residuals and what they cost, in the
solver's own unit, and answers with a move. The methods are a ladder: each is dearer a step and more reliable than the
one before. Switching up is renting or buying with a prediction (`control.RentOrBuy`): the rent is what the present
method costs, the price is what the next one is expected to need to the end, and the prediction is the residuals' own
(`control.forecast`). Switching back is under an account (`control.Account`): losses in it close it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from metaloop.control import Account, AccountState, Evidence, RentOrBuy, RentState, forecast
from metaloop.errors import refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float, Int


class Move(StrEnum):
    """What the solver is to do next."""

    STEP = "step"
    LOOK = "look"  # whether it goes down from here although the residual is small
    FOLLOW = "follow"  # the way down that was found
    RESTART = "restart"  # from a perturbed state
    STOP = "stop"


@dataclass(frozen=True)
class Method:
    """One rung of the ladder.

    Attributes:
        name: as the decisions call it.
        step: what a step is expected to cost, > 0, until that was seen.
        finish: what it is expected to cost from a stalled state to the end, > 0; inf where it never gets there.
        rate: factor on the residual a step, expected near the end, in (0, 1).
    """

    name: str
    step: float = 1.0
    finish: float = math.inf
    rate: float = 0.5

    def __post_init__(self) -> None:
        require("step", self.step, lambda v: v > 0, "a number greater than 0")
        require("finish", self.finish, lambda v: v > 0, "a number greater than 0")
        require("rate", self.rate, lambda v: 0 < v < 1, "a number in (0, 1)")


@dataclass(frozen=True)
class Decision:
    """One change of course, explained.

    Attributes:
        spent: what had been paid when it was taken, in the solver's unit.
        seen: what was observed.
        chosen: what was done.
        expected: what it was expected to bring.
        happened: what it brought; empty until known.
        unit: of what was paid, in the plural.
    """

    spent: float
    seen: str
    chosen: str
    expected: str
    happened: str = ""
    unit: str = "units"

    def __str__(self) -> str:
        text = f"After {self.spent:g} {self.unit}: {self.seen}, so {self.chosen}. Expected: {self.expected}."
        return f"{text} What happened: {self.happened}." if self.happened else text


@dataclass
class SwitchState:
    """What the supervisor knows.

    Attributes:
        methods: the ladder.
        at: the rung in use.
        residuals: since the rung was entered.
        merits: likewise, what is minimized; NaN where there is none.
        entered: the merit at which it was entered.
        spent, here: what was paid in all, and on this rung.
        price: what a step of each rung has cost.
        contraction: the logarithm of the factor a step of each rung has had.
        rent: what staying has cost.
        back: of switching back to each rung.
        saddles: share of looks that found a way down.
        look: what a look has cost.
        stable: what the latest look said; None before it.
        looked: whether there was a look since the last way down.
        restarts: so many.
        returned: whether this rung was entered from above.
        sound: whether the latest step seemed to be near a minimum.
        unit: of what is paid, in the plural.
        log: the decisions.
    """

    methods: tuple[Method, ...]
    price: list[Evidence]
    contraction: list[Evidence]
    rent: RentState
    back: list[AccountState]
    saddles: Evidence
    look: Evidence
    at: int = 0
    residuals: list[float] = field(default_factory=list)
    merits: list[float] = field(default_factory=list)
    entered: float = math.inf
    spent: float = 0.0
    here: float = 0.0
    stable: bool | None = None
    looked: bool = False
    restarts: int = 0
    returned: bool = False
    sound: bool = True
    unit: str = "units"
    log: list[Decision] = field(default_factory=list)

    @property
    def method(self) -> Method:
        """The one in use."""
        return self.methods[self.at]


@dataclass(frozen=True)
class Switching:
    """The supervisor's settings.

    Args:
        tolerance: the residual at which it is done, > 0.
        certify: whether a small residual is not enough: the solver can look for a way down.
        early: a residual below which to look before the end where that is expected to pay; 0 for never.
        near: a residual below which a cheaper method may be taken up again; 0 for never.
        window: residuals that a forecast reads.
        floor: steps of a method before it is judged.
        odds: share of looks that are expected to find a way down, before any was seen.
        rent: when to switch up.
        account: when to believe that switching back pays.
        most: what may be spent in all.
        restarts: from a perturbed state, at most.

    Raises:
        InputError: a setting out of range.
    """

    tolerance: float = 1e-6
    certify: bool = False
    early: float = tunable(0.0, Float(1e-6, 1.0, log=True))
    near: float = tunable(0.0, Float(1e-6, 1.0, log=True))
    window: int = tunable(6, Int(3, 16))
    floor: int = tunable(3, Int(1, 10))
    odds: float = tunable(0.3, Float(0.01, 0.99))
    rent: RentOrBuy = RentOrBuy(trust=0.5)  # noqa: RUF009
    account: Account = Account(limit=1.0)  # noqa: RUF009
    most: float = math.inf
    restarts: int = 0

    def __post_init__(self) -> None:
        for name in ("tolerance", "most"):
            require(name, getattr(self, name), lambda v: v > 0, "a number greater than 0")
        for name in ("early", "near", "restarts"):
            require(name, getattr(self, name), lambda v: v >= 0, "a number of at least 0")
        require("window", self.window, lambda v: v >= 2 and v == int(v), "a whole number of at least 2")
        require("floor", self.floor, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
        require("odds", self.odds, lambda v: 0 < v < 1, "a number in (0, 1)")

    def init(self, methods: Sequence[Method], look: float = 10.0, at: int = 0, unit: str = "units") -> SwitchState:
        """On a rung of the ladder, the lowest by default.

        Args:
            methods: cheapest step first.
            look: what a look is expected to cost.
            at: the rung to begin on.
            unit: what costs count, in the plural, for the sentences.
        """
        if not methods or not all(isinstance(m, Method) for m in methods):
            raise refuse("methods", methods, "a non-empty list of Method")
        return SwitchState(
            tuple(methods),
            [Evidence(1.0, m.step, memory=8.0) for m in methods],
            [Evidence(1.0, math.log(m.rate), memory=8.0) for m in methods],
            self.rent.init(),
            [self.account.init() for _ in methods],
            Evidence(1.0, self.odds),
            Evidence(1.0, look, memory=8.0),
            at=at,
            unit=unit,
        )

    # --- observe ----------------------------------------------------------------------------------------------------

    def observe(
        self, state: SwitchState, residual: float, cost: float = 1.0, merit: float = math.nan, *, sound: bool = True
    ) -> SwitchState:
        """One step: the residual after it, what it cost, what is minimized, and whether it seems to be near a minimum.

        Args:
            state: taken over.
            residual: >= 0; one that is not finite is a failed step.
            cost: in the solver's own unit, >= 0.
            merit: of the point; NaN where nothing is minimized.
            sound: False where there are signs that it is at no minimum (curvature that seems to be negative): then it
                pays to look early, and a cheaper method had better not be taken up.
        """
        if state.residuals and 0 < residual < state.residuals[-1] < math.inf:
            state.contraction[state.at].add(math.log(residual / state.residuals[-1]))
        state.residuals.append(residual if math.isfinite(residual) else math.inf)
        state.merits.append(merit)
        state.price[state.at].add(cost)
        state.spent += cost
        state.here += cost
        state.sound = sound
        state.stable = None
        state.rent = self.rent.observe(state.rent, cost)
        return state

    def saw(self, state: SwitchState, stable: bool | None, cost: float) -> SwitchState:
        """What a look said: True for no way down, False for one, None for not decided (which counts as none)."""
        state.spent += cost
        state.look.add(cost)
        state.saddles.add(0.0 if stable is not False else 1.0)
        state.stable = stable is not False
        state.looked = True
        self._happened(state, "there is a way down" if stable is False else "no way down was found")
        return state

    def followed(self, state: SwitchState, residual: float, cost: float, merit: float = math.nan) -> SwitchState:
        """The state after a way down (or a perturbed restart): everything about convergence begins anew."""
        if state.merits and math.isfinite(merit) and math.isfinite(state.merits[-1]):
            self._happened(state, f"it went down by {state.merits[-1] - merit:.3g}")
        state.spent += cost
        state.looked, state.stable = False, None
        dearer = min(range(state.at, len(state.methods)), key=lambda k: state.methods[k].finish)
        if dearer > state.at and self._more(state) > state.methods[dearer].finish:
            spent = f"looks and steps on more ways down would cost {self._more(state):.0f} {state.unit}"
            self._log(state, Move.STEP, spent, f"switch up to {state.methods[dearer].name}", "fewer of them")
        else:
            dearer = state.at
        self._enter(state, dearer, residual, merit)
        return state

    # --- decide -----------------------------------------------------------------------------------------------------

    def decide(self, state: SwitchState) -> Move:
        """The next move; a STEP is one of `state.method`, which may just have changed."""
        residual = state.residuals[-1] if state.residuals else math.inf
        if state.spent >= self.most:
            return self._log(state, Move.STOP, f"{state.spent:g} {state.unit} are spent", "stop", "nothing")
        if state.stable is False:
            return self._log(state, Move.FOLLOW, "it goes down from here", "follow the way down", "a lower minimum")
        if residual <= self.tolerance:
            if not self.certify or state.stable:
                return self._log(state, Move.STOP, f"the residual is {residual:.2g}", "stop", "nothing better nearby")
            p = state.saddles.mean
            return self._log(
                state, Move.LOOK, f"the residual is {residual:.2g}", "look for a way down",
                f"one with probability {p:.2f}, for {state.look.mean:.0f} {state.unit}",
            )  # fmt: skip
        if len(state.residuals) < self.floor:
            return Move.STEP
        seen = forecast(state.residuals, self.window)
        remaining = seen.remaining(self.tolerance, cautious=state.returned) * state.price[state.at].mean
        if self._look_early(state, residual, remaining):
            return self._log(
                state, Move.LOOK, f"the residual is {residual:.2g} and the rest costs {remaining:.0f} {state.unit}",
                "look for a way down before paying for it",
                f"one with probability {state.saddles.mean:.2f}, for {state.look.mean:.0f} {state.unit}",
            )  # fmt: skip
        if state.at + 1 < len(state.methods):
            return self._up(state, seen.rate, remaining, residual)
        if self.near and residual <= self.near and state.sound and state.at > 0:
            return self._down(state, residual, remaining)
        if math.isinf(remaining) and state.restarts < self.restarts and state.here >= 2 * state.method.finish:
            state.restarts += 1
            return self._log(
                state, Move.RESTART, f"{state.method.name} does not converge", "restart from a perturbed state",
                "another basin",
            )  # fmt: skip
        return Move.STEP

    def _more(self, state: SwitchState) -> float:
        """What the ways down that are still expected cost the cheapest method: a look each, and steps to judge by."""
        p = state.saddles.mean
        return p / (1 - p) * (state.look.mean + self.floor * state.price[state.at].mean)

    def _look_early(self, state: SwitchState, residual: float, remaining: float) -> bool:
        if not self.certify or state.looked or state.sound or residual > self.early:
            return False
        p = state.saddles.mean
        # What it saves if there is a way down; what it costs if not, half of which the last look gets back.
        return p * min(remaining, state.method.finish, 1e9) > (1 - p) * 0.5 * state.look.mean

    def _up(self, state: SwitchState, rate: float, remaining: float, residual: float) -> Move:
        prices = [
            self._finish(state, k, residual) if state.returned else state.methods[k].finish
            for k in range(state.at + 1, len(state.methods))
        ]
        price = min(prices)
        k = state.at + 1 + prices.index(price)
        worse = math.isfinite(state.entered) and state.merits[-1] > state.entered
        if not worse and self.rent.decide(state.rent, price, state.here + remaining) is None:
            return Move.STEP
        why = "it rose" if worse else f"the residual changes by a factor {rate:.2g} a step"
        said = f"{state.method.name} has cost {state.here:.0f} {state.unit} and {why} at {residual:.2g}"
        if state.returned:
            state.back[state.at] = self.account.observe(state.back[state.at], -state.here / price)
            self._happened(state, "it did not converge")
        self._enter(state, k, residual, state.merits[-1])
        return self._log(
            state, Move.STEP, said, f"switch up to {state.method.name}", f"the end for {price:.0f} {state.unit}"
        )

    def _down(self, state: SwitchState, residual: float, remaining: float) -> Move:
        below = min(range(state.at), key=lambda k: self._finish(state, k, residual))
        here, there = min(self._finish(state, state.at, residual), remaining), self._finish(state, below, residual)
        if there >= here or not self.account.decide(state.back[below]):
            return Move.STEP
        name = state.methods[below].name
        self._enter(state, below, residual, state.merits[-1])
        state.returned = True
        return self._log(
            state, Move.STEP, f"the residual is {residual:.2g}", f"switch back to {name}",
            f"the end for {there:.0f} {state.unit} instead of {here:.0f}",
        )  # fmt: skip

    def _finish(self, state: SwitchState, k: int, residual: float) -> float:
        steps = math.log(self.tolerance / residual) / min(state.contraction[k].mean, -1e-3) if residual > 0 else 0.0
        return max(steps, 1.0) * state.price[k].mean

    def _enter(self, state: SwitchState, k: int, residual: float, merit: float) -> None:
        state.at, state.here, state.returned, state.sound = k, 0.0, False, True
        state.residuals, state.merits, state.entered = [residual], [merit], merit
        state.rent = self.rent.init()

    def _log(self, state: SwitchState, move: Move, seen: str, chosen: str, expected: str) -> Move:
        state.log.append(Decision(state.spent, seen, chosen, expected, unit=state.unit))
        return move

    def _happened(self, state: SwitchState, what: str) -> None:
        if state.log:
            state.log[-1] = replace(state.log[-1], happened=what)
