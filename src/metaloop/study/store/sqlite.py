"""Studies in one SQLite file: an event table (the truth), a trial table (its projection), one state a study.

Write-ahead log with full synchronisation: a transaction that returned survives a power cut. One transaction an ask and
one a tell, however many parameters there are. Damage is found on opening: by SQLite in the structure of the file, by
checksums in what the rows hold.
"""

from __future__ import annotations

import dataclasses
import json
import time
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from metaloop.errors import StoreError
from metaloop.study.store.base import Event
from metaloop.study.store.connection import Connection

_APPLICATION_ID = 0x4D4C4F50  # "MLOP": tells our files from other programs' databases
_FORMAT = 1

_SCHEMA = """
CREATE TABLE study (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, header TEXT NOT NULL, created REAL NOT NULL,
    checksum INTEGER NOT NULL) STRICT;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, study INTEGER NOT NULL REFERENCES study, kind TEXT NOT NULL,
    trial INTEGER NOT NULL, time REAL NOT NULL, data TEXT NOT NULL, point BLOB NOT NULL,
    checksum INTEGER NOT NULL) STRICT;
CREATE INDEX event_of_study ON event (study, id);
CREATE TABLE trial (
    study INTEGER NOT NULL REFERENCES study, number INTEGER NOT NULL, state TEXT NOT NULL, config TEXT NOT NULL,
    value REAL, started REAL NOT NULL, ended REAL, error TEXT, PRIMARY KEY (study, number)) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    study INTEGER PRIMARY KEY REFERENCES study, event INTEGER NOT NULL, data BLOB NOT NULL,
    checksum INTEGER NOT NULL) STRICT;
"""
_STATEMENTS = [statement.strip() for statement in _SCHEMA.split(";")[:-1]]


class SQLiteStore:
    """Studies in one SQLite file.

    Args:
        path: the file; created if absent, its folder must exist.
        readonly: open an existing file and never write.

    Raises:
        StoreError: a file that cannot be opened, belongs to another program, is damaged, or of a newer format.
    """

    durable = True

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self._ids: dict[str, int] = {}
        self._db = Connection(self.path, readonly)
        # In this order: another process that creates them just now sets the numbers together with the tables.
        tables = {sql for (sql,) in self._db.read("SELECT sql FROM sqlite_master")}
        ((application,),) = self._db.read("PRAGMA application_id")
        ((version,),) = self._db.read("PRAGMA user_version")
        if (tables or application) and application != _APPLICATION_ID:
            raise StoreError(f"{self.path} is a database of another program; choose another file")
        if version > _FORMAT:
            raise StoreError(
                f"{self.path} has format {version}, newer than this metaloop reads ({_FORMAT}); upgrade it"
            )
        if self._db.read("PRAGMA integrity_check(1)") != [("ok",)] or (tables and not tables.issuperset(_STATEMENTS)):
            raise self._db.damaged()
        if not readonly:
            self._make_writable(bool(tables))
        elif not tables:
            raise StoreError(f"{self.path} holds no study yet")

    def _make_writable(self, complete: bool) -> None:
        ((mode,),) = self._db.read("PRAGMA journal_mode = WAL")
        if str(mode).lower() != "wal":
            raise StoreError(f"{self.path} is on a file system without shared memory; use a local disk")
        self._db.read("PRAGMA synchronous = FULL")
        self._db.read("PRAGMA foreign_keys = ON")
        if complete:
            return
        with self.transaction():
            # Another process may have been first while this one waited for the lock.
            if not self._db.read("SELECT * FROM sqlite_master"):
                for statement in _STATEMENTS:
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {_FORMAT}")

    def names(self) -> list[str]:
        """The studies, oldest first."""
        return [name for (name,) in self._db.read("SELECT name FROM study ORDER BY id")]

    def header(self, name: str) -> dict[str, Any] | None:
        """What a study was created with, or None."""
        found = self._db.read("SELECT header, checksum FROM study WHERE name = ?", name)
        if found and _checksum(name, found[0][0]) != found[0][1]:
            raise self._db.damaged()
        return json.loads(found[0][0]) if found else None

    def create(self, name: str, header: dict[str, Any]) -> dict[str, Any]:
        """Create a study unless it exists; returns the header that holds."""
        with self.transaction():
            existing = self.header(name)
            if existing is None:
                text = json.dumps(header)
                row = (name, text, time.time(), _checksum(name, text))
                self._db.execute("INSERT INTO study (name, header, created, checksum) VALUES (?, ?, ?, ?)", row)
        return header if existing is None else existing

    def transaction(self) -> AbstractContextManager[None]:
        """One process at a time; durable when the block has ended."""
        return self._db.transaction()

    def append(self, name: str, events: Sequence[Event], state: bytes | None) -> list[Event]:
        """Add events, and the optimizer's state after them if given; returns the events with their ids."""
        study = self._study(name)
        stored = []
        for e in events:
            row = (e.kind, e.trial, e.time, json.dumps(e.data), e.point)
            cursor = self._db.execute(
                "INSERT INTO event (study, kind, trial, time, data, point, checksum) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (study, *row, _checksum(*row)),
            )
            stored.append(dataclasses.replace(e, id=int(cursor.lastrowid or 0)))
            self._project(study, e)
        if state is not None and stored:
            self._db.execute(
                "INSERT OR REPLACE INTO state (study, event, data, checksum) VALUES (?, ?, ?, ?)",
                (study, stored[-1].id, state, zlib.crc32(state, stored[-1].id)),
            )
        return stored

    def _project(self, study: int, e: Event) -> None:
        if e.kind == "ask":
            self._db.execute(
                "INSERT INTO trial (study, number, state, config, started) VALUES (?, ?, 'running', ?, ?)",
                (study, e.trial, json.dumps(e.data["config"]), e.time),
            )
            return
        if e.kind == "take":
            self._db.execute("UPDATE trial SET started = ? WHERE study = ? AND number = ?", (e.time, study, e.trial))
        if e.kind != "tell":
            return
        values = e.data.get("values") or [None]
        self._db.execute(
            "UPDATE trial SET state = ?, value = ?, ended = ?, error = ? WHERE study = ? AND number = ?",
            (e.data["state"], values[0], e.time, e.data.get("error"), study, e.trial),
        )

    def events(self, name: str, after: int = 0) -> list[Event]:
        """The events with an id beyond `after`, in order."""
        rows = self._db.read(
            "SELECT kind, trial, time, data, point, checksum, id FROM event WHERE study = ? AND id > ? ORDER BY id",
            self._study(name),
            after,
        )
        if any(_checksum(*row[:5]) != row[5] for row in rows):
            raise self._db.damaged()
        return [Event(kind, trial, at, json.loads(data), point, id) for kind, trial, at, data, point, _, id in rows]

    def state(self, name: str) -> tuple[int, bytes] | None:
        """The newest stored state and the id of the last event in it."""
        found = self._db.read("SELECT event, data, checksum FROM state WHERE study = ?", self._study(name))
        if not found or zlib.crc32(found[0][1], found[0][0]) != found[0][2]:
            return None  # damaged: the events give it again
        return found[0][0], found[0][1]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _study(self, name: str) -> int:
        if name not in self._ids:
            found = self._db.read("SELECT id FROM study WHERE name = ?", name)
            if not found:
                raise StoreError(f"no study {name!r} in {self.path}; it has {self.names()}")
            self._ids[name] = int(found[0][0])
        return self._ids[name]


def _checksum(*fields: object) -> int:
    return zlib.crc32(repr(fields).encode())
