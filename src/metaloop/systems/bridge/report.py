"""Numbers and pictures: the classes of design side by side, and the road bridge from outside."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaloop.report import figures
from metaloop.report.claims import Claim, SystemReport
from metaloop.report.page import Figure
from metaloop.report.style import DATA, INK, applied
from metaloop.structure import Topology, evaluate
from metaloop.structure.export import Printability, mesh, printability
from metaloop.structure.pictures import plane, seen
from metaloop.structure.topology import combined
from metaloop.systems import RunOptions
from metaloop.systems.bridge.loop import Ladder, climb, cross, lightest
from metaloop.systems.bridge.model import SPAN, WIDTH, girders

TITLES = {"hand": "hand design", "sizing": "sizing", "shape": "shape", "topology": "topology"}
TEXT = (
    "A sheet twice as long as high is clamped at its left edge and loaded at its lower right corner. Every design "
    "has exactly the same number of black elements and is judged by one analysis. The hand design is the ten-bar "
    "truss with all bars of one width; sizing changes the ten widths, shape the joints too, topology the density of "
    "every element. Each class contains the one before.",
    f"The road bridge spans {SPAN:g} m and is {WIDTH:g} m wide: a solid deck under traffic on the whole span and on "
    "half of it, two abutments, room for the traffic above the deck, symmetric in both directions. Its surface is "
    "written as an STL file, in meters.",
)


@dataclass(frozen=True)
class Size:
    """How much is run."""

    heights: tuple[int, ...]
    iterations: int
    fineness: int
    bridge_iterations: int


SIZES = {"quick": Size((48,), 60, 8, 60), "full": Size((48, 192), 100, 16, 120)}


def run(options: RunOptions) -> SystemReport:
    """The system: see `metaloop.systems`."""
    size = SIZES[options.size]
    drawn: list[Figure] = []
    claims: list[Claim] = []
    share = 0.5 / len(size.heights)
    for k, height in enumerate(size.heights):

        def told(done: float, doing: str, begun: float = share * k) -> None:
            options.progress(begun + share * done, doing)

        ladder = climb(height, told, size.iterations)
        mass = lightest(ladder, told, size.iterations)
        claims += _ladder_claims(ladder, mass)
        drawn.append(_ladder_figure(ladder, mass))
    found = cross(size.fineness, lambda s, d: options.progress(0.5 + 0.4 * s, d), size.bridge_iterations)
    options.progress(0.92, "surface and pictures")
    problem = found.problem
    surface = mesh(found.density, size=problem.size, smooth=True)
    built = girders(problem, int(found.black_and_white.sum()))
    reference = combined(problem, evaluate(problem, built, tolerance=1e-3).values)
    asked = printability(found.black_and_white, size=problem.size)
    claims += _bridge_claims(found, surface, reference, asked, options.size == "full")
    drawn += [_bridge_figure(found), _course_figure(found)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bridge.stl"
        surface.export(file)
        content = file.read_bytes()
    said = (
        f"The bridge: {found.status}; {np.prod(problem.shape):,} elements of {problem.size:.3g} m, "
        f"{len(surface.faces):,} triangles, {asked.components} piece, {asked.cavities} closed hollows, thinnest member "
        f"{asked.thinnest:.2g} m; {found.history[:, 3].sum():.0f} iterations of the solver in all, the last residual "
        f"{found.residual:.1e}."
    )
    return SystemReport("bridge", options.size, claims, 0.0, drawn, [*TEXT, said], [("surface.stl", content)])


def _exact(name: str, says: str, value: float, target: float, reference: float | None, peer: str, unit: str = "ratio",
           better: str = "lower") -> Claim:  # fmt: skip
    return Claim(name, says, value, (value, value), 1, target, reference, peer, unit, better)


def _ladder_claims(ladder: Ladder, mass: float) -> list[Claim]:
    nx, ny = ladder.problem.shape[:2]
    at = f"{nx} x {ny}"
    values = [s.design.compliance for s in ladder.steps]
    claims = []
    for k, target in ((1, 0.8), (2, 0.95), (3, 0.95)):
        name, before = ladder.steps[k].name, ladder.steps[k - 1].name
        claims.append(
            _exact(f"{name}-{ny}", f"{at}: compliance of the best {name} over that of the best {TITLES[before]}.",
                   values[k] / values[k - 1], target, 1.0, f"the {TITLES[before]}, this run")
        )  # fmt: skip
    claims.append(
        _exact(f"stiffness-{ny}", f"{at}: the topology is so many times as stiff as the hand design.",
               values[0] / values[-1], 1.4, 1.0, "the hand design, this run", better="higher")
    )  # fmt: skip
    claims.append(
        _exact(f"mass-{ny}", f"{at}: share of the hand design's material with which a topology is as stiff.", mass,
               0.75, 1.0, "the hand design, this run")
    )  # fmt: skip
    return claims


def _bridge_claims(found: Topology, surface: Any, reference: float, asked: Printability, full: bool) -> list[Claim]:
    value = combined(found.problem, found.thresholded)
    cells = found.black_and_white
    apart = float(np.abs(cells - cells[::-1]).mean() + np.abs(cells - cells[..., ::-1]).mean())
    claims = [
        _exact("bridge-stiff", "Compliance of the black and white bridge over that of plate girders of equal material.",
               value / reference, 0.6, 1.0, "two plate girders, this run"),
        _exact("bridge-open-edges", "Edges of the printed surface that do not join two triangles.",
               0.0 if surface.is_watertight else 1.0, 0.0, None, "", "edges"),
        _exact("bridge-pieces", "Separate pieces of the black and white bridge.", float(asked.components), 1.0, None,
               "", "pieces"),
        _exact("bridge-symmetry", "Share of elements that differ from their mirror images.", apart, 0.002, None, ""),
        _exact("bridge-grey", "Grey level of the density, from 0 to 1.", found.grey, 0.06, None, ""),
    ]  # fmt: skip
    if full:
        claims.append(
            _exact(
                "bridge-elements",
                "Elements of the bridge.",
                float(cells.size),
                200_000.0,
                None,
                "",
                "elements",
                "higher",
            )
        )
    return claims


def _ladder_figure(ladder: Ladder, mass: float) -> Figure:
    from matplotlib.figure import Figure as Canvas

    first = ladder.steps[0].design.compliance
    with applied():
        canvas = Canvas(figsize=(7.2, 4.3), layout="constrained")
        for axes, step in zip(canvas.subplots(2, 2).ravel(), ladder.steps, strict=True):
            plane(axes, ladder.problem, step.design.cells, marks=step.name == "hand")
            change = "" if step.name == "hand" else f" ({100 * (step.design.compliance / first - 1):+.1f} %)"
            axes.set_title(f"{TITLES[step.name]}: {step.design.compliance:.1f}{change}", fontsize=9)
            axes.set_xlabel(f"{step.variables:,} variables" if step.variables else "x (elements)")
    nx, ny = ladder.problem.shape[:2]
    caption = (
        f"Equal material on {nx} x {ny} elements; compliance (lower is stiffer) and its change from the hand design. "
        f"Red: clamped, blue: the load. A topology is as stiff as the hand design with {100 * mass:.0f} % of its "
        "material."
    )
    return Figure(figures.svg(canvas), caption, f"ladder-{ny}")


def _bridge_figure(found: Topology) -> Figure:
    from matplotlib.figure import Figure as Canvas

    with applied():
        canvas = Canvas(figsize=(7.2, 5.2), layout="constrained")
        top, side, end = canvas.subplot_mosaic(
            [["a", "a"], ["b", "c"]], height_ratios=[2.2, 1], width_ratios=[2.6, 1]
        ).values()
        for axes, azimuth, elevation, pixels in ((top, -35, 22, 900), (side, 0, 0, 600), (end, 90, 0, 240)):
            axes.imshow(seen(found.density, azimuth=azimuth, elevation=elevation, pixels=pixels))
            axes.set_axis_off()
        side.set_title(f"from the side, {SPAN:g} m", fontsize=9)
        end.set_title(f"along it, {WIDTH:g} m", fontsize=9)
    problem = found.problem
    caption = (
        f"The road bridge, {np.prod(problem.shape):,} elements, {100 * found.volume:.1f} % of the box. The deck, its "
        "supports, its loads and the free room above it were given; all else was found."
    )
    return Figure(figures.svg(canvas), caption, "road")


def _course_figure(found: Topology) -> Figure:
    from matplotlib.figure import Figure as Canvas

    steps = np.arange(1, len(found.history) + 1)
    with applied():
        canvas = Canvas(figsize=(7.2, 2.6), layout="constrained")
        left, right = canvas.subplots(1, 2)
        left.plot(steps, found.history[:, 0], color=DATA[0])
        left.set_yscale("log")
        left.set_xlabel("iteration")
        left.set_ylabel("compliance, both cases")
        right.plot(steps, found.history[:, 3], color=INK)
        right.set_ylim(0)
        right.set_xlabel("iteration")
        right.set_ylabel("solver iterations, both cases")
    caption = "The course of the search. Penalty and sharpness rise while it runs, so compliance may rise with them."
    return Figure(figures.svg(canvas), caption, "course")
