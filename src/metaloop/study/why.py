"""Why a run did what it did, for people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metaloop.optimizers.protocol import Decision
from metaloop.space import Array


@dataclass(frozen=True)
class Why:
    """The decisions of a run, whose turn it was, and notes; iterate for the decisions, print for the sentences.

    Attributes:
        decisions: the optimizer's, oldest first.
        notes: what else a reader should know: the optimizer, the incumbent, failures, why the run ended.
        askers: of each told trial, in the order told, the solver that asked it, "" where none did (a start, a
            repetition); empty where the optimizer is one solver.
        values: of the same trials, with the objective's own sign; NaN where failed or not feasible.
        maximize: the best value is the largest.
    """

    decisions: tuple[Decision, ...]
    notes: tuple[str, ...]
    askers: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    maximize: bool = False

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.decisions)

    def __len__(self) -> int:
        return len(self.decisions)

    @property
    def sentences(self) -> list[str]:
        """Everything, one sentence or two an entry."""
        return [*map(str, self.decisions), *self.timeline, *self.notes]

    @property
    def timeline(self) -> list[str]:
        """Between one decision and the next: how many trials each solver had, and what they gained."""
        marks = sorted({0, *(d.trial for d in self.decisions), len(self.askers)})
        out = []
        for first, end in itertools.pairwise(marks):
            if end > len(self.askers):
                break
            shares, gains = self.shares(first, end), self.gains(first, end)
            parts = [
                f"{name or 'starts and repetitions'} {count} {'trial' if count == 1 else 'trials'}"
                + (f", better by {gains[name]:.3g}" if gains[name] > 0 else "")
                for name, count in shares.items()
            ]
            when = f"Trial {end}" if end == first + 1 else f"Trials {first + 1} to {end}"
            out.append(f"{when}: {'; '.join(parts)}.")
        return out

    def shares(self, first: int = 0, end: int | None = None) -> dict[str, int]:
        """How many of the trials told from `first` to before `end` each solver asked, the most first."""
        asked = self.askers[first:end]
        return dict(sorted(((n, asked.count(n)) for n in dict.fromkeys(asked)), key=lambda item: -item[1]))

    def gains(self, first: int = 0, end: int | None = None) -> dict[str, float]:
        """By how much each solver's trials, told from `first` to before `end`, improved the best value so far.

        The first value of all improves nothing. Under noise these are observed values, lucky ones included.
        """
        gained = self._gained()[first:end]
        asked = np.array(self.askers[first:end], dtype=object)
        return {n: float(gained[asked == n].sum()) for n in dict.fromkeys(self.askers[first:end])}

    def _gained(self) -> Array:
        """What each trial added to the best value, at least 0, shape (n,)."""
        values = np.array(self.values) * (1.0 if self.maximize else -1.0)
        best = np.maximum.accumulate(np.where(np.isnan(values), -np.inf, values))
        gained = np.zeros(len(values))
        with np.errstate(invalid="ignore"):  # -inf less -inf, before the first value
            gained[1:] = np.diff(best)
        return np.where(np.isfinite(gained), gained, 0.0)
