"""When does a hypergradient mean nothing? Each question is a function of measured numbers; a finding is a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from metaloop.bilevel.linear import CG, Linear
from metaloop.bilevel.methods import Implicit

WRONG = 0.05  # relative error from which a hypergradient is called wrong
_LEFT = 1e-2  # of the right side of the linear system, from which it is not solved
_FORGOTTEN = 1e-3  # of the outer slope left at the start, below which the start no longer matters


@dataclass(frozen=True)
class Finding:
    """Why a hypergradient does not mean what it seems to.

    Attributes:
        kind: "start", "unconverged", "indefinite", "linear", "truncated" or "nonfinite".
        says: one sentence.
    """

    kind: str
    says: str


def not_finite(at: int, steps: int, value: float) -> Finding:
    """Something is not finite: the inner variables after so many steps, or else (at < 0) what follows from them."""
    if at >= 0:
        return Finding(
            "nonfinite",
            f"the inner variables are not finite after step {at} of {steps}: take a smaller learning rate, or look for "
            "a pole of the inner loss",
        )
    part = "hypergradient" if math.isfinite(value) else "outer loss"
    return Finding("nonfinite", f"the {part} is not finite although the inner variables are: look at the losses there")


def no_way_to(name: str) -> Finding:
    """An implicit gradient was asked of something that only the way to the optimum depends on."""
    return Finding(
        "start",
        f"the gradient with respect to {name!r} is zero whatever its value: an optimum does not depend on how the "
        "search for it began or went; use Unrolled(), or add a proximal term to the inner loss",
    )


def unconverged(error: float) -> Finding:
    """One Newton step changes the gradient by this share."""
    amount = f"by {error:.0%}" if math.isfinite(error) else "without bound"
    return Finding(
        "unconverged",
        f"the inner solve has not converged: one Newton step more changes the gradient {amount}; take more steps, or "
        "use Unrolled()",
    )


def linear(method: Implicit, solved: Linear) -> Finding | None:
    """Whether the linear system was one that could be solved, and was."""
    residual, products = float(solved.residual), int(solved.products)
    if float(solved.curvature) <= 0:
        return Finding(
            "indefinite",
            "the inner Hessian is not positive definite where the solver ended: that is no minimum, and the implicit "
            "gradient means nothing; solve further, or use Unrolled()",
        )
    if residual <= 10 * method.linear.tolerance or (residual <= _LEFT and _still_moving(solved) <= WRONG):
        return None
    kind = "conjugate gradients" if isinstance(method.linear, CG) else "the Neumann series"
    return Finding(
        "linear",
        f"{kind} ended after {products} products with {residual:.2g} of the right side left: the gradient is wrong; "
        "allow more products, or add damping",
    )


def _still_moving(solved: Linear) -> float:
    """What the last fifth of the conjugate gradient steps brought, as a share of the solution's length in the H-norm.

    Hestenes & Stiefel 1952: the squared error falls by alpha r'r at each step. 0 for other solvers.
    """
    alphas, betas = np.asarray(solved.alphas, float), np.asarray(solved.betas, float)
    n = int(np.isfinite(alphas).sum())
    if n < 5:
        return 0.0
    brought = alphas[:n] * np.cumprod(np.append(1.0, betas[: n - 1]))
    return float(np.sqrt(brought[-(n // 5) :].sum() / brought.sum()))


def way(carried: float, last: int | None, begun: str) -> Finding | None:
    """Whether the steps that were differentiated are those that matter.

    Args:
        carried: the share of the outer slope that is left where they begin.
        last: how many they are; None for all.
        begun: the outer variable where the search begins; empty for none.
    """
    if begun and last is not None:
        reason = f"only the last {last} steps are looked at"
    elif begun and carried <= _FORGOTTEN:
        reason = f"the inner solve forgets it ({carried:.1e} of the outer slope is left there)"
    elif last is not None and carried > WRONG:
        return Finding(
            "truncated",
            f"{carried:.0%} of the outer slope is left where the last {last} steps begin: what came before still "
            "matters; look at more of them",
        )
    else:
        return None
    return Finding(
        "start",
        f"the gradient with respect to {begun!r}, where the search begins, means nothing: {reason}; take fewer steps, "
        "or add a proximal term",
    )
