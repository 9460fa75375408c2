"""What a run gives back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metaloop.space import Array, Config
from metaloop.study.assurance import Assurance
from metaloop.study.trial import Trial, TrialState
from metaloop.study.why import Why

if TYPE_CHECKING:
    from metaloop.study.study import Study


@dataclass(frozen=True)
class Result:
    """What a run gives back.

    Attributes:
        config: the incumbent's configuration; None while no trial has succeeded.
        value: its estimated value: the observed one where the objective repeats itself, else the posterior mean.
        std: the standard deviation of that estimate; 0 where the objective repeats itself, NaN where unknown.
        x: the configuration as a vector, shape (dim,), if the space was given as bounds; else None.
        why: the decisions, in sentences.
        trials: every trial, by number.
        assurance: what the independent trials guarantee.
        status: how the run ended, a sentence.
        study: the study, to go on or to look closer.
    """

    config: Config | None
    value: float
    std: float
    x: Array | None
    why: Why
    trials: list[Trial] = field(repr=False)
    assurance: Assurance
    status: str
    study: Study = field(repr=False, compare=False)

    def plot(self, path: str | Path | None = None) -> Any:
        """A figure of values and incumbent against trials (needs the extra `plot`).

        Args:
            path: where to save it, by its ending (.svg, .png, .pdf); None to only return it.

        Returns:
            the matplotlib figure.
        """
        from metaloop.report.figures import convergence, save

        figure = convergence(self.values, maximize=self.study.maximize)
        if path is not None:
            save(figure, path)
        return figure

    @property
    def values(self) -> Array:
        """Each trial's value in order, shape (n,); NaN where failed or not finished."""
        return np.array([t.value if t.state is TrialState.COMPLETE else math.nan for t in self.trials])

    def __str__(self) -> str:
        if self.config is None:
            return f"No trial succeeded. {self.status}"
        spread = f" ± {self.std:.2g}" if self.std > 0 else ""
        pairs = ", ".join(f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v!r}" for k, v in self.config.items())
        return f"value {self.value:.6g}{spread} at {pairs}\n{self.status}"
