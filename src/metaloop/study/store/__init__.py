"""Where studies live, by URL."""

from __future__ import annotations

from pathlib import Path

from metaloop.errors import refuse
from metaloop.study.store.base import Event, Store
from metaloop.study.store.memory import MemoryStore


def open_store(url: str | Path | Store | None, *, readonly: bool = False) -> Store:
    """The store behind a URL.

    Args:
        url: None or "memory://"; "sqlite:///relative.db", "sqlite:////absolute.db" or a plain path; or a store.
        readonly: an existing file, never to be written.

    Raises:
        InputError: a URL of an unknown kind.
        StoreError: a file that cannot be used.
    """
    if url is None or url == "memory://":
        return MemoryStore()
    if isinstance(url, (str, Path)):
        text = str(url)
        if text.startswith("sqlite:///"):
            text = text.removeprefix("sqlite:///")
        elif "://" in text:
            raise refuse("store", url, "a path, 'sqlite:///FILE' or 'memory://'")
        from metaloop.study.store.sqlite import SQLiteStore

        return SQLiteStore(text, readonly=readonly)
    if not callable(getattr(url, "transaction", None)):
        raise refuse("store", url, "a path, 'sqlite:///FILE', 'memory://' or a store")
    return url


__all__ = ["Event", "MemoryStore", "Store", "open_store"]
