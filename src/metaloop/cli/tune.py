"""`metaloop tune`: minimize what a program prints, or a Python function returns."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from metaloop.cli import Ended, config
from metaloop.cli.command import Command
from metaloop.cli.output import clean, print_json, stdout_kept_for
from metaloop.cli.parameters import parse_all
from metaloop.errors import InputError
from metaloop.run import maximize as maximize_
from metaloop.run import minimize
from metaloop.run.objective import imported
from metaloop.study import Result, TrialState
from metaloop.study.store import Store, open_store

HELP = """\
Tune a program's or a function's parameters.

\b
metaloop tune --param 'lr=float(1e-5,1e-1,log)' --budget 50 -- python train.py --lr '{lr}'
metaloop tune CONFIG.toml

The program is run without a shell. {name} stands for a parameter's value; {{ and }} are literal braces. An argument
whose parameter is inactive is left out, with the option before it if the argument is only the placeholder. The
program also finds METALOOP_CONFIG (JSON) and METALOOP_TRIAL in its environment.

Its value is the last line of stdout that is a number, or a JSON object with "value" (and "constraints", "fidelity",
"cost"). Another exit status than 0, or no value, fails the trial; the run goes on.

\b
Parameters are written as
  NAME=float(LOW,HIGH[,log][,step=X])   NAME=cat(A,B,...[,ordered])
  NAME=int(LOW,HIGH[,log][,step=N])     NAME=bool
and any of them may exist only when:PARENT=VALUE or when:PARENT=A|B, as in
  degree=int(2,5,when:kernel=poly)

Options here override those of the file; --param adds to its [space].

Ctrl-C lets the running trial end; a second one stops at once.

Exit codes: 0 ok, 1 no trial succeeded, 2 bad input, 130 interrupted twice.
"""


def tune(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(metavar="[CONFIG.toml]", show_default=False)] = None,
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="NAME=KIND(...); may be repeated.")] = None,
    budget: Annotated[int | None, typer.Option(help="Number of trials; 100 if nothing else ends the run.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Start no trial after this many seconds.")] = None,
    target: Annotated[float | None, typer.Option(help="Stop once a trial is at least this good.")] = None,
    maximize: Annotated[
        bool | None, typer.Option("--maximize/--minimize", help="Which values are good.", show_default=False)
    ] = None,
    optimizer: Annotated[str | None, typer.Option(metavar="NAME", help="Default: Auto.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Keep the study in a file; continue it if it exists.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The study's name in the store.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time, each in a process; default: one.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds a trial may take.")] = None,
    noisy: Annotated[
        bool | None,
        typer.Option(
            "--noisy/--exact",
            help="Whether equal settings give varying values; default: judged by repeats.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> int:
    """The command; see `HELP`."""
    program: list[str] | None = (context.obj or {}).get("program")
    settings = config.Settings() if file is None else _read(file, program)
    settings.parameters = parse_all(param or [], settings.parameters)
    given = {
        "budget": budget,
        "seconds": seconds,
        "target": target,
        "maximize": maximize,
        "optimizer": optimizer,
        "seed": seed,
        "store": store,
        "name": name,
        "workers": workers,
        "timeout": timeout,
        "noisy": noisy,
    }
    for key, value in given.items():
        if value is not None:
            setattr(settings, key, value)
    if program is not None:
        settings.command, settings.objective = program, None
    begun = time.monotonic()
    with stdout_kept_for(json):
        result = _run(settings, quiet)
    if json:
        print_json(_summary(result, settings, time.monotonic() - begun))
    elif not quiet:
        print(clean(result))
        failed = [t for t in result.trials if t.state is TrialState.FAILED]
        if failed:
            reason = (failed[-1].error or "no reason given").strip().splitlines()[-1]
            print(clean(f"{len(failed)} of {len(result.trials)} trials failed; the last one: {reason}"))
        if settings.store is not None:
            print(clean(f"Kept in {settings.store}; look closer with: metaloop why {settings.store}"))
    return 0 if result.config is not None else 1


def _read(file: str, program: list[str] | None) -> config.Settings:
    if not file.endswith(".toml") and program is None:
        raise InputError(f"CONFIG was {file!r}; it may be a .toml file (a program to run is written after `--`)")
    return config.read(file)


def _run(settings: config.Settings, quiet: bool) -> Result:
    space = settings.space()
    name = "study" if settings.name is None else settings.name
    with open_store_closing(settings.store) as store:
        objective: Any
        if settings.command is not None:
            objective = Command(settings.command, space, timeout=settings.timeout)
        elif settings.objective is not None:
            objective = imported(settings.objective, settings.folder)
        else:
            raise InputError("there is nothing to run: write the program after `--`, or give a CONFIG.toml")
        with ended_by_signals():
            return (maximize_ if settings.maximize else minimize)(
                objective,
                space,
                budget=settings.budget,
                seconds=settings.seconds,
                target=settings.target,
                optimizer=settings.optimizer,
                seed=settings.seed,
                noisy=settings.noisy,
                workers=settings.workers,
                timeout=None if settings.command is not None else settings.timeout,  # a program minds its own
                store=store,
                name=name,
                progress=False if quiet else None,
            )


@contextmanager
def open_store_closing(url: str | None) -> Iterator[Store]:
    """A store, closed at the end."""
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run as a second Ctrl-C does: no program is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        for other in numbers:  # once is enough: what is being put away is not interrupted
            if signal.getsignal(other) is end:
                signal.signal(other, signal.SIG_IGN)
        raise Ended(number)

    numbers = [signal.SIGTERM] + ([signal.SIGHUP] if sys.platform != "win32" else [])
    # A caller that ignores a signal (nohup) means it.
    previous = {n: signal.signal(n, end) for n in numbers if signal.getsignal(n) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _summary(result: Result, settings: config.Settings, seconds: float) -> dict[str, Any]:
    return {
        "study": result.study.name,
        "store": settings.store,
        "config": result.config,
        "value": result.value,
        "std": result.std,
        "maximize": result.study.maximize,
        "status": result.status,
        "trials": len(result.trials),
        "states": dict(Counter(str(t.state) for t in result.trials)),
        "why": result.why.sentences,
        "seconds": round(seconds, 3),
    }


def add(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("tune", help=HELP)(tune)
