"""What commands print: text shown literally, tables, and one JSON object."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from metaloop.errors import InputError, nearest
from metaloop.study import Study
from metaloop.study.store import open_store


def clean(text: object) -> str:
    """Text from a study as a terminal shows it: escape sequences and other unprintable characters are spelled out."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in str(text))


def plain(value: Any) -> Any:
    """The same data for strict JSON: NaN and infinities become null, tuples lists."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    print(json.dumps(plain(value), allow_nan=False))


def number(value: float | None, digits: int = 6) -> str:
    """A number for people; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}g}"


def setting(value: Any, digits: int | None = None) -> str:
    """A parameter's value as text: floats round-trip (unless `digits` is given), booleans are true and false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value) if digits is None else f"{value:.{digits}g}"
    return json.dumps(value)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """A table on stdout; as wide as it needs to be where stdout is no terminal.

    Args:
        header: one name a column.
        rows: their texts, shown literally.
        right: the columns that are set right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for j, name in enumerate(header):
        table.add_column(Text(clean(name)), justify="right" if j in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 100_000
    Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False).print(table)


def open_study(url: str, name: str | None) -> Study:
    """An existing study, never to be written.

    Args:
        url: a path or a store URL.
        name: needed only where the store holds several studies.

    Raises:
        InputError: no such study, or several and no name.
        StoreError: no such file, or one that is no store.
    """
    if url.startswith("memory:"):
        raise InputError(f"STUDY was {url!r}; it may be a file or a store URL: what was in memory is gone")
    if name is None:
        store = open_store(url, readonly=True)
        try:
            known = store.names()
        finally:
            store.close()
        if not known:
            raise InputError(f"{url} holds no study yet")
        if len(known) > 1:
            raise InputError(f"{url} holds several studies: {known}; choose one with --name")
        name = known[0]
    study_store = open_store(url, readonly=True)
    try:
        if study_store.header(name) is None:
            known = study_store.names()
            raise InputError(f"there is no study {name!r} in {url}; it holds {known}{nearest(name, known)}")
        return Study(study_store, name=name, readonly=True)
    except BaseException:
        study_store.close()
        raise


@contextmanager
def stdout_kept_for(us: bool) -> Iterator[None]:
    """Where `us`, what the block prints goes to stderr, also from C: stdout stays free for one JSON object."""
    if not us:
        yield
        return
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
