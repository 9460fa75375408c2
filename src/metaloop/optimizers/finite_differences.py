"""Derivatives from values: where to evaluate, how far to step, and how noisy the values are.

Sources: Gill, Murray, Saunders & Wright, SIAM J. Sci. Stat. Comput. 4 (1983) and Moré & Wild, ACM TOMS 38 (2012): step
sizes from noise and curvature; Moré & Wild, SIAM J. Sci. Comput. 33 (2011) [ECnoise]: noise from a difference table.
"""

from __future__ import annotations

import math

import numpy as np

from metaloop.space import Array, Mask

LARGEST = 0.2  # step, in widths of the cube
SMALLEST = 1e-9
TABLE = 7  # values of a difference table, the first one included
_PLACES = np.array([1.0, -1.0, -2.0, 2.0])  # where to evaluate, in steps; the next one where the wall is or it failed


def steps(noise: float, curvature: Array, central: bool) -> Array:
    """Steps that balance noise against truncation, shape (d,).

    Args:
        noise: standard deviation of a value, > 0.
        curvature: size of the second derivatives, > 0; the third are taken to be as large, for lack of better.
        central: two values a coordinate instead of one.
    """
    h = (3.0 * noise / curvature) ** (1 / 3) if central else 2.0 * np.sqrt(noise / curvature)
    return np.clip(h, SMALLEST, LARGEST)


def errors(noise: float, curvature: Array, h: Array, central: Mask | np.bool) -> Array:
    """How far derivatives with steps h may be off, shape (d,); arguments as for `steps`."""
    return np.where(central, curvature * h**2 / 6.0 + noise / h, 0.5 * curvature * h + 2.0 * noise / h)


def places(u: float, h: float) -> Array:
    """Coordinates to evaluate around u in [0, 1], best first: both sides, then twice as far where there is a wall."""
    at = u + h * _PLACES
    return at[(at >= 0.0) & (at <= 1.0)]


def derivatives(offsets: Array, rises: Array) -> tuple[float, float]:
    """First and second derivative at 0 from one or two values: the line or the parabola through them.

    Args:
        offsets: distinct, not 0, shape (1,) or (2,).
        rises: values minus the one at 0, same shape.

    Returns:
        the second is NaN with one value.
    """
    slopes = rises / offsets
    if len(offsets) == 1:
        return float(slopes[0]), math.nan
    a, b = offsets
    return float((slopes[0] * b - slopes[1] * a) / (b - a)), float(2.0 * (slopes[0] - slopes[1]) / (a - b))


def noise_level(values: Array) -> float:
    """Standard deviation of the noise in values at equal distances, [ECnoise] section 6; NaN where none stands out.

    The k-th differences of a smooth function vanish as the distance does, those of noise do not: the level is where
    three estimates in a row agree within a factor of 4 and the differences change sign.
    """
    table, estimates, mixed = values, list[float](), list[bool]()
    for k in range(1, len(values)):
        table = np.diff(table)
        estimates.append(math.sqrt(math.factorial(k) ** 2 / math.factorial(2 * k) * float((table**2).mean())))
        mixed.append(bool(table.min() < 0 < table.max()))
    for k in range(len(estimates) - 2):
        three = estimates[k : k + 3]
        if mixed[k] and max(three) <= 4.0 * min(three):
            return three[0]
    return math.nan
