"""Names -> where to import them, on first use. The only way up the house: a table of strings.

Third parties add theirs through entry points of the groups ``metaloop.optimizers`` and ``metaloop.systems``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from metaloop.errors import InputError, nearest

_TABLES: dict[str, dict[str, str]] = {
    "optimizers": {
        "Auto": "metaloop.selection.auto:Auto",
        "CMAES": "metaloop.optimizers.cmaes:CMAES",
        "CategoricalProcess": "metaloop.optimizers.categorical_process:CategoricalProcess",
        "DifferentialEvolution": "metaloop.optimizers.differential_evolution:DifferentialEvolution",
        "GaussianProcess": "metaloop.optimizers.gaussian_process:GaussianProcess",
        "GridSearch": "metaloop.optimizers.grid:GridSearch",
        "Hyperband": "metaloop.optimizers.successive_halving:Hyperband",
        "LBFGS": "metaloop.optimizers.lbfgs:LBFGS",
        "LocalSearch": "metaloop.optimizers.local_search:LocalSearch",
        "RandomSearch": "metaloop.optimizers.random:RandomSearch",
        "RegularizedEvolution": "metaloop.optimizers.regularized_evolution:RegularizedEvolution",
        "Sobol": "metaloop.optimizers.sobol:Sobol",
        "SuccessiveHalving": "metaloop.optimizers.successive_halving:SuccessiveHalving",
        "SurrogateCMAES": "metaloop.optimizers.surrogate_cmaes:SurrogateCMAES",
        "TPE": "metaloop.optimizers.tpe:TPE",
        "TrustRegion": "metaloop.optimizers.trust_region:TrustRegion",
    },
    "recipes": {  # what an optimizer may hold, beside other optimizers
        "Credit": "metaloop.control.schedulers:Credit",
        "Halving": "metaloop.control.schedulers:Halving",
        "Portfolio": "metaloop.selection.portfolio:Portfolio",
        "RisingBandit": "metaloop.control.schedulers:RisingBandit",
        "Shares": "metaloop.control.schedulers:Shares",
    },
    "systems": {
        "architecture": "metaloop.systems.architecture:SYSTEM",
        "bridge": "metaloop.systems.bridge:SYSTEM",
        "choosing": "metaloop.systems.choosing:SYSTEM",
        "few-shot": "metaloop.systems.few_shot:SYSTEM",
        "sampling": "metaloop.systems.sampling:SYSTEM",
        "scf": "metaloop.systems.scf:SYSTEM",
    },
}


def names(group: str) -> list[str]:
    """All known names of a group, ours first."""
    return list(_TABLES[group]) + sorted(e.name for e in entry_points(group=f"metaloop.{group}"))


def find(group: str, name: str) -> Any:
    """The object a name stands for, imported now.

    Args:
        group: "optimizers", "recipes" or "systems".
        name: as `names` lists it; letter case does not matter.

    Raises:
        InputError: an unknown name; the nearest known ones are suggested.
    """
    table = {key.lower(): target for key, target in _TABLES[group].items()}
    target = table.get(str(name).lower())
    if target is not None:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)
    for entry in entry_points(group=f"metaloop.{group}"):
        if entry.name.lower() == str(name).lower():
            return entry.load()
    known = names(group)
    raise InputError(f"unknown {group[:-1]} {name!r}; known are {known}{nearest(str(name), known)}")
