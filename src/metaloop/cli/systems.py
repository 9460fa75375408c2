"""`metaloop systems` lists the systems, `metaloop system NAME` runs one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from metaloop import systems as house
from metaloop.cli.output import clean, print_json, print_table, stdout_kept_for
from metaloop.errors import InputError
from metaloop.report.claims import CLAIM_HEADER, SystemReport, claim_row

CLAIM_FAILS = 3

SYSTEMS_HELP = "List the systems that can be run."
SYSTEM_HELP = """\
Run a system at its quick size (at most 2 minutes) on its own default input, and write a page with its figures.

Exit codes: 0 it ran and every claim holds, 2 bad input, 3 it ran and some claim does not hold.
"""


def systems(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> int:
    """The command; see `SYSTEMS_HELP`."""
    found = []
    for name in house.names():
        try:
            system = house.load(name)
            found.append((name, system.claim, list(system.sources)))
        except InputError as error:
            # One broken third party must not hide the others.
            found.append((name, f"cannot be loaded: {error}", []))
    if json:
        print_json({"systems": [{"name": n, "claim": c, "sources": s} for n, c, s in found]})
    elif found:
        print_table(["system", "claim"], [[n, c] for n, c, _ in found])
    else:
        print("No systems are installed yet.")
    return 0


def system(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `metaloop systems` lists it.")],
    full: Annotated[bool, typer.Option("--full", help="The size of the claim, however long it takes.")] = False,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where to write the page and the figures.")] = "out",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """The command; see `SYSTEM_HELP`."""
    with stdout_kept_for(json), _progress() as progress:
        report, files = house.run(name, size="full" if full else "quick", out=out, seed=seed, progress=progress)
    if json:
        print_json(report.as_dict([str(f) for f in files[1:] if f.suffix == ".svg"]))
    else:
        _print(report)
        print(clean(f"{report.system}: {report.seconds:.1f} s; the page is {files[0]}"))
    return 0 if report.holds else CLAIM_FAILS


def _print(report: SystemReport) -> None:
    if report.claims:
        print_table(CLAIM_HEADER, [claim_row(c) for c in report.claims], right=[5])
    else:
        print("No claim is about this size.")


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None]]:
    """A bar on stderr where that is a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda share, doing: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda share, doing: bar.update(task, completed=share, description=clean(doing))


def add(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    app.command("systems", help=SYSTEMS_HELP)(systems)
    app.command("system", help=SYSTEM_HELP)(system)
