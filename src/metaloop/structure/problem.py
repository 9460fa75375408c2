"""What is to be designed: a box of elements, its supports and loads, and how much material there is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError, refuse, require
from metaloop.structure.elasticity.element import Element, conducting, elastic
from metaloop.structure.elasticity.grid import sides

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Problem:
    """A design problem on a box of square or cubic elements.

    Args:
        shape: elements along each axis, (nx, ny) or (nx, ny, nz); nodes along an axis are one more.
        supports: which displacements are held at 0, shape (d, nx + 1, ny + 1[, nz + 1]); for heat, d = 1: where the
            temperature is 0.
        loads: forces at the nodes, shape (cases, d, nx + 1, ny + 1[, nz + 1]), or without the axis of cases; for heat,
            heat put in.
        fraction: of the box that may be material, passive elements included, from 0 (exclusive) to 1.
        solid, void: elements that are not designed, shape (nx, ny[, nz]); None for none.
        weights: of the load cases' compliances, shape (cases,), or "worst" to minimize the largest; equal ones if None.
        springs: stiffness of springs from nodes to the ground, shaped like `supports`, in units of the solid's Young's
            modulus times the edge length (times the thickness in two dimensions); None for none.
        output: a direction at some nodes, shaped like `supports`: the displacement along it is maximized in place of
            the compliance's being minimized (a compliant mechanism, which needs springs there). None for stiffness.
        gravity: the weight of a solid element, in the loads' unit, as a vector, shape (d,); added to every load case.
        heat: conduct heat, where otherwise forces are carried.
        poisson: Poisson's ratio.
        symmetry: axes along which the design mirrors itself about the middle of the box.
        size: edge length of an element, for export, in any unit.

    Raises:
        InputError: one line on what disagrees: no supports, supports that allow a motion (when a body is made of it),
            loads in the void, on a support or nowhere, a fraction outside its range, passive regions that overlap, or
            solid ones that take more than the fraction.
    """

    shape: tuple[int, ...]
    supports: Mask
    loads: Array
    fraction: float = 0.5
    solid: Mask = None  # type: ignore[assignment]  # an array after __post_init__
    void: Mask = None  # type: ignore[assignment]
    weights: Array | str | None = None
    springs: Array | None = None
    output: Array | None = None
    gravity: Array | None = None
    heat: bool = False
    poisson: float = 0.3
    symmetry: tuple[int, ...] = ()
    size: float = 1.0

    def __post_init__(self) -> None:
        require("shape", self.shape, lambda v: len(v) in (2, 3) and min(v) >= 1, "2 or 3 numbers of at least 1")

        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("shape", tuple(int(n) for n in self.shape))
        nodes = tuple(n + 1 for n in self.shape)
        unknowns = (self.components, *nodes)
        require("fraction", self.fraction, lambda v: 0 < v <= 1, "a number greater than 0 and at most 1")
        put("supports", np.asarray(self.supports, bool))
        if self.supports.shape != unknowns:
            raise refuse("supports", self.supports.shape, f"an array of shape {unknowns}")
        if not self.supports.any():
            raise refuse("supports", "empty", "at least one displacement that is held")
        loads = np.asarray(self.loads, float)
        put("loads", loads[None] if loads.ndim == len(unknowns) else loads)
        if self.loads.shape[1:] != unknowns or not len(self.loads) or not np.isfinite(self.loads).all():
            raise refuse("loads", self.loads.shape, f"an array of shape (cases, {', '.join(map(str, unknowns))})")
        for name in ("solid", "void"):
            mask = getattr(self, name)
            put(name, np.zeros(self.shape, bool) if mask is None else np.asarray(mask, bool))
            if getattr(self, name).shape != self.shape:
                raise refuse(name, getattr(self, name).shape, f"an array of shape {self.shape}")
        if (self.solid & self.void).any():
            raise refuse(
                "solid and void", f"{(self.solid & self.void).sum()} elements in both", "masks without overlap"
            )
        if self.solid.mean() > self.fraction:
            raise refuse("solid", f"{self.solid.mean():.3f} of the box", f"at most the fraction, {self.fraction:g}")
        if self.void.mean() > 1 - 1e-12:
            raise refuse("void", "the whole box", "a mask that leaves something to design")
        for name in ("springs", "output"):
            value = getattr(self, name)
            if value is not None:
                put(name, np.asarray(value, float))
                if getattr(self, name).shape != unknowns:
                    raise refuse(name, getattr(self, name).shape, f"an array of shape {unknowns}")
        if self.gravity is not None:
            put("gravity", np.asarray(self.gravity, float))
            if self.gravity.shape != (self.components,) or self.heat:
                raise refuse("gravity", self.gravity, f"a vector of {self.components} forces, without heat")
        if not isinstance(self.weights, str):
            weights = np.full(len(self.loads), 1.0) if self.weights is None else np.asarray(self.weights, float)
            put("weights", weights)
            if weights.shape != (len(self.loads),) or not (weights >= 0).all() or not weights.any():
                raise refuse("weights", weights, f"{len(self.loads)} numbers of at least 0, or 'worst'")
        elif self.weights != "worst":
            raise refuse("weights", self.weights, "numbers or 'worst'")
        require("symmetry", self.symmetry, lambda v: set(v) <= set(range(len(self.shape))), "axes of the box")
        require("size", self.size, lambda v: v > 0, "a number greater than 0")
        self._check_loads()

    def _check_loads(self) -> None:
        solid_near = np.zeros(tuple(n + 1 for n in self.shape), bool)
        for side in sides(len(self.shape)):
            solid_near[tuple(slice(s, s + n) for s, n in zip(side, self.shape, strict=True))] |= ~self.void
        for case, load in enumerate(self.loads):
            on = load != 0
            if not on.any() and self.gravity is None:
                raise refuse(f"load case {case}", "0 everywhere", "a load on at least one node")
            if (on & ~solid_near).any():
                where = tuple(int(i) for i in np.argwhere((on & ~solid_near).any(0))[0])
                raise refuse(f"load case {case}", f"a load at node {where}, in the void", "loads on material")
            if on.any() and not (on & ~self.supports).any():
                raise refuse(f"load case {case}", "on supports alone", "a load that the structure must carry")

    @property
    def axes(self) -> int:
        """2 or 3."""
        return len(self.shape)

    @property
    def components(self) -> int:
        """Unknowns at a node."""
        return 1 if self.heat else len(self.shape)

    @property
    def element(self) -> Element:
        """The physics of an element of unit modulus."""
        return conducting(self.axes) if self.heat else elastic(self.axes, self.poisson)

    @property
    def designed(self) -> Mask:
        """Elements that are not passive."""
        return ~(self.solid | self.void)

    def with_(self, **changes: object) -> Problem:
        """The problem with other arguments."""
        return replace(self, **changes)  # type: ignore[arg-type]


def empty(shape: tuple[int, ...], heat: bool = False) -> tuple[Mask, Array]:
    """Supports and one load case for a box, of nothing yet, to be filled in."""
    if len(shape) not in (2, 3):
        raise InputError(f"shape must have 2 or 3 axes, not {len(shape)}")
    unknowns = (1 if heat else len(shape), *(n + 1 for n in shape))
    return np.zeros(unknowns, bool), np.zeros(unknowns)


def beam(nx: int, ny: int, fraction: float = 0.5) -> Problem:
    """Half of the beam on two supports that topology optimizers are compared on (MBB beam; Sigmund 2001).

    The symmetry plane is at x = 0, a unit load pushes the upper corner there down, the lower corner at the other end
    rests on a roller. y points up.
    """
    supports, load = empty((nx, ny))
    supports[0, 0] = True
    supports[1, -1, 0] = True
    load[1, 0, -1] = -1
    return Problem((nx, ny), supports, load, fraction)


def cantilever(shape: tuple[int, ...], fraction: float = 0.4) -> Problem:
    """A beam clamped at x = 0, with a unit load downwards (along y) at the middle of the lower edge of the other end.

    In two dimensions at the lower corner there; in three the load is spread over that edge.
    """
    supports, load = empty(shape)
    supports[:, 0] = True
    if len(shape) == 2:
        load[1, -1, 0] = -1
    else:
        load[1, -1, 0, :] = -1 / (shape[2] + 1)
    return Problem(shape, supports, load, fraction)
