"""How likely is it that a roof truss sags by more than 3.9 cm? About one in a million: no simulation would see it.

The truss and its random variables: Song, Lu & Qiao, Structural Safety 31, 42 (2009).
"""

import numpy as np
from scipy.stats import norm

from metaloop.online.sampling import probability

VARIABLES = [
    norm(20_000, 1_400),  # load, N/m
    norm(12, 0.12),  # span, m
    norm(9.82e-4, 5.892e-5),  # area of the steel bars, m2
    norm(0.04, 0.0048),  # area of the concrete bars, m2
    norm(1e11, 6e9),  # modulus of steel, N/m2
    norm(2e10, 1.2e9),  # modulus of concrete, N/m2
]


def limit_state(x: np.ndarray) -> np.ndarray:
    """What is left until 3.9 cm (m), shape (n,), for points of shape (n, 6); the event is <= 0."""
    load, span, steel, concrete, e_steel, e_concrete = x.T
    return 0.039 - load * span**2 / 2 * (3.81 / (concrete * e_concrete) + 1.13 / (steel * e_steel))


def main() -> None:
    """Estimate, and say how."""
    found = probability(limit_state, VARIABLES, budget=30_000, seed=0)
    low, high = found.interval
    print(f"probability {found.value:.3g}, 95 % interval {low:.3g} to {high:.3g}, {found.evaluations} evaluations")
    print(f"status: {found.status}")
    print(found.why())


if __name__ == "__main__":
    main()
