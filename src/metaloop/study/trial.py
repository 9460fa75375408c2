"""A trial: one configuration and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from metaloop.optimizers.protocol import Observation
from metaloop.space import Array, Config


class TrialState(StrEnum):
    """The one state a trial is in. COMPLETE, FAILED and RELEASED are final."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    RELEASED = "released"


@dataclass(frozen=True)
class Trial:
    """One configuration and what became of it.

    Attributes:
        number: 0, 1, 2, … without gaps in a study.
        config: the active parameters.
        row: the same as a canonical row of the unit cube, shape (dim,).
        state: running, complete, failed or released (given up unevaluated).
        observation: what came back, with the objective's own sign; None while running.
        reports: intermediate values at growing fidelity, with the objective's own sign.
        error: why it failed, with the traceback if there was one.
        source: "optimizer", or "user" for a configuration that was given.
        owner: who evaluates it (see `study.owner`).
        started, ended: seconds since the epoch; it starts when it is asked, or taken up by another process.
    """

    number: int
    config: Config
    row: Array = field(repr=False, compare=False)
    state: TrialState = TrialState.RUNNING
    observation: Observation | None = None
    reports: tuple[Observation, ...] = ()
    error: str | None = None
    source: str = "optimizer"
    owner: str = ""
    started: float = math.nan
    ended: float = math.nan

    @property
    def value(self) -> float:
        """The objective's value; NaN unless complete."""
        return math.nan if self.observation is None else self.observation.value

    @property
    def seconds(self) -> float:
        """Wall-clock seconds from start to end; NaN while running."""
        return self.ended - self.started

    def as_dict(self) -> dict[str, Any]:
        """Plain data for export: number, state, value, config, constraints, fidelity, cost, seconds, error."""
        seen = self.observation
        return {
            "number": self.number,
            "state": str(self.state),
            "value": None if math.isnan(self.value) else self.value,
            "config": self.config,
            "constraints": list(seen.constraints) if seen else [],
            "fidelity": seen.fidelity if seen else None,
            "cost": seen.cost if seen else None,
            "seconds": None if math.isnan(self.seconds) else round(self.seconds, 6),
            "source": self.source,
            "error": self.error,
        }
