"""Differentiable search: one net that holds every architecture, and a hypergradient that tells which to keep.

The relaxation of DARTS (Liu, Simonyan & Yang 2019, ICLR, arXiv 1806.09055): where a layer stands, all operations are
computed and averaged with softmax weights. The weights of the operations are the outer variables, judged on the
validation part; the weights of the net are the inner ones, which all architectures share. Both are put together from
`metaloop.bilevel`. The layers have one width, so that the costliest choice is within the limit.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metaloop.bilevel import Descent, HypergradientWarning, OuterDescent, Problem, Unrolled, learn
from metaloop.space import Array
from metaloop.systems.architecture import nets
from metaloop.systems.architecture.digits import Budget, Found, Split, split

CHOICES = ("skip", "conv1", "conv3", "residual")
MIXED = 3  # layers to be chosen, the image halved after each but the last; a conv3 stands before them
WIDTH = 8
_BATCH = 192


@dataclass(frozen=True)
class Course:
    """How the outer loss is descended.

    Attributes:
        outer: steps of the operations' weights; `rate`: of Adam for them.
        inner: steps of the net between them, unrolled; the net goes on where it stood.
        speed: rate of those steps (momentum 0.9).
    """

    outer: int = 120
    rate: float = 0.1
    inner: int = 3
    speed: float = 0.05


def start(rng: np.random.Generator) -> dict[str, Any]:
    """Random weights of the net that holds all: a stem, MIXED layers of all operations, a linear head."""

    def unit(inputs: int) -> dict[str, Any]:
        w = rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, WIDTH)).astype(np.float32)
        return {"w": w, "scale": np.ones(WIDTH, np.float32), "shift": np.zeros(WIDTH, np.float32)}

    sizes = {"conv1": WIDTH, "conv3": 9 * WIDTH, "residual": 9 * WIDTH}
    side = nets.PIXELS >> (MIXED - 1)
    head = rng.normal(0.0, 0.1, (side * side * WIDTH, nets.CLASSES)).astype(np.float32)
    return {
        "stem": unit(9),
        "mixed": [{name: unit(size) for name, size in sizes.items()} for _ in range(MIXED)],
        "head": head,
        "bias": np.zeros(nets.CLASSES, np.float32),
    }


def forward(params: dict[str, Any], preference: Any, images: Any) -> Any:
    """Logits, shape (n, 10), with the operations of each layer averaged by softmax(preference), shape (MIXED, 4)."""

    def unit(p: dict[str, Any], x: Any) -> Any:
        y = x @ p["w"]
        y = (y - y.mean((0, 1, 2))) / jnp.sqrt(y.var((0, 1, 2)) + 1e-5) * p["scale"] + p["shift"]
        return jax.nn.swish(y)

    x = unit(params["stem"], nets.around(images[..., None], jnp))
    for k, layer in enumerate(params["mixed"]):
        near, share = nets.around(x, jnp), jax.nn.softmax(preference[k])
        made = (x, unit(layer["conv1"], x), unit(layer["conv3"], near), x + unit(layer["residual"], near))
        x = sum(s * y for s, y in zip(share, made, strict=True))
        if k < MIXED - 1:
            n, a, b, c = x.shape
            x = x.reshape(n, a // 2, 2, b // 2, 2, c).max((2, 4))
    return x.reshape(len(x), -1) @ params["head"] + params["bias"]


def problem(course: Course) -> Problem:
    """Inner: cross-entropy on a batch of the images to fit; outer: on a batch of the validation images."""

    def loss(params: Any, preference: Any, images: Any, labels: Any) -> Any:
        said = forward(params, preference, images)
        return optax.softmax_cross_entropy_with_integer_labels(said, labels).mean()

    return Problem(
        lambda w, u, data: loss(w, u, *data["fit"]),
        lambda w, u, data: loss(w, u, *data["validation"]),
        Descent(optax.sgd(course.speed, momentum=0.9), course.inner),
    )


def prefer(data: Split, course: Course, seed: int) -> Array:
    """Softmax weights of the operations in each layer at the smallest validation loss met, shape (MIXED, 4)."""
    images, labels = jnp.asarray(data.images), jnp.asarray(data.labels)
    parts = {"fit": jnp.asarray(data.fit), "validation": jnp.asarray(data.validation)}
    warps = jnp.asarray(nets.distortions())

    def draw(key: Any) -> dict[str, Any]:
        out = {}
        for k, (name, rows) in enumerate(parts.items()):
            a, b = jax.random.split(jax.random.fold_in(key, k))
            at = jax.random.choice(a, rows, (_BATCH,))
            warp = warps[jax.random.randint(b, (_BATCH,), 0, len(warps))]
            seen = jnp.einsum("np,npq->nq", images[at].reshape(_BATCH, -1), warp)
            out[name] = (seen.reshape(_BATCH, nets.PIXELS, nets.PIXELS), labels[at])
        return out

    recipe = OuterDescent(Unrolled(), course.rate, course.outer, look=course.outer)
    params = start(np.random.default_rng(seed))
    with warnings.catch_warnings():
        # A few steps between two looks at the operations do not converge: that is the method.
        warnings.simplefilter("ignore", HypergradientWarning)
        found = learn(problem(course), jnp.zeros((MIXED, len(CHOICES))), params, data=draw, recipe=recipe, seed=seed)
    return np.asarray(jax.nn.softmax(found.outer, axis=1), dtype=float)


def chosen(share: Array) -> nets.Chain:
    """The architecture with the most preferred operation in each layer."""
    layers: list[nets.Layer] = [("conv3", WIDTH)]
    for k, row in enumerate(share):
        operation = CHOICES[int(row.argmax())]
        layers += [(operation, WIDTH)] * (operation != "skip") + [("pool", WIDTH)] * (k < MIXED - 1)
    return nets.Chain(tuple(layers), "swish", "flat")


def search(seed: int, course: Course | None = None, budget: Budget | None = None) -> Found:
    """Search by descent, train the net that it prefers, test it; see `digits.search`."""
    course, budget = course or Course(), budget or Budget()
    begun, data = time.process_time(), split(seed)
    net = chosen(prefer(data, course, seed))
    searched = time.process_time()
    images, labels = data.images, data.labels
    trained = nets.train(net, images, labels, data.fit, budget.long, seed)
    validation = trained.cross_entropy(images[data.validation], labels[data.validation])
    trained = nets.train(net, images, labels, data.training, budget.last, seed)
    accuracy = 1.0 - trained.error(images[data.test], labels[data.test])
    return Found(net, (), validation, accuracy, searched - begun, time.process_time() - searched)
