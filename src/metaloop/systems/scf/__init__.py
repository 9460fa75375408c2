"""Self-consistent fields that end at a minimum: which solver, when, and whether the end is one.

```python
from metaloop.systems.scf import solve

solution = solve(pyscf.scf.UHF(mol))     # any mean field of PySCF with real orbitals
solution.mf.e_tot, solution.stable, solution.cost
print(solution.why())
```
"""

from metaloop.systems import System
from metaloop.systems.scf.course import Moment
from metaloop.systems.scf.loop import Solution, solve
from metaloop.systems.scf.report import run

SYSTEM = System(
    "scf",
    "self-consistent fields that switch solvers while they run and end at a certified minimum",
    (
        "P. Pulay, J. Comput. Chem. 3, 556 (1982): DIIS.",
        "Q. Sun, arXiv:1610.08423: PySCF's second-order solver, the peer.",
        "B. Helmich-Paris, J. Chem. Phys. 154, 164104 (2021): trust-region SCF, and fixed rules that switch to it.",
        "R. Seeger and J. A. Pople, J. Chem. Phys. 66, 3045 (1977): stability of Hartree-Fock solutions.",
        "J. A. Pople, D. P. Santry and G. A. Segal, J. Chem. Phys. 43, S129 (1965): the neglect of differential "
        "overlap that our estimate of the Hessian makes.",
    ),
    run,
)

__all__ = ["SYSTEM", "Moment", "Solution", "solve"]
