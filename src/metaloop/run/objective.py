"""How an objective gets where it is called: by import path, or as bytes for a worker process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metaloop.errors import InputError, nearest, refuse


def imported(path: str, folder: Path | None = None) -> Callable[[Any], Any]:
    """The function that an import path ``package.module:function`` names.

    Args:
        path: module, colon, and the name in it, dots allowed.
        folder: searched first; None for the current one.

    Raises:
        InputError: a path of another form, or nothing callable there.
    """
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise refuse("objective", path, "'package.module:function', or a function of a configuration")
    first = str(Path.cwd() if folder is None else folder)
    if first not in sys.path:
        sys.path.insert(0, first)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything while it is imported
        raise InputError(f"objective {path!r} cannot be imported: {type(error).__name__}: {error}") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(f"objective {path!r}: {module_name} has no {attribute!r}{nearest(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise refuse(f"objective {path!r}", found, "a function of a configuration")
    return found  # type: ignore[no-any-return]


def packed(objective: Callable[[Any], Any]) -> bytes:
    """An objective as bytes that a worker process of this run loads.

    What can be imported there travels by name. A lambda, a closure or a function of the main script or of a notebook
    travels by value, which needs the package cloudpickle.

    Raises:
        InputError: an objective that cannot be sent; the message says what to do.
    """
    module = getattr(objective, "__module__", None)
    name = getattr(objective, "__qualname__", "")
    by_name = module != "__main__" and "<" not in name
    try:
        from cloudpickle import dumps
    except ImportError:
        from pickle import dumps

        if not by_name:
            raise refuse(
                "objective", objective, "a function of a module that worker processes can import, as in "
                "'module:function'; others need: pip install 'metaloop[parallel]'"
            ) from None  # fmt: skip
    try:
        data: bytes = dumps(objective)
    except Exception as error:
        raise InputError(
            f"objective {name or objective!r} cannot be sent to a worker process ({type(error).__name__}: {error}); "
            "let it open what it needs itself, or put it in a module and name it as 'module:function'"
        ) from None
    return data
