"""The mass matrix, from draws and the gradients that were computed there anyway.

Draws tell the covariance, gradients its inverse. The matrix between the two that minimizes the Fisher divergence to a
Gaussian (Seyboldt, Carlson & Carpenter 2026, arXiv:2603.18845) is their geometric mean: exact for a
Gaussian after d + 1 draws, wherever these lie, so warm-up need not wait for the chains to settle.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def diagonal(x: Array, gradient: Array) -> Array:
    """Inverse mass by coordinate, shape (d, d), zero off the diagonal.

    Args:
        x: draws, shape (n, d).
        gradient: of the log density there, shape (n, d).
    """
    return np.diag(_scale(x, gradient) ** 2)


def dense(x: Array, gradient: Array, ridge: float = 1.0) -> Array:
    """Inverse mass with all correlations, shape (d, d).

    Args:
        x, gradient: see `diagonal`.
        ridge: draws' worth of identity, in the scale of the coordinates, mixed into either covariance.
    """
    scale = _scale(x, gradient)
    cov, precision = (
        _shrunk(y - y.mean(axis=0), ridge) for y in (x / scale, gradient * scale)
    )  # fmt: skip
    root, inverse_root = _powers(precision)
    middle, _ = _powers(root @ cov @ root)
    between = inverse_root @ middle @ inverse_root
    return np.asarray(scale[:, None] * (between + between.T) / 2 * scale)


def _scale(x: Array, gradient: Array) -> Array:
    spread, steepness = x.std(axis=0), gradient.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt(spread / steepness)
    usable = np.isfinite(scale) & (scale > 0)
    # A coordinate in which nothing moved, or whose gradient never changes, says nothing: take a typical scale.
    return np.where(usable, scale, np.median(scale[usable]) if usable.any() else 1.0)


def _shrunk(centered: Array, ridge: float) -> Array:
    n, d = centered.shape
    cov = centered.T @ centered / n
    level = max(float(np.trace(cov)) / d, np.finfo(float).tiny)
    return np.asarray((n * cov + ridge * level * np.eye(d)) / (n + ridge))


def _powers(matrix: Array) -> tuple[Array, Array]:
    """Square root and inverse square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    root = np.sqrt(np.maximum(values, values[-1] * 1e-14))
    return (vectors * root) @ vectors.T, (vectors / root) @ vectors.T
