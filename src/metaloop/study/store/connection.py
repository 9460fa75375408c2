"""A connection to a SQLite file that says in one line what is wrong with it.

It waits for others so that Ctrl-C is still heard, writes only where somebody will find it, and reads a file that nobody
has open without leaving others beside it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metaloop.errors import StoreError

_BUSY = 30.0  # seconds to wait for other processes
_BUSY_ONCE = 0.2  # seconds of it at a time: while SQLite waits, no signal is handled
_FULL = "the disk is full; free some space and run the same command again"
_DAMAGED = "is damaged; restore a copy, or see what can be read with: sqlite3 FILE .recover"
_REASONS = {
    sqlite3.SQLITE_BUSY: f"is locked by another process (waited {_BUSY:g} s)",
    sqlite3.SQLITE_PROTOCOL: f"is locked by another process (waited {_BUSY:g} s)",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that it is a file you may read and write, as well as its folder",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: f"could not be written: {_FULL}",
    sqlite3.SQLITE_IOERR: "could not be written or read: the disk reports an error",
    sqlite3.SQLITE_IOERR_SHMSIZE: f"needs a file beside it: {_FULL}",
    sqlite3.SQLITE_NOTADB: "is not a study file",
    sqlite3.SQLITE_READONLY: "is read-only; allow writing to the file and its folder",
    sqlite3.SQLITE_PERM: "may not be accessed; check the permissions",
}


class Connection:
    """A connection to a SQLite file.

    Args:
        path: the file; created if absent, its folder must exist.
        readonly: open an existing file and never write.

    Raises:
        StoreError: a path that cannot be opened.
    """

    def __init__(self, path: Path, readonly: bool) -> None:
        self.path, self._readonly = path, readonly
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._files: tuple[Any, ...] = ()
        self._latest: object = None
        try:
            self._file = Path(os.path.realpath(path))  # SQLite keeps its log beside the file, not beside a link to it
            self._log = self._file.with_name(self._file.name + "-wal")
            if self._file.exists():
                if not self._file.is_file():
                    raise StoreError(f"{path} cannot be opened: it is not a file")
            elif readonly:
                raise StoreError(f"no study file at {path}")
            elif not self._file.parent.is_dir():
                raise StoreError(f"cannot create {path}: the folder {self._file.parent} does not exist")
            self._open()
        except (sqlite3.Error, OSError, ValueError) as error:  # a name too long, or with a NUL; a folder out of reach
            raise self._explained(error) from None

    def _open(self) -> None:
        uri = f"{self._file.as_uri()}?mode={'ro' if self._readonly else 'rwc'}"
        self._unwritten = self._version() if self._readonly else None
        if self._unwritten is not None:
            uri += "&immutable=1"  # nobody writes: read the file alone, and leave no others beside it
        self._db = sqlite3.connect(uri, uri=True, timeout=_BUSY_ONCE, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA trusted_schema = OFF")

    def _version(self) -> tuple[int, ...] | None:
        """What changes when the file is written; None while somebody may write."""
        if self._log.exists():
            return None
        found = self._file.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    def read(self, sql: str, *parameters: Any) -> list[Any]:
        """All rows."""
        with self._lock:
            try:
                return self._read(sql, parameters)
            except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
                raise self._explained(error) from None

    def _read(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        while True:
            try:
                rows = self._patiently(sql, parameters)
                if not self._overtaken():
                    return rows
            except sqlite3.Error:
                if not self._overtaken():
                    raise
            self._db.close()
            self._open()

    def _overtaken(self) -> bool:
        """Whether somebody began to write to a file that nobody wrote to: what was read then may be half of it."""
        return self._unwritten is not None and self._version() != self._unwritten

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One process at a time; durable when the block has ended."""
        with self._lock:
            if self._db.in_transaction:  # an interrupt came between its beginning and its block
                self._db.execute("ROLLBACK")
            mine = self._latest = object()
            try:
                self._patiently("BEGIN IMMEDIATE")
                self._find()
                yield
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction and self._latest is mine:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                if isinstance(error, (sqlite3.Error, UnicodeDecodeError)):
                    raise self._explained(error) from None
                raise

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement of a transaction."""
        return self._db.execute(sql, parameters)

    def _patiently(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        if os.getpid() != self._process:
            raise StoreError(f"{self.path} was opened before this process was forked; open it again here")
        deadline = time.monotonic() + _BUSY
        while True:
            try:
                return self._db.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                if _code(error) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL):
                    raise
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.001)

    def _find(self) -> None:
        """See that what is written now can be found later: SQLite would also write to a file without a name."""
        if self._readonly:
            return  # SQLite will refuse
        files = tuple(_identity(file) for file in (self._file, self._log))
        self._files = self._files or files
        if None in files or files != self._files:
            raise StoreError(
                f"{self.path} was deleted or replaced while it was open (or the file {self._log.name} beside it was); "
                "put it back, or run the same command again to begin anew"
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _explained(self, error: Exception) -> StoreError:
        """One line for people."""
        if isinstance(error, UnicodeDecodeError):  # in a table's name, or in what SQLite says of it
            return self.damaged()
        if not isinstance(error, sqlite3.Error):
            return StoreError(f"{self.path} cannot be opened: {getattr(error, 'strerror', None) or error}")
        if any(words in str(error) for words in ("Could not decode to UTF-8", "unsupported file format")):
            return self.damaged()
        code = _code(error)
        reason = _REASONS.get(code) or _REASONS.get(code & 0xFF) or f"failed: {error}"
        return StoreError(f"{self.path} {reason}")

    def damaged(self) -> StoreError:
        """The error for a file whose content cannot be right."""
        return StoreError(f"{self.path} {_DAMAGED}")


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", None) or 0


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
