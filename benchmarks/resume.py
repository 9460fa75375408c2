"""A study killed with -9 and resumed asks what the uninterrupted one asked.

    python benchmarks/resume.py [--moments 12] [--budget 24]

For each optimizer one run goes through undisturbed; then the same run is killed with SIGKILL at chosen moments (inside
the objective, just before a commit, just after it) and started again until it is done. The asked points are compared
bit for bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import metaloop as ml
from metaloop.recipe import from_data

SPACE = ml.Space(
    x=ml.Float(-5.0, 5.0),
    rate=ml.Float(1e-4, 1e-1, log=True),
    kind=ml.Categorical(["a", "b", "c"]),
    depth=ml.Int(1, 9, when={"kind": ["a", "b"]}),
)
OPTIMIZERS = ("RandomSearch", "Sobol", "CMAES", "GaussianProcess", "Auto")


def objective(config: dict[str, object]) -> float:
    return float(config["x"]) ** 2 + abs(float(config["rate"]) - 0.01) * 30 + int(config.get("depth", 4)) / 9  # type: ignore[call-overload]


def run(path: str, optimizer: str, budget: int, where: str, at: int) -> None:
    """The child: `where` names the place and `at` the occasion at which it kills itself."""
    count = 0

    def strike(place: str) -> None:
        nonlocal count
        if place == where:
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    from metaloop.study.store.sqlite import SQLiteStore

    class Fragile(SQLiteStore):
        def append(self, *arguments):  # type: ignore[no-untyped-def]
            stored = super().append(*arguments)
            strike("before a commit")
            return stored

    def evaluated(config: dict[str, object]) -> float:
        strike("in the objective")
        return objective(config)

    store = Fragile(path)
    recipe = from_data({"recipe": optimizer})
    ml.minimize(
        evaluated, SPACE, budget=budget, optimizer=recipe, store=store, callback=lambda _: strike("after a commit")
    )


def asked(path: Path) -> list[bytes]:
    with ml.Study(path, readonly=True) as study:
        return [t.row.tobytes() for t in study.trials]


def compare(
    optimizer: str, budget: int, moments: list[tuple[str, int]], folder: Path
) -> list[tuple[str, int, int, bool]]:
    """(where, at, trials stored when killed, identical?) for every moment."""

    def child(path: Path, where: str = "", at: int = 0) -> int:
        command = [sys.executable, __file__, "--child", str(path), optimizer, str(budget), where, str(at)]
        return subprocess.run(command, check=False).returncode

    whole = folder / f"{optimizer}.db"
    assert child(whole) == 0
    expected = asked(whole)
    rows = []
    for i, (where, at) in enumerate(moments):
        path = folder / f"{optimizer}-{i}.db"
        code = child(path, where, at)
        stored = len(asked(path))
        assert code == -signal.SIGKILL, f"the child was not killed {where} {at}"
        assert child(path) == 0
        rows.append((where, at, stored, asked(path) == expected))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=12)
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--optimizers", nargs="*", default=OPTIMIZERS)
    options = parser.parse_args()
    places = ("in the objective", "before a commit", "after a commit")
    moments = [(places[i % 3], 1 + (i * 7) % (options.budget - 1)) for i in range(options.moments)]
    print("| optimizer | killed | occasion | trials on disk | asked the same as uninterrupted |\n|---|---|---|---|---|")
    same = total = 0
    with tempfile.TemporaryDirectory() as folder:
        for optimizer in options.optimizers:
            for where, at, stored, identical in compare(optimizer, options.budget, moments, Path(folder)):
                print(f"| {optimizer} | {where} | {at} | {stored} | {'yes' if identical else 'NO'} |", flush=True)
                same, total = same + identical, total + 1
    print(f"\n{same} of {total} resumed runs are identical to the uninterrupted one, bit for bit.")
    if same != total:
        sys.exit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
    else:
        main()
