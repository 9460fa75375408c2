"""metaloop: build, run and understand outer loops. This file is the public list, names only."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaloop import landscape, optimizers, space, study, testing
    from metaloop.errors import InputError, RunError, StoreError
    from metaloop.optimizers import (
        CMAES,
        LBFGS,
        TPE,
        DifferentialEvolution,
        GaussianProcess,
        GridSearch,
        Hyperband,
        RandomSearch,
        Sobol,
        SuccessiveHalving,
        SurrogateCMAES,
        TrustRegion,
    )
    from metaloop.optimizers.ask_tell import AskTell
    from metaloop.optimizers.protocol import Decision, Observation
    from metaloop.recipe import configure, space_of, tunable
    from metaloop.run.minimize import maximize, minimize
    from metaloop.selection.auto import Auto
    from metaloop.selection.portfolio import Portfolio
    from metaloop.selection.tune import tune
    from metaloop.space import Categorical, Choice, Float, Int, Space
    from metaloop.study import Result, Study, Trial

__version__ = "0.1.0"

_HOME = {
    "AskTell": "optimizers.ask_tell",
    "Auto": "selection.auto",
    "Categorical": "space",
    "Choice": "space",
    "CMAES": "optimizers.cmaes",
    "configure": "recipe",
    "Decision": "optimizers.protocol",
    "DifferentialEvolution": "optimizers.differential_evolution",
    "Float": "space",
    "GaussianProcess": "optimizers.gaussian_process",
    "GridSearch": "optimizers.grid",
    "Hyperband": "optimizers.successive_halving",
    "InputError": "errors",
    "Int": "space",
    "LBFGS": "optimizers.lbfgs",
    "maximize": "run.minimize",
    "minimize": "run.minimize",
    "Observation": "optimizers.protocol",
    "Portfolio": "selection.portfolio",
    "RandomSearch": "optimizers.random",
    "Result": "study",
    "RunError": "errors",
    "Sobol": "optimizers.sobol",
    "Space": "space",
    "space_of": "recipe",
    "StoreError": "errors",
    "Study": "study",
    "SuccessiveHalving": "optimizers.successive_halving",
    "SurrogateCMAES": "optimizers.surrogate_cmaes",
    "TPE": "optimizers.tpe",
    "Trial": "study",
    "TrustRegion": "optimizers.trust_region",
    "tunable": "recipe",
    "tune": "selection.tune",
}
_ROOMS = ("landscape", "optimizers", "selection", "space", "study", "testing")

__all__ = [  # noqa: RUF022 - grouped as a reader meets them
    "Space", "Float", "Int", "Categorical", "Choice",
    "minimize", "maximize", "Study", "Result", "Trial", "AskTell",
    "Auto", "Portfolio", "CMAES", "DifferentialEvolution", "GaussianProcess", "GridSearch", "Hyperband", "LBFGS",
    "RandomSearch", "Sobol", "SuccessiveHalving", "SurrogateCMAES", "TPE", "TrustRegion",
    "tune", "tunable", "space_of", "configure",
    "Observation", "Decision", "InputError", "RunError", "StoreError",
    "landscape", "optimizers", "space", "study", "testing",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"metaloop.{_HOME[name]}"), name)
    if name in _ROOMS:
        return import_module(f"metaloop.{name}")
    raise AttributeError(f"module 'metaloop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
