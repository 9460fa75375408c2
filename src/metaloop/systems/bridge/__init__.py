"""Sizing, shape, topology: what more freedom is worth on one load and equal material; and a road bridge to print."""

from metaloop.systems import System
from metaloop.systems.bridge.loop import Ladder, Step, climb, cross, lightest
from metaloop.systems.bridge.model import girders, judged, road_bridge, sheet
from metaloop.systems.bridge.report import run

SYSTEM = System(
    "bridge",
    "sizing, shape and topology on equal material, and a road bridge found from its deck and supports",
    (
        "M. P. Bendsøe and O. Sigmund, Topology Optimization (Springer 2003).",
        "R. T. Haftka and Z. Gürdal, Elements of Structural Optimization (Kluwer 1992): the ten-bar truss.",
        "J. A. Norato, B. K. Bell and D. A. Tortorelli, Comput. Methods Appl. Mech. Eng. 293, 306 (2015): bars "
        "projected onto a grid.",
        "F. Wang, B. S. Lazarov and O. Sigmund, Struct. Multidisc. Optim. 43, 767 (2011): projection.",
    ),
    run,
)

__all__ = ["SYSTEM", "Ladder", "Step", "climb", "cross", "girders", "judged", "lightest", "road_bridge", "sheet"]
