"""Studies that live as long as the process."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from metaloop.study.store.base import Event


class MemoryStore:
    """Studies in memory; nothing is durable, and no state is stored because none could be needed."""

    durable = False

    def __init__(self) -> None:
        self._headers: dict[str, dict[str, Any]] = {}
        self._events: dict[str, list[Event]] = {}
        self._lock = threading.RLock()

    def names(self) -> list[str]:
        """The studies, oldest first."""
        return list(self._headers)

    def header(self, name: str) -> dict[str, Any] | None:
        """What a study was created with, or None."""
        return self._headers.get(name)

    def create(self, name: str, header: dict[str, Any]) -> dict[str, Any]:
        """Create a study unless it exists; returns the header that holds."""
        self._events.setdefault(name, [])
        return self._headers.setdefault(name, header)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One thread at a time."""
        with self._lock:
            yield

    def append(self, name: str, events: Sequence[Event], state: bytes | None) -> list[Event]:
        """Add events; the state is not kept."""
        log = self._events[name]
        stored = [dataclasses.replace(e, id=len(log) + 1 + i) for i, e in enumerate(events)]
        log += stored
        return stored

    def events(self, name: str, after: int = 0) -> list[Event]:
        """The events with an id beyond `after`, in order."""
        return self._events[name][after:]

    def state(self, name: str) -> tuple[int, bytes] | None:
        """Never any."""
        return None

    def close(self) -> None:
        """Nothing to let go of."""
