"""An optimizer of one's own: three methods over a state. Installed, `optimizer="HillClimber"` works everywhere."""

from dataclasses import dataclass

import numpy as np

from metaloop.optimizers.protocol import Status, check_tell, generator
from metaloop.optimizers.state import state
from metaloop.recipe import tunable
from metaloop.space import Float, Space


@state
@dataclass
class HillClimberState:
    space: Space
    rng: np.random.Generator
    best: np.ndarray
    value: float = np.inf


@dataclass(frozen=True)
class HillClimber:
    step: float = tunable(0.1, Float(0.01, 0.5, log=True))

    def init(self, space: Space, seed: int) -> HillClimberState:
        rng = generator(seed)
        return HillClimberState(space, rng, space.sample(rng, 1)[0])

    def ask(self, state: HillClimberState, n: int) -> tuple[np.ndarray, HillClimberState]:
        best = np.where(np.isnan(state.best), 0.5, state.best)  # NaN: a parameter that is inactive there
        points = best + self.step * state.rng.standard_normal((n, state.space.dim))
        return state.space.repair(points, state.rng), state

    def tell(self, state: HillClimberState, points: np.ndarray, told: list) -> HillClimberState:
        for row, seen in zip(*check_tell(state.space, points, told), strict=True):
            if seen.status is Status.OK and seen.violation == 0 and seen.value < state.value:
                state.best, state.value = row, seen.value
        return state
