"""Integrals and probabilities by methods that adapt while they run, with honest error bars.

```python
from metaloop.online.sampling import integrate, probability

total = integrate(lambda x: np.exp(-((x - 0.3) ** 2).sum(axis=1) / 2e-4), [(0, 1)] * 6, budget=100_000)
rare = probability(lambda x: 5.0 - x.sum(axis=1) / 2, 4, budget=50_000)  # 4 standard normal variables
rare.value, rare.interval, rare.status
print(rare.why())
```
"""

from metaloop.online.sampling.estimate import Estimate, integrate, probability
from metaloop.online.sampling.portfolio import Portfolio
from metaloop.online.status import Status

__all__ = ["Estimate", "Portfolio", "Status", "integrate", "probability"]
