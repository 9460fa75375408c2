"""Topology optimization in the plane: right, fast, and what a better method finds.

Half of the MBB beam, beside the 88 lines (Andreassen et al. 2011) written in Python with five direct solvers, each in a
process of its own, all on one thread, CPU time.

Usage: python benchmarks/topology2d.py [--peer-python .venv-structure/bin/python] [--part right fast wide better]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from metaloop.structure import SIMP, Problem, Topology, beam, optimize

PEERS = {
    "port": "the 88 lines, spsolve",
    "vectorized": "the same, vectorized filter, minimum degree",
    "pytopo3d": "the same, PARDISO as pytopo3d calls it",
    "cholmod": "the same, CHOLMOD, pattern and order found once",
    "pardiso": "the same, PARDISO, likewise, symmetric",
}
KNOWN = ((60, 20, 2.4, "sensitivity", 216.8137), (60, 20, 1.5, "sensitivity", 203.1925), (60, 20, 2.4, "density", 233.7146),  # noqa: E501
         (150, 50, 6.0, "sensitivity", 219.5199))  # fmt: skip


def child(python: str, **arguments: object) -> dict[str, list[float]]:
    """What a peer prints."""
    script = Path(__file__).parent / "structure_peers" / "topology2d.py"
    words = [w for name, value in arguments.items() for w in (f"--{name}", str(value))]
    done = subprocess.run([python, str(script), *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def timed(problem: Problem, recipe: SIMP, keep: tuple[int, ...] = ()) -> tuple[Topology, list[float], dict, float]:
    """(the design, CPU seconds of each iteration, designs kept with their compliances, CPU seconds in all)."""
    begun = time.process_time()
    marks, kept = [begun], {}

    def progress(k: int, value: float, density: np.ndarray) -> None:
        marks.append(time.process_time())
        if k in keep:
            kept[k] = (value, density.copy())

    found = optimize(problem, recipe, progress=progress)
    return found, list(np.diff(marks)), kept, time.process_time() - begun


def exact(problem: Problem, density: np.ndarray) -> float:
    """The compliance by an assembled matrix and SuperLU, with one step of refinement."""
    (nx, ny), element = problem.shape, problem.element.matrix
    nodes = np.arange((nx + 1) * (ny + 1)).reshape(nx + 1, ny + 1)
    corners = np.stack([nodes[:-1, :-1], nodes[1:, :-1], nodes[:-1, 1:], nodes[1:, 1:]], -1).reshape(-1, 4)
    dofs = (2 * corners[..., None] + np.arange(2)).reshape(-1, 8)
    entries = (1e-9 + density.ravel() ** 3 * (1 - 1e-9))[:, None, None] * element
    place = (np.repeat(dofs, 8, axis=1).ravel(), np.tile(dofs, (1, 8)).ravel())
    matrix = scipy.sparse.csc_matrix((entries.ravel(), place), shape=(2 * nodes.size,) * 2)
    free = np.flatnonzero(~np.moveaxis(problem.supports, 0, -1).ravel())
    load = np.moveaxis(problem.loads[0], 0, -1).ravel()[free]
    inner = matrix[free][:, free]
    factors = scipy.sparse.linalg.splu(inner, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0,
                                       options={"SymmetricMode": True})  # fmt: skip
    u = factors.solve(load)
    u += factors.solve(load - inner @ u)
    return float(load @ u)


def right(python: str) -> None:
    print("| mesh | radius | filter | published algorithm, known value | ours | iterations | the 88 lines, this run |")
    print("|---|---|---|---|---|---|---|")
    for nx, ny, radius, kind, known in KNOWN:
        found = optimize(beam(nx, ny), SIMP(radius=radius, filter=kind, iterations=400, bisection=1e-3, precision=1e-5))
        theirs = "–"
        if python:
            said = child(python, engine="vectorized", nx=nx, ny=ny, radius=radius, filter=kind, iterations=400)
            theirs = f"{said['compliances'][-1]:.4f} in {len(said['compliances'])}"
        print(f"| {nx} x {ny} | {radius} | {kind} | {known} | {found.history[-1, 0]:.4f} | {len(found.history)} | {theirs} |",  # noqa: E501
              flush=True)  # fmt: skip


def fast(python: str) -> None:
    problem = beam(300, 100)
    for radius in (2.4, 12.0):
        recipe = SIMP(radius=radius, filter="sensitivity", iterations=100, tolerance=0)
        timed(beam(30, 10), SIMP(radius=radius, iterations=3))  # compile
        found, seconds, kept, total = timed(problem, recipe, (0, 4, 19, 49, 99))
        error = max(abs(value / exact(problem, density) - 1) for value, density in kept.values())
        mean = float(np.mean(seconds))
        print(f"\n300 x 100, radius {radius}, sensitivity filter, 100 iterations: compliance errs by at most {error:.1e}, "  # noqa: E501
              f"solver iterations at most {found.history[:, 3].max():.0f}\n")  # fmt: skip
        print("| | set-up, CPU s | an iteration, CPU ms | it / ours | 100 iterations with set-up, it / ours |")
        print("|---|---|---|---|---|")
        print(f"| ours | – | {1e3 * mean:.1f} [{1e3 * min(seconds):.1f}, {1e3 * max(seconds):.1f}] | 1 | 1 |")
        for engine, title in PEERS.items() if python else ():
            said = child(python, engine=engine, nx=300, ny=100, radius=radius, iterations=8)
            one = float(np.median(said["seconds"]))
            print(f"| {title} | {said['setup']:.2f} | {1e3 * one:.0f} [{1e3 * min(said['seconds']):.0f}, "
                  f"{1e3 * max(said['seconds']):.0f}] | {one / mean:.1f} | {(said['setup'] + 100 * one) / total:.0f} |",
                  flush=True)  # fmt: skip


def wide(python: str) -> None:
    print("\n| mesh | CPU s an iteration, mean of 100 [least, most] | solver iterations, mean [most] |")
    print("|---|---|---|")
    for nx, ny in ((512, 256), (1024, 512)):
        found, seconds, _, _ = timed(beam(nx, ny), SIMP(radius=4, filter="sensitivity", iterations=100, tolerance=0))
        counts = found.history[:, 3]
        print(f"| {nx} x {ny} | {np.mean(seconds):.3f} [{min(seconds):.3f}, {max(seconds):.3f}] | {counts.mean():.1f} "
              f"[{counts.max():.0f}] |", flush=True)  # fmt: skip


def better(python: str) -> None:
    print(
        "\n| 300 x 100, radius | method | compliance, black and white | to the 88 lines', sensitivity | grey | CPU s |"
    )
    print("|---|---|---|---|---|---|")
    for radius in (4.0, 12.0):
        first = None
        rows = {
            "the 88 lines, sensitivity filter": SIMP(radius=radius, filter="sensitivity", iterations=500, bisection=1e-3),  # noqa: E501
            "the 88 lines, density filter": SIMP(radius=radius, filter="density", iterations=500, bisection=1e-3),
            "projection, criteria": SIMP(radius=radius, sharpness=32 * radius / 4, penalty_start=1, ramp=0.5, iterations=300, update="criteria"),  # noqa: E501
            "projection, asymptotes": SIMP(radius=radius, sharpness=32 * radius / 4, penalty_start=1, ramp=0.5,
                                           iterations=300, update="mma"),
        }  # fmt: skip
        for title, recipe in rows.items():
            found, _, _, total = timed(beam(300, 100), recipe)
            value = exact(found.problem, found.black_and_white)
            first = first or value
            print(f"| {radius:g} | {title} | {value:.2f} | {100 * (value / first - 1):+.1f} % | {100 * found.grey:.2f} % | "  # noqa: E501
                  f"{total:.1f} |", flush=True)  # fmt: skip


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default="")
    parser.add_argument("--part", nargs="*", default=["right", "fast", "wide", "better"])
    given = parser.parse_args()
    for part in given.part:
        {"right": right, "fast": fast, "wide": wide, "better": better}[part](given.peer_python)


if __name__ == "__main__":
    main()
