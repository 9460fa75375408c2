"""Several chains of Hamiltonian Monte Carlo in one compiled program, metered in gradient evaluations.

All chains of a block take the same number of leapfrog steps at each draw, so none waits for another. The step size is
drawn anew for every chain and draw, uniformly within 20 % of its mean: with equal ones, trajectories of half a period
of a Gaussian never change the distance from its center (Neal 2011, section 3.2), and with few different ones hardly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError, refuse

Array = npt.NDArray[np.float64]

BLOCK = 16  # draws a call of the compiled program; a block that is not full is filled with draws of no step
JITTER = 0.2


@dataclass(frozen=True)
class Draws:
    """What a block of draws was like, the chains side by side.

    Attributes:
        x: positions, shape (draws, chains, d).
        gradient: of the log density there, same shape.
        log_density: shape (draws, chains).
        g: the user's function, shape (draws, chains, k).
        acceptance: probability that each proposal was accepted with, shape (draws, chains).
        diverged: whether its energy error was beyond all bounds, same shape.
        cost: gradient evaluations.
    """

    x: Array
    gradient: Array
    log_density: Array
    g: Array
    acceptance: Array
    diverged: npt.NDArray[np.bool_]
    cost: int


def joined(parts: list[Draws]) -> Draws:
    """One after the other."""
    names = ("x", "gradient", "log_density", "g", "acceptance", "diverged")
    arrays: Any = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
    return Draws(**arrays, cost=sum(p.cost for p in parts))


class Chains:
    """The engine: blackjax's kernel, vectorized over the chains.

    Args:
        log_density: of the posterior up to a constant, a JAX function of a vector or pytree.
        g: JAX function of the same, to a number or an array.
        start: a point, or several along a new first axis.

    Raises:
        ImportError: no JAX or no blackjax.
        InputError: functions that JAX cannot differentiate, or that give no number.
    """

    def __init__(self, log_density: Callable[[Any], Any], g: Callable[[Any], Any], start: Any) -> None:
        self._x64 = need_jax().enable_x64
        from jax.flatten_util import ravel_pytree

        with self._x64(True):
            flat, unravel = ravel_pytree(start)
            self.start = np.asarray(flat, dtype=float)
            read = _Unravel(unravel, len(self.start))
            self._init, self._block = _program(log_density, read)
            self._g, self.shape = _estimated(g, read)

    def begin(self, x: Array) -> Any:
        """The chains' states at some points, shape (chains, d); costs one evaluation a chain."""
        with self._x64(True):
            return self._init(x)

    def draw(
        self, state: Any, rng: np.random.Generator, step: float, inverse_mass: Array, steps: npt.NDArray[np.int64]
    ) -> tuple[Any, Draws]:
        """Draws at fixed settings.

        Args:
            state: of the chains.
            rng: one number is drawn from it a block.
            step: size of the leapfrog steps in the metric of the mass.
            inverse_mass: estimate of the posterior's covariance, shape (d, d).
            steps: leapfrog steps of each draw, shape (draws,).
        """
        parts = []
        with self._x64(True):
            for k in range(0, len(steps), BLOCK):
                mine = steps[k : k + BLOCK]
                padded = np.zeros(BLOCK, dtype=np.int64)
                padded[: len(mine)] = mine
                state, out = self._block(state, int(rng.integers(2**63)), step, inverse_mass, padded)
                x, gradient, density, acceptance, diverged = (np.asarray(a)[: len(mine)] for a in out)
                g = np.asarray(self._g(out[0]))[: len(mine)]
                cost = int(mine.sum()) * x.shape[1]
                parts.append(Draws(x, gradient, density, g, acceptance, diverged, cost))
        return state, joined(parts)


class _Unravel:
    """From a flat vector to the user's pytree; equal for equal structures, so that programs are compiled once."""

    def __init__(self, call: Callable[[Any], Any], size: int) -> None:
        import jax

        self.call, self.size = call, size
        tree = call(np.zeros(size))
        leaves, self._structure = jax.tree.flatten(tree)
        self._shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unravel) and (self._structure, self._shapes) == (other._structure, other._shapes)

    def __hash__(self) -> int:
        return hash((self._structure, self._shapes))


@functools.lru_cache(maxsize=16)
def _program(log_density: Any, unravel: _Unravel) -> tuple[Any, Any]:
    """Compiled: states at points, and a block of draws."""
    import blackjax
    import jax

    def target(x: Any) -> Any:
        return log_density(unravel.call(x))

    if _shape_of("log_density", target, unravel.size) != ():
        raise refuse("log_density", log_density, "a JAX function from a vector or pytree to one number")
    kernel = blackjax.hmc.build_kernel()

    def begin(x: Any) -> Any:
        return jax.vmap(lambda y: blackjax.hmc.init(y, target))(x)

    def block(state: Any, seed: Any, step: Any, inverse_mass: Any, steps: Any) -> Any:
        chains = state.logdensity.shape[0]

        def one(key: Any, s: Any, n: Any) -> Any:
            jitter, move = jax.random.split(key)
            size = step * jax.random.uniform(jitter, minval=1 - JITTER, maxval=1 + JITTER)
            s, info = kernel(move, s, target, size, inverse_mass, n)
            return s, (s.position, s.logdensity_grad, s.logdensity, info.acceptance_rate, info.is_divergent)

        def draw(s: Any, each: Any) -> Any:
            key, n = each
            return jax.vmap(one, in_axes=(0, 0, None))(jax.random.split(key, chains), s, n)

        return jax.lax.scan(draw, state, (jax.random.split(jax.random.key(seed), len(steps)), steps))

    return jax.jit(begin), jax.jit(block)


@functools.lru_cache(maxsize=16)
def _estimated(g: Any, unravel: _Unravel) -> tuple[Any, tuple[int, ...]]:
    """Compiled: g at points, shape (draws, chains, d), as an array (draws, chains, k); and its own shape."""
    import jax
    import jax.numpy as jnp

    def value(x: Any) -> Any:
        return jnp.asarray(g(unravel.call(x)), dtype=float)

    shape = _shape_of("g", value, unravel.size)
    return jax.jit(jax.vmap(jax.vmap(lambda x: jnp.ravel(value(x))))), shape


def _shape_of(name: str, f: Callable[[Any], Any], size: int) -> tuple[int, ...]:
    import jax

    try:
        out = jax.eval_shape(f, np.zeros(size))
    except Exception as e:
        said = str(e).split("\n", 1)[0][:200]
        raise InputError(f"{name} cannot be traced by JAX at the start: {type(e).__name__}: {said}") from e
    return tuple(out.shape)


def need_jax() -> Any:
    """JAX, or one clear line."""
    try:
        import blackjax  # noqa: F401
        import jax
    except ImportError as e:
        raise ImportError("metaloop.online.mcmc needs JAX and blackjax: pip install 'metaloop[sampling]'") from e
    return jax
