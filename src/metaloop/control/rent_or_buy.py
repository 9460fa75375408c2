"""Rent or buy: go on as now, or pay once for what is cheaper from then on, without knowing for how long.

Sources: Karlin, Manasse, McGeoch & Owicki 1994 (randomized, e / (e - 1)); Purohit, Svitkina & Kumar, NeurIPS 2018
([P]: predictions); Lotker, Patt-Shamir & Rawitz 2008 (several things to buy).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metaloop.errors import require
from metaloop.recipe import tunable
from metaloop.space import Float

Array = npt.NDArray[np.float64]


@dataclass
class RentState:
    """What staying has cost so far.

    Attributes:
        excess: for each option, what would have been saved had it been bought at the start, shape (k,), >= 0.
        draw: a uniform number for each option, shape (k,); 1 unless randomized.
        gone: steps seen.
    """

    excess: Array
    draw: Array
    gone: int = 0


@dataclass(frozen=True)
class RentOrBuy:
    """Buy when what staying has cost reaches a share of the price.

    Without predictions the share is 1, which costs at most twice what the best choice in hindsight costs; drawn at
    random it is e / (e - 1) = 1.58 times, in expectation and against a trace that does not look at the draw.
    A prediction of what will have been saved in the end lowers the share to `trust` if it exceeds the price, and raises
    it to 1 / trust if not ([P], algorithms 2 and 3). With trust t a right prediction costs at most 1 + t times the best
    (randomized: t / (1 - exp(-t))), and a wrong one at most 1 + 1 / t times (1 / (1 - exp(-t))).

    Args:
        trust: in (0, 1]; the smaller, the more a prediction counts; 1 ignores it.
        randomized: whether shares are drawn.

    Raises:
        InputError: a setting out of range.
    """

    trust: float = tunable(0.5, Float(0.1, 1.0, log=True))
    randomized: bool = False

    def __post_init__(self) -> None:
        require("trust", self.trust, lambda v: 0 < v <= 1, "a number in (0, 1]")

    def init(self, options: int = 1, seed: int = 0) -> RentState:
        """Nothing seen yet, of so many options to buy."""
        draw = np.random.default_rng(seed).random(options) if self.randomized else np.ones(options)
        return RentState(np.zeros(options), draw)

    def observe(self, state: RentState, excess: Array | float) -> RentState:
        """One more step: what it cost beyond each option's cost, shape (k,); negative where staying was cheaper.

        Steps in which staying is cheaper are taken off again, but not below zero: the past of a phase that is over
        does not count against the next.
        """
        state.excess = np.maximum(state.excess + excess, 0.0)
        state.gone += 1
        return state

    def decide(self, state: RentState, prices: Array | float, predicted: Array | float | None = None) -> int | None:
        """Which option to buy now, or None to stay.

        Args:
            state: after the latest step.
            prices: of the options, in the unit of the excess, shape (k,), > 0; inf for one that cannot be had.
            predicted: what each is expected to save in all, from the start to the end, shape (k,).
        """
        prices = np.broadcast_to(np.asarray(prices, dtype=float), state.excess.shape)
        longest = np.ones_like(prices)
        if predicted is not None and self.trust < 1:
            longest = np.where(np.asarray(predicted, dtype=float) >= prices, self.trust, 1 / self.trust)
        # Density exp(x) / (exp(longest) - 1) on [0, longest]; its end where nothing is drawn.
        share = np.log1p(state.draw * np.expm1(longest)) if self.randomized else longest
        with np.errstate(divide="ignore", invalid="ignore"):
            due = state.excess / (share * prices)
        due[~np.isfinite(due)] = 0.0
        best = int(np.argmax(due))
        return best if due[best] >= 1 else None

    @property
    def bound(self) -> float:
        """The most that it costs relative to the best choice in hindsight, whatever is predicted."""
        return 1 / (1 - math.exp(-self.trust)) if self.randomized else 1 + 1 / self.trust
