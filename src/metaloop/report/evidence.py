"""Figures of what was measured beside what is expected or true.

As in `metaloop.report.figures`, every function takes plain arrays and returns a `matplotlib.figure.Figure`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse
from metaloop.report.style import DATA, INK, applied, literal

Array = npt.NDArray[np.float64]

_WIDTH = 7.2


def measured_and_predicted(
    x: Array, predicted: Array, measured: Mapping[str, tuple[Array, Array, Array]], *, x_label: str, y_label: str
) -> Any:
    """A predicted curve with the measured points on it, and below, how far each is off, with its interval.

    Args:
        x: shape (m,), positive, increasing; shown on equal steps.
        predicted: shape (m,).
        measured: by name, the measurements and the ends of their intervals, each of shape (m, k): k of a kind.
        x_label: what x is.
        y_label: what is measured, with its unit.

    Returns:
        the figure.

    Raises:
        InputError: shapes that do not fit, or matplotlib is missing.
    """
    for name, arrays in measured.items():
        if any(np.ndim(a) != 2 or len(a) != len(x) for a in arrays):
            raise refuse(f"measured {name!r}", [np.shape(a) for a in arrays], f"three arrays of shape ({len(x)}, k)")
    with applied():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_WIDTH, 5.0), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        at = np.arange(len(x), dtype=float)
        above.plot(at, predicted, color=INK, lw=1.2, label="predicted")
        below.axhline(0.0, color=INK, lw=1.2)
        total, drawn = sum(np.shape(values)[1] for values, _, _ in measured.values()), 0
        for color, (name, arrays) in zip(itertools.cycle(DATA), measured.items()):
            for k, (values, low, high) in enumerate(zip(*(np.transpose(a) for a in arrays), strict=True)):
                aside = at + 0.8 * ((drawn + 0.5) / total - 0.5)
                look = {"color": color, "marker": "o", "ls": "none", "ms": 3.5}
                above.plot(aside, values, label=literal(name) if k == 0 else None, **look)
                ends = np.abs(np.stack([low, high]) - values)
                below.errorbar(aside, values - predicted, yerr=ends, elinewidth=1.0, **look)
                drawn += 1
        below.set_xticks(at, [f"{v:g}" for v in x])
        below.set_xlabel(literal(x_label))
        above.set_ylabel(literal(y_label, 60))
        below.set_ylabel("off the prediction")
        figure.legend(*above.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def observed_and_true(
    runs: Mapping[str, tuple[Array, Array, Mapping[str, int]]], *, best: float, x_label: str, y_label: str
) -> Any:
    """What noisy trials showed and what they were worth, with marks on some of them; one panel a run.

    Args:
        runs: by title, observed values, true values, both of shape (n,), and the numbers of trials to mark, by name;
            the names are the same in all runs, at most three.
        best: the best true value there is.
        x_label: what is counted.
        y_label: what the values are, with their unit.

    Returns:
        the figure.

    Raises:
        InputError: shapes that do not fit, or matplotlib is missing.
    """
    for title, (observed, true, marked) in runs.items():
        if np.shape(observed) != np.shape(true) or not all(0 <= k < len(observed) for k in marked.values()):
            raise refuse(
                f"run {title!r}", (np.shape(observed), np.shape(true), dict(marked)), "equal shapes, and trials"
            )
    with applied():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_WIDTH, 3.8), layout="constrained")
        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False).flat
        for axes, (title, (observed, true, marked)) in zip(panels, runs.items(), strict=True):
            x = np.arange(1, len(observed) + 1)
            axes.vlines(x, observed, true, color=INK, alpha=0.25, lw=1)
            axes.axhline(best, color=DATA[2], lw=1.2, ls="--", label="best true value")
            axes.scatter(x, observed, s=22, color=DATA[0], linewidths=0, label="observed", zorder=3)
            axes.scatter(x, true, s=34, color=DATA[1], marker="_", linewidths=1.8, label="true", zorder=3)
            for shape, (name, k) in zip("osD", marked.items(), strict=False):
                look = {"facecolors": "none", "edgecolors": INK, "linewidths": 1.4, "marker": shape, "zorder": 4}
                axes.vlines(k + 1, observed[k], true[k], color=INK, lw=1.4)
                axes.scatter(k + 1, observed[k], s=110, label=literal(name), **look)
            axes.set_xlabel(literal(x_label))
            axes.set_title(literal(title, 60))
        figure.axes[0].set_ylabel(literal(y_label, 60))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
