"""Markov chain Monte Carlo tuned for the user's own estimate, beside the default tuning of NUTS, per gradient evaluation.

    OMP_NUM_THREADS=1 python benchmarks/mcmc.py [--quick] [--seeds 40] [--budget 100000] [--truth 4000000]

Two real posteriors: a Bayesian logistic regression of the Wisconsin breast cancer data (569 tumors, 30 features; Wolberg,
Street & Mangasarian 1995, UCI, CC BY 4.0, as scikit-learn ships them), and the eight schools (Rubin 1981; Gelman et al.,
Bayesian Data Analysis, 3rd ed., section 5.5), not centered. Every method has the same budget of gradient evaluations,
warm-up and all chains included, and starts from the same points. The peers are blackjax's and numpyro's NUTS as they come
(1000 draws of warm-up), with four chains and with one, which pays for one warm-up only, and blackjax's with a dense mass.

The figure is the efficiency: variance of g under the posterior / (mean squared error of the estimate x evaluations);
1 is what independent draws for one evaluation each would have. The truth comes from `--truth 4000000`: one run a
number, 40 times as long, at a seed of its own; the numbers and their errors are kept in `TRUTH`.
"""

from __future__ import annotations

import argparse
import functools
import math
import time
import warnings

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

# Value, its standard error, and the posterior's variance of g: printed by --truth.
TRUTH: dict[tuple[str, str], tuple[float, float, float]] = {}


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
    "numpyro NUTS, 4 chains": (numpyro_nuts, 4),
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
    """Long runs at seeds of their own."""
    for name, (density, d, estimates) in posteriors().items():
        for what, g in estimates.items():
            ours = estimate(density, g, np.zeros(d), budget, seed=987_654_321, recipe=TunedHMC(tuning=0.02, warmup=0.05))
            variance = float(ours.draws.var())
            print(f"    ({name!r}, {what!r}): ({ours.value:.10g}, {ours.error:.2g}, {variance:.6g}),"
                  f"  # {ours.status}, {ours.effective:.3g} effective", flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--truth", type=int, default=0, help="print the table of truths from runs of so many evaluations")
    parser.add_argument("--only", default="", help="methods whose name contains this")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.truth:
        truth(args.truth)
        return
    seeds = 4 if args.quick else args.seeds
    for name, (density, d, estimates) in posteriors().items():
        print(f"\n## {name}: {d} parameters, {args.budget} gradient evaluations, {seeds} seeds\n")
        print("| method | estimate | efficiency | mean squared error x evaluations | coverage of 95 % | ok | CPU s |")
        print("|---|---|---|---|---|---|---|")
        for method in [*PEERS, *OURS]:
            if args.only in method:
                report(method, name, density, d, estimates, args.budget, seeds)


def report(method, name, density, d, estimates, budget, seeds):
    """Rows of the table."""
    begun = time.process_time()
    covered, ok = {}, {}
    if method in PEERS:
        runs = [peer(method, density, d, estimates, budget, s) for s in range(seeds)]
        values = {k: np.array([r[k] for r in runs]) for k in estimates}
        seconds = (time.process_time() - begun) / seeds
    else:
        values = {}
        for k, g in estimates.items():
            runs = [estimate(density, g, np.zeros(d), budget, seed=s, recipe=OURS[method]) for s in range(seeds)]
            values[k] = np.array([r.value for r in runs])
            true = TRUTH[name, k][0]
            covered[k] = f"{np.mean([r.interval[0] <= true <= r.interval[1] for r in runs]):.2f}"
            ok[k] = f"{np.mean([r.status == 'ok' for r in runs]):.2f}"
        seconds = (time.process_time() - begun) / seeds / len(estimates)
    for k in estimates:
        true, _, variance = TRUTH[name, k]
        squares = (values[k] - true) ** 2
        squares = np.where(np.isfinite(squares), squares, variance)  # no draw: as far off as the prior guess of one
        mse = squares.mean()
        spread = squares.std(ddof=1) / math.sqrt(seeds) / mse
        print(f"| {method} | {k} | {variance / mse / budget:.3g} ± {100 * spread:.0f} % | {mse * budget:.3g} "
              f"| {covered.get(k, '–')} | {ok.get(k, '–')} | {seconds:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
