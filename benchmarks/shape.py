"""Shape optimization where the answer is known.

- A slender cantilever under a tip load, of given area: with the height h(x) free, compliance falls to 16/27 of the
  uniform beam's (∫ M²/h³ at fixed ∫ h: h ~ √x); with the width free, to 3/4 (∫ M²/b at fixed ∫ b: b ~ x).
- Of all membranes of an area, the disk has the lowest first frequency (Faber & Krahn): λ times the area is π j², where
  j is the first zero of the Bessel function J0.
- The stiffest hole of an area in a large plate under stresses s1 and s2 of one sign is an ellipse with axes as s1 to
  s2; along it the hoop stress is s1 + s2 everywhere (Cherepanov 1974, Banichuk 1977).

Usage: python benchmarks/shape.py
"""

from __future__ import annotations

import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
from scipy import optimize
from scipy.special import jn_zeros

from metaloop.structure.mapped import Membrane, Sheet
from metaloop.structure.shape import Hole, Profile, Star, improve


def row(title: str, exact: float, ours: float, solves: int, begun: float, note: str) -> None:
    seconds = time.process_time() - begun
    print(f"| {title} | {exact:.5g} | {ours:.5g} | {100 * (ours / exact - 1):+.3f} % | {solves} | {seconds:.1f} | {note} |",  # noqa: E501
          flush=True)  # fmt: skip


def clamped(profile: Profile, thickness: np.ndarray | None = None) -> Sheet:
    """The cantilever: clamped at x = length, loaded at x = 0."""
    at = profile.at
    load = np.zeros((profile.mesh.nodes, 2))
    tip = np.flatnonzero(at[:, 0] == 0)
    load[tip[len(tip) // 2], 1] = 1
    fixed = np.repeat((at[:, 0] == 1)[:, None], 2, 1)
    return Sheet(profile.mesh, fixed, load, 0.0, thickness)


def heights() -> None:
    for length in (100.0, 400.0):
        for stations in (21, 41):
            begun = time.process_time()
            profile = Profile(length, stations)
            sheet = clamped(profile)

            def judge(places: np.ndarray, sheet: Sheet = sheet) -> tuple[float, np.ndarray]:
                return sheet.compliance(places)[:2]

            uniform = np.ones(stations)
            found = improve(profile, judge, uniform, area=length, bounds=(0.02, 5.0), iterations=300)
            x = np.linspace(0, 1, stations)[2:]
            bent = np.abs(found.parameters[2:] / (1.5 * np.sqrt(x)) - 1).max()
            row(f"cantilever's height, length {length:g}, {stations} stations", 16 / 27, found.value / found.start,
                found.solves, begun, f"h within {100 * bent:.1f} % of 3/2 √x; KKT {found.kkt:.0e}")  # fmt: skip


def widths() -> None:
    for cells in (20, 40, 80):
        begun = time.process_time()
        profile = Profile(100.0, cells // 2 + 1, 1)
        places = profile.places(np.ones(cells // 2 + 1))
        solves = 0

        def objective(
            b: np.ndarray, profile: Profile = profile, places: np.ndarray = places
        ) -> tuple[float, np.ndarray]:
            nonlocal solves
            solves += 1
            value, _, slope = clamped(profile, b).compliance(places)
            return value, slope

        start = np.ones(cells)
        first, _ = objective(start)
        held = {"type": "eq", "fun": lambda b: b.mean() - 1, "jac": lambda b: np.full(b.size, 1 / b.size)}
        found = optimize.minimize(lambda b: tuple(v / first for v in objective(b)), start, jac=True, method="SLSQP",
                                  bounds=[(1e-3, 10)] * cells, constraints=held,
                                  options={"maxiter": 300, "ftol": 1e-12})  # fmt: skip
        row(f"cantilever's width, {cells} cells", 0.75, float(found.fun), solves, begun, found.message)


def drums() -> None:
    exact = float(np.pi * jn_zeros(0, 1)[0] ** 2)
    for rings, sectors in ((6, 24), (12, 48)):
        for order, name in ((4, "trefoil-like"), (8, "random")):
            begun = time.process_time()
            star = Star(order, rings, sectors)
            drum = Membrane(star.mesh, star.rim)
            start = np.zeros(2 * order + 1)
            start[0] = 1
            if name == "random":
                k = np.arange(1, order + 1)
                start[1:] = np.random.default_rng(0).normal(size=2 * order) * 0.12 / np.tile(k, 2)
            else:
                start[[2, 3]] = 0.15, 0.2
            start[[1, order + 1]] = 0  # where it is does not matter

            def judge(places: np.ndarray, drum: Membrane = drum) -> tuple[float, np.ndarray]:
                level, _, slope = drum.lowest(places)
                return level, slope

            found = improve(star, judge, start, area=float(np.pi), iterations=150)
            rest = np.abs(np.delete(found.parameters, [0, 1, order + 1])).max()
            begin = found.start * star.mesh.area(star.places(start))[0]
            row(f"membrane, {name} start, order {order}, {rings} x {sectors} cells", exact, found.value * found.area,
                found.solves, begun, f"from {begin:.2f}; largest other coefficient {rest:.1e}")  # fmt: skip


def holes() -> None:
    for s1, s2 in ((1.0, 1.0), (1.5, 1.0), (2.0, 1.0)):
        for outer, rings, sectors in ((30.0, 12, 12), (60.0, 20, 20)):
            begun = time.process_time()
            hole = Hole(6, outer, rings, sectors)
            edge = hole.at[:, 1]
            fixed = np.column_stack([edge == 1, edge == 0])
            sheet = Sheet(hole.mesh, fixed, hole.outer_load((s1, s2)))

            def judge(places: np.ndarray, sheet: Sheet = sheet) -> tuple[float, np.ndarray]:
                return sheet.compliance(places)[:2]

            start = np.zeros(7)
            area = hole.mesh.area(hole.places(start))[0]
            begin = stress(sheet, hole, start)
            # The hole changes the plate's compliance by some (1 / outer)²: judge what it adds to the full plate's.
            full = (s1**2 + s2**2 - 2 * 0.3 * s1 * s2) * np.pi * outer**2 / 4
            found = improve(hole, lambda p, j=judge, f=full: (j(p)[0] - f, j(p)[1]), start, area=area, iterations=200)
            inner = hole.series @ found.parameters
            at = {t: float(np.exp(inner[(hole.at[:, 0] == 0) & (hole.at[:, 1] == t)][0])) for t in (0.0, 1.0)}
            hoop = stress(sheet, hole, found.parameters)
            row(f"hole, stresses {s1:g} : {s2:g}, plate {outer:g}, {rings} x {sectors} cells", s1 / s2, at[0.0] / at[1.0],  # noqa: E501
                found.solves, begun, f"hoop stress {hoop.min():.3f} to {hoop.max():.3f} (circle: {begin.min():.2f} to "
                f"{begin.max():.2f}; {s1 + s2:g} is known)")  # fmt: skip


def stress(sheet: Sheet, hole: Hole, parameters: np.ndarray) -> np.ndarray:
    """The hoop stress along the hole."""
    places = hole.places(parameters)
    at, tensor = sheet.boundary_stress(places, sheet.solve(places), 0)
    rim = np.abs(np.log(np.hypot(*at.T))) < np.log(hole.outer) / 2
    first = np.isclose(hole.at[sheet.mesh.cells[:, 0], 0], 0)
    return np.trace(tensor[first & rim], axis1=1, axis2=2)  # no traction: the trace is the hoop stress


def main() -> None:
    """Print the table."""
    print("| problem | known | ours | apart | solves | CPU s | |")
    print("|---|---|---|---|---|---|---|")
    heights()
    widths()
    drums()
    holes()


if __name__ == "__main__":
    main()
