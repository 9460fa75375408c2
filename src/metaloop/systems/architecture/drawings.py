"""Figures: the best so far, what nets of each size came to, and a net as it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metaloop.report import figures
from metaloop.report.page import Figure
from metaloop.report.style import DATA, INK, applied
from metaloop.space import Array
from metaloop.systems.architecture.digits import Found
from metaloop.systems.architecture.nets import CLASSES, PIXELS, Chain

_SHOWN = 300  # queries


def curves_figure(best: Mapping[str, Mapping[str, Array]], most: Mapping[str, float]) -> Figure:
    """The gap to the best of each table after 1, 2, … queries: median and quartiles.

    Args:
        best: by set and search, the best accuracy so far in percent, shape (seeds, queries).
        most: by set, the best of the table in percent.
    """
    from matplotlib.figure import Figure as Canvas

    with applied():
        canvas = Canvas(figsize=(7.2, 3.0), layout="constrained")
        panels = canvas.subplots(1, len(best), squeeze=False)[0]
        for axes, (name, searches) in zip(panels, best.items(), strict=True):
            for k, (label, curves) in enumerate(searches.items()):
                low, middle, high = np.quantile(most[name] - curves[:, :_SHOWN], [0.25, 0.5, 0.75], axis=0)
                x = np.arange(1, len(middle) + 1)
                axes.plot(x, middle, color=DATA[k], lw=1.8, label=label, drawstyle="steps-post")
                axes.fill_between(x, low, high, color=DATA[k], alpha=0.15, lw=0, step="post")
            axes.set_xscale("log")
            axes.set_ylim(0, 8)
            axes.set_title(f"{name}, best {most[name]:.2f} %")
            axes.set_xlabel("queries")
        panels[0].set_ylabel("gap to the best cell\n(% points of validation accuracy)")
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    seeds = len(next(iter(next(iter(best.values())).values())))
    caption = (
        f"How far the best cell seen so far is from the best of the table: median and quartiles of {seeds} searches."
    )
    return Figure(figures.svg(canvas), caption, "queries")


def size_figure(found: Sequence[Found], limit: int) -> Figure:
    """What the nets of each size came to."""
    from matplotlib.figure import Figure as Canvas

    with applied():
        canvas = Canvas(figsize=(7.2, 3.0), layout="constrained")
        axes = canvas.subplots()
        tried = np.array([pair for f in found for pair in f.tried], dtype=float)
        axes.scatter(
            tried[:, 0], tried[:, 1], s=16, color=DATA[0], alpha=0.7, linewidths=0, label="candidate, short training"
        )
        axes.scatter([f.net.parameters for f in found], [f.validation for f in found], s=40, color=DATA[1],
                     label="winner, longer training", zorder=3)  # fmt: skip
        axes.axvline(limit, color=INK, lw=1, ls="--", label="limit")
        axes.set_yscale("log")
        axes.set_xlim(0, limit * 1.05)
        axes.set_xlabel("parameters")
        axes.set_ylabel("cross-entropy on the\nvalidation part (nats)")
        canvas.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    searches = "one search" if len(found) == 1 else f"{len(found)} searches"
    caption = f"All nets that {searches} trained. None was asked for beyond the limit."
    return Figure(figures.svg(canvas), caption, "sizes")


def chain_figure(net: Chain) -> Figure:
    """The layers of a net from left to right, with the images between them."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.patches import FancyBboxPatch

    boxes, channels, side = [("image", f"{PIXELS} × {PIXELS} × 1")], 1, PIXELS
    for operation, width in net.layers:
        side = side // 2 if operation == "pool" else side
        channels = width
        boxes.append((operation, f"{side} × {side} × {channels}"))
    boxes.append((f"linear of\n{'means' if net.head == 'mean' else 'all pixels'}", f"{CLASSES} classes"))
    with applied():
        canvas = Canvas(figsize=(7.2, 1.5))
        axes = canvas.add_axes((0.01, 0.02, 0.98, 0.96))
        for k, (name, shape) in enumerate(boxes):
            color = DATA[2] if k in (0, len(boxes) - 1) else DATA[1] if name == "pool" else DATA[0]
            axes.add_patch(FancyBboxPatch((k + 0.1, 0.3), 0.72, 0.5, boxstyle="round,pad=0.02,rounding_size=0.06",
                                          facecolor=color, alpha=0.25, edgecolor=color))  # fmt: skip
            axes.text(k + 0.46, 0.55, name, ha="center", va="center", fontsize=9)
            axes.text(k + 0.46, 0.12, shape, ha="center", va="center", fontsize=8)
            if k:
                axes.annotate("", (k + 0.08, 0.55), (k - 0.16, 0.55), arrowprops={"arrowstyle": "->", "color": INK})
        axes.set_xlim(0, len(boxes))
        axes.set_ylim(0, 1)
        axes.set_axis_off()
    caption = f"The net found in the first search: {net.parameters:,} parameters, {net.activation}."
    return Figure(figures.svg(canvas), caption, "net")
