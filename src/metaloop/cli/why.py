"""`metaloop why`: the decisions of a study, in sentences."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from metaloop.cli.output import clean, open_study, print_json

HELP = "Say why a study did what it did: every decision of its optimizer, and what else to know. Changes nothing."


def why(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A file or a store URL.")],
    name: Annotated[str | None, typer.Option(help="Which study, where the store holds several.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """The command; see `HELP`."""
    with open_study(study, name) as opened:
        found = opened.result().why
        if json:
            decisions = [dataclasses.asdict(d) for d in found.decisions]
            print_json({"study": opened.name, "decisions": decisions, "notes": list(found.notes)})
        else:
            for sentence in found.sentences:
                print(clean(sentence))
    return 0


def add(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("why", help=HELP)(why)
