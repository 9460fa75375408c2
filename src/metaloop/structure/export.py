"""Designs as files: closed triangle meshes for printers and CAD, cells for viewers, and what a printer asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from metaloop.errors import InputError, nearest, refuse, require

Array = npt.NDArray[np.float64]

SUFFIXES = (".stl", ".3mf", ".obj", ".ply", ".glb", ".vtu")


def mesh(density: Array, *, size: float = 1.0, thickness: float | None = None, smooth: bool = False) -> Any:
    """The surface of a design, closed, of the volume that its densities sum to.

    By marching cubes at the level that keeps the volume; void surrounds the box, so the surface closes there too.

    Args:
        density: from 0 to 1, shape (nx, ny, nz), or (nx, ny) to be extruded.
        size: edge length of an element.
        thickness: in two dimensions, of the plate; `size` if None.
        smooth: whether to blur by half an element before.

    Returns:
        A `trimesh.Trimesh`, watertight.

    Raises:
        InputError: a density outside [0, 1], or without any material.
    """
    import trimesh
    from skimage import measure

    density = np.asarray(density, float)
    if density.ndim not in (2, 3) or not np.isfinite(density).all() or density.min() < 0 or density.max() > 1:
        raise refuse("density", density.shape, "numbers from 0 to 1, in two or three dimensions")
    require("size", size, lambda v: v > 0, "a number greater than 0")
    if density.max() < 0.5:
        raise refuse("density", f"at most {density.max():.3f}", "a design with material: some densities above 1/2")
    wanted = float(density.sum())
    flat = density.ndim == 2
    volume = np.pad(np.repeat(density[..., None], 2, axis=2) if flat else density, 1)
    if smooth:
        volume = ndimage.gaussian_filter(volume, 0.5)
    if flat:
        wanted *= 2

    def surface(level: float) -> Any:
        points, faces, _, _ = measure.marching_cubes(volume, level)  # type: ignore[no-untyped-call]
        return trimesh.Trimesh(points - 0.5, faces[:, ::-1])  # outwards; the first element's corner at 0

    low, high = 0.01, 0.99
    for _ in range(12):  # the level whose surface encloses the volume
        middle = 0.5 * (low + high)
        if abs(surface(middle).volume) > wanted:
            low = middle
        else:
            high = middle
    found = surface(0.5 * (low + high))
    if found.volume < 0:
        found.invert()
    scale = np.full(3, size)
    if flat:
        scale[2] = 0.5 * (size if thickness is None else thickness)
    found.apply_scale(scale)
    return found


def write(
    path: str | Path,
    density: Array,
    *,
    size: float = 1.0,
    thickness: float | None = None,
    smooth: bool = False,
    fields: dict[str, Array] | None = None,
) -> Path:
    """Write a design to a file; its suffix says how: .stl .3mf .obj .ply .glb (surfaces), .vtu (cells).

    Args:
        path: of the file.
        density, size, thickness, smooth: as in `mesh`.
        fields: for .vtu: values of elements, shape `density.shape`, or of nodes, one more along each axis, perhaps with
            an axis of components first.

    Raises:
        InputError: an unknown suffix, or what `mesh` refuses.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"path must end in one of {', '.join(SUFFIXES)}, not {suffix!r}{nearest(suffix, list(SUFFIXES))}"
        )
    if suffix == ".vtu":
        _cells(path, np.asarray(density, float), size, fields or {})
    else:
        mesh(density, size=size, thickness=thickness, smooth=smooth).export(path)
    return path


def _cells(path: Path, density: Array, size: float, fields: dict[str, Array]) -> None:
    """Squares or cubes with their densities; void ones too, so that a viewer can choose the level."""
    import meshio

    nodes = tuple(n + 1 for n in density.shape)
    points = np.stack(np.meshgrid(*(np.arange(n) * size for n in nodes), indexing="ij"), -1).reshape(-1, density.ndim)
    if density.ndim == 2:
        points = np.column_stack([points, np.zeros(len(points))])
    numbers = np.arange(len(points)).reshape(nodes)
    order = [(0, 0), (1, 0), (1, 1), (0, 1)]
    sides = order if density.ndim == 2 else [(*s, k) for k in (0, 1) for s in order]
    cells = np.stack(
        [numbers[tuple(slice(s, s + n) for s, n in zip(side, density.shape, strict=True))].ravel() for side in sides], 1
    )
    at_cells: dict[str, list[Array]] = {"density": [density.ravel()]}
    at_points: dict[str, Array] = {}
    for name, values in fields.items():
        values = np.asarray(values, float)
        if values.shape == density.shape:
            at_cells[name] = [values.ravel()]
        elif values.shape[-density.ndim :] == nodes:
            columns = values.reshape(-1, len(points)).T
            if columns.shape[1] == 2:
                columns = np.column_stack([columns, np.zeros(len(points))])
            at_points[name] = columns[:, 0] if columns.shape[1] == 1 else columns
        else:
            raise refuse(f"field {name!r}", values.shape, f"values of elements, {density.shape}, or of nodes, {nodes}")
    kind = "quad" if density.ndim == 2 else "hexahedron"
    meshio.Mesh(points, [(kind, cells)], at_points, at_cells).write(path)


@dataclass(frozen=True)
class Printability:
    """What a printer asks of a black and white design.

    Attributes:
        components: separate pieces.
        cavities: closed hollows, from which powder or resin cannot leave.
        thinnest: in the unit of `size`: the smallest of members' thicknesses along their middles.
        overhang: share of the downward surface that hangs over by more than 45° and does not lie on the plate.
        volume: of the material.
    """

    components: int
    cavities: int
    thinnest: float
    overhang: float
    volume: float


def printability(cells: Array, *, size: float = 1.0, axis: int = 1) -> Printability:
    """Look at a black and white design as a printer would.

    Args:
        cells: above 1/2 where material is, shape (nx, ny[, nz]).
        size: edge length of an element.
        axis: along which layers are laid, upwards.

    Raises:
        InputError: no material, or an axis that is not there.
    """
    black = np.asarray(cells) > 0.5
    require("axis", axis, lambda v: 0 <= v < black.ndim, f"a number from 0 to {black.ndim - 1}")
    if not black.any():
        raise refuse("cells", "void everywhere", "a design with material")
    _, pieces = ndimage.label(black)
    _, hollows = ndimage.label(~np.pad(black, 1))
    depth = ndimage.distance_transform_edt(np.pad(black, 1))[(slice(1, -1),) * black.ndim]
    ridge = black & (depth >= ndimage.maximum_filter(depth, 3) - 1e-9)
    layers = np.moveaxis(black, axis, 0)
    below = layers[:-1]
    carried = ndimage.binary_dilation(below, np.ones((1,) + (3,) * (black.ndim - 1), bool))
    faces = layers[1:] & ~below
    hanging = layers[1:] & ~carried
    share = float(hanging.sum() / faces.sum()) if faces.any() else 0.0
    return Printability(
        int(pieces),
        int(hollows) - 1,
        float(2 * depth[ridge].min() - 1) * size,
        share,
        float(black.sum()) * size**black.ndim,
    )
