"""Why a run did what it did, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metaloop.optimizers.protocol import Decision


@dataclass(frozen=True)
class Why:
    """The decisions of a run and the notes around them; iterate for the decisions, print for the sentences.

    Attributes:
        decisions: the optimizer's, oldest first.
        notes: what else a reader should know: the optimizer, the incumbent, failures, why the run ended.
    """

    decisions: tuple[Decision, ...]
    notes: tuple[str, ...]

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.decisions)

    def __len__(self) -> int:
        return len(self.decisions)

    @property
    def sentences(self) -> list[str]:
        """Everything, one sentence or two an entry."""
        return [*map(str, self.decisions), *self.notes]

    def __str__(self) -> str:
        return "\n".join(self.sentences)
