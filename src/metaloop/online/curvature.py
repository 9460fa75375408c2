"""Is this stationary point a minimum, and where does it go down? From products with the Hessian, as few as possible.

Davidson's method (J. Comput. Phys. 17, 87, 1975) with one vector a step, that ends as soon as the sign of the lowest
eigenvalue is known: seldom is its value wanted. The same subspace gives a trust-region step (Moré & Sorensen 1983, in
the subspace), so that a second-order method notices negative curvature for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Subspace:
    """An orthonormal basis, and the Hessian applied to it.

    Args:
        product: the Hessian times a vector, shape (n,) -> (n,).
        values: an estimate of the Hessian, its eigenvalues, shape (n,).
        vectors: its eigenvectors as columns, shape (n, n); None where the estimate is a diagonal.
        allowed: which coordinates may move (a symmetry may forbid some), shape (n,), or None for all.
    """

    def __init__(
        self,
        product: Callable[[Array], Array],
        values: Array,
        vectors: Array | None = None,
        allowed: Array | None = None,
    ) -> None:
        self.product = product
        self.values = values
        self.vectors = vectors
        self.allowed = np.ones(len(values)) if allowed is None else allowed.astype(float)
        self.basis = np.empty((0, len(values)))
        self.image = np.empty((0, len(values)))

    @property
    def full(self) -> bool:
        """Whether it is the whole space."""
        return len(self.basis) >= int(self.allowed.sum())

    def extend(self, vector: Array) -> bool:
        """One more vector, which costs one product; False where it says nothing new, which costs none."""
        v = vector * self.allowed
        norm = float(np.linalg.norm(v))
        if self.full or not (0 < norm < math.inf):
            return False
        v = v / norm
        for _ in range(2):
            v = v - self.basis.T @ (self.basis @ v)
        norm = float(np.linalg.norm(v))
        if norm < 1e-6:
            return False
        self.basis = np.vstack([self.basis, v / norm])
        self.image = np.vstack([self.image, self.product(v / norm) * self.allowed])
        return True

    def ritz(self) -> tuple[Array, Array]:
        """The Hessian's eigenvalues in the subspace, ascending, and its eigenvectors as columns."""
        small = self.basis @ self.image.T
        values, vectors = np.linalg.eigh(0.5 * (small + small.T))
        return values, vectors

    def lowest(self) -> tuple[float, Array, Array, float]:
        """The lowest Ritz value, its vector, its residual, and the gap to the next one (inf if there is none)."""
        values, vectors = self.ritz()
        vector = self.basis.T @ vectors[:, 0]
        residual = self.image.T @ vectors[:, 0] - values[0] * vector
        return float(values[0]), vector, residual, float(values[1] - values[0]) if len(values) > 1 else math.inf

    def precondition(self, residual: Array, value: float, floor: float = 0.02) -> Array:
        """Davidson's correction: the residual over the estimated Hessian less a value, kept away from 0."""
        below = self.values - value
        below = np.where(np.abs(below) < floor, floor, below)
        if self.vectors is None:
            return residual / below
        return np.asarray(self.vectors @ ((self.vectors.T @ residual) / below))

    def guess(self, rng: np.random.Generator, floor: float = 0.05) -> Array:
        """A random direction, mostly of low curvature by the estimate."""
        x = rng.standard_normal(len(self.values)) / np.maximum(self.values, floor)
        return x if self.vectors is None else np.asarray(self.vectors @ x)

    def guesses(self, count: int) -> list[Array]:
        """The directions of the estimate's lowest curvatures."""
        out = []
        for k in np.argsort(self.values)[:count]:
            out.append(np.eye(1, len(self.values), k)[0] if self.vectors is None else self.vectors[:, k])
        return out

    def step(self, gradient: Array, radius: float) -> tuple[Array, float, Array]:
        """The lowest point of the quadratic model in the subspace and the trust region.

        Returns:
            (step, what the model expects it to bring (gradient @ step + step @ H @ step / 2), its residual).
        """
        values, vectors = self.ritz()
        slope = vectors.T @ (self.basis @ gradient)
        low = max(0.0, -float(values[0]))
        pad = 1e-8 * max(1.0, low)

        def move(shift: float) -> Array:
            return np.asarray(-slope / np.maximum(values + shift, pad))

        shift = low + pad if low > 0 else 0.0
        if low == 0 and values[0] < pad:
            shift = pad
        if np.linalg.norm(move(shift)) > radius:
            high = shift + float(np.linalg.norm(slope)) / radius + pad
            for _ in range(60):
                middle = 0.5 * (shift + high)
                shift, high = (middle, high) if np.linalg.norm(move(middle)) > radius else (shift, middle)
            y = move(high)
            shift = high
        else:
            y = move(shift)
            if low > 0:  # the hard case: what is left of the radius is gone along the way down
                left = math.sqrt(max(radius**2 - float(y @ y), 0.0))
                y[0] += math.copysign(left, y[0] if y[0] else 1.0)
        c = vectors @ y
        x = self.basis.T @ c
        hx = self.image.T @ c
        return x, float(gradient @ x + 0.5 * x @ hx), gradient + hx + shift * x


@dataclass(frozen=True)
class Verdict:
    """What a certificate says.

    Attributes:
        stable: True for a minimum, False where it goes down along `vector`, None if the products did not suffice.
        value: the lowest eigenvalue found.
        error: how far below it the lowest may lie, by the residual (Kato 1949, Temple 1928).
        vector: the direction of it, of length 1, shape (n,).
        products: how many were paid for.
    """

    stable: bool | None
    value: float
    error: float
    vector: Array
    products: int

    def __str__(self) -> str:
        what = {True: "a minimum", False: "a saddle", None: "not decided"}[self.stable]
        return f"{what}: lowest curvature {self.value:.2g} (- {self.error:.1g}), {self.products} products"


def certify(
    space: Subspace,
    starts: list[Array],
    *,
    threshold: float,
    rng: np.random.Generator,
    checks: int = 2,
    roots: int = 2,
    accuracy: float = 0.05,
    most: int = 60,
    clarity: float = 0.5,
) -> Verdict:
    """Find the sign of the lowest eigenvalue.

    Args:
        space: empty, or filled by somebody else at the same point.
        starts: directions to begin with, e.g. what was lowest nearby; more are made from the diagonal.
        threshold: of a negative curvature that counts, > 0.
        rng: for the starts.
        checks: after a verdict of "stable", so many independent directions are tried: one invariant subspace says
            nothing about the others.
        most: products.
        clarity: a way down is good enough when its residual is below this share of its curvature.
    """
    before = len(space.basis)
    for start in starts:
        space.extend(start)
    for _ in range(checks):  # an invariant subspace says nothing about the others: random ones belong to none
        space.extend(space.guess(rng))
    while True:
        used = len(space.basis) - before
        if len(space.basis) == 0:  # nothing may move
            return Verdict(True, math.inf, 0.0, np.zeros(len(space.values)), 0)
        values, vectors = space.ritz()
        k = min(roots, len(values))
        residuals = space.image.T @ vectors[:, :k] - space.basis.T @ (vectors[:, :k] * values[:k])
        sizes = np.zeros(k) if space.full else np.linalg.norm(residuals, axis=0)
        value, vector, size = float(values[0]), space.basis.T @ vectors[:, 0], float(sizes[0])
        error = size**2 / accuracy if size < accuracy else size
        if value < -threshold and (size < clarity * -value or used >= most):
            return Verdict(False, value, error, vector, used)
        open_ = (sizes > accuracy) | (values[:k] - sizes**2 / accuracy < -threshold)
        if not open_.any() and (k == roots or space.full):
            return Verdict(True, value, error, vector, used)
        if used >= most:
            return Verdict(None, value, error, vector, used)
        target = int(np.argmax(open_))
        if not space.extend(space.precondition(residuals[:, target], values[target])):
            space.extend(rng.standard_normal(len(space.values)))
