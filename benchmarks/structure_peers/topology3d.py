"""pytopo3d on its own default problem: CPU seconds of each iteration, compliances and memory, as a line of JSON.

    python topology3d.py 48 24 24 --iterations 3

A cantilever clamped at x = 0, a unit load along -z at every node of the edge x = nx, z = 0; volume 0.3, penalty 3,
density filter of radius 1.5. One thread of MKL unless told otherwise.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import pytopo3d.core.optimizer as core


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", type=int, nargs=3)
    parser.add_argument("--iterations", type=int, default=3)
    given = parser.parse_args()
    marks: list[float] = []
    values: list[float] = []
    evaluate = core.ComplianceEvaluator.evaluate

    def timed(self, density, penalty):  # type: ignore[no-untyped-def]
        marks.append(time.process_time())
        out = evaluate(self, density, penalty)
        values.append(float(out[0]))
        return out

    core.ComplianceEvaluator.evaluate = timed
    begun = time.process_time()
    core.top3d(*given.shape, 0.3, 3.0, 1.5, 0.5, tolx=0.0, maxloop=given.iterations)
    end = time.process_time()
    seconds = [b - a for a, b in zip(marks, [*marks[1:], end], strict=True)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"setup": marks[0] - begun, "seconds": seconds, "compliances": values, "mb": memory}))


if __name__ == "__main__":
    main()
