"""Markov chain Monte Carlo that is tuned for one estimate: what the user wants to know, per gradient evaluation.

```python
from metaloop.online.mcmc import estimate

mean = estimate(log_density, lambda x: x[0], start=jnp.zeros(5), budget=50_000)
mean.value, mean.error, mean.interval, mean.status
print(mean.why())
```
"""

from metaloop.online.mcmc.estimate import MCMCEstimate, TunedHMC, estimate
from metaloop.online.status import Status

__all__ = ["MCMCEstimate", "Status", "TunedHMC", "estimate"]
