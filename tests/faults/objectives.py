"""What the victims evaluate: a smooth function, and now and then something bad."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import metaloop as ml
from metaloop.run.evaluate import current_trial

SPACE = ml.Space(
    x=ml.Float(-5.0, 5.0),
    rate=ml.Float(1e-4, 1e-1, log=True),
    kind=ml.Categorical(["a", "b", "c"]),
    depth=ml.Int(1, 9, when={"kind": ["a", "b"]}),
)


def bowl(config: dict[str, Any]) -> float:
    return config["x"] ** 2 + abs(config["rate"] - 0.01) * 30 + config.get("depth", 4) / 9


@dataclass(frozen=True)
class Objective:
    """`bowl`, or for the trials 0, 1, 2, … what `acts` says in turn, over and over.

    Attributes:
        acts: names in `acts.ACTS`; an empty one for `bowl`.
        hold: seconds that an evaluation takes.
        folder: of the study.
    """

    acts: tuple[str, ...] = ("",)
    hold: float = 0.0
    folder: str = ""

    def __call__(self, config: dict[str, Any]) -> Any:
        if self.hold:
            time.sleep(self.hold)
        act = self.acts[current_trial.get().number % len(self.acts)]
        if not act:
            return bowl(config)
        from acts import ACTS

        return ACTS[act](self.folder)
