"""Hysteresis as a bank account: what a method costs is debited, what it saves is credited, and debt closes it.

Counting switches, as run-time systems do, bounds nothing: a cheap mistake counts as much as a dear one. Here the loss
itself is bounded. An account that is closed is opened again only when what it would have saved meanwhile exceeds a
credit that grows with every closing.
"""

from __future__ import annotations

from dataclasses import dataclass

from metaloop.errors import require
from metaloop.recipe import tunable
from metaloop.space import Float


@dataclass
class AccountState:
    """What an account knows.

    Attributes:
        balance: of what was saved and lost since it was opened, at most the cap.
        open: whether the method may be used.
        shadow: what it would have saved since it was closed.
        required: the shadow at which it opens again.
        closings: how often it was closed.
    """

    balance: float = 0.0
    open: bool = True
    shadow: float = 0.0
    required: float = 0.0
    closings: int = 0


@dataclass(frozen=True)
class Account:
    """The account of one place where a method may be used or not.

    Whatever comes, with single losses of at most l: after c closings the account has lost at most (c + 1)(limit + l),
    and c closings need shadow savings of limit (growth^c - 1) / (growth - 1) or more in between. So the loss grows with
    the logarithm of what the method would have saved: sites that flip for ever cost next to nothing.

    Args:
        limit: the debt that closes the account, in the unit of what is booked, > 0.
        growth: factor on the credit that is required after each closing, > 1.
        cap: most that good times are remembered for, in limits, >= 0; a method that turns bad is then dropped at once.

    Raises:
        InputError: a setting out of range.
    """

    limit: float = tunable(1.0, Float(0.01, 100.0, log=True))
    growth: float = tunable(2.0, Float(1.2, 8.0, log=True))
    cap: float = tunable(1.0, Float(0.1, 10.0, log=True))

    def __post_init__(self) -> None:
        require("limit", self.limit, lambda v: v > 0, "a number greater than 0")
        require("growth", self.growth, lambda v: v > 1, "a number greater than 1")
        require("cap", self.cap, lambda v: v >= 0, "a number of at least 0")

    def init(self) -> AccountState:
        """Open, without debt."""
        return AccountState(required=self.limit)

    def decide(self, state: AccountState) -> bool:
        """Whether the method may be used."""
        return state.open

    def observe(self, state: AccountState, saved: float) -> AccountState:
        """Book what the method saved (or lost, where negative), or, while closed, what it would have saved."""
        if state.open:
            state.balance = min(state.balance + saved, self.cap * self.limit)
            if state.balance < -self.limit:
                state.open, state.shadow = False, 0.0
                state.closings += 1
        else:
            state.shadow = max(0.0, state.shadow + saved)
            if state.shadow >= state.required:
                state.open, state.balance = True, 0.0
                state.required *= self.growth
        return state
