"""Figures on a plane: a map of cells that lean to one side or the other, and points with their projections.

As in `metaloop.report.figures`, every function takes plain arrays and returns a `matplotlib.figure.Figure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse
from metaloop.report.style import DATA, INK, applied, literal

Array = npt.NDArray[np.float64]

_WIDTH = 7.2
_DEEPEST = 0.7  # opacity at the end of the scale: the text on it stays readable on both page backgrounds


@dataclass(frozen=True)
class Cell:
    """A cell of a `heat_map`: its number, what is written in it (a line break is kept), and whether it has a frame."""

    number: float
    text: str
    framed: bool = False


def heat_map(
    panels: Mapping[str, Sequence[Sequence[Cell]]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    sides: tuple[str, str],
    framed: str,
    bound: float,
    x_label: str,
    y_label: str,
) -> Any:
    """Cells colored by how far a number leans to either side of 0, one panel below the other.

    Args:
        panels: by title, r rows of c cells, the first row at the bottom.
        rows: r names.
        columns: c names.
        sides: what a negative and a positive number mean.
        framed: what a frame means.
        bound: the number of the deepest color, > 0.
        x_label, y_label: what columns and rows are, with units.

    Returns:
        the figure.

    Raises:
        InputError: shapes that do not fit, or matplotlib is missing.
    """
    for title, lines in panels.items():
        if [len(line) for line in lines] != [len(columns)] * len(rows):
            raise refuse(f"panel {title!r}", [len(line) for line in lines], f"{len(rows)} rows of {len(columns)} cells")
    with applied():
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch, Rectangle

        height = 0.9 + len(panels) * (0.3 + 0.5 * len(rows))
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        places = figure.subplots(len(panels), 1, sharex=True, squeeze=False).flat
        frame: dict[str, Any] = {"fill": False, "edgecolor": INK, "lw": 1.3}
        for axes, (title, lines) in zip(places, panels.items(), strict=True):
            for (i, j), cell in ((at, lines[at[0]][at[1]]) for at in np.ndindex(len(rows), len(columns))):
                box = ((j - 0.48, i - 0.46), 0.96, 0.92)
                depth = _DEEPEST * min(abs(cell.number) / bound, 1.0)
                axes.add_patch(Rectangle(*box, color=DATA[int(cell.number > 0)], alpha=depth, lw=0))
                if cell.framed:
                    axes.add_patch(Rectangle(*box, **frame))
                text = "\n".join(literal(line) for line in cell.text.split("\n"))
                axes.text(j, i, text, ha="center", va="center", fontsize=8, linespacing=1.1)
            axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(rows) - 0.5), title=literal(title, 80))
            axes.set_xticks(range(len(columns)), [literal(c, 12) for c in columns])
            axes.set_yticks(range(len(rows)), [literal(r, 24) for r in rows])
            axes.tick_params(length=0)
            axes.grid(visible=False)
            axes.spines[:].set_visible(False)
        figure.supxlabel(literal(x_label, 60), fontsize=10)
        figure.supylabel(literal(y_label, 60), fontsize=10)
        handles = [Patch(color=DATA[k], alpha=_DEEPEST, lw=0, label=literal(side)) for k, side in enumerate(sides)]
        handles.append(Patch(**frame, label=literal(framed)))
        figure.legend(handles=handles, loc="outside upper right", ncols=3)
    return figure


def projections(
    panels: Mapping[str, Array], *, labels: tuple[str, str], boxes: tuple[Array, Array] | None = None, region: str = ""
) -> Any:
    """Points in the unit square and where they fall on each side, one panel a method.

    Args:
        panels: points by title, each of shape (n, 2).
        labels: of the two sides.
        boxes: lower and upper corners of boxes to shade, shapes (m, 2).
        region: what the boxes are.

    Returns:
        the figure.

    Raises:
        InputError: points of another shape, or matplotlib is missing.
    """
    for title, points in panels.items():
        if np.ndim(points) != 2 or np.shape(points)[1] != 2:
            raise refuse(f"panel {title!r}", np.shape(points), "points of shape (n, 2)")
    with applied():
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        figure = Figure(figsize=(_WIDTH, 0.8 + 0.95 * _WIDTH / len(panels)), layout="constrained")
        places = figure.subplots(1, len(panels), sharey=True, squeeze=False).flat
        for axes, (title, points) in zip(places, panels.items(), strict=True):
            for k, (low, high) in enumerate(zip(*boxes, strict=True) if boxes else ()):
                name = literal(region, 60) if k == 0 else None
                axes.add_patch(Rectangle(low, *(high - low), color=DATA[2], alpha=0.3, lw=0, label=name))
            axes.scatter(*points.T, s=16, color=DATA[0], linewidths=0, clip_on=False, zorder=3)
            ticks = {"color": DATA[1], "lw": 0.9}
            axes.vlines(points[:, 0], 1.03, 1.08, **ticks)
            axes.hlines(points[:, 1], 1.03, 1.08, **ticks)
            axes.set(xlim=(-0.02, 1.1), ylim=(-0.02, 1.1), aspect="equal", xlabel=literal(labels[0]))
            axes.set(xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6), title=literal(title, 60))
        figure.axes[0].set_ylabel(literal(labels[1]))
        if boxes:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right")
    return figure
