"""Convolutional chains for images of 8 x 8 pixels: what an architecture is, what it costs, and how it is trained.

A chain is a list of layers on an image; a convolution is a matrix product over the shifted copies of its input, which
is the fastest form for so few channels on a CPU. Batch normalization (Ioffe & Szegedy, ICML 2015) stands in every
convolution; its statistics are those of the batch in training and of all training images afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax
from scipy.special import logsumexp

from metaloop.errors import require
from metaloop.space import Array, Categorical, Parameter, Space

PIXELS = 8
CLASSES = 10
LAYERS = 5
OPERATIONS = ("skip", "conv3", "conv1", "separable", "residual", "pool")
WIDTHS = (6, 8, 10, 12, 16, 20, 24)

Layer = tuple[str, int]


@dataclass(frozen=True)
class Chain:
    """An architecture.

    Attributes:
        layers: (operation, channels it gives), skips left out.
        activation: "relu" or "swish".
        head: what the last linear map sees: the "mean" of each channel, or every pixel ("flat").
    """

    layers: tuple[Layer, ...]
    activation: str
    head: str

    @functools.cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of all weight matrices, the last linear map included."""
        out: list[tuple[int, ...]] = []
        channels, side = 1, PIXELS
        for operation, width in self.layers:
            if operation in ("conv3", "residual"):
                out.append((9 * channels, width))
            elif operation == "conv1":
                out.append((channels, width))
            elif operation == "separable":
                out += [(9, channels), (channels, width)]
            side = side // 2 if operation == "pool" else side
            channels = width
        return (*out, (channels * (1 if self.head == "mean" else side * side), CLASSES))

    @property
    def parameters(self) -> int:
        """All numbers that training sets: weights, two a channel of each normalization, and the last biases."""
        normalized = sum(width for operation, width in self.layers if operation != "pool")
        return sum(a * b for a, b in self.shapes) + 2 * normalized + CLASSES

    def __str__(self) -> str:
        inner = " - ".join(op if op == "pool" else f"{op} {width}" for op, width in self.layers)
        return f"{inner or 'nothing'} - {self.head}, {self.activation}"


def space() -> Space:
    """All chains of at most five layers, as a space of categories; layers that are "skip" are not there."""
    out: dict[str, Parameter] = {}
    for i in range(1, LAYERS + 1):
        out[f"layer{i}"] = Categorical(list(OPERATIONS))
        out[f"width{i}"] = Categorical(
            list(WIDTHS), ordered=True, when={f"layer{i}": ["conv3", "conv1", "separable"]}
        )  # fmt: skip
    out["activation"] = Categorical(["relu", "swish"])
    out["head"] = Categorical(["mean", "flat"])
    return Space(out)


def chain(config: Mapping[str, Any]) -> Chain:
    """The architecture of a configuration; a pool where the image has one pixel is left out."""
    layers: list[Layer] = []
    channels, side = 1, PIXELS
    for i in range(1, LAYERS + 1):
        operation = config[f"layer{i}"]
        if operation == "skip" or (operation == "pool" and side == 1):
            continue
        side = side // 2 if operation == "pool" else side
        channels = config.get(f"width{i}", channels)
        layers.append((operation, channels))
    return Chain(tuple(layers), config["activation"], config["head"])


def parameters(config: Mapping[str, Any]) -> int:
    """How many numbers training sets in the architecture of a configuration."""
    return chain(config).parameters


# --- the net --------------------------------------------------------------------------------------------------------


def start(net: Chain, rng: np.random.Generator) -> dict[str, Any]:
    """Random weights of variance 2 / inputs (He et al. 2015), and normalizations that change nothing."""
    weights = [rng.normal(0.0, np.sqrt(2.0 / s[0]), s).astype(np.float32) for s in net.shapes]
    scales = [np.ones(width, np.float32) for operation, width in net.layers if operation != "pool"]
    zeros = np.zeros(CLASSES, np.float32)
    return {"w": weights, "scale": scales, "shift": [np.zeros_like(s) for s in scales], "bias": zeros}


def forward(net: Chain, params: dict[str, Any], images: Any, known: Any = None, xp: Any = np) -> tuple[Any, Any]:
    """Logits and the statistics that the normalizations used.

    Args:
        net: the architecture.
        params: as `start` gives them.
        images: shape (n, 8, 8), values about 0 to 1.
        known: (mean, variance) of each normalization; None for those of these images.
        xp: numpy, or jax.numpy to differentiate; compiling every net only to apply it once would take longer.

    Returns:
        logits, shape (n, 10), and the statistics.
    """
    x, used, w, k = images[..., None], [], iter(params["w"]), 0
    for operation, _ in net.layers:
        if operation == "pool":
            n, a, b, c = x.shape
            x = x.reshape(n, a // 2, 2, b // 2, 2, c).max((2, 4))
            continue
        if operation == "conv1":
            y = x @ next(w)
        elif operation == "separable":
            near = around(x, xp)
            y = (near.reshape(*x.shape[:3], 9, -1) * next(w)).sum(3) @ next(w)
        else:
            y = around(x, xp) @ next(w)
        mean, variance = (y.mean((0, 1, 2)), y.var((0, 1, 2))) if known is None else known[k]
        used.append((mean, variance))
        y = (y - mean) / xp.sqrt(variance + 1e-5) * params["scale"][k] + params["shift"][k]
        y = xp.maximum(y, 0) if net.activation == "relu" else y / (1 + xp.exp(-y))
        x, k = (x + y if operation == "residual" else y), k + 1
    x = x.mean((1, 2)) if net.head == "mean" else x.reshape(len(x), -1)
    return x @ next(w) + params["bias"], used


def around(x: Any, xp: Any) -> Any:
    """The nine pixels around each, zeros beyond the rim; (n, a, b, c) -> (n, a, b, 9 c), pixels before channels."""
    _, a, b, _ = x.shape
    wide = xp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    x = xp.concatenate([wide[:, k : k + a] for k in range(3)], axis=3)
    wide = xp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    return xp.concatenate([wide[:, :, k : k + b] for k in range(3)], axis=3)


# --- training -------------------------------------------------------------------------------------------------------


@functools.cache
def distortions(count: int = 256, seed: int = 0) -> npt.NDArray[np.float32]:
    """Random small turns, stretches and shifts of an image as matrices on its pixels, shape (count, 64, 64).

    Turns of up to 7 degrees, stretches of up to 7 % and shifts of up to half a pixel, by linear interpolation.
    """
    rng = np.random.default_rng(seed)
    out = np.zeros((count, PIXELS**2, PIXELS**2), np.float32)
    center = (PIXELS - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(PIXELS), np.arange(PIXELS), indexing="ij"), -1).reshape(-1, 2) - center
    for m in range(count):
        turn, (sx, sy) = rng.uniform(-0.13, 0.13), rng.uniform(0.93, 1.07, 2)
        map_ = np.array([[np.cos(turn) * sx, -np.sin(turn)], [np.sin(turn), np.cos(turn) * sy]])
        at = grid @ map_ + center + rng.uniform(-0.5, 0.5, 2)
        low = np.floor(at).astype(int)
        for da, db in ((0, 0), (0, 1), (1, 0), (1, 1)):
            i, j = low[:, 0] + da, low[:, 1] + db
            weight = (1 - abs(at[:, 0] - i)) * (1 - abs(at[:, 1] - j))
            inside = (i >= 0) & (i < PIXELS) & (j >= 0) & (j < PIXELS)
            to = np.flatnonzero(inside)
            out[m, i[to] * PIXELS + j[to], to] += weight[to]
    return out


BATCH = 96
LONGEST = 2000  # steps of a training run
_RATE, _DECAY, _SMOOTHED = 0.02, 1e-3, 0.05
_WARMING = 0.1  # share of the steps in which the rate grows
_CACHED = 64
_COMPILER = {"xla_backend_optimization_level": 1}  # half the time of compilation, and as fast a net


@functools.lru_cache(maxsize=_CACHED)
def _trainer(net: Chain) -> Any:
    """A compiled training run of any length up to `LONGEST`; compiling takes longer than a short run."""

    def loss(params: Any, images: Any, labels: Any) -> Any:
        smooth = optax.smooth_labels(jax.nn.one_hot(labels, CLASSES), _SMOOTHED)
        return optax.softmax_cross_entropy(forward(net, params, images, xp=jnp)[0], smooth).mean()

    def run(params: Any, images: Any, labels: Any, rows: Any, warps: Any, drawn: Any, length: Any) -> Any:
        def rate(k: Any) -> Any:
            share = k / length
            cosine = 0.5 * (1.0 + jnp.cos(jnp.pi * (share - _WARMING) / (1.0 - _WARMING)))
            return _RATE * jnp.where(share < _WARMING, share / _WARMING, cosine)

        optimizer = optax.flatten(optax.adamw(rate, weight_decay=_DECAY))

        def step(k: Any, carry: Any) -> Any:
            params, state = carry
            at, warp = rows[k], warps[drawn[k]]
            seen = jnp.einsum("np,npq->nq", images[at].reshape(BATCH, -1), warp).reshape(BATCH, PIXELS, PIXELS)
            change, state = optimizer.update(jax.grad(loss)(params, seen, labels[at]), state, params)
            return optax.apply_updates(params, change), state

        return jax.lax.fori_loop(0, length, step, (params, optimizer.init(params)))[0]

    return jax.jit(run, compiler_options=_COMPILER)


@dataclass(frozen=True)
class Trained:
    """A net that has been trained; `log_probabilities` applies it."""

    net: Chain
    params: Any
    statistics: Any

    def log_probabilities(self, images: Array) -> Array:
        """Shape (n, 10)."""
        logits = forward(self.net, self.params, images, self.statistics)[0].astype(float)
        return np.asarray(logits - logsumexp(logits, axis=1, keepdims=True))

    def error(self, images: Array, labels: Any) -> float:
        """Share of the images that are read wrongly."""
        return float(np.mean(self.log_probabilities(images).argmax(1) != labels))

    def cross_entropy(self, images: Array, labels: Any) -> float:
        """Mean negative log probability of the right class, in nats."""
        return float(-self.log_probabilities(images)[np.arange(len(labels)), labels].mean())


def train(net: Chain, images: Array, labels: Any, rows: Any, steps: int, seed: int) -> Trained:
    """Train a net from random weights.

    Args:
        net: the architecture.
        images: shape (n, 8, 8), values from 0 to 1.
        labels: shape (n,), from 0 to 9.
        rows: indices of the images that may be seen.
        steps: of AdamW with a warm start and a cosine decay, on 96 distorted images each; from 1 to `LONGEST`.
        seed: of weights, batches and distortions.

    Raises:
        InputError: steps out of range.
    """
    require("steps", steps, lambda v: 1 <= v <= LONGEST and v == int(v), f"a whole number from 1 to {LONGEST}")
    rng = np.random.default_rng(seed)
    warps = distortions()
    batches = np.asarray(rows)[rng.integers(0, len(rows), (LONGEST, BATCH))]
    drawn = rng.integers(0, len(warps), (LONGEST, BATCH))
    params = start(net, rng)
    params = _trainer(net)(params, images, np.asarray(labels), batches, warps, drawn, steps)
    params = jax.tree.map(np.asarray, params)
    return Trained(net, params, forward(net, params, images[rows])[1])
