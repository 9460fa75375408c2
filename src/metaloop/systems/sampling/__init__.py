"""Integrals and rare events: which method, how many evaluations, and is the error bar to be believed?

```python
from metaloop.online.sampling import integrate, probability
```
"""

from metaloop.systems import System
from metaloop.systems.sampling.loop import solve
from metaloop.systems.sampling.model import Case, cases
from metaloop.systems.sampling.report import run

SYSTEM = System(
    "sampling",
    "integrals and rare events by methods that adapt while they run, with error bars to believe",
    (
        "A. Genz, in Numerical Integration, Reidel, 337 (1987): six families of integrands.",
        "G. P. Lepage, J. Comput. Phys. 439, 110386 (2021): vegas+, a peer.",
        "S.-K. Au and J. L. Beck, Prob. Eng. Mech. 16, 263 (2001): subset simulation, a peer.",
        "P.-T. de Boer, D. P. Kroese, S. Mannor and R. Y. Rubinstein, Ann. Oper. Res. 134, 19 (2005): cross-entropy.",
        "A. B. Owen and Y. Zhou, J. Am. Stat. Assoc. 95, 135 (2000): safe importance sampling.",
        "J.-M. Cornuet, J.-M. Marin, A. Mira and C. P. Robert, Scand. J. Stat. 39, 798 (2012): adaptive rounds.",
    ),
    run,
)

__all__ = ["SYSTEM", "Case", "cases", "solve"]
