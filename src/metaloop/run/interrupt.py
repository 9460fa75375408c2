"""Ctrl-C: the first lets the running trial end, the second stops at once."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

_log = logging.getLogger("metaloop")


class Interruptible:
    """A block in which the first SIGINT only sets `requested`; outside the main thread it does nothing.

    Attributes:
        requested: the first SIGINT has come.
        closing: set it where what is left to do is short and must not be left out; no SIGINT has an effect then.
    """

    def __init__(self) -> None:
        self.requested = self.closing = False
        self._previous: Any = None

    def __enter__(self) -> Interruptible:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            if self._previous is not None:
                signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.closing:
            return
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        _log.warning("interrupted: the running trial ends first; press Ctrl-C again to stop at once")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
