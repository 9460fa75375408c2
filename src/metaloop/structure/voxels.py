"""From shapes to elements: surfaces and images as masks, whether all hangs together, and whether it fits in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from metaloop.errors import InputError, refuse, require
from metaloop.structure.problem import Problem

Mask = npt.NDArray[np.bool_]


def from_surface(source: Any, *, size: float, shape: tuple[int, ...] | None = None, origin: Any = None) -> Mask:
    """Which elements' centers lie inside a closed surface.

    Args:
        source: a file that trimesh reads (STL, OBJ, 3MF, …), or a `trimesh.Trimesh`.
        size: edge length of an element, in the surface's unit.
        shape: elements along each axis; what the surface's box needs if None.
        origin: the first element's lower corner; the surface's if None.

    Raises:
        InputError: a file that cannot be read, or a surface that is not closed, with the number of its open edges.
    """
    import trimesh

    require("size", size, lambda v: v > 0, "a number greater than 0")
    surface = source
    if isinstance(source, (str, Path)):
        try:
            surface = trimesh.load(source, force="mesh")
        except Exception as error:
            raise InputError(f"surface {str(source)!r} cannot be read: {error}") from None
    if not len(surface.faces):
        raise refuse("surface", f"{source} without faces", "a closed surface")
    if not surface.is_watertight:
        edges = np.sort(surface.edges, axis=1)
        _, counts = np.unique(edges, axis=0, return_counts=True)
        raise refuse("surface", f"one with {(counts != 2).sum()} open edges", "closed (watertight)")
    low = surface.bounds[0] if origin is None else np.asarray(origin, float)
    if shape is None:
        shape = tuple(int(n) for n in np.maximum(1, np.round((surface.bounds[1] - low) / size)))
    return _inside(surface, low, size, shape)


def _inside(surface: Any, low: npt.NDArray[np.float64], size: float, shape: tuple[int, ...]) -> Mask:
    """By the parity of crossings of lines along z through the elements' centers."""
    nx, ny, nz = shape
    crossings = np.zeros((nx, ny, nz + 1), np.int64)
    shift = size * 1e-6 * np.array([1.0, 1.7])  # lines that meet edges would count twice
    corners = np.asarray(surface.triangles) - low
    for triangle in corners:
        a, b, c = triangle[:, :2] - shift
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-12 * size * size:
            continue
        first = np.maximum(0, np.ceil(triangle[:, :2].min(0) / size - 0.5 - 1e-3).astype(int))
        last = np.minimum((nx - 1, ny - 1), np.floor(triangle[:, :2].max(0) / size - 0.5 + 1e-3).astype(int))
        if (last < first).any():
            continue
        i, j = np.meshgrid(*(np.arange(f, e + 1) for f, e in zip(first, last, strict=True)), indexing="ij")
        x, y = (i + 0.5) * size, (j + 0.5) * size
        u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
        v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
        hit = (u >= 0) & (v >= 0) & (u + v <= 1)
        if not hit.any():
            continue
        z = u * triangle[0, 2] + v * triangle[1, 2] + (1 - u - v) * triangle[2, 2]
        k = np.clip(np.ceil(z / size - 0.5), 0, nz).astype(int)  # the first center above the crossing
        np.add.at(crossings, (i[hit], j[hit], k[hit]), 1)
    return np.asarray(np.cumsum(crossings, axis=2)[..., :nz] % 2 == 1)


def from_image(path: str | Path, shape: tuple[int, int]) -> Mask:
    """Where an image is dark, its lower left corner at the first element.

    Args:
        path: of an image that pillow reads.
        shape: elements along x and y; the image is scaled to it.

    Raises:
        InputError: a file that cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            grey = image.convert("L").resize(shape, Image.Resampling.BOX)
    except OSError as error:
        raise InputError(f"image {str(path)!r} cannot be read: {error}") from None
    return np.asarray(np.asarray(grey).T[:, ::-1] < 128)


def check_connected(problem: Problem) -> None:
    """All that is loaded or solid can be joined to a support by designable or solid elements.

    Raises:
        InputError: where a solid region or a load is cut off by void.
    """
    regions, _ = ndimage.label(~problem.void)
    held = set(np.unique(regions[_touching(np.asarray(problem.supports.any(0)), problem.shape)])) - {0}
    for name, mask in [("solid", problem.solid)] + [
        (f"load case {k}", _touching((load != 0).any(0), problem.shape)) for k, load in enumerate(problem.loads)
    ]:
        own = set(np.unique(regions[mask & ~problem.void])) - {0}
        lost = own - held
        if lost if name == "solid" else own and not own & held:
            where = tuple(int(i) for i in np.argwhere(np.isin(regions, list(lost)) & mask)[0])
            raise refuse(
                name, f"a region at element {where} that void cuts off from the supports", "joined to a support"
            )


def _touching(nodes: Mask, shape: tuple[int, ...]) -> Mask:
    """Elements with one of the nodes."""
    out = np.zeros(shape, bool)
    for side in np.ndindex(*(2,) * len(shape)):
        out |= nodes[tuple(slice(s, s + n) for s, n in zip(side, shape, strict=True))]
    return out


def memory(shape: tuple[int, ...], cases: int = 1, heat: bool = False) -> int:
    """Bytes that a search for a design takes at its peak, about.

    Counted per node: in the solver four vectors in double and six in single precision, stored matrices of the coarser
    levels; a displacement and a gradient a load case; some twenty arrays of one number an element.
    """
    axes = len(shape)
    components = 1 if heat else axes
    nodes = 1
    for n in shape:
        nodes *= n + 1
    corners = 2**axes
    blocks = corners * (corners + 1) // 2 * components**2
    stored = blocks * 4 / corners**2 * (1 + 1 / corners) * 2  # and what makes them
    solver = components * (4 * 8 + 6 * 4 + 2) + corners * 12 / corners + stored
    return int(nodes * (solver + cases * (2 * components * 8 + 8) + 20 * 8)) + 210_000_000


def check_memory(shape: tuple[int, ...], cases: int = 1, heat: bool = False) -> None:
    """Refuse, before anything is allocated, what does not fit.

    Raises:
        InputError: with the estimate, and what is free.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    needed = memory(shape, cases, heat)
    if needed > free:
        raise refuse("shape", f"{tuple(shape)}, which takes about {needed / 1e9:.1f} GB",
                     f"a mesh that fits in the {free / 1e9:.1f} GB that are free")  # fmt: skip
