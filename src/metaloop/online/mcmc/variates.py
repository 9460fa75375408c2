"""Gradients as control variates: they are there at every draw, and the posterior mean of each of them is zero.

Mira, Solgi & Imparato, Statistics and Computing 23, 653 (2013), with polynomials of degree one: g + a . gradient has
g's mean, and the variance that a regression leaves. The mean is zero where the density falls to zero at infinity and
has no edges, which the draws can refute.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metaloop.online.mcmc.variance import batch_means

Array = npt.NDArray[np.float64]


def coefficients(g: Array, gradient: Array) -> Array:
    """Of the regression of g on the gradients, shape (d, k).

    Args:
        g: shape (draws, chains, k).
        gradient: shape (draws, chains, d).
    """
    k, d = g.shape[2], gradient.shape[2]
    y, z = g.reshape(-1, k), gradient.reshape(-1, d)
    z = z - z.mean(axis=0)
    scale = np.maximum(z.std(axis=0), np.finfo(float).tiny)
    z = z / scale
    # Normal equations: gradients are not so collinear that their squares could not be solved for.
    covariance = z.T @ z + 1e-10 * len(z) * np.eye(d)
    return np.asarray(np.linalg.solve(covariance, z.T @ (y - y.mean(axis=0))) / scale[:, None])


def refuted(gradient: Array, batches: int = 4, deviations: float = 5.0) -> bool:
    """Whether some gradient's mean is so many standard errors from zero.

    Args:
        gradient: shape (draws, chains, d).
        batches: a chain, for the error.
        deviations: normal standard errors; 5 is wide enough for hundreds of coordinates and Student's t.
    """
    mean, error = batch_means(gradient, batches)
    return bool((np.abs(mean) > deviations * error).any())
