"""WHOLE SYSTEMS, READY TO RUN. What a system is, where systems are found, and how one is run.

A system is a `System` value; the registry knows where it lives. Third parties add theirs through entry points of the
group ``metaloop.systems`` that point at such a value::

    [project.entry-points."metaloop.systems"]
    my-system = "my_package.my_system:SYSTEM"
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from metaloop import registry
from metaloop.errors import InputError, nearest, refuse
from metaloop.report import page
from metaloop.report.claims import SystemReport
from metaloop.report.style import stand_alone

Progress = Callable[[float, str], None]


def _silent(share: float, doing: str) -> None:
    """Progress that nobody sees."""


@dataclass(frozen=True)
class RunOptions:
    """How a system is to be run.

    Attributes:
        size: "quick" (at most 2 minutes on 2 cores) or "full" (the size of the claim).
        seed: of every random choice.
        progress: to be called with the share that is done, from 0 to 1, and with what is being done.
    """

    size: str = "quick"
    seed: int = 0
    progress: Progress = _silent

    def __post_init__(self) -> None:
        if self.size not in ("quick", "full"):
            raise refuse("size", self.size, "'quick' or 'full'")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise refuse("seed", self.seed, "a whole number >= 0")


@dataclass(frozen=True)
class System:
    """An inner loop of the real world with the outer loop that improves it.

    Attributes:
        name: as on the command line.
        claim: what it shows, one line.
        sources: the papers and data it stands on.
        run: does it; its report's `seconds` is filled in by `run`.
    """

    name: str
    claim: str
    sources: tuple[str, ...]
    run: Callable[[RunOptions], SystemReport]


def names() -> list[str]:
    """The names of all systems, ours first."""
    return registry.names("systems")


def load(name: str) -> System:
    """The system of that name; letter case, dashes and underscores do not matter.

    Raises:
        InputError: an unknown name, with the nearest known ones; or a name that does not lead to a `System`.
    """
    known = names()
    plain = {n.lower().replace("_", "-"): n for n in known}
    found = plain.get(str(name).lower().replace("_", "-"))
    if found is None:
        listed = ", ".join(known) if known else "none yet"
        raise InputError(f"there is no system {name!r}; known are: {listed}{nearest(str(name), known)}")
    try:
        system = registry.find("systems", found)
    except (ImportError, AttributeError) as error:
        raise InputError(f"system {found!r} cannot be loaded: {error}") from None
    if not isinstance(system, System):
        raise refuse(f"the registry's entry for system {found!r}", system, "a metaloop.systems.System")
    return system


def run(
    name: str,
    *,
    size: str = "quick",
    out: str | Path | None = None,
    seed: int = 0,
    progress: Progress = _silent,
) -> tuple[SystemReport, list[Path]]:
    """Run a system and write its page and its figures.

    Args:
        name: of the system.
        size: "quick" or "full".
        out: the folder for NAME.html, one NAME-FIGURE.svg a figure and what else the run made, created if absent; None
            to write nothing.
        seed: of every random choice.
        progress: see `RunOptions`.

    Returns:
        (the report, the files written: the page first).

    Raises:
        InputError: an unknown system, or an option that cannot be used.
    """
    options = RunOptions(size, seed, progress)
    system = load(name)
    folder = None if out is None else Path(out)
    if folder is not None:
        # Before the run: nobody wants to learn after an hour that the folder cannot be written.
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise refuse("out", str(out), f"a folder that can be written ({error.strerror})") from None
    begun = time.monotonic()
    report = system.run(options)
    if not isinstance(report, SystemReport):
        raise refuse(f"what system {system.name!r} returned", report, "a SystemReport")
    report = replace(report, seconds=time.monotonic() - begun)
    if folder is None:
        return report, []
    title = f"{system.name}: {system.claim}"
    sections = report.sections()
    if system.sources:
        sections += [page.Heading("Sources"), page.Text(system.sources, bullets=True)]
    files = [page.write(folder / f"{system.name}.html", title, sections)]
    for k, figure in enumerate(report.figures, start=1):
        file = folder / f"{system.name}-{figure.name or k}.svg"
        file.write_text(stand_alone(figure.svg), encoding="utf-8")
        files.append(file)
    for name, content in report.files:
        file = folder / f"{system.name}-{name}"
        file.write_bytes(content)
        files.append(file)
    return report, files


__all__ = ["RunOptions", "System", "load", "names", "run"]
