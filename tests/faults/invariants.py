"""What must hold of a study's file after any fault, read twice: by the library, and by SQLite alone."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import metaloop as ml
from metaloop.optimizers.state import dump
from metaloop.study.fold import Fold


def check(path: Path, log: Path | None = None, *, name: str = "study", table: bool = True) -> list[ml.Trial]:
    """Assert the invariants.

    Args:
        path: of the study file; nobody writes to it now.
        log: lines [number, state, value], each written after its tell was acknowledged.
        name: of the study.
        table: compare the trial table, which the library never reads.

    Returns:
        the trials, as the library reads them.
    """
    before = _content(path)
    with ml.Study(path, name=name, readonly=True) as study:
        trials, events, stored = study.trials, study.store.events(name), study.store.state(name)
        assert not study._fold.diverged, "the stored points are not what is asked now"
    after = _content(path)
    assert {p: after.get(p) for p in before} == before, "reading changed the study"
    known = {path.name + ending for ending in ("", "-wal", "-shm")}
    assert {p.name for p in path.parent.iterdir()} <= known, "files are left beside the study"

    assert [t.number for t in trials] == list(range(len(trials))), "numbers are not gapless"
    ends = [e.trial for e in events if e.kind == "tell"]
    assert len(ends) == len(set(ends)), "a trial ended twice"
    assert sorted(ends) == [t.number for t in trials if t.state != "running"]
    assert [e.id for e in events] == sorted({e.id for e in events})

    for number, state, value in _acknowledged(log):
        trial = trials[number]
        assert (str(trial.state), trial.as_dict()["value"]) == (state, value), f"trial {number} was acknowledged"

    fold = Fold(study.space, study.optimizer, study.seed, study.maximize, None)
    if stored is not None:
        fold.replay([e for e in events if e.id <= stored[0]])
        assert dump(fold.state) == stored[1], "the stored state is not what the events give"
    fold.replay([e for e in events if e.id > fold.cursor])
    assert fold.trials == trials
    with tempfile.TemporaryDirectory() as folder:
        _check_alone(_copied(path, Path(folder)), name, fold.trials if table else None)
    return trials


def _check_alone(path: Path, name: str, trials: list[ml.Trial] | None) -> None:
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        if trials is None:
            return
        rows = db.execute(
            "SELECT number, trial.state, config, value, started, ended, error FROM trial"
            " JOIN study ON study.id = trial.study WHERE study.name = ? ORDER BY number", (name,)
        ).fetchall()  # fmt: skip
        assert rows == [
            (
                t.number, str(t.state), json.dumps(t.config), _null(t.value), t.started, _null(t.ended), t.error or None
            )
            for t in trials
        ], "the trial table is not what the events give"  # fmt: skip
    finally:
        db.close()


def _null(number: float) -> float | None:
    return None if math.isnan(number) else number


def _acknowledged(log: Path | None) -> list[Any]:
    # A last line without its end was being written when the process was killed.
    lines = log.read_text().splitlines(keepends=True) if log is not None and log.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _content(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in _files(path)}


def _files(path: Path) -> list[Path]:
    # -shm is an index that is rebuilt; readers mark it.
    return [p for p in (path, path.with_name(path.name + "-wal")) if p.exists()]


def _copied(path: Path, folder: Path) -> Path:
    for file in _files(path):
        shutil.copy(file, folder)
    return folder / path.name
