"""A study in a file: killed at any moment and started again, it goes on where it was.

Run it twice, or kill it in between: the second run evaluates only what the first has not.
"""

import argparse
from typing import Any

import metaloop as ml

evaluated = 0


def objective(config: dict[str, Any]) -> float:
    """A bowl."""
    global evaluated
    evaluated += 1
    return float((config["x"] - 1) ** 2 + (config["y"] + 2) ** 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", default="resume.db")
    parser.add_argument("--budget", type=int, default=30)
    options = parser.parse_args()
    space = ml.Space(x=ml.Float(-5, 5), y=ml.Float(-5, 5))
    result = ml.minimize(objective, space, budget=options.budget, store=options.file, name="bowl")
    print(f"evaluated {evaluated} now, {len(result.trials)} in all; best {result.value:.3g}")
