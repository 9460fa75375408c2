"""`metaloop design FILE`: find the structure that a description asks for."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from metaloop.cli.output import clean, print_json

DESIGN_HELP = """\
Find the structure that FILE describes (TOML; see docs/structure.md), and write it to DIR: a closed surface (NAME.stl),
cells with density and displacement (NAME.vtu), and a picture (NAME.svg, NAME.png).

Ctrl-C ends the search with the design so far.
"""


def design(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The description.")],
    out: Annotated[str, typer.Option(metavar="DIR", help="Where to write the design.")] = "out",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """The command; see `DESIGN_HELP`."""
    from metaloop import structure

    given = structure.read(file)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    live = sys.stderr.isatty()

    def progress(k: int, value: float, density: Any) -> None:
        if live:
            done = f"{k + 1}/{given.recipe.iterations}  compliance {value:.6g}  volume {density.mean():.4f}"
            print(f"\r{done:<78}", end="", file=sys.stderr, flush=True)

    found = structure.optimize(given.problem, given.recipe, stress=given.stress, progress=progress)
    if live:
        print(file=sys.stderr)
    problem, name = given.problem, Path(file).stem
    response = structure.evaluate(problem, found.black_and_white)
    fields = {f"displacement {k + 1}": s.values for k, s in enumerate(response.solutions)}
    if problem.heat:
        fields = {f"temperature {k + 1}": s.values for k, s in enumerate(response.solutions)}
    files = [
        structure.write(folder / f"{name}.stl", found.density, size=problem.size),
        structure.write(folder / f"{name}.vtu", found.density, size=problem.size, fields=fields),
        *_pictures(folder / name, problem, found.density),
    ]
    asked = structure.printability(found.black_and_white, size=problem.size, axis=1)
    said = {
        "status": found.status,
        "compliance": found.compliance,
        "black_and_white": [float(v) for v in found.thresholded],
        "volume": found.volume,
        "grey": found.grey,
        "largest_stress": found.stress,
        "residual": found.residual,
        "pieces": asked.components,
        "cavities": asked.cavities,
        "thinnest": asked.thinnest,
        "overhang": asked.overhang,
        "seconds": round(time.monotonic() - begun, 3),
        "files": [str(f) for f in files],
    }
    if json:
        print_json(said)
    else:
        for key, value in said.items():
            print(
                clean(
                    f"{key.replace('_', ' ')}: {value if not isinstance(value, list) else ', '.join(map(str, value))}"
                )
            )
    return 0


def _pictures(stem: Path, problem: Any, density: Any) -> list[Path]:
    from matplotlib.figure import Figure as Canvas

    from metaloop.report import figures
    from metaloop.report.style import applied
    from metaloop.structure.pictures import plane, seen

    with applied():
        canvas = Canvas(figsize=(7.2, 4.2), layout="constrained")
        axes = canvas.subplots()
        if problem.axes == 2:
            plane(axes, problem, density, unit="unit of the description")
        else:
            axes.imshow(seen(density))
            axes.set_axis_off()
    paths = [stem.with_name(stem.name + ending) for ending in (".svg", ".png")]
    for path in paths:
        figures.save(canvas, path)
    return paths


def add(app: typer.Typer) -> None:
    """Make it a command of `app`."""
    app.command("design", help=DESIGN_HELP)(design)
