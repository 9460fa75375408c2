"""WHAT SHOULD IT BE MADE OF? Sizes, shapes, topologies and layouts of structures (extra `structure`)."""

from __future__ import annotations

try:
    import numba as _numba  # noqa: F401
except ImportError as error:  # pragma: no cover - the one environment has it
    raise ImportError("metaloop.structure needs numba: pip install 'metaloop[structure]'") from error

from metaloop.structure.architecture import Architectures, Limit
from metaloop.structure.bars import Bars, ten_bars
from metaloop.structure.catalogue import Selected, select
from metaloop.structure.description import Description, read
from metaloop.structure.elasticity.element import Element, conducting, elastic
from metaloop.structure.elasticity.solve import Body, Material, Solution
from metaloop.structure.export import Printability, mesh, printability, write
from metaloop.structure.frame import Frame, FrameAnalysis, Properties, rectangle, similar
from metaloop.structure.interpolation import Power, Rational
from metaloop.structure.layout import Layout, LayoutProblem
from metaloop.structure.limits import SizingProblem
from metaloop.structure.mapped import Membrane, Mesh, Sheet
from metaloop.structure.problem import Problem, beam, cantilever, empty
from metaloop.structure.responses import Analysis, Response, Stress
from metaloop.structure.shape import Hole, Profile, Shape, Star
from metaloop.structure.sizing import Sized, size
from metaloop.structure.topology import SIMP, Topology, evaluate, optimize, threshold
from metaloop.structure.truss import Truss
from metaloop.structure.voxels import from_image, from_surface, memory

__all__ = [
    "SIMP",
    "Analysis",
    "Architectures",
    "Bars",
    "Body",
    "Description",
    "Element",
    "Frame",
    "FrameAnalysis",
    "Hole",
    "Layout",
    "LayoutProblem",
    "Limit",
    "Material",
    "Membrane",
    "Mesh",
    "Power",
    "Printability",
    "Problem",
    "Profile",
    "Properties",
    "Rational",
    "Response",
    "Selected",
    "Shape",
    "Sheet",
    "Sized",
    "SizingProblem",
    "Solution",
    "Star",
    "Stress",
    "Topology",
    "Truss",
    "beam",
    "cantilever",
    "conducting",
    "elastic",
    "empty",
    "evaluate",
    "from_image",
    "from_surface",
    "memory",
    "mesh",
    "optimize",
    "printability",
    "read",
    "rectangle",
    "select",
    "similar",
    "size",
    "ten_bars",
    "threshold",
    "write",
]
