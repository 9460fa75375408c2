"""`metaloop export`: every trial of a study as CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from metaloop.cli.output import open_study, plain, setting
from metaloop.errors import InputError, refuse
from metaloop.space import Space
from metaloop.study import Trial

HELP = """\
Write every trial of a study as CSV or JSON. Changes nothing.

CSV: number, state, value, one column a parameter (empty where inactive), constraint_0 and so on, fidelity, cost,
seconds, source, error. A parameter whose name is one of these is written as config.NAME.
"""
_FIRST = ("number", "state", "value")
_LAST = ("fidelity", "cost", "seconds", "source", "error")


class Format(StrEnum):
    """What `export` can write."""

    csv = "csv"
    json = "json"


def export(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A file or a store URL.")],
    name: Annotated[str | None, typer.Option(help="Which study, where the store holds several.")] = None,
    format: Annotated[Format, typer.Option(help="csv or json.")] = Format.csv,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Where to; default stdout.")] = None,
) -> int:
    """The command; see `HELP`."""
    with open_study(study, name) as opened:
        trials = opened.trials
        if format is Format.csv:
            text = as_csv(opened.space, trials)
        else:
            text = json.dumps(plain({"study": opened.name, "trials": [t.as_dict() for t in trials]})) + "\n"
    if out is None:
        sys.stdout.write(text)
        return 0
    path = Path(out)
    if path.exists() and os.path.realpath(path) == os.path.realpath(study.removeprefix("sqlite:///")):
        raise refuse("--out", out, "another file than the study itself")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist")
    _replace(path, text)
    return 0


def as_csv(space: Space, trials: list[Trial]) -> str:
    """The trials as CSV text; numbers round-trip, a choice of None is written as null."""
    names = list(dict.fromkeys(c.name for c in space.columns))
    constraints = max((len(t.observation.constraints) for t in trials if t.observation), default=0)
    extra = [f"constraint_{k}" for k in range(constraints)]
    taken = {*_FIRST, *extra, *_LAST}
    columns = []
    for name in names:
        column = name
        while column in taken:
            column = f"config.{column}"
        taken.add(column)
        columns.append(column)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_FIRST, *columns, *extra, *_LAST])
    for trial in trials:
        data: dict[str, Any] = trial.as_dict()
        seen = data["constraints"]
        writer.writerow(
            [
                *(data[k] for k in _FIRST),
                *(setting(trial.config[n]) if n in trial.config else "" for n in names),
                *(seen[k] if k < len(seen) else "" for k in range(constraints)),
                *(data[k] for k in _LAST),
            ]
        )
    return out.getvalue()


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    if path.exists() and not path.is_file():
        # A device or a pipe, such as /dev/stdout.
        path.write_text(text, encoding="utf-8")
        return
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def add(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("export", help=HELP)(export)
