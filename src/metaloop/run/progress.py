"""One line of progress on a terminal, nothing in a pipe, and nothing before two seconds have passed."""

from __future__ import annotations

import math
import sys
import time

_FIRST_AFTER = 2.0
_EVERY = 0.2


class Progress:
    """A line such as `37/100 trials, best 0.0123, 12 s`, rewritten in place on stderr.

    Args:
        shown: True or False to force it; None for "only on a terminal".
    """

    def __init__(self, shown: bool | None = None) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._start = self._last = time.monotonic()
        self._width = 0

    def update(self, done: int, budget: int | None, best: float) -> None:
        """Show how far the run has come."""
        now = time.monotonic()
        if not self._shown or now - self._start < _FIRST_AFTER or now - self._last < _EVERY:
            return
        self._last = now
        of = f"/{budget}" if budget else ""
        value = "" if math.isnan(best) else f", best {best:.6g}"
        text = f"{done}{of} trials{value}, {now - self._start:.0f} s"
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)

    def close(self) -> None:
        """End the line, if one was begun."""
        if self._width:
            self._write("\n")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # the terminal was closed; the run goes on
            self._shown = False
