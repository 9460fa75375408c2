"""Figures out of plain arrays: convergence, importance, and one value against each parameter.

Every function returns a `matplotlib.figure.Figure`, never touching pyplot; `svg` makes it an element of a page,
`save` a file. matplotlib (the extra ``plot``) is imported on first use.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse
from metaloop.report.style import DATA, FAILED, INK, applied, for_page, literal, power_of_ten, stand_alone

Array = npt.NDArray[np.float64]

_WIDTH = 7.2  # inches; a page shows it 720 px wide
_DECADES = 1.0  # a positive axis that spans more is logarithmic
_MOST_BARS = 30
_MOST_PANELS = 24


def convergence(
    values: Array | Sequence[float] | Mapping[str, Array | Sequence[float]],
    *,
    maximize: bool = False,
    y_label: str = "value",
    x_label: str = "trial",
) -> Any:
    """Every trial's value as a dot, the best so far as a line, failed trials as crosses at the bottom.

    Args:
        values: shape (n,), NaN where a trial has none; or several named runs as a dict of such.
        maximize: the best is the largest.
        y_label: what the value is, with its unit.
        x_label: what is counted.

    Returns:
        the figure.

    Raises:
        InputError: not one-dimensional, or matplotlib is missing.
    """
    several = isinstance(values, Mapping)
    runs = {name: vector("values", v) for name, v in (values if isinstance(values, Mapping) else {"": values}).items()}
    with applied():
        figure, axes = _figure(_WIDTH, 3.6)
        for i, (name, y) in enumerate(runs.items()):
            x = np.arange(1, len(y) + 1)
            seen = np.isfinite(y)
            dot, line = (DATA[i % len(DATA)],) * 2 if several else (DATA[0], DATA[1])
            size, alpha = (10, 0.5) if several else (16, 0.8)
            axes.scatter(
                x[seen], y[seen], s=size, color=dot, alpha=alpha, linewidths=0, label=None if several else "trial"
            )
            if seen.any():
                label = literal(name) if several else "best so far"
                axes.plot(x, best_so_far(y, maximize=maximize), drawstyle="steps-post", color=line, lw=1.8, label=label)
            if not seen.all():
                bottom = axes.get_xaxis_transform()  # x in data, y in the height of the axes
                cross = None if several else "failed"
                color = dot if several else FAILED
                axes.scatter(x[~seen], np.full((~seen).sum(), 0.025 * (1 + i)), s=22, marker="x", linewidths=1.2,
                             color=color, transform=bottom, clip_on=False, label=cross)  # fmt: skip
        everything = np.concatenate([np.empty(0), *runs.values()])
        axes.margins(y=0.08)  # room for the crosses
        scaled(axes, everything)
        axes.set_xlabel(literal(x_label))
        axes.set_ylabel(literal(y_label, 60))
        axes.xaxis.get_major_locator().set_params(integer=True)
        longest = max([len(y) for y in runs.values()], default=0)
        axes.set_xlim(1 - 0.02 * max(longest, 5), max(longest, 2) + 0.02 * max(longest, 5))
        if not np.isfinite(everything).any():
            axes.set_yticks([])
            axes.text(0.5, 0.5, "no trial has a value", transform=axes.transAxes, ha="center", va="center")
        if axes.get_legend_handles_labels()[1]:
            # Above the axes no curve can run through it.
            axes.legend(
                loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=min(3, max(len(runs), 3)), borderaxespad=0.2
            )
    return figure


def importance(labels: Sequence[str], shares: Array | Sequence[float], *, x_label: str = "importance (%)") -> Any:
    """Horizontal bars, the largest on top.

    Args:
        labels: n names.
        shares: shape (n,), between 0 and 1; NaN where unknown.
        x_label: what the shares are shares of.

    Returns:
        the figure.

    Raises:
        InputError: lengths that differ, or matplotlib is missing.
    """
    percent = 100 * vector("shares", shares)
    if len(labels) != len(percent):
        raise refuse("labels", list(labels), f"one for each of the {len(percent)} shares")
    order = np.argsort(-np.nan_to_num(percent, nan=-1.0), kind="stable")[:_MOST_BARS]
    with applied():
        figure, axes = _figure(_WIDTH, 0.8 + 0.3 * max(len(order), 1))
        at = np.arange(len(order))
        axes.barh(at, np.nan_to_num(percent[order]), height=0.62, color=DATA[0])
        axes.set_yticks(at, [literal(labels[k], 32) for k in order])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()
        for row, k in enumerate(order):
            known = math.isfinite(percent[k])
            end = (percent[k] if known else 0.0, row)
            text = f"{percent[k]:.1f}" if known else "unknown"
            axes.annotate(text, end, (4, 0), textcoords="offset points", va="center", ha="left", fontsize=9)
        axes.margins(x=0.1)
        axes.set_xlim(left=0.0)
        axes.set_xlabel(literal(x_label, 60))
    return figure


def slices(
    labels: Sequence[str],
    columns: Sequence[Sequence[Any]],
    values: Array | Sequence[float],
    *,
    log: Collection[str] = (),
    maximize: bool = False,
    y_label: str = "value",
) -> Any:
    """Small multiples: the value against each parameter, the best trial ringed.

    Args:
        labels: one name a parameter.
        columns: one sequence of n settings a parameter; NaN or None where it was inactive. A column that holds
            anything but numbers is shown as categories.
        values: shape (n,), NaN where a trial has none.
        log: the names whose axis is logarithmic.
        maximize: the best is the largest.
        y_label: what the value is, with its unit.

    Returns:
        the figure.

    Raises:
        InputError: lengths that differ, or matplotlib is missing.
    """
    y = vector("values", values)
    if len(labels) != len(columns):
        raise refuse("labels", list(labels), f"one for each of the {len(columns)} columns")
    for name, column in zip(labels, columns, strict=True):
        if len(column) != len(y):
            raise refuse(f"column {name!r}", f"{len(column)} settings", f"as long as values: {len(y)}")
    labels, columns = labels[:_MOST_PANELS], columns[:_MOST_PANELS]
    across = min(3, max(len(labels), 1))
    down = max(1, math.ceil(len(labels) / across))
    best = _best(y, maximize)
    with applied():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(_WIDTH if across > 1 else 4.2, 0.3 + 2.2 * down), layout="constrained")
        panels = figure.subplots(down, across, sharey=True, squeeze=False)
        for k, axes in enumerate(panels.flat):
            if k >= len(labels):
                axes.set_visible(False)
                continue
            x = _place(axes, columns[k], log=labels[k] in log)
            shown = np.isfinite(x) & np.isfinite(y)
            axes.scatter(x[shown], y[shown], s=14, color=DATA[0], alpha=0.75, linewidths=0)
            if best is not None and math.isfinite(x[best]):
                axes.scatter(x[best], y[best], s=70, facecolors="none", edgecolors=DATA[1], linewidths=1.8, zorder=3)
            axes.set_xlabel(literal(labels[k], 30))
        figure.supylabel(literal(y_label, 60), fontsize=10)
        if len(labels):
            scaled(panels[0, 0], y)
    return figure


def best_so_far(values: Array, *, maximize: bool = False) -> Array:
    """The best of the first 1, 2, … n values, shape (n,); NaN until there is one."""
    y = np.where(np.isfinite(values), values, np.nan)
    return np.fmax.accumulate(y) if maximize else np.fmin.accumulate(y)


def svg(figure: Any) -> str:
    """A figure as an SVG element for a page: text stays text, ink is ``currentColor``, equal figures are equal text."""
    out = io.StringIO()
    with applied():
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return for_page(out.getvalue())


def save(figure: Any, path: str | Path) -> None:
    """Write a figure to a file; the name's ending says how: .svg, .png or .pdf.

    Raises:
        InputError: another ending, or a folder that does not exist.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in (".svg", ".png", ".pdf"):
        raise refuse("path", str(path), "a file name that ends in .svg, .png or .pdf")
    if not path.parent.is_dir():
        raise refuse("path", str(path), "in a folder that exists")
    if ending == ".svg":
        path.write_text(stand_alone(svg(figure)), encoding="utf-8")
        return
    # A bitmap or a PDF has one background for ever: white.
    metadata = {"CreationDate": None} if ending == ".pdf" else {}
    with applied():
        figure.savefig(os.fspath(path), dpi=160, facecolor="white", metadata=metadata)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def vector(name: str, values: Any) -> Array:
    """One-dimensional numbers, or an InputError that names them."""
    try:
        out = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise refuse(name, values, "a list of numbers") from None
    if out.ndim != 1:
        raise refuse(name, f"an array of shape {out.shape}", "one-dimensional")
    return out


def _best(values: Array, maximize: bool) -> int | None:
    if not np.isfinite(values).any():
        return None
    safe = np.where(np.isfinite(values), values, -np.inf if maximize else np.inf)
    return int(np.argmax(safe) if maximize else np.argmin(safe))


def scaled(axes: Any, values: Array) -> None:
    """A logarithmic y axis where all values are positive and span more than one decade."""
    seen = values[np.isfinite(values)]
    if len(seen) and seen.min() > 0 and seen.max() / seen.min() > 10**_DECADES:
        _logarithmic(axes, "y")


def _logarithmic(axes: Any, which: str) -> None:
    from matplotlib.ticker import Formatter, LogLocator, NullFormatter

    class Powers(Formatter):
        """Plain digits if all ticks of the axis read well that way, else powers of ten."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return power_of_ten(x)

        def format_ticks(self, values: Sequence[float]) -> list[str]:
            shown = [v for v in values if v > 0]
            plain = bool(shown) and min(shown) > 0.0009 and max(shown) < 10_001
            return [power_of_ten(v, plain=plain) for v in values]

    class Decades(LogLocator):
        """Powers of ten; 2 and 5 times them as well where fewer than two would be seen."""

        def tick_values(self, vmin: float, vmax: float) -> Any:
            few = 0 < vmin < vmax and math.floor(math.log10(vmax)) - math.ceil(math.log10(vmin)) < 1
            self.set_params(subs=(1.0, 2.0, 5.0) if few else (1.0,))
            return super().tick_values(vmin, vmax)

    axis = axes.yaxis if which == "y" else axes.xaxis
    (axes.set_yscale if which == "y" else axes.set_xscale)("log")
    axis.set_major_locator(Decades(numticks=6))
    axis.set_major_formatter(Powers())
    axis.set_minor_formatter(NullFormatter())


def _place(axes: Any, column: Sequence[Any], *, log: bool) -> Array:
    """Where the settings of a column lie on the x axis, shape (n,); NaN where inactive."""
    kinds = {type(v) for v in column if v is not None}
    if all(issubclass(k, (int, float, np.number)) and k is not bool for k in kinds):
        x = np.array([math.nan if v is None else float(v) for v in column])
        if log and np.nanmin(np.where(np.isfinite(x), x, np.inf), initial=np.inf) > 0:
            _logarithmic(axes, "x")
        else:
            from matplotlib.ticker import MaxNLocator

            whole = bool(kinds) and all(issubclass(k, (int, np.integer)) for k in kinds)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=whole))
        return x
    active = [None if v is None or (isinstance(v, float) and math.isnan(v)) else str(v) for v in column]
    choices = list(dict.fromkeys(v for v in active if v is not None))
    # Within its strip a dot is moved aside by the golden ratio's multiples: even, and the same every time.
    aside = [0.5 * (((i + 1) * 0.6180339887498949) % 1.0 - 0.5) for i in range(len(active))]
    crowded = len(choices) > 3 or sum(map(len, choices)) > 20
    axes.set_xticks(
        range(len(choices)),
        [literal(c, 14) for c in choices],
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor",
    )
    axes.set_xlim(-0.6, len(choices) - 0.4)
    axes.grid(visible=False, axis="x")
    return np.array([math.nan if v is None else choices.index(v) + d for v, d in zip(active, aside, strict=True)])


__all__ = ["INK", "best_so_far", "convergence", "importance", "save", "slices", "svg"]
