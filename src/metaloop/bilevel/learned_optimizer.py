"""A learned optimizer: an update rule whose small network is trained over whole inner runs.

Sources: Andrychowicz et al. 2016 (an update rule as a network for each parameter); Metz et al. 2022 (a small network on
gradient statistics whose step is exp(magnitude) times direction); Vicol, Metz & Sohl-Dickstein 2021 (persistent
evolution strategies: unbiased estimates from truncated pieces of an unroll).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from metaloop.bilevel.solvers import Rule
from metaloop.bilevel.trees import Tree, arrays, finite
from metaloop.errors import InputError, refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float, Int

_DECAYS = (0.5, 0.9, 0.99)  # of the averages of the gradient
_SQUARE = 0.99  # of the average of its square
_FEATURES = 2 * len(_DECAYS) + 3
_SCALE = 1e-2  # of a step before training, as a learning rate of Adam's
_HASTE = 30.0  # the logarithm of that scale is learned so many times as fast as the weights
_TINY = 1e-16  # under square roots, whose slope at 0 is infinite


class Statistics(NamedTuple):
    """What the rule remembers: averages of the gradient and of its square, a tree each, and the number of steps."""

    means: tuple[Tree, ...]
    square: Tree
    steps: Any


class Inner(NamedTuple):
    """A kind of inner problem.

    Attributes:
        init: a random key -> (parameters, data): a fresh problem.
        loss: (parameters, data, random key) -> a number; the key draws a minibatch.
    """

    init: Callable[[Any], tuple[Tree, Any]]
    loss: Callable[[Tree, Any, Any], Any]


@dataclass(frozen=True)
class LearnedOptimizer:
    """A rule of one small network for all parameters: `optax`-like once it has weights (`rule`).

    Args:
        hidden: units in each of the network's two layers.

    Raises:
        InputError: fewer than 1 unit.
    """

    hidden: int = tunable(8, Int(4, 64, log=True))

    def __post_init__(self) -> None:
        require("hidden", self.hidden, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")

    def weights(self, key: Any) -> Tree:
        """Fresh weights; the last layer is small, so that the rule begins as normalized momentum with a small rate."""
        sizes = (_FEATURES, self.hidden, self.hidden, 2)
        keys = jax.random.split(key, 3)
        return [
            {"w": jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a) * (0.1 if b == 2 else 1.0), "b": jnp.zeros(b)}
            for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ] + [{"scale": jnp.zeros(())}]

    def rule(self, weights: Tree) -> Rule:
        """The update rule with these weights: init and update, as optax has them."""

        def init(params: Tree) -> Statistics:
            zero = jax.tree.map(jnp.zeros_like, params)
            return Statistics(tuple(zero for _ in _DECAYS), zero, jnp.asarray(0.0))

        def update(gradient: Tree, state: Statistics, params: Tree = None) -> tuple[Tree, Statistics]:
            means = tuple(
                jax.tree.map(lambda m, g, d=d: d * m + (1 - d) * g, mean, gradient)
                for d, mean in zip(_DECAYS, state.means, strict=True)
            )
            square = jax.tree.map(lambda s, g: _SQUARE * s + (1 - _SQUARE) * g**2, state.square, gradient)
            k = state.steps + 1
            step = jax.tree.map(lambda p, g, s, *m: _step(weights, p, g, s, m, k), params, gradient, square, *means)
            return step, Statistics(means, square, k)

        return Rule(init, update)


def _step(weights: Tree, p: Any, g: Any, square: Any, means: Sequence[Any], k: Any) -> Any:
    """The change of one leaf: features of each parameter, the network, and a bounded step."""
    root = jnp.sqrt(square / (1 - _SQUARE**k) + _TINY)
    unbiased = [m / (1 - d**k) for d, m in zip(_DECAYS, means, strict=True)]
    each = [m / root for m in unbiased] + [jnp.tanh(m / jnp.sqrt((m**2).mean() + _TINY)) for m in unbiased]
    size = jnp.sqrt((p**2).mean() + 1e-6)
    time = jnp.broadcast_to(jnp.log1p(k) / 10, p.shape)
    features = jnp.stack([*each, g / root, p / size, time], axis=-1)
    x = jnp.clip(features, -5, 5)
    for layer in weights[:-2]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    out = x @ weights[-2]["w"] + weights[-2]["b"]
    # beside what the network adds, a momentum normalized as Adam's: where training begins
    pace = jnp.exp(jnp.clip(np.log(_SCALE) + _HASTE * weights[-1]["scale"] + out[..., 1], -20.0, 1.0))
    return -pace * (unbiased[1] / root + out[..., 0])


@dataclass(frozen=True)
class Unroll:
    """Meta-gradients by differentiating a piece of an inner run (truncated backpropagation: biased towards haste).

    Args:
        length: inner steps of a piece.
    """

    length: int = tunable(20, Int(5, 100, log=True))

    def estimate(self, piece: Callable[..., Any], weights: Tree, carry: Tree, memory: Any, key: Any) -> Any:
        """One run's piece: (loss, gradient, carry after, memory)."""
        (value, after), slope = jax.value_and_grad(piece, has_aux=True)(weights, carry, key)
        return value, slope, after, memory

    def remember(self, weights: Tree, carry: Tree) -> Any:
        """Nothing lasts from piece to piece."""
        return ()


@dataclass(frozen=True)
class PES:
    """Meta-gradients by persistent evolution strategies: unbiased although runs are cut into pieces.

    Two runs with opposite perturbations go on side by side; each piece's loss counts with the sum of all perturbations
    since the run began (Vicol, Metz & Sohl-Dickstein 2021, algorithm 2).

    Args:
        length: inner steps of a piece.
        sigma: standard deviation of the perturbations.
    """

    length: int = tunable(20, Int(5, 100, log=True))
    sigma: float = tunable(0.01, Float(1e-3, 0.1, log=True))

    def estimate(self, piece: Callable[..., Any], weights: Tree, carry: Tree, memory: Any, key: Any) -> Any:
        """See `Unroll.estimate`; `carry` holds both runs."""
        k1, k2 = jax.random.split(key)
        leaves, structure = jax.tree.flatten(weights)
        keys = jax.random.split(k1, len(leaves))
        noise = jax.tree.unflatten(
            structure, [self.sigma * jax.random.normal(k, w.shape) for k, w in zip(keys, leaves, strict=True)]
        )
        total = jax.tree.map(jnp.add, memory, noise)
        up, after_up = piece(jax.tree.map(jnp.add, weights, noise), carry[0], k2)
        down, after_down = piece(jax.tree.map(jnp.subtract, weights, noise), carry[1], k2)
        slope = jax.tree.map(lambda t: (up - down) / (2 * self.sigma**2) * t, total)
        return 0.5 * (up + down), slope, (after_up, after_down), total

    def remember(self, weights: Tree, carry: Tree) -> Any:
        """The perturbations since the run began: none."""
        return jax.tree.map(jnp.zeros_like, weights)


@dataclass(frozen=True)
class Trained:
    """A learned optimizer after meta-training.

    Attributes:
        recipe: as given.
        weights: of its network, numpy arrays.
        losses: mean inner loss of each meta-step, shape (meta_steps,).
        skipped: meta-steps whose gradient was not finite and that changed nothing.
    """

    recipe: LearnedOptimizer
    weights: Tree
    losses: npt.NDArray[np.float64]
    skipped: int

    def rule(self) -> Rule:
        """The update rule: use it as an optax optimizer, or `Descent(trained.rule(), steps=...)`."""
        return self.recipe.rule(jax.tree.map(jnp.asarray, self.weights))


def meta_train(
    recipe: LearnedOptimizer,
    problems: Inner | Sequence[Inner],
    *,
    estimator: Unroll | PES | None = None,
    horizon: int = 200,
    meta_steps: int = 1000,
    batch: int = 8,
    rate: float = 3e-3,
    seed: int = 0,
    start: Tree | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train an optimizer on problems; its loss is the mean of the inner losses along the runs.

    Args:
        recipe: of the optimizer.
        problems: one kind or several, in turn.
        estimator: of the meta-gradient: `PES()` (default) or `Unroll()`.
        horizon: inner steps of a run, a multiple of the estimator's length; runs begin at random phases.
        meta_steps: of the outer loop (Adam, clipped to norm 1).
        batch: runs of each kind at a time.
        rate: of Adam, falling to a tenth along a cosine.
        seed: of all that is random.
        start: weights to begin with.
        progress: called every hundred meta-steps with their number and the loss.

    Raises:
        InputError: a setting out of range, or losses that are not finite for a hundred meta-steps.
    """
    estimator = PES() if estimator is None else estimator
    kinds = [problems] if isinstance(problems, Inner) else list(problems)
    if not kinds:
        raise refuse("problems", problems, "an Inner, or a list of them")
    require("horizon", horizon, lambda v: v >= 1 and v % estimator.length == 0, f"a multiple of {estimator.length}")
    require("meta_steps", meta_steps, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
    optimizer = _outer(rate, meta_steps)
    key = jax.random.key(seed)
    weights = recipe.weights(jax.random.fold_in(key, 0)) if start is None else jax.tree.map(jnp.asarray, start)
    state = optimizer.init(weights)
    runs = [
        _fresh(recipe, estimator, kind, batch, horizon)(weights, jax.random.fold_in(key, 1 + i))
        for i, kind in enumerate(kinds)
    ]
    losses, skipped = [], 0
    for k in range(meta_steps):
        i = k % len(kinds)
        go = _advance(recipe, estimator, kinds[i], optimizer, batch, horizon)
        weights, state, runs[i], value, good = go(weights, state, runs[i], jax.random.fold_in(key, 100 + k))
        losses.append(value)
        if k % 100 == 99 or k == meta_steps - 1:
            seen = np.array([float(v) for v in losses[-100:]])
            if not np.isfinite(seen).any():
                raise InputError(f"problems gave no finite loss in the meta-steps up to {k}: take a smaller rate")
            if progress is not None:
                progress(k + 1, float(np.nanmean(seen)))
        skipped += 1 - int(good)
    return Trained(recipe, arrays(weights), np.array([float(v) for v in losses]), skipped)


@functools.lru_cache(maxsize=32)
def _outer(rate: float, meta_steps: int) -> Any:
    """Clipped Adam, one object for one setting: what is compiled with it is found again."""
    import optax

    falling = optax.cosine_decay_schedule(rate, meta_steps, alpha=0.1)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(falling))


class _Run(NamedTuple):
    """One inner run: parameters, data, the rule's state, and how many steps it has taken."""

    params: Tree
    data: Any
    state: Any
    age: Any


def _begin(recipe: LearnedOptimizer, weights: Tree, kind: Inner, key: Any) -> _Run:
    params, data = kind.init(key)
    return _Run(params, data, recipe.rule(weights).init(params), jnp.asarray(0))


@functools.lru_cache(maxsize=32)
def _fresh(recipe: LearnedOptimizer, estimator: Any, kind: Inner, batch: int, horizon: int) -> Any:
    def one(weights: Tree, key: Any) -> Any:
        a, b = jax.random.split(key)
        run = _begin(recipe, weights, kind, a)
        run = run._replace(age=jax.random.randint(b, (), 0, horizon // estimator.length) * estimator.length)
        carry = (run, run) if isinstance(estimator, PES) else run
        return carry, estimator.remember(weights, carry)

    return jax.jit(lambda weights, key: jax.vmap(one, (None, 0))(weights, jax.random.split(key, batch)))


@functools.lru_cache(maxsize=32)
def _advance(recipe: LearnedOptimizer, estimator: Any, kind: Inner, optimizer: Any, batch: int, horizon: int) -> Any:
    def piece(weights: Tree, run: _Run, key: Any) -> tuple[Any, _Run]:
        rule = recipe.rule(weights)

        def step(carry: tuple[Tree, Any], k: Any) -> tuple[tuple[Tree, Any], Any]:
            params, state = carry
            value, g = jax.value_and_grad(kind.loss)(params, run.data, k)
            change, state = rule.update(g, state, params)
            return (jax.tree.map(jnp.add, params, change), state), value

        keys = jax.random.split(key, estimator.length + 1)
        (params, state), values = jax.lax.scan(step, (run.params, run.state), keys[:-1])
        last = kind.loss(params, run.data, keys[-1])
        # a logarithm, so that problems and phases of a run count alike
        value = jnp.log(jnp.append(values[1:], last) + 1e-6).mean()
        return value, _Run(params, run.data, state, run.age + estimator.length)

    def one(weights: Tree, carry: Any, memory: Any, key: Any) -> Any:
        a, b = jax.random.split(key)
        value, slope, after, memory = estimator.estimate(piece, weights, carry, memory, a)
        pair = isinstance(estimator, PES)
        run = _begin(recipe, weights, kind, b)
        fresh = (run, run) if pair else run
        params = (after[0].params, after[1].params) if pair else after.params
        over = ((after[0] if pair else after).age >= horizon) | ~finite(params) | ~jnp.isfinite(value)
        after, memory = jax.tree.map(
            lambda new, old: jnp.where(over, new, old), (fresh, estimator.remember(weights, fresh)), (after, memory)
        )
        return value, slope, jax.lax.stop_gradient(after), memory

    def run(weights: Tree, state: Any, runs: Any, key: Any) -> Any:
        values, slopes, after, memory = jax.vmap(one, (None, 0, 0, 0))(
            weights, runs[0], runs[1], jax.random.split(key, batch)
        )
        usable = jnp.isfinite(values) & jax.vmap(finite)(slopes)
        count = jnp.maximum(usable.sum(), 1)
        slope = jax.tree.map(
            lambda s: jnp.where(usable.reshape(-1, *[1] * (s.ndim - 1)), s, 0.0).sum(0) / count, slopes
        )
        good = usable.any()
        value = jnp.where(good, jnp.where(usable, values, 0.0).sum() / count, jnp.nan)
        change, later = optimizer.update(slope, state, weights)
        moved = jax.tree.map(jnp.add, weights, change)
        weights, state = jax.tree.map(lambda new, old: jnp.where(good, new, old), (moved, later), (weights, state))
        return weights, state, (after, memory), value, good

    return jax.jit(run)


@functools.lru_cache(maxsize=64)
def _course(kind: Inner, rule: Callable[[Any], Any], steps: int, every: int) -> Any:
    def one(setting: Any, key: Any) -> Any:
        a, b = jax.random.split(key)
        params, data = kind.init(a)
        made = rule(setting)

        def step(carry: tuple[Tree, Any], k: Any) -> tuple[tuple[Tree, Any], Any]:
            p, state = carry
            value, g = jax.value_and_grad(kind.loss)(p, data, k)
            change, state = made.update(g, state, p)
            return (jax.tree.map(jnp.add, p, change), state), value

        _, values = jax.lax.scan(step, (params, made.init(params)), jax.random.split(b, steps))
        return values.reshape(-1, every).mean(1)

    return jax.jit(jax.vmap(one, (None, 0)))


def course(
    kind: Inner, rule: Callable[[Any], Any], setting: Any, *, steps: int, runs: int = 8, every: int = 10, seed: int = 0
) -> npt.NDArray[np.float64]:
    """Loss curves of an optimizer on fresh problems, the same for every optimizer of one seed.

    Args:
        kind: of the problems.
        rule: a setting -> an update rule: `optax.adam`, or `recipe.rule` of a learned optimizer.
        setting: a learning rate, or weights.
        steps: of each run, a multiple of `every`.
        runs: how many.
        every: steps averaged into one value.
        seed: of the problems.

    Returns:
        shape (runs, steps / every); not finite where a run diverged.
    """
    require("steps", steps, lambda v: v >= 1 and v % every == 0, f"a multiple of {every}")
    keys = jax.random.split(jax.random.key(seed), runs)
    return np.asarray(_course(kind, rule, steps, every)(jax.tree.map(jnp.asarray, setting), keys), dtype=float)
