"""Topology optimization in space: CPU time and memory beside pytopo3d, and meshes that a direct solver cannot take.

Every run is a process of its own on one thread. pytopo3d solves with PARDISO.

Usage: python benchmarks/topology3d.py [--peer-python .venv-structure/bin/python] [--meshes 24x12x12 48x24x24 96x48x48
       160x80x80] [--iterations 100]
       python benchmarks/topology3d.py --one 320x160x160 --iterations 3
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np


def ours(shape: tuple[int, ...], iterations: int) -> dict[str, object]:
    """One run: pytopo3d's default problem."""
    from metaloop.structure import SIMP, Problem, empty, optimize

    supports, load = empty(shape)
    supports[:, 0] = True
    load[2, -1, :, 0] = -1
    recipe = SIMP(radius=1.5, filter="density", iterations=iterations, tolerance=0)
    small = empty((8, 4, 4))
    small[0][:, 0], small[1][2, -1, :, 0] = True, -1
    optimize(Problem((8, 4, 4), *small, 0.3), SIMP(radius=1.5, iterations=2))  # compile
    begun = time.process_time()
    marks = [begun]

    def progress(k: int, value: float, density: np.ndarray) -> None:
        marks.append(time.process_time())
        print(f"{k} {value:.4f} {marks[-1] - begun:.0f} s", file=sys.stderr, flush=True)

    found = optimize(Problem(shape, supports, load, 0.3), recipe, progress=progress)
    total = time.process_time() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": list(np.diff(marks)), "total": total, "compliances": list(found.history[:, 0]), "mb": memory,
            "counts": list(found.history[:, 3]), "residual": found.residual, "grey": found.grey}  # fmt: skip


def child(words: list[str]) -> dict:
    """What a process prints last."""
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default="")
    parser.add_argument("--meshes", nargs="*", default=["24x12x12", "48x24x24", "96x48x48", "160x80x80"])
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--largest-peer", type=int, default=30_000, help="elements that the peer is given at most")
    parser.add_argument("--one", default="", help="run ours on this mesh and print its line of JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(ours(tuple(int(n) for n in given.one.split("x")), given.iterations)))
        return
    script = Path(__file__)
    print("| mesh | elements | ours: CPU s an iteration [least, most] | iterations: CPU s in all | solver iterations, mean "  # noqa: E501
          "[most] | MB | pytopo3d: CPU s an iteration | MB | time, it / ours | memory | first compliances differ by |")  # fmt: skip  # noqa: E501
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for mesh in given.meshes:
        shape = [int(n) for n in mesh.split("x")]
        mine = child([sys.executable, str(script), "--one", mesh, "--iterations", str(given.iterations)])
        seconds, counts = np.array(mine["seconds"]), np.array(mine["counts"])
        cells = "– | – | – | – | –"
        if given.peer_python and np.prod(shape) <= given.largest_peer:
            peer = script.parent / "structure_peers" / "topology3d.py"
            theirs = child([given.peer_python, str(peer), *map(str, shape), "--iterations", "4"])
            one = float(np.median(theirs["seconds"]))
            apart = theirs["compliances"][0] / mine["compliances"][0] - 1
            cells = (f"{one:.2f} | {theirs['mb']:.0f} | {one / seconds.mean():.0f} | {theirs['mb'] / mine['mb']:.1f} | "
                     f"{apart:.0e}")  # fmt: skip
        print(f"| {mesh} | {np.prod(shape):,} | {seconds.mean():.3f} [{seconds.min():.3f}, {seconds.max():.3f}] | "
              f"{len(seconds)}: {mine['total']:.0f} | {counts.mean():.1f} [{counts.max():.0f}] | {mine['mb']:.0f} | "
              f"{cells} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
