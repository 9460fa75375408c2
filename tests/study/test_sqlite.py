"""The SQLite store: durable, shared, and plain about what is wrong."""

import sqlite3
import subprocess
import sys

import pytest

from metaloop import Float, RandomSearch, Space, StoreError, Study
from metaloop.study.store.sqlite import SQLiteStore

SPACE = Space(x=Float(0, 1))


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SQLiteStore(path)
    assert path.read_bytes() == before


def test_what_is_no_database_is_named(tmp_path):
    path = tmp_path / "text.db"
    path.write_text("hello " * 1000)
    with pytest.raises(StoreError, match="is not a study file"):
        SQLiteStore(path)
    with pytest.raises(StoreError, match="does not exist"):
        SQLiteStore(tmp_path / "nowhere" / "a.db")
    with pytest.raises(StoreError, match="no study file"):
        SQLiteStore(tmp_path / "absent.db", readonly=True)
    with pytest.raises(StoreError, match="cannot be opened"):
        SQLiteStore(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "a.db"
    Study(path, space=SPACE, optimizer=RandomSearch()).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer than this metaloop reads"):
        Study(path, space=SPACE)


def test_reading_changes_nothing(tmp_path):
    path = tmp_path / "a.db"
    with Study(path, space=SPACE, optimizer=RandomSearch()) as study:
        study.tell(study.ask(), 1.0)
    before = path.read_bytes()
    with Study(path, readonly=True) as study:
        assert study.result().value == 1.0
        with pytest.raises(StoreError, match="read-only"):
            study.ask()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.db"]


def test_no_pickle_is_stored(tmp_path):
    path = tmp_path / "a.db"
    with Study(path, space=SPACE, optimizer="CMAES") as study:
        for _ in range(10):
            study.tell(study.ask(), 1.0)
    db = sqlite3.connect(path)
    (data,) = db.execute("SELECT data FROM state").fetchone()
    assert data[:4] == b"MLS1"
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_processes_create_and_fill_one_study(tmp_path):
    code = (
        "import sys; from metaloop import Study, Space, Float;"
        "s = Study(sys.argv[1], space=Space(x=Float(0, 1)), optimizer='RandomSearch');"
        "[s.tell(s.ask(), 1.0) for _ in range(5)]"
    )
    path = str(tmp_path / "a.db")
    workers = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, path]) for _ in range(4)]
    assert [w.wait(60) for w in workers] == [0] * 4
    with Study(path) as study:
        assert [t.number for t in study.trials] == list(range(20))
        assert len({t.config["x"] for t in study.trials}) == 20
        assert all(t.value == 1.0 for t in study.trials)
