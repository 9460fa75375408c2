"""WHAT SHOULD IT BE MADE OF? Sizes, shapes, topologies and layouts of structures (extra `structure`)."""

from __future__ import annotations

try:
    import numba as _numba  # noqa: F401
except ImportError as error:  # pragma: no cover - the one environment has it
    raise ImportError("metaloop.structure needs numba: pip install 'metaloop[structure]'") from error

from metaloop.structure.elasticity.element import Element, conducting, elastic
from metaloop.structure.elasticity.solve import Body, Material, Solution
from metaloop.structure.interpolation import Power, Rational
from metaloop.structure.problem import Problem, beam, cantilever, empty
from metaloop.structure.responses import Analysis, Response, Stress
from metaloop.structure.topology import SIMP, Topology, evaluate, optimize, threshold

__all__ = [
    "SIMP",
    "Analysis",
    "Body",
    "Element",
    "Material",
    "Power",
    "Problem",
    "Rational",
    "Response",
    "Solution",
    "Stress",
    "Topology",
    "beam",
    "cantilever",
    "conducting",
    "elastic",
    "empty",
    "evaluate",
    "optimize",
    "threshold",
]
