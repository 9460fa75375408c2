"""A design problem as a small TOML file: lengths in any unit, regions by simple shapes.

```toml
[domain]
size = [60, 20]            # of the box, along x and y (and z)
element = 0.5              # edge length of an element
# surface = "part.stl"     # only inside this closed surface may material be

[[support]]
at = "x=0"                 # a face, up to "x=max"; other regions are
                           # {point = […]}, {box = [[…], […]]}, {sphere = [[…], r]}, {cylinder = ["z", […], r]}
hold = "x"                 # which displacements

[[support]]
at = {point = [60, 0]}
hold = "y"

[[load]]                   # all of one case act together
at = {point = [0, 20]}
force = [0, -1]            # in all, spread over the region's nodes

[[void]]
at = {sphere = [[30, 10], 4]}

[optimize]
fraction = 0.5
radius = 1.2               # a length; every other argument of SIMP as it is
```
"""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError, nearest, refuse
from metaloop.structure.problem import Problem
from metaloop.structure.topology import SIMP
from metaloop.structure.voxels import check_connected, check_memory, from_image, from_surface

Mask = npt.NDArray[np.bool_]

_TABLES = {
    "domain": {"size", "element", "surface"},
    "material": {"poisson", "heat", "gravity"},
    "support": {"at", "hold"},
    "load": {"at", "force", "case"},
    "spring": {"at", "stiffness"},
    "output": {"at", "direction"},
    "solid": {"at", "image", "surface"},
    "void": {"at", "image", "surface"},
    "optimize": {"fraction", "weights", "symmetry", "stress"} | {f.name for f in dataclasses.fields(SIMP)},
}


@dataclasses.dataclass(frozen=True)
class Description:
    """What a file describes: the arguments of `optimize`."""

    problem: Problem
    recipe: SIMP
    stress: float | None


def read(source: str | Path | dict[str, Any]) -> Description:
    """Read a description.

    Args:
        source: a TOML file, whose own paths are relative to it, or what is in one.

    Raises:
        InputError: what is missing, unknown or does not fit, in one line.
    """
    folder = Path()
    if isinstance(source, dict):
        given = source
    else:
        folder = Path(source).parent
        try:
            given = tomllib.loads(Path(source).read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"description {str(source)!r} cannot be read: {error}") from None
    _known("the description", given, set(_TABLES))
    for name, known in _TABLES.items():
        entries = given.get(name, {})
        for entry in entries if isinstance(entries, list) else [entries]:
            _known(f"[{name}]", entry, known)
    domain, material, settings = (dict(given.get(k, {})) for k in ("domain", "material", "optimize"))
    for name in ("size", "element"):
        if name not in domain:
            raise InputError(f"[domain] needs {name!r}")
    edge, size = float(domain["element"]), np.asarray(domain["size"], float)
    shape = tuple(round(v) for v in size / edge)
    if not edge > 0 or len(shape) not in (2, 3) or min(shape) < 1:
        raise refuse(
            "[domain] size and element", (domain["size"], domain["element"]), "2 or 3 lengths of some elements"
        )
    heat = bool(material.get("heat", False))
    components = 1 if heat else len(shape)
    cases = sorted({entry.get("case", 1) for entry in given.get("load", [])}, key=str)
    check_memory(shape, max(1, len(cases)), heat)
    place = _Place(shape, edge, folder)
    unknowns = (components, *place.nodes)

    supports = np.zeros(unknowns, bool)
    for entry in given.get("support", []):
        at = place.of_nodes(_need("support", entry, "at"))
        for letter in entry.get("hold", "xyz"[:components] if not heat else "x"):
            if letter not in "xyz"[:components]:
                raise refuse("[[support]] hold", entry["hold"], f"letters of {'xyz'[:components]!r}")
            supports["xyz".index(letter)] |= at
    loads = np.zeros((max(1, len(cases)), *unknowns))
    for entry in given.get("load", []):
        at = place.of_nodes(_need("load", entry, "at"))
        force = np.atleast_1d(np.asarray(_need("load", entry, "force"), float))
        loads[cases.index(entry.get("case", 1))] += _vector("load", force, components, at)
    springs = output = None
    for entry in given.get("spring", []):
        at = place.of_nodes(_need("spring", entry, "at"))
        stiffness = np.atleast_1d(np.asarray(_need("spring", entry, "stiffness"), float))
        springs = (np.zeros(unknowns) if springs is None else springs) + _vector("spring", stiffness, components, at)
    for entry in _list(given.get("output", [])):
        at = place.of_nodes(_need("output", entry, "at"))
        way = np.atleast_1d(np.asarray(_need("output", entry, "direction"), float))
        output = (np.zeros(unknowns) if output is None else output) + _vector("output", way, components, at)
    passive = {name: np.zeros(shape, bool) for name in ("solid", "void")}
    for name, mask in passive.items():
        for entry in given.get(name, []):
            mask |= place.of_elements(name, entry)
    if "surface" in domain:
        passive["void"] |= ~from_surface(folder / domain["surface"], size=edge, shape=shape, origin=np.zeros(3))
        passive["solid"] &= ~passive["void"]
    symmetry = tuple("xyz".index(s) if s in "xyz"[: len(shape)] else -1 for s in settings.pop("symmetry", []))
    stress = settings.pop("stress", None)
    problem = Problem(
        shape, supports, loads, settings.pop("fraction", 0.5), solid=passive["solid"], void=passive["void"],
        weights=settings.pop("weights", None), springs=springs, output=output, gravity=material.get("gravity"),
        heat=heat, poisson=material.get("poisson", 0.3), symmetry=symmetry, size=edge,
    )  # fmt: skip
    check_connected(problem)
    if "radius" in settings:
        settings["radius"] = float(settings["radius"]) / edge
    return Description(problem, SIMP(**settings), stress)


def _known(where: str, entry: dict[str, Any], known: set[str]) -> None:
    for key in entry:
        if key not in known:
            raise InputError(f"{where} has no {key!r}; known are {sorted(known)}{nearest(key, sorted(known))}")


def _need(table: str, entry: dict[str, Any], key: str) -> Any:
    if key not in entry:
        raise InputError(f"[[{table}]] needs {key!r}")
    return entry[key]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _vector(table: str, value: npt.NDArray[np.float64], components: int, at: Mask) -> npt.NDArray[np.float64]:
    """A total, spread evenly over nodes (springs and directions: the same at each)."""
    if value.shape != (components,):
        raise refuse(f"[[{table}]]", value.tolist(), f"{components} numbers")
    share = value / at.sum() if table == "load" else value
    return np.asarray(share[(slice(None),) + (None,) * at.ndim] * at)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Regions of a box as masks."""

    shape: tuple[int, ...]
    edge: float
    folder: Path

    @property
    def nodes(self) -> tuple[int, ...]:
        return tuple(n + 1 for n in self.shape)

    def of_nodes(self, region: Any) -> Mask:
        mask = self._region(region, list(np.meshgrid(*(np.arange(n) * self.edge for n in self.nodes), indexing="ij")))
        if not mask.any():
            raise refuse("at", region, "a region with at least one node in it")
        return mask

    def of_elements(self, table: str, entry: dict[str, Any]) -> Mask:
        if "image" in entry:
            if len(self.shape) != 2:
                raise refuse(f"[[{table}]] image", entry["image"], "absent in three dimensions")
            return from_image(self.folder / entry["image"], (self.shape[0], self.shape[1]))
        if "surface" in entry:
            return from_surface(self.folder / entry["surface"], size=self.edge, shape=self.shape, origin=np.zeros(3))
        centers = list(np.meshgrid(*((np.arange(n) + 0.5) * self.edge for n in self.shape), indexing="ij"))
        mask = self._region(_need(table, entry, "at"), centers)
        if not mask.any():
            raise refuse(f"[[{table}]] at", entry["at"], "a region with at least one element's center in it")
        return mask

    def _region(self, region: Any, at: list[npt.NDArray[np.float64]]) -> Mask:
        axes = len(self.shape)
        slack = 1e-6 * self.edge
        try:
            if isinstance(region, str):
                letter, _, value = region.partition("=")
                axis = "xyz"[:axes].index(letter.strip())
                where = self.shape[axis] * self.edge if value.strip() == "max" else float(value)
                return np.asarray(np.abs(at[axis] - where) <= 0.5 * self.edge + slack)
            ((kind, value),) = region.items()
            if kind == "box":
                low, high = np.asarray(value, float).reshape(2, axes)
                return np.asarray(
                    np.all([(x >= a - slack) & (x <= b + slack) for x, a, b in zip(at, low, high, strict=True)], axis=0)
                )
            if kind == "point":
                apart = sum((x - float(p)) ** 2 for x, p in zip(at, value, strict=True))
                mask = np.zeros(at[0].shape, bool)
                mask[np.unravel_index(np.argmin(apart), mask.shape)] = True
                return mask
            if kind == "sphere":
                center, radius = value
                apart = sum((x - float(p)) ** 2 for x, p in zip(at, center, strict=True))
                return np.asarray(apart <= (float(radius) + slack) ** 2)
            if kind == "cylinder":
                letter, center, radius = value
                axis = "xyz"[:axes].index(letter)
                apart = sum((x - float(p)) ** 2 for a, (x, p) in enumerate(zip(at, center, strict=True)) if a != axis)
                return np.asarray(apart <= (float(radius) + slack) ** 2)
        except (ValueError, TypeError, AttributeError):
            pass
        raise refuse(
            "at", region, "a face like 'x=0' or 'x=max', or one of {point = […]}, {box = [[…], […]]}, "
            "{sphere = [[…], r]}, {cylinder = ['z', […], r]}",
        )  # fmt: skip
