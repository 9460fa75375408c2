"""Errors for people: one line that names the parameter, what it was, and what it may be."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any


class InputError(ValueError):
    """An argument that cannot be used. The message is one line."""


class StoreError(RuntimeError):
    """A study that cannot be opened, read or written. The message is one line."""


class RunError(RuntimeError):
    """A run that cannot go on: its worker processes do not start. The message is one line."""


class TrialFailed(Exception):
    """Raise it in an objective to fail the trial with a message and no traceback."""


def refuse(name: str, was: object, may_be: str) -> InputError:
    """The error to raise for a bad argument.

    Args:
        name: the parameter, as the caller wrote it.
        was: the value given.
        may_be: what would have been accepted, in words.
    """
    shown = repr(was).replace("\n", " ")
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return InputError(f"{name} was {shown}; it may be {may_be}")


def require(name: str, was: object, good: Callable[[Any], bool], may_be: str) -> None:
    """Refuse a value of which a condition does not hold, or of which it cannot even be asked.

    Args:
        name, was, may_be: see `refuse`.
        good: the condition, e.g. ``lambda v: 0 < v <= 1``; whole numbers and reals of numpy are as good as Python's.

    Raises:
        InputError: see above.
    """
    try:
        if not isinstance(was, bool) and good(was):
            return
    except (TypeError, ValueError):
        pass
    raise refuse(name, was, may_be)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'CMAES'?``, or an empty string."""
    table = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), table, n=3, cutoff=0.5)
    return "; did you mean " + " or ".join(repr(table[c]) for c in close) + "?" if close else ""
