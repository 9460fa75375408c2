"""Studies in one SQLite file: an event table (the truth), a trial table (its projection), one state a study.

Write-ahead log with full synchronisation: a transaction that returned survives a power cut. One transaction an ask and
one a tell, however many parameters there are.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metaloop.errors import StoreError
from metaloop.study.store.base import Event

_APPLICATION_ID = 0x4D4C4F50  # "MLOP": tells our files from other programs' databases
_FORMAT = 1
_BUSY_MS = 30_000

_SCHEMA = """
CREATE TABLE study (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, header TEXT NOT NULL, created REAL NOT NULL) STRICT;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, study INTEGER NOT NULL REFERENCES study, kind TEXT NOT NULL,
    trial INTEGER NOT NULL, time REAL NOT NULL, data TEXT NOT NULL, point BLOB NOT NULL) STRICT;
CREATE INDEX event_of_study ON event (study, id);
CREATE TABLE trial (
    study INTEGER NOT NULL REFERENCES study, number INTEGER NOT NULL, state TEXT NOT NULL, config TEXT NOT NULL,
    value REAL, started REAL NOT NULL, ended REAL, error TEXT, PRIMARY KEY (study, number)) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    study INTEGER PRIMARY KEY REFERENCES study, event INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
"""


class SQLiteStore:
    """Studies in one SQLite file.

    Args:
        path: the file; created if absent, its folder must exist.
        readonly: open an existing file and never write.

    Raises:
        StoreError: a file that cannot be opened, belongs to another program, or is of a newer format.
    """

    durable = True

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._ids: dict[str, int] = {}
        exists = self.path.exists()
        if readonly and not exists:
            raise StoreError(f"no study file at {self.path}")
        if not exists and not self.path.parent.is_dir():
            raise StoreError(f"cannot create {self.path}: the folder {self.path.parent} does not exist")
        try:
            uri = f"{self.path.resolve().as_uri()}?mode={'ro' if readonly else 'rwc'}"
            if readonly and not self.path.with_name(self.path.name + "-wal").exists():
                uri += "&immutable=1"  # nobody writes: read the file alone, and leave no others beside it
            self._db = sqlite3.connect(
                uri, uri=True, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA trusted_schema = OFF")
            self._check(readonly)
        except sqlite3.Error as error:
            raise _explain(error, self.path) from None

    def _check(self, readonly: bool) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION_ID:
            raise StoreError(f"{self.path} is a database of another program; choose another file")
        if version > _FORMAT:
            raise StoreError(
                f"{self.path} has format {version}, newer than this metaloop reads ({_FORMAT}); upgrade it"
            )
        if readonly:
            return
        (mode,) = self._when_free("PRAGMA journal_mode = WAL").fetchone()
        if str(mode).lower() != "wal":
            raise StoreError(f"{self.path} is on a file system without shared memory; use a local disk")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if not tables:
            with self.transaction():
                # Another process may have been first while this one waited for the lock.
                (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if not tables:
                    for statement in _SCHEMA.split(";"):
                        if statement.strip():
                            self._db.execute(statement)
                    self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                    self._db.execute(f"PRAGMA user_version = {_FORMAT}")

    def names(self) -> list[str]:
        """The studies, oldest first."""
        return [name for (name,) in self._read("SELECT name FROM study ORDER BY id")]

    def header(self, name: str) -> dict[str, Any] | None:
        """What a study was created with, or None."""
        found = self._read("SELECT header FROM study WHERE name = ?", name)
        return json.loads(found[0][0]) if found else None

    def create(self, name: str, header: dict[str, Any]) -> dict[str, Any]:
        """Create a study unless it exists; returns the header that holds."""
        with self.transaction():
            existing = self.header(name)
            if existing is None:
                row = (name, json.dumps(header), time.time())
                self._db.execute("INSERT INTO study (name, header, created) VALUES (?, ?, ?)", row)
        return header if existing is None else existing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One process at a time; durable when the block has ended."""
        with self._lock:
            try:
                self._when_free("BEGIN IMMEDIATE")
                try:
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise _explain(error, self.path) from None

    def append(self, name: str, events: Sequence[Event], state: bytes | None) -> list[Event]:
        """Add events, and the optimizer's state after them if given; returns the events with their ids."""
        study = self._study(name)
        stored = []
        for e in events:
            cursor = self._db.execute(
                "INSERT INTO event (study, kind, trial, time, data, point) VALUES (?, ?, ?, ?, ?, ?)",
                (study, e.kind, e.trial, e.time, json.dumps(e.data), e.point),
            )
            stored.append(dataclasses.replace(e, id=int(cursor.lastrowid or 0)))
            self._project(study, e)
        if state is not None and stored:
            self._db.execute(
                "INSERT INTO state (study, event, data) VALUES (?, ?, ?)"
                " ON CONFLICT (study) DO UPDATE SET event = excluded.event, data = excluded.data",
                (study, stored[-1].id, state),
            )
        return stored

    def _project(self, study: int, e: Event) -> None:
        if e.kind == "ask":
            self._db.execute(
                "INSERT INTO trial (study, number, state, config, started) VALUES (?, ?, 'running', ?, ?)",
                (study, e.trial, json.dumps(e.data["config"]), e.time),
            )
            return
        if e.kind != "tell":
            return
        values = e.data.get("values") or [None]
        self._db.execute(
            "UPDATE trial SET state = ?, value = ?, ended = ?, error = ? WHERE study = ? AND number = ?",
            (e.data["state"], values[0], e.time, e.data.get("error"), study, e.trial),
        )

    def events(self, name: str, after: int = 0) -> list[Event]:
        """The events with an id beyond `after`, in order."""
        rows = self._read(
            "SELECT kind, trial, time, data, point, id FROM event WHERE study = ? AND id > ? ORDER BY id",
            self._study(name),
            after,
        )
        return [Event(kind, trial, at, json.loads(data), point, id) for kind, trial, at, data, point, id in rows]

    def state(self, name: str) -> tuple[int, bytes] | None:
        """The newest stored state and the id of the last event in it."""
        found = self._read("SELECT event, data FROM state WHERE study = ?", self._study(name))
        return (int(found[0][0]), bytes(found[0][1])) if found else None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _when_free(self, sql: str) -> sqlite3.Cursor:
        """Run a statement that needs a lock; SQLite itself does not wait while others switch to or recover the log."""
        deadline = time.monotonic() + _BUSY_MS / 1000
        while True:
            try:
                return self._db.execute(sql)
            except sqlite3.OperationalError as error:
                if (error.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)

    def _study(self, name: str) -> int:
        if name not in self._ids:
            found = self._read("SELECT id FROM study WHERE name = ?", name)
            if not found:
                raise StoreError(f"no study {name!r} in {self.path}; it has {self.names()}")
            self._ids[name] = int(found[0][0])
        return self._ids[name]

    def _read(self, sql: str, *parameters: Any) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise _explain(error, self.path) from None


def _explain(error: sqlite3.Error, path: Path) -> StoreError:
    """One line for people out of SQLite's error."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    reasons = {
        sqlite3.SQLITE_BUSY: f"is locked by another process (waited {_BUSY_MS // 1000} s)",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened: check that the path is a file you may read and write",
        sqlite3.SQLITE_CORRUPT: "is damaged; restore a copy, or export what can be read with: metaloop export",
        sqlite3.SQLITE_FULL: "could not be written: the disk is full; free some space and run the same command again",
        sqlite3.SQLITE_IOERR: "could not be written or read: the disk reports an error",
        sqlite3.SQLITE_NOTADB: "is not a study file",
        sqlite3.SQLITE_READONLY: "is read-only; allow writing to the file and its folder",
        sqlite3.SQLITE_PERM: "may not be accessed; check the permissions",
    }
    return StoreError(f"{path} {reasons.get(code, f'failed: {error}')}")
