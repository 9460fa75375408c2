"""Markov chain Monte Carlo tuned for the user's own estimate, beside NUTS with its default tuning.

    OMP_NUM_THREADS=1 python benchmarks/mcmc.py [--quick] [--seeds 20] [--budget 100000] [--cache DIR]
    OMP_NUM_THREADS=1 python benchmarks/mcmc.py --truth 2000000

Two real posteriors: a Bayesian logistic regression of the Wisconsin breast cancer data (569 tumors, 30 features;
Wolberg, Street & Mangasarian 1995, UCI, CC BY 4.0, as scikit-learn ships them), and the eight schools (Rubin 1981;
Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.5), not centered. Every method has the same budget of gradient
evaluations, warm-up and all chains included, and starts as far from the origin. The peers are blackjax's and numpyro's
NUTS as they come (1000 draws of warm-up), in one chain, which pays for one warm-up only; blackjax's in four chains and
with a dense mass matrix as well.

The figure is the efficiency: variance of g under the posterior / (mean squared error of the estimate x evaluations); 1
is what independent draws for one evaluation each would have. The truth comes from `--truth`: one long run a number, at
a seed of its own; the numbers, their errors and the variances of g are kept in `TRUTH`. NUTS, pooled over all peers and
seeds, has to agree with it; the table says how far it is off. Runs are kept in a cache outside the repository.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import tempfile
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from metaloop.online.mcmc import TunedHMC, estimate

BUDGET, WARMUP = 100_000, 1000


@functools.cache
def cancer():
    """Log density of 31 coefficients with standard normal priors, and the standardized features."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    x = np.hstack([np.ones((len(x), 1)), x])
    sign = 2.0 * data.target - 1
    signed = x * sign[:, None]

    def log_density(b):
        return -jnp.sum(jnp.logaddexp(0.0, -(signed @ b))) - 0.5 * jnp.sum(b**2)

    return log_density, x


@functools.cache
def schools():
    """Log density of the mean effect, the logarithm of the spread, and eight standardized effects."""
    effect = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    error = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def log_density(q):
        tau = jnp.exp(q[1])
        theta = q[0] + tau * q[2:]
        prior = -0.5 * (q[0] / 5) ** 2 - jnp.log1p((tau / 5) ** 2) + q[1] - 0.5 * jnp.sum(q[2:] ** 2)
        return prior - 0.5 * jnp.sum(((effect - theta) / error) ** 2)

    return log_density


def posteriors():
    """Name -> log density, dimension, the estimates by name."""
    density, x = cancer()
    return {
        "breast cancer": (density, 31, {
            "mean of a coefficient (worst radius)": lambda b: b[21],
            "predictive probability (a tumor)": lambda b: jax.nn.sigmoid(x[PATIENT] @ b),
            "tail probability (mean texture > 0)": lambda b: jnp.where(b[2] > 0, 1.0, 0.0),
        }),
        "eight schools": (schools(), 10, {
            "mean effect": lambda q: q[0],
            "second moment of the spread": lambda q: jnp.exp(2 * q[1]),
            "probability that school A gains > 15": lambda q: jnp.where(q[0] + jnp.exp(q[1]) * q[2] > 15, 1.0, 0.0),
        }),
    }  # fmt: skip


PATIENT = 5  # the first of whom the posterior is not certain

# Value, its standard error, and the posterior's variance of g, as --truth prints them.
TRUTH = {
    ("breast cancer", "mean of a coefficient (worst radius)"): (-1.130594027, 9.2e-05, 0.842633),  # 4000000 evaluations
    ("breast cancer", "predictive probability (a tumor)"): (0.05178075145, 3.8e-05, 0.00348352),
    ("breast cancer", "tail probability (mean texture > 0)"): (0.1973632996, 0.00044, 0.158728),
    ("eight schools", "mean effect"): (4.397835696, 0.0012, 11.0336),
    ("eight schools", "second moment of the spread"): (23.26800093, 0.082, 2253.92),
    ("eight schools", "probability that school A gains > 15"): (0.06297150817, 0.00027, 0.0589267),
}


# --- peers --------------------------------------------------------------------------------------------------------


@functools.cache
def _blackjax(density, dense):
    import blackjax

    adapt = blackjax.window_adaptation(blackjax.nuts, density, is_mass_matrix_diagonal=not dense)
    kernel = blackjax.nuts.build_kernel()

    @jax.jit
    def warm(key, at):
        (state, parameters), info = adapt.run(key, at, num_steps=WARMUP)
        return state, parameters["step_size"], parameters["inverse_mass_matrix"], info.info.num_integration_steps

    @jax.jit
    def draw(key, state, step, mass):
        def one(s, k):
            s, info = kernel(k, s, density, step, mass)
            return s, (s.position, info.num_integration_steps)

        return jax.lax.scan(one, state, jax.random.split(key, 200))

    return warm, draw


def blackjax_nuts(density, start, budget, seed, dense=False):
    """Draws that a budget pays for, one chain; empty where warm-up does not end within it."""
    warm, draw = _blackjax(density, dense)
    key, first = jax.random.split(jax.random.key(seed))
    state, step, mass, steps = warm(first, start)
    left, parts = budget - int(steps.sum()), []
    while left > 0:
        key, now = jax.random.split(key)
        state, (x, steps) = draw(now, state, step, mass)
        within = np.cumsum(steps) <= left
        parts.append(np.asarray(x)[within])
        left -= int(steps.sum())
    return np.concatenate(parts) if parts else np.empty((0, len(start)))


@functools.cache
def _numpyro(density):
    from numpyro.infer import NUTS

    kernel = NUTS(potential_fn=lambda x: -density(x))

    @jax.jit
    def draw(state):
        def one(s, _):
            s = kernel.sample(s, (), {})
            return s, (s.z, s.num_steps)

        return jax.lax.scan(one, state, None, 200)

    return kernel, draw


def numpyro_nuts(density, start, budget, seed):
    """Likewise."""
    kernel, draw = _numpyro(density)
    state = kernel.init(jax.random.key(seed), WARMUP, start, (), {})
    x, steps = [], []
    while not steps or sum(map(np.sum, steps)) <= budget:
        state, (at, n) = draw(state)
        x.append(np.asarray(at))
        steps.append(np.asarray(n))
    within = np.cumsum(np.concatenate(steps)) <= budget
    return np.concatenate(x)[within][WARMUP:]


PEERS = {
    "blackjax NUTS, 4 chains": (blackjax_nuts, 4),
    "blackjax NUTS, 1 chain": (blackjax_nuts, 1),
    "blackjax NUTS, dense mass, 1 chain": (functools.partial(blackjax_nuts, dense=True), 1),
    "numpyro NUTS, 1 chain": (numpyro_nuts, 1),
}


def peer(name, density, d, estimates, budget, seed):
    """All estimates from the same draws; NaN where there are none."""
    sample, chains = PEERS[name]
    rng = np.random.default_rng(seed)
    with jax.enable_x64(True):
        starts = rng.uniform(-1, 1, (chains, d))
        draws = [sample(density, s, budget // chains, 1000 * seed + c) for c, s in enumerate(starts)]
        pooled = np.concatenate(draws)
        return {k: float(jnp.mean(jax.vmap(g)(pooled))) if len(pooled) else math.nan for k, g in estimates.items()}


OURS = {
    "metaloop": TunedHMC(),
    "metaloop, no control variates": TunedHMC(control=False),
}


def truth(budget):
    """Long runs at a seed of their own."""
    recipe = TunedHMC(tuning=0.02, warmup=0.05)
    for name, (density, d, estimates) in posteriors().items():
        for what, g in estimates.items():
            run = estimate(density, g, np.zeros(d), budget, seed=987_654_321, recipe=recipe)
            print(f"    ({name!r}, {what!r}): ({run.value:.10g}, {run.error:.2g}, {run.draws.var():.6g}),", flush=True)
            if run.status != "ok":
                print(f"    # {run.decisions[-1]}")


def measure(method, name, budget, seeds, cache):
    """Runs by estimate: values, and for metaloop whether it claimed to be sure, and the ends of its intervals."""
    file = cache / f"{method}--{name}--{budget}--{seeds}.json".replace(" ", "_")
    if not file.exists():
        density, d, estimates = posteriors()[name]
        begun = time.process_time()
        if method in PEERS:
            runs = [peer(method, density, d, estimates, budget, s) for s in range(seeds)]
            out = {k: {"value": [r[k] for r in runs]} for k in estimates}
        else:
            out = {}
            for k, g in estimates.items():
                runs = [estimate(density, g, np.zeros(d), budget, seed=s, recipe=OURS[method]) for s in range(seeds)]
                out[k] = {
                    "value": [float(r.value) for r in runs],
                    "low": [float(r.interval[0]) for r in runs],
                    "high": [float(r.interval[1]) for r in runs],
                    "ok": [r.status == "ok" for r in runs],
                    "setting": [str(r.setting) for r in runs],
                }
        out["cpu"] = (time.process_time() - begun) / seeds / (1 if method in PEERS else len(estimates))
        cache.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(out))
    return json.loads(file.read_text())


def table(name, runs, budget, seeds):
    _, d, estimates = posteriors()[name]
    print(f"\n## {name}: {d} parameters, {budget} gradient evaluations, {seeds} seeds\n")
    print("| estimate | method | efficiency | of the best peer | MSE x evaluations | coverage of 95 % | ok | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for k in estimates:
        true, error, variance = TRUTH[name, k]
        squares = {m: (np.array(r[k]["value"], dtype=float) - true) ** 2 for m, r in runs.items()}
        # A budget that warm-up has used up leaves no estimate; then the error is that of a single draw.
        squares = {m: np.where(np.isfinite(e), e, variance) for m, e in squares.items()}
        best = min((e.mean() for m, e in squares.items() if m in PEERS), default=math.nan)
        for m, e in squares.items():
            r, mse = runs[m][k], e.mean()
            inside = (
                f"{np.mean((np.array(r['low']) <= true) & (true <= np.array(r['high']))):.2f}" if "low" in r else "–"
            )
            ok = f"{np.mean(r['ok']):.2f}" if "ok" in r else "–"
            spread = 100 * e.std(ddof=1) / math.sqrt(seeds) / mse
            print(f"| {k} | {m} | {variance / mse / budget:.3g} ± {spread:.0f} % | {best / mse:.1f} "
                  f"| {mse * budget:.3g} | {inside} | {ok} | {runs[m]['cpu']:.1f} |")  # fmt: skip
        pooled = np.array([v for m, r in runs.items() if m in PEERS for v in r[k]["value"]], dtype=float)
        pooled = pooled[np.isfinite(pooled)]
        if len(pooled) > 1:
            off = (pooled.mean() - true) / math.hypot(pooled.std(ddof=1) / math.sqrt(len(pooled)), error)
            print(f"| {k} | all NUTS runs, pooled | {off:+.1f} standard errors from the truth | | | | | |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--truth", type=int, default=0, help="print the table of truths, with so many evaluations each")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "metaloop-mcmc")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.truth:
        truth(args.truth)
        return
    seeds = 4 if args.quick else args.seeds
    for name in posteriors():
        runs = {m: measure(m, name, args.budget, seeds, args.cache) for m in [*PEERS, *OURS]}
        table(name, runs, args.budget, seeds)


if __name__ == "__main__":
    main()
