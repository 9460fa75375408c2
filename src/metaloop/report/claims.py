"""A claim with its number, and what a system reports: the same values as JSON, as a page and on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from metaloop.errors import InputError, refuse
from metaloop.report.page import Cell, Figure, Heading, Section, Table, Text


@dataclass(frozen=True)
class Claim:
    """One statement that a run has put to the test.

    Attributes:
        id: a short name, unique in its report.
        says: the statement, a sentence.
        measured: what this run measured.
        ci: (low, high), an interval around `measured`; both equal to it where nothing is random.
        n: the number of independent measurements behind it.
        target: ours: what the whole interval has to reach.
        reference: the peer's number, or None where there is no peer.
        peer: who the peer is and where its number comes from; empty only without `reference`.
        unit: of `measured`, `ci`, `target` and `reference`; a count names what it counts, else "ratio".
        better: "lower" or "higher".
        holds: whether the whole interval is on the right side of `target` (which counts as right); computed.

    Raises:
        InputError: a number that is not finite, an interval without `measured`, an empty unit, …
    """

    id: str
    says: str
    measured: float
    ci: tuple[float, float]
    n: int
    target: float
    reference: float | None
    peer: str
    unit: str
    better: str
    holds: bool = field(init=False)

    def __post_init__(self) -> None:
        for name in ("id", "says", "unit"):
            text = getattr(self, name)
            if not isinstance(text, str) or not text.strip():
                raise refuse(f"claim {self.id!r}: {name}", text, "a non-empty string")
        if self.better not in ("lower", "higher"):
            raise refuse(f"claim {self.id!r}: better", self.better, "'lower' or 'higher'")
        if isinstance(self.n, bool) or not _is_whole(self.n) or self.n < 1:
            raise refuse(f"claim {self.id!r}: n", self.n, "a whole number of at least 1")
        set_ = object.__setattr__
        set_(self, "n", int(self.n))
        set_(self, "measured", self._finite("measured", self.measured))
        set_(self, "target", self._finite("target", self.target))
        if self.reference is not None:
            set_(self, "reference", self._finite("reference", self.reference))
        if not isinstance(self.peer, str) or (self.reference is not None and not self.peer.strip()):
            raise refuse(f"claim {self.id!r}: peer", self.peer, "who the reference is and where its number comes from")
        try:
            low, high = self.ci
        except (TypeError, ValueError):
            raise refuse(f"claim {self.id!r}: ci", self.ci, "a pair (low, high)") from None
        low, high = self._finite("ci", low), self._finite("ci", high)
        slack = 1e-9 * max(abs(low), abs(high), abs(self.measured))  # a mean of equal numbers may be off by rounding
        if not (low <= high and low - slack <= self.measured <= high + slack):
            raise refuse(f"claim {self.id!r}: ci", self.ci, f"low <= measured <= high, with measured {self.measured!r}")
        set_(self, "ci", (low, high))
        set_(self, "holds", high <= self.target if self.better == "lower" else low >= self.target)

    def _finite(self, name: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, (bool, str)) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise refuse(f"claim {self.id!r}: {name}", value, "a finite number")
        return number

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "id": self.id,
            "says": self.says,
            "measured": self.measured,
            "ci": list(self.ci),
            "n": self.n,
            "target": self.target,
            "reference": self.reference,
            "peer": self.peer,
            "unit": self.unit,
            "better": self.better,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class SystemReport:
    """What one run of a system found.

    Attributes:
        system: its name.
        size: "quick" or "full".
        claims: each with an id of its own.
        seconds: wall-clock time of the run.
        figures: with captions, for the page.
        text: paragraphs for the page, before the claims: what was done, on which input.
        files: what else the run made, as (name, content), to be written beside the page.
    """

    system: str
    size: str
    claims: Sequence[Claim]
    seconds: float
    figures: Sequence[Figure] = ()
    text: Sequence[str] = ()
    files: Sequence[tuple[str, bytes]] = ()

    def __post_init__(self) -> None:
        if self.size not in ("quick", "full"):
            raise refuse("size", self.size, "'quick' or 'full'")
        for name in ("claims", "figures", "text", "files"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        ids = [c.id for c in self.claims]
        if len(set(ids)) < len(ids):
            raise InputError(f"claims of {self.system!r} have equal ids: {sorted(i for i in ids if ids.count(i) > 1)}")

    @property
    def holds(self) -> bool:
        """Whether every claim holds."""
        return all(c.holds for c in self.claims)

    def as_dict(self, figures: Sequence[str] = ()) -> dict[str, Any]:
        """The object that ``metaloop system NAME --json`` prints.

        Args:
            figures: paths of the files to which the figures were written.
        """
        return {
            "system": self.system,
            "size": self.size,
            "claims": [c.as_dict() for c in self.claims],
            "seconds": round(float(self.seconds), 3),
            "figures": list(figures),
        }

    def sections(self) -> list[Section]:
        """The report as the sections of a page."""
        run = f"{'Full' if self.size == 'full' else 'Quick'} size, {self.seconds:.1f} s."
        if self.size == "quick":
            run += " Claims about the full size are left out, not scaled."
        out: list[Section] = [Text([*self.text, run])]
        if self.claims:
            out += [Heading("Claims"), claims_table(self.claims)]
        if self.figures:
            out += [Heading("Figures"), *self.figures]
        return out


CLAIM_HEADER = ("claim", "measured", "95 % interval", "target", "reference", "n", "holds")


def claim_row(claim: Claim) -> list[str]:
    """A claim as the texts of one table row, under `CLAIM_HEADER`; the last is "yes" or "no"."""
    unit = f" {claim.unit}"
    bound = "≤" if claim.better == "lower" else "≥"
    reference = "–" if claim.reference is None else f"{_short(claim.reference)}{unit} ({claim.peer})"
    return [
        claim.says,
        f"{_short(claim.measured)}{unit}",
        f"{_short(claim.ci[0])} to {_short(claim.ci[1])}",
        f"{bound} {_short(claim.target)}{unit}",
        reference,
        str(claim.n),
        "yes" if claim.holds else "no",
    ]


def claims_table(claims: Sequence[Claim]) -> Table:
    """Claims as a table for a page."""
    rows = []
    for claim in claims:
        *texts, holds = claim_row(claim)
        rows.append([*texts, Cell(holds, "good" if claim.holds else "bad")])
    caption = "A claim holds if the whole interval of what this run measured is on the right side of the target."
    return Table(CLAIM_HEADER, rows, caption)


def _short(value: float) -> str:
    """Four digits; whole numbers below ten million in full, because they count something."""
    return str(int(value)) if value == int(value) and abs(value) < 1e7 else f"{value:.4g}"


def _is_whole(value: Any) -> bool:
    try:
        return bool(int(value) == value)
    except (TypeError, ValueError, OverflowError):
        return False
