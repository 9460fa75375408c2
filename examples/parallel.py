"""Several trials at a time, each in a process of its own; a trial that hangs or crashes fails alone."""

import os
import time
from typing import Any

import metaloop as ml


def objective(config: dict[str, Any]) -> float:
    """A bowl with a precipice and a swamp."""
    if config["x"] > 4.5:
        os._exit(1)  # as a crash in compiled code would
    if config["x"] < -4.5:
        time.sleep(3600)
    time.sleep(0.05)
    return float((config["x"] - 1) ** 2)


if __name__ == "__main__":
    space = ml.Space(x=ml.Float(-5, 5))
    result = ml.minimize(objective, space, budget=40, workers=4, timeout=1.0, optimizer=ml.RandomSearch())
    print(result)
    for trial in result.trials:
        if trial.error:
            print(f"trial {trial.number} failed: {trial.error.splitlines()[-1]}")
