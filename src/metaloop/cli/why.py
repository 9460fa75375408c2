"""`metaloop why`: the decisions of a study, in sentences, and a picture of its run."""

from __future__ import annotations

import dataclasses
import os
from typing import Annotated

import typer

from metaloop.cli.output import clean, open_study, print_json
from metaloop.errors import refuse
from metaloop.report.figures import save
from metaloop.report.timeline import timeline

HELP = "Say why a study did what it did: its optimizer's decisions, whose turn it was, what it gained. Changes nothing."


def why(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A file or a store URL.")],
    name: Annotated[str | None, typer.Option(help="Which study, where the store holds several.")] = None,
    figure: Annotated[str | None, typer.Option(metavar="FILE", help="Draw the run: .svg, .png or .pdf.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """The command; see `HELP`."""
    if figure is not None and os.path.realpath(figure) == os.path.realpath(study.removeprefix("sqlite:///")):
        raise refuse("--figure", figure, "another file than the study itself")
    with open_study(study, name) as opened:
        found = opened.result().why
        if json:
            decisions = [dataclasses.asdict(d) for d in found.decisions]
            turns = {"shares": found.shares(), "gains": found.gains()}
            print_json({"study": opened.name, "decisions": decisions, "turns": turns, "notes": list(found.notes)})
        else:
            for sentence in found.sentences:
                print(clean(sentence))
        if figure is not None:
            values = found.values or [t.value for t in opened.trials]
            marks = [d.trial for d in found.decisions]
            save(timeline(values, found.askers, marks, maximize=found.maximize), figure)
    return 0


def add(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("why", help=HELP)(why)
