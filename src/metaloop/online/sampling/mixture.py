"""A mixture of Gaussians, fitted to weighted points, with covariances that noise cannot lead astray.

Sources: Cappe, Douc, Guillin, Marin & Robert 2008 (weighted EM for proposals); Laloux, Cizeau, Bouchaud & Potters 1999
(eigenvalues of a correlation matrix that noise alone explains are set to 1: the edges are Marchenko & Pastur's 1967).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metaloop.space import Array

_LOG_2PI = math.log(2 * math.pi)
_COUNTS = (1, 2, 3, 5, 8, 13, 21)  # of components
_WIDE = {0.85: 0, 0.1: 1, 0.05: 3}  # share of the copies, and the power of their width
_WORTH = 0.01  # nats a point by which more components have to predict better
_BLOCK = 1 << 18  # numbers that are whitened at a time
_POINTS = 6000  # that a mixture is fitted to


@dataclass(frozen=True)
class Mixture:
    """Gaussian components.

    Attributes:
        weights: shape (k,), with sum 1.
        means: shape (k, d).
        roots: lower Cholesky factors of the covariances, shape (k, d, d).
    """

    weights: Array
    means: Array
    roots: Array

    def densities(self, z: Array) -> Array:
        """Logarithms of the components' densities, shape (n, k)."""
        (k, d), n = self.means.shape, len(z)
        inverse = np.linalg.inv(self.roots)
        whiten, shift = inverse.transpose(2, 0, 1).reshape(d, k * d), np.einsum("kij,kj->ki", inverse, self.means)
        constant = 0.5 * d * _LOG_2PI + np.log(np.einsum("kii->ki", self.roots)).sum(axis=1)
        out = np.empty((n, k))
        rows = max(1, _BLOCK // (k * d))
        for start in range(0, n, rows):
            white = (z[start : start + rows] @ whiten).reshape(-1, k, d) - shift
            out[start : start + rows] = -0.5 * np.einsum("nki,nki->nk", white, white) - constant
        return out

    def place(self, u: Array) -> Array:
        """Points with the mixture's law from points of the unit cube, shapes (n, d + 1) and (n, d)."""
        from scipy.special import ndtri

        which = np.minimum(np.searchsorted(np.cumsum(self.weights), u[:, 0]), len(self.weights) - 1)
        normal = ndtri(u[:, 1:])
        out = np.empty_like(normal)
        for k, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            out[which == k] = mean + normal[which == k] @ root.T
        return out

    def widened(self, law: float) -> Mixture:
        """With copies of the components that are wider where they are narrower than the law that is integrated against.

        Args:
            law: its variance along any axis.
        """
        roots = []
        for power in _WIDE.values():
            for root in self.roots:
                w, q = np.linalg.eigh(root @ root.T)
                narrow = w < 0.8 * law
                factor = 1 + 4 / max(int(narrow.sum()), 1)  # the density at the mean is at most e^2 times smaller
                w = np.where(narrow, np.minimum(w * factor**power, law), np.maximum(w, 1e-300))
                roots.append(np.linalg.cholesky((q * w) @ q.T + 1e-12 * w.min() * np.eye(len(w))))
        weights = np.concatenate([share * self.weights for share in _WIDE])
        return Mixture(weights, np.tile(self.means, (len(_WIDE), 1)), np.array(roots))


def total(log: Array, weights: Array) -> Array:
    """Logarithm of the mixture's density from those of its components, shapes (n, k) and (n,)."""
    with np.errstate(divide="ignore"):
        terms = log + np.log(weights)
    top = terms.max(axis=1)
    return np.asarray(top + np.log(np.exp(terms - top[:, None]).sum(axis=1)))


def fit(z: Array, weights: Array, rng: np.random.Generator, most: int = 24) -> Mixture:
    """The mixture with the number of components that predicts best what it was not fitted to.

    Args:
        z: points, shape (n, d).
        weights: of the points, shape (n,), >= 0, not all 0.
        rng: for the parts and the first centers.
        most: components.
    """
    z, weights = _thinned(z, weights, rng)
    most = min(most, int(1.0 / float(weights @ weights) / (5 * math.sqrt(z.shape[1]) + 5)))
    half = rng.permutation(len(z)) % 2 == 0
    best, found = -math.inf, 1
    for k in _COUNTS:
        if k > most or not weights[~half].any() or not weights[half].any():
            break
        model = _em(z[half], weights[half], k, rng)
        log = total(model.densities(z[~half]), model.weights)
        score = float(weights[~half] @ np.maximum(log, log.max() - 700.0)) / float(weights[~half].sum())
        if score > best + _WORTH:
            best, found = score, k
        elif k > max(8, 2 * found):  # of many alike modes, two or three more explain nothing
            break
    return _em(z, weights, found, rng)


def _thinned(z: Array, weights: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """At most so many points, of which those with large weights all stay (Fearnhead & Clifford 2003, simplified)."""
    keep = weights > 0
    z, weights = z[keep], weights[keep] / weights[keep].sum()
    if len(z) <= _POINTS:
        return z, weights
    even = np.minimum(weights, 1.0 / _POINTS)
    kept = rng.random(len(z)) < even * _POINTS
    weights = weights[kept] / (even[kept] * _POINTS)
    return z[kept], weights / weights.sum()


def _em(z: Array, weights: Array, k: int, rng: np.random.Generator) -> Mixture:
    """Weighted expectation-maximization from centers that are far apart (Arthur & Vassilvitskii 2007)."""
    weights = weights / weights.sum()
    owner = _parts(z, weights, k, rng)
    share = np.eye(k)[owner]
    model, last = _maximized(z, weights, share), -math.inf
    for _ in range(60):
        log = model.densities(z) + np.log(model.weights)
        top = log.max(axis=1, keepdims=True)
        share = np.exp(log - top)
        likelihood = float(weights @ (top[:, 0] + np.log(share.sum(axis=1))))
        share /= share.sum(axis=1, keepdims=True)
        if likelihood < last + 1e-4:
            break
        model, last = _maximized(z, weights, share), likelihood
    return model


def _parts(z: Array, weights: Array, k: int, rng: np.random.Generator) -> Array:
    """A first partition: the nearest of k centers, which then move to the middle of their own."""
    scale = np.sqrt(np.maximum(weights @ (z - weights @ z) ** 2, 1e-300))
    s = z / scale
    centers = s[rng.choice(len(s), 1, p=weights)]
    gap = np.full(len(s), np.inf)
    for _ in range(k - 1):
        gap = np.minimum(gap, ((s - centers[-1]) ** 2).sum(axis=1))
        chance = weights * gap
        if not chance.sum() > 0:
            break
        centers = np.concatenate([centers, s[rng.choice(len(s), 1, p=chance / chance.sum())]])
    owner = np.zeros(len(s), dtype=int)
    for _ in range(10):
        owner = np.argmin((centers**2).sum(axis=1) - 2 * s @ centers.T, axis=1)
        mass = np.bincount(owner, weights, len(centers))
        for j in np.flatnonzero(mass > 0):
            centers[j] = weights[owner == j] @ s[owner == j] / mass[j]
    return owner


def _maximized(z: Array, weights: Array, share: Array) -> Mixture:
    """The components given the points' shares in them, shape (n, k); those that hold next to nothing go."""
    d = z.shape[1]
    mass, means, roots = [], [], []
    for r in share.T:
        w = weights * r
        m = float(w.sum())
        if m < 1e-6:
            continue
        w = w / m
        count = 1.0 / float(w @ w)
        if count < 4:
            continue
        mean = w @ z
        centered = z - mean
        covariance = (centered * w[:, None]).T @ centered
        mass.append(m)
        means.append(mean)
        roots.append(_root(covariance, count, d))
    if not mass:  # too few points: one component around all
        mean = weights @ z
        spread = np.sqrt(weights @ (z - mean) ** 2 + 1e-12)
        return Mixture(np.ones(1), mean[None], np.diag(spread)[None])
    return Mixture(np.array(mass) / math.fsum(mass), np.array(means), np.array(roots))


def _root(covariance: Array, count: float, d: int) -> Array:
    """Cholesky factor of a covariance of so many points, cleaned of what noise explains."""
    spread = np.sqrt(np.maximum(covariance.diagonal(), 1e-24))
    w, q = np.linalg.eigh(covariance / np.outer(spread, spread))
    usual = np.abs(np.log(spread)) < 2.0 / math.sqrt(count)  # what may be the standard normal law's is so
    spread = np.where(usual, 1.0, spread) if d > 20 else spread
    edge = math.sqrt(d / count)
    noise = (w < (1 + edge) ** 2) & (w > max(1 - edge, 0.0) ** 2)
    if count <= d + 1:
        noise |= w < 1
    w = np.maximum(np.where(noise, 1.0, w), 1e-8)
    clean = (q * w) @ q.T
    clean /= np.sqrt(np.outer(clean.diagonal(), clean.diagonal()))
    return np.asarray(np.linalg.cholesky(np.outer(spread, spread) * (clean + 1e-10 * np.eye(d))))
