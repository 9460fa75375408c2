"""`metaloop show`: what a study holds, best trials first."""

from __future__ import annotations

import math
from collections import Counter
from typing import Annotated, Any

import typer

from metaloop.cli.output import clean, number, open_study, print_json, print_table, setting
from metaloop.errors import refuse
from metaloop.study import Study, Trial, TrialState

HELP = "Show a study: how many trials, the incumbent, and the best trials. Changes nothing."


def show(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A file or a store URL.")],
    name: Annotated[str | None, typer.Option(help="Which study, where the store holds several.")] = None,
    top: Annotated[int, typer.Option(help="How many trials to show.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """The command; see `HELP`."""
    if top < 0:
        raise refuse("--top", top, "a whole number of at least 0")
    with open_study(study, name) as opened:
        trials = opened.trials
        best = opened.incumbent()
        counts = Counter(str(t.state) for t in trials)
        shown = ranking(opened, trials)[:top]
        if json:
            found: dict[str, Any] | None = None
            if best is not None:
                found = {
                    "trial": best.trial,
                    "value": best.value,
                    "std": best.std,
                    "note": best.note,
                    "config": trials[best.trial].config,
                }
            print_json(
                {
                    "study": opened.name,
                    "optimizer": repr(opened.optimizer),
                    "seed": opened.seed,
                    "maximize": opened.maximize,
                    "trials": len(trials),
                    "states": {str(s): counts.get(str(s), 0) for s in TrialState},
                    "incumbent": found,
                    "top": [t.as_dict() for t in shown],
                }
            )
            return 0
        goal = "maximized" if opened.maximize else "minimized"
        print(clean(f"{opened.name}: {goal} by {opened.optimizer!r}, seed {opened.seed}"))
        states = ", ".join(f"{counts[str(s)]} {s}" for s in TrialState if counts[str(s)])
        print(f"{len(trials)} trials" + (f": {states}" if states else ""))
        if best is None:
            print("No trial has succeeded.")
        else:
            spread = f" ± {best.std:.2g}" if best.std > 0 else ""
            pairs = ", ".join(f"{k}={setting(v, 6)}" for k, v in trials[best.trial].config.items())
            print(clean(f"incumbent: trial {best.trial}, value {best.value:.6g}{spread} at {pairs}"))
            print(clean(best.note))
        if shown:
            print()
            _table(opened, shown)
    return 0


def ranking(study: Study, trials: list[Trial]) -> list[Trial]:
    """The complete trials, best first; those that violate a constraint come after all that do not."""
    sign = -1.0 if study.maximize else 1.0
    done = [t for t in trials if t.state is TrialState.COMPLETE and t.observation is not None]
    return sorted(done, key=lambda t: (t.observation.violation if t.observation else math.inf, sign * t.value))


def _table(study: Study, trials: list[Trial]) -> None:
    names = list(dict.fromkeys(c.name for c in study.space.columns))
    violated = any(t.observation is not None and t.observation.constraints for t in trials)
    header = ["trial", "value", *(["violation"] if violated else []), *names, "seconds"]
    rows = []
    for t in trials:
        violation = [number(t.observation.violation if t.observation else math.nan, 4)] if violated else []
        settings = [setting(t.config[n], 6) if n in t.config else "–" for n in names]
        rows.append([str(t.number), number(t.value), *violation, *settings, number(t.seconds, 3)])
    numeric = [
        j for j in range(len(header)) if all(_reads_as_number(r[j]) for r in rows)
    ]  # words are set left, numbers right
    print_table(header, rows, right=numeric)


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "–"
    return True


def add(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("show", help=HELP)(show)
