"""HOW TO SEARCH? One protocol, one algorithm a file; names are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaloop import registry

if TYPE_CHECKING:
    from metaloop.optimizers.categorical_process import CategoricalProcess
    from metaloop.optimizers.cmaes import CMAES
    from metaloop.optimizers.differential_evolution import DifferentialEvolution
    from metaloop.optimizers.gaussian_process import GaussianProcess
    from metaloop.optimizers.grid import GridSearch
    from metaloop.optimizers.lbfgs import LBFGS
    from metaloop.optimizers.local_search import LocalSearch
    from metaloop.optimizers.random import RandomSearch
    from metaloop.optimizers.regularized_evolution import RegularizedEvolution
    from metaloop.optimizers.sobol import Sobol
    from metaloop.optimizers.successive_halving import Hyperband, SuccessiveHalving
    from metaloop.optimizers.surrogate_cmaes import SurrogateCMAES
    from metaloop.optimizers.tpe import TPE
    from metaloop.optimizers.trust_region import TrustRegion

__all__ = [
    "CMAES",
    "LBFGS",
    "TPE",
    "CategoricalProcess",
    "DifferentialEvolution",
    "GaussianProcess",
    "GridSearch",
    "Hyperband",
    "LocalSearch",
    "RandomSearch",
    "RegularizedEvolution",
    "Sobol",
    "SuccessiveHalving",
    "SurrogateCMAES",
    "TrustRegion",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return registry.find("optimizers", name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
