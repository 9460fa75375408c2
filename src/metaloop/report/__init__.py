"""HOW IS IT SHOWN? Figures and pages out of plain arrays and plain data, and claims with their numbers; one style."""

from metaloop.report.claims import Claim, SystemReport

__all__ = ["Claim", "SystemReport"]
