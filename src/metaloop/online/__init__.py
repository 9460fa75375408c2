"""WHAT TO DO NEXT, WHILE IT RUNS? Switching between solvers, and certificates that what they found is a minimum."""

from metaloop.online.curvature import Subspace, Verdict, certify
from metaloop.online.switching import Decision, Method, Move, Switching, SwitchState

__all__ = ["Decision", "Method", "Move", "Subspace", "SwitchState", "Switching", "Verdict", "certify"]
