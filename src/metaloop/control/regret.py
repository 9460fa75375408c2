"""The regret bench: a policy replayed on a recorded trace, beside the best choice in hindsight.

A trace holds what every step would have cost with every method, and what switching costs: a metrical task system
(Borodin, Linial & Saks 1992), whose best course in hindsight is a shortest path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """What each step costs with each method.

    Attributes:
        costs: shape (steps, methods), >= 0.
        prices: of switching from one method to another, shape (methods, methods), or (methods,) where it only matters
            what is switched to, or (steps, methods, methods) where it matters when; a method that was paid for once
            stays paid for if `keep`.
        start: the method in use before the first step.
        keep: whether a switch is paid once a method (a compiled function stays compiled) or every time.
    """

    costs: Array
    prices: Array
    start: int = 0
    keep: bool = True

    def __post_init__(self) -> None:
        costs, prices = np.asarray(self.costs, dtype=float), np.asarray(self.prices, dtype=float)
        if costs.ndim != 2 or costs.shape[1] < 1 or not (costs >= 0).all():
            raise refuse("costs", costs.shape, "an array (steps, methods) of numbers >= 0")
        m = costs.shape[1]
        if prices.shape == (m,):
            prices = np.tile(prices, (m, 1))
        if prices.shape[-2:] == (m, m):
            prices = np.where(np.eye(m) == 1, 0.0, prices)
        if prices.shape == (m, m):
            prices = np.broadcast_to(prices, (len(costs), m, m))
        if prices.shape != (len(costs), m, m) or not (prices >= 0).all():
            raise refuse("prices", prices.shape, f"({m},), ({m}, {m}) or (steps, {m}, {m}) numbers >= 0")
        if not 0 <= self.start < m:
            raise refuse("start", self.start, f"one of the {m} methods")
        object.__setattr__(self, "costs", costs)
        object.__setattr__(self, "prices", prices)


@dataclass(frozen=True)
class Replay:
    """What a policy did on a trace.

    Attributes:
        cost: in all.
        best: of the best course in hindsight.
        methods: in use at each step, shape (steps,).
        switches: how often it switched.
    """

    cost: float
    best: float
    methods: npt.NDArray[np.int64] = field(repr=False)
    switches: int

    @property
    def ratio(self) -> float:
        """Cost over best; 1 where both are 0."""
        return self.cost / self.best if self.best > 0 else (1.0 if self.cost == 0 else np.inf)


def hindsight(trace: Trace) -> float:
    """The cost of the best course, known only at the end.

    Where switches are paid once a method, the course is over sets of methods that were paid for: at most 12 methods.

    Raises:
        InputError: more methods than that.
    """
    m = trace.costs.shape[1]
    if not trace.keep:
        value = np.where(np.arange(m) == trace.start, 0.0, np.inf)
        for cost, price in zip(trace.costs, trace.prices, strict=True):
            value = (value[:, None] + price).min(axis=0) + cost
        return float(value.min()) if len(trace.costs) else 0.0
    if m > 12:
        raise refuse("trace", f"{m} methods", "at most 12 methods where switches are paid once")
    # Value of having paid for a set of methods; each step is done with the cheapest of them, or with a new one.
    sets = np.arange(1 << m)
    member = (sets[:, None] >> np.arange(m)) & 1 == 1
    value = np.full(1 << m, np.inf)
    value[1 << trace.start] = 0.0
    for cost, price in zip(trace.costs, trace.prices, strict=True):
        after = value + np.where(member, cost, np.inf).min(axis=1)
        for j in range(m):
            old = sets[~member[:, j]]
            new = old | (1 << j)
            after[new] = np.minimum(after[new], value[old] + price[trace.start, j] + cost[j])
        value = after
    return float(value.min()) if len(trace.costs) else 0.0


def replay(policy: Callable[[int, int, Array], int], trace: Trace) -> Replay:
    """A policy on a trace.

    Args:
        policy: (step, method in use, costs of the steps before it with every method, shape (step, methods)) -> the
            method for this step. What a real controller cannot see it must not read; wrap it so.
        trace: recorded.
    """
    method, total, switches = trace.start, 0.0, 0
    paid = {trace.start}
    used = np.empty(len(trace.costs), dtype=np.int64)
    for step, cost in enumerate(trace.costs):
        chosen = policy(step, method, trace.costs[:step])
        if chosen != method:
            switches += 1
            if not (trace.keep and chosen in paid):
                total += float(trace.prices[step, trace.start if trace.keep else method, chosen])
            paid.add(chosen)
            method = chosen
        total += float(cost[method])
        used[step] = method
    return Replay(total, hindsight(trace), used, switches)
