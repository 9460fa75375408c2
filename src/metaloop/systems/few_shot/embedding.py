"""A small convolutional network for 28 x 28 images, made for a CPU and for weights that differ from task to task.

Convolutions are matrix products of patches (im2col). Under `vmap` over tasks these become one batched product, while
XLA's grouped convolutions, which differing kernels lead to, are many times slower on a CPU. Four 3 x 3 convolutions of
stride 2 with batch normalization, as in Finn, Abbeel & Levine 2017, "Model-agnostic meta-learning", for Omniglot; where
there are more, the first ones have stride 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Weights = list[dict[str, jax.Array]]
Statistics = list[tuple[jax.Array, jax.Array]]

_STEADY = 1e-5  # added to variances


def convolve(images: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Convolution with zeros around, so that stride 1 keeps the size.

    Args:
        images: (n, height, width, channels).
        kernel: (side, side, channels, outputs).
        stride: pixels from one output to the next.

    Returns:
        (n, ceil(height / stride), ceil(width / stride), outputs).
    """
    side, outputs = kernel.shape[0], kernel.shape[-1]
    shape = [-(-size // stride) for size in images.shape[1:3]]
    pads = [max((o - 1) * stride + side - size, 0) for o, size in zip(shape, images.shape[1:3], strict=True)]
    x = jnp.pad(images, ((0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)))
    rows, columns = ((o - 1) * stride + 1 for o in shape)
    parts = [x[:, i : i + rows : stride, j : j + columns : stride] for i in range(side) for j in range(side)]
    patches = jnp.concatenate(parts, axis=-1).reshape(-1, side * side * images.shape[-1])
    return (patches @ kernel.reshape(-1, outputs)).reshape(-1, *shape, outputs)


def initial(key: jax.Array, widths: Sequence[int] = (64, 64, 64, 64)) -> Weights:
    """Weights of convolutions of so many channels: kernels of He et al. 2015, scales 1, shifts 0."""
    weights, channels = [], 1
    for key_, width in zip(jax.random.split(key, len(widths)), widths, strict=True):
        kernel = jax.random.normal(key_, (3, 3, channels, width)) * np.sqrt(2 / (9 * channels))
        weights.append({"kernel": kernel, "scale": jnp.ones(width), "shift": jnp.zeros(width)})
        channels = width
    return weights


def _stride(k: int, layers: int) -> int:
    """Of layer k: the last four halve the image, 28 -> 14 -> 7 -> 4 -> 2."""
    return 2 if k >= layers - 4 else 1


def _layer(
    layer: dict[str, jax.Array], x: jax.Array, stride: int, known: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    x = convolve(x, layer["kernel"], stride)
    mean, variance = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if known is None else known
    x = (x - mean) * (layer["scale"] * jax.lax.rsqrt(variance + _STEADY)) + layer["shift"]
    return jax.nn.relu(x), (mean, variance)


def embed(weights: Weights, images: jax.Array, statistics: Statistics | None = None) -> jax.Array:
    """Features of images.

    Args:
        weights: as from `initial`.
        images: (n, 28, 28).
        statistics: mean and variance of each layer's channels; None to take those of `images`, which lets an image's
            features depend on what else is in the batch.

    Returns:
        (n, features): of four or more layers 2 x 2 x the last one's channels.
    """
    x = images[..., None]
    for k, layer in enumerate(weights):
        x, _ = _layer(layer, x, _stride(k, len(weights)), None if statistics is None else statistics[k])
    return x.reshape(len(images), -1)


def statistics(weights: Weights, images: jax.Array) -> Statistics:
    """Mean and variance of each layer's channels over images (n, 28, 28)."""
    x, found = images[..., None], []
    for k, layer in enumerate(weights):
        x, both = _layer(layer, x, _stride(k, len(weights)), None)
        found.append(both)
    return found


_GRID = np.arange(28, dtype=np.float32) - 13.5


def _smooth(points: int = 4) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(28, points): a smooth random curve of standard deviation 1 from `points` independent normal numbers."""
    knots = np.linspace(_GRID[0], _GRID[-1], points)
    weights = np.exp(-0.5 * ((_GRID[:, None] - knots) / (0.6 * (knots[1] - knots[0]))) ** 2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), np.float32)


_SMOOTH = _smooth()


def distort(key: jax.Array, images: jax.Array, strength: float = 1.0) -> jax.Array:
    """Images as another hand might have drawn them: a random affine map, a smooth displacement, thicker or thinner ink.

    Args:
        key: of the random choices; each image has its own.
        images: (n, 28, 28), ink from 0 to 1.
        strength: factor on standard deviations, which are at 1: rotation and shear 0.15 rad, size 10 % and 12 % more
            for each axis, place 1 pixel, displacement 0.6 pixels.

    Returns:
        (n, 28, 28), bilinear interpolation.
    """
    n, keys = len(images), jax.random.split(key, 6)
    turn, shear, size = strength * jnp.array([0.15, 0.15, 0.1])[:, None] * jax.random.normal(keys[0], (3, n))
    scale = jnp.exp(size[:, None] + strength * 0.12 * jax.random.normal(keys[1], (n, 2)))
    place = strength * jax.random.normal(keys[2], (n, 2, 1, 1))
    wave = jax.random.normal(keys[3], (n, 2, 4, 4))
    elastic = strength * 0.6 * jnp.einsum("ia,ncab,jb->ncij", _SMOOTH, wave, _SMOOTH)
    cos, sin, one, zero = jnp.cos(turn), jnp.sin(turn), jnp.ones(n), jnp.zeros(n)
    rotation = jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], 1)
    slant = jnp.stack([jnp.stack([one, shear], -1), jnp.stack([zero, one], -1)], 1)
    grid = jnp.stack(jnp.meshgrid(_GRID, _GRID, indexing="ij"))
    at = jnp.einsum("nab,bij->naij", (rotation * scale[:, None]) @ slant, grid) + place + elastic
    warped = interpolate(images, at)
    # Interpolation thins strokes; 0.2 makes up for it.
    gain = jnp.exp(0.2 + strength * 0.3 * jax.random.normal(keys[4], (n, 1, 1)))
    return jnp.clip(warped * gain, 0, 1)


def interpolate(images: jax.Array, at: jax.Array) -> jax.Array:
    """Bilinear interpolation.

    Args:
        images: (n, 28, 28).
        at: (n, 2, 28, 28), row and column of each output pixel in the input, in pixels from the center.

    Returns:
        (n, 28, 28); 0 outside the images.
    """
    n = len(images)
    inside = (jnp.abs(at) <= 13.5).all(1)
    y, x = jnp.moveaxis(jnp.clip(at + 13.5, 0, 26.9999), 1, 0)
    row, column = jnp.floor(y), jnp.floor(x)
    v, u = y - row, x - column
    first = (28 * row + column).astype(jnp.int32).reshape(n, -1)
    flat = images.reshape(n, -1)

    def pixel(offset: int) -> jax.Array:
        return jnp.take_along_axis(flat, first + offset, axis=1, mode="clip").reshape(n, 28, 28)

    top, bottom = (1 - u) * pixel(0) + u * pixel(1), (1 - u) * pixel(28) + u * pixel(29)
    return jnp.where(inside, (1 - v) * top + v * bottom, 0)
