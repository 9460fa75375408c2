"""A run as it went: every trial's value, who asked for it, and when something was decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metaloop.errors import refuse
from metaloop.report.figures import Array, best_so_far, scaled, vector
from metaloop.report.style import DATA, INK, applied, literal

_WIDTH = 7.2  # inches
_MOST_MARKS = 12  # decisions with a number of their own
_FAR = 4.0  # a linear axis ends where a tenth of the values is worse, if the worst lie so many times as far away
NOBODY = "starts and repetitions"


def timeline(
    values: Array | Sequence[float],
    askers: Sequence[str] = (),
    decisions: Sequence[int] = (),
    *,
    maximize: bool = False,
    y_label: str = "value",
) -> Any:
    """Values above, in the color of who asked; below a row for each solver, with a stroke for each of its turns.

    Args:
        values: of the trials in the order told, shape (n,); NaN where a trial has none.
        askers: n names, "" for nobody; none of them where it was one solver throughout.
        decisions: how many trials had been told at each decision; they are numbered in this order.
        maximize: the best is the largest.
        y_label: what the value is, with its unit.

    Returns:
        the figure.

    Raises:
        InputError: lengths that differ, or matplotlib is missing.
    """
    y = vector("values", values)
    if len(askers) not in (0, len(y)):
        raise refuse("askers", f"{len(askers)} names", f"none, or one for each of the {len(y)} values")
    names = np.array([name or NOBODY for name in askers] or ["trial"] * len(y), dtype=object)
    who = sorted(dict.fromkeys(names.tolist()), key=lambda name: name == NOBODY)
    with applied():
        from matplotlib.figure import Figure

        rows = len(who) if len(askers) else 0
        heights = [3.0, 0.28 * rows + 0.1] if rows else [3.0]
        figure = Figure(figsize=(_WIDTH, 0.7 + sum(heights)), layout="constrained")
        drawn = figure.subplots(
            len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
        ).ravel().tolist()  # fmt: skip
        x = np.arange(1, len(y) + 1)
        best = best_so_far(y, maximize=maximize)
        scaled(drawn[0], y)
        if drawn[0].get_yscale() == "linear":
            near = _near(y, maximize)
            y_label += ", worse ones at the edge" if (near != y)[np.isfinite(y)].any() else ""
            y = near
        for i, name in enumerate(who):
            color = INK if name == NOBODY else DATA[i % len(DATA)]
            mine = names == name
            drawn[0].scatter(x[mine], y[mine], s=14, color=color, alpha=0.75, linewidths=0)
            if rows:
                drawn[1].eventplot(x[mine], lineoffsets=-i, linelengths=0.75, linewidths=0.9, colors=color)
        drawn[0].plot(x, best, drawstyle="steps-post", color=INK, lw=1.3)
        drawn[0].set_ylabel(literal(y_label, 60))
        drawn[0].margins(y=0.08)
        if not np.isfinite(y).any():
            drawn[0].set_yticks([])
            drawn[0].text(0.5, 0.5, "no trial has a value", transform=drawn[0].transAxes, ha="center", va="center")
        if rows:
            counts = [int((names == name).sum()) for name in who]
            labels = [f"{literal(n, 32)}: {c}" for n, c in zip(who, counts, strict=True)]
            drawn[1].set_yticks([-i for i in range(rows)], labels)
            drawn[1].set_ylim(0.5 - rows, 0.5)
            drawn[1].tick_params(axis="y", length=0)
            drawn[1].grid(visible=False)
            drawn[1].spines["left"].set_visible(False)
        _mark(drawn, decisions, len(y))
        drawn[-1].set_xlabel("trial, in the order told; the line is the best so far, a number a decision")
        drawn[-1].xaxis.get_major_locator().set_params(integer=True)
        drawn[-1].set_xlim(0.5 - 0.01 * len(y), max(len(y), 2) + 0.5 + 0.01 * len(y))
    return figure


def _near(y: Array, maximize: bool) -> Array:
    """The values, those far worse than most moved to where most end."""
    seen = y[np.isfinite(y)] * (-1.0 if maximize else 1.0)
    if not len(seen):
        return y
    end = float(np.quantile(seen, 0.9))
    if seen.max() - seen.min() <= _FAR * (end - seen.min()) or end == seen.min():
        return y
    return np.asarray(np.maximum(y, -end) if maximize else np.minimum(y, end))


def _mark(drawn: Sequence[Any], decisions: Sequence[int], n: int) -> None:
    """A line where something was decided, with the decision's number above; numbers that would touch share a place."""
    places: list[tuple[int, list[int]]] = []
    for k, trial in enumerate(decisions[:_MOST_MARKS]):
        if places and trial - places[-1][0] < 0.03 * n:
            places[-1][1].append(k + 1)
        else:
            places.append((trial, [k + 1]))
        for axes in drawn:
            axes.axvline(trial + 0.5, color=INK, lw=0.7, alpha=0.6, ls=(0, (3, 3)), zorder=0)
    for trial, numbers in places:
        text = ", ".join(map(str, numbers)) if len(numbers) < 3 else f"{numbers[0]}–{numbers[-1]}"
        drawn[0].annotate(text, (trial + 0.5, 1.0), (0, 3), xycoords=("data", "axes fraction"),
                          textcoords="offset points", ha="center", fontsize=9)  # fmt: skip
