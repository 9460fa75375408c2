"""What a store is: an append-only list of events a study, a projection of them as trials, and the optimizer's state.

The events are the truth; everything else can be rebuilt from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Event:
    """One thing that happened to a trial.

    Attributes:
        kind: "ask", "take" (its evaluation is taken up by another owner), "report" (an intermediate value) or "tell".
        trial: the trial's number.
        time: seconds since the epoch, for people; no decision reads it.
        data: plain JSON data.
        point: the asked row's bytes (float64, little endian); empty unless an ask.
        id: position in the store, increasing; 0 until stored.
    """

    kind: str
    trial: int
    time: float
    data: dict[str, Any] = field(default_factory=dict)
    point: bytes = b""
    id: int = 0


class Store(Protocol):
    """A place where studies live.

    Contract: what `append` was given inside a `transaction` is durable when the transaction's block has ended without
    an error, and entirely absent otherwise. Within a transaction nobody else writes to the study. Events come back
    in the order of their ids. Reading never changes anything.
    """

    durable: bool

    def names(self) -> list[str]:
        """The studies, oldest first."""
        ...

    def header(self, name: str) -> dict[str, Any] | None:
        """What a study was created with, or None."""
        ...

    def create(self, name: str, header: dict[str, Any]) -> dict[str, Any]:
        """Create a study unless it exists; returns the header that holds."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """The block inside which one process may `append`."""
        ...

    def append(self, name: str, events: Sequence[Event], state: bytes | None) -> list[Event]:
        """Add events, and the optimizer's state after them if given; returns the events with their ids."""
        ...

    def events(self, name: str, after: int = 0) -> list[Event]:
        """The events with an id beyond `after`, in order."""
        ...

    def state(self, name: str) -> tuple[int, bytes] | None:
        """The newest stored state and the id of the last event in it."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...
