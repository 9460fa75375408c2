"""What designs look like: a density in the plane with its supports and loads, and a solid seen from outside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from metaloop.errors import require
from metaloop.structure.problem import Problem

Array = npt.NDArray[np.float64]


def seen(
    density: Array, *, azimuth: float = -35.0, elevation: float = 25.0, pixels: int = 800, level: float = 0.35
) -> Array:
    """A solid from outside, lit from above the viewer's left shoulder: the surface where the density passes a level.

    Orthographic: the density is turned, and looked through along one axis.

    Args:
        density: shape (nx, ny, nz); y points up.
        azimuth: of the view, in degrees about y; 0 looks along -z, that is at the face of the largest z.
        elevation: in degrees above the horizon.
        pixels: of the picture's width.
        level: of the surface, between 0 and 1.

    Returns:
        An RGBA picture, shape (height, width, 4), of numbers from 0 to 1, transparent where nothing is.

    Raises:
        InputError: fewer than 16 pixels, or a level outside its range.
    """
    require("pixels", pixels, lambda v: v >= 16, "at least 16")
    require("level", level, lambda v: 0 < v < 1, "a number between 0 and 1")
    volume = np.pad(np.asarray(density, float), 2)
    volume = ndimage.gaussian_filter(volume, 0.55)
    a, e = math.radians(azimuth), math.radians(elevation)
    right = np.array([math.cos(a), 0, -math.sin(a)])
    away = -np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    up = np.cross(away, right) * -1
    frame = np.stack([right, up, away], axis=1)  # columns: picture's axes in the volume's
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in volume.shape], indexing="ij"), -1).reshape(-1, 3)
    ends = corners @ frame
    low, high = ends.min(0), ends.max(0)
    step = (high[0] - low[0]) / pixels
    width, height = pixels, max(1, math.ceil((high[1] - low[1]) / step))
    deep = max(1, math.ceil((high[2] - low[2]) / 0.7))
    xs, ys = low[0] + step * np.arange(width), high[1] - step * np.arange(height)
    grid = xs[None, :, None] * right + ys[:, None, None] * up
    depth = np.full((height, width), np.nan)
    before = np.zeros((height, width))
    for k in range(deep):
        open_ = np.isnan(depth)
        if not open_.any():
            break
        z = low[2] + 0.7 * k
        now = np.zeros((height, width))
        now[open_] = ndimage.map_coordinates(volume, (grid[open_] + z * away).T, order=1)
        hit = open_ & (now >= level)
        depth[hit] = z - 0.7 * (now[hit] - level) / np.maximum(now[hit] - before[hit], 1e-9)
        before = now
    solid = ~np.isnan(depth)
    points = (grid + np.nan_to_num(depth)[..., None] * away)[solid].T
    slopes = ndimage.gaussian_filter(volume, 0.8)
    normal = -np.stack([ndimage.map_coordinates(g, points, order=1) for g in np.gradient(slopes)])
    normal /= np.maximum(np.linalg.norm(normal, axis=0), 1e-9)
    light = -0.3 * right + 0.6 * up - 0.9 * away
    light /= np.linalg.norm(light)
    shade = np.zeros((height, width))
    shade[solid] = 0.42 + 0.58 * np.clip(light @ normal, 0, 1)
    # Hollows are darker: depth below that of the surroundings.
    filled = np.where(solid, depth, high[2])
    around = ndimage.gaussian_filter(filled, 12)
    shade *= 1 - 0.35 * np.clip((filled - around) / (0.15 * (high[2] - low[2])), 0, 1)
    edge = ndimage.generic_gradient_magnitude(filled, ndimage.sobel) > 40 * step
    shade[edge & solid] *= 0.55
    out = np.zeros((height, width, 4))
    out[..., :3] = shade[..., None] * np.array([0.62, 0.71, 0.82])
    out[..., 3] = solid
    return out


def plane(axes: Any, problem: Problem, density: Array, *, unit: str = "elements", marks: bool = True) -> None:
    """Draw a density in the plane on matplotlib axes, with supports and loads.

    Args:
        axes: to draw on.
        problem: in two dimensions.
        density: shape `problem.shape`.
        unit: of lengths, `problem.size` to an element's edge.
        marks: whether to draw supports and loads.

    Raises:
        InputError: a problem in three dimensions.
    """
    require("problem", problem.shape, lambda v: len(v) == 2, "a problem in two dimensions")
    size = problem.size
    extent = (0, problem.shape[0] * size, 0, problem.shape[1] * size)
    axes.imshow(1 - density.T, origin="lower", cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest")
    axes.set_xlabel(f"x ({unit})")
    axes.set_ylabel(f"y ({unit})")
    axes.grid(visible=False)
    if not marks:
        return
    held = np.argwhere(problem.supports.any(0)) * size
    axes.plot(held[:, 0], held[:, 1], "s", ms=3, color="#c1121f", clip_on=False, label="support", zorder=3)
    if not problem.heat:
        length = 0.16 * max(problem.shape) * size
        for load in problem.loads:
            at = np.argwhere((load != 0).any(0))
            if len(at) > 12:
                at = at[:: len(at) // 12]
            for i, j in at:
                force = load[:, i, j] / np.abs(load).max() * length
                tail = (i * size - force[0], j * size - force[1])
                axes.annotate("", (i * size, j * size), tail, annotation_clip=False,
                              arrowprops={"arrowstyle": "-|>", "color": "#0353a4", "lw": 1.6})  # fmt: skip
