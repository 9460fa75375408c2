"""WHERE SHOULD INNER LOOPS START? Gradients through inner loops, and learning to learn (extra `jax`)."""

from __future__ import annotations

try:
    import jax as _jax  # noqa: F401
except ImportError as error:  # pragma: no cover - the one environment has it
    raise ImportError("metaloop.bilevel needs JAX: pip install 'metaloop[jax]'") from error

from metaloop.bilevel.diagnosis import Finding
from metaloop.bilevel.fit import Fitted, fit
from metaloop.bilevel.hypergradient import Hypergradient, HypergradientWarning, hypergradient
from metaloop.bilevel.learned_optimizer import PES, Inner, LearnedOptimizer, Trained, Unroll, course, meta_train
from metaloop.bilevel.learners import ANIL, FOMAML, IMAML, MAML, MetaCurvature, MetaSGD, Model, Reptile, Selective
from metaloop.bilevel.linear import CG, Neumann
from metaloop.bilevel.methods import FiniteDifference, Implicit, Truncated, Unrolled
from metaloop.bilevel.outer import Learned, OuterDescent, learn
from metaloop.bilevel.problem import Problem
from metaloop.bilevel.solvers import Descent, Foreign

__all__ = [
    "ANIL",
    "CG",
    "FOMAML",
    "IMAML",
    "MAML",
    "PES",
    "Descent",
    "Finding",
    "FiniteDifference",
    "Fitted",
    "Foreign",
    "Hypergradient",
    "HypergradientWarning",
    "Implicit",
    "Inner",
    "Learned",
    "LearnedOptimizer",
    "MetaCurvature",
    "MetaSGD",
    "Model",
    "Neumann",
    "OuterDescent",
    "Problem",
    "Reptile",
    "Selective",
    "Trained",
    "Truncated",
    "Unroll",
    "Unrolled",
    "course",
    "fit",
    "hypergradient",
    "learn",
    "meta_train",
]
