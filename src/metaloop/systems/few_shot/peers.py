"""What needs no meta-learning: nearest neighbors on pixels, and a network trained on nothing but the task's support."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.ndimage import gaussian_filter

from metaloop.systems.few_shot.characters import Episodes, Images, Indices
from metaloop.systems.few_shot.embedding import Weights, distort, embed, initial, statistics


def nearest_neighbor(episodes: Episodes, *, blur: float = 0.0) -> Indices:
    """(episodes, way, queries), the class of the support image with the least squared distance of pixels.

    Args:
        episodes: the tasks; `episodes.normalized()` makes much fewer errors.
        blur: standard deviation of a Gaussian filter on all images first, in pixels. On the training alphabets, 1.5 is
            the best for images as they are and for normalized ones.
    """

    def pixels(images: Images) -> Images:
        blurred: Images = gaussian_filter(images, (0,) * (images.ndim - 2) + (blur, blur)) if blur else images
        return blurred.reshape(*images.shape[:-2], -1)

    answers = []
    for support, query in zip(pixels(episodes.support), pixels(episodes.query), strict=True):
        apart = (support**2).sum(-1) - 2 * np.tensordot(query, support, (-1, -1))
        answers.append(apart.min(-1).argmin(-1))  # over the drawings of a class, then over the classes
    return np.array(answers, np.intp)


def from_scratch(
    episodes: Episodes,
    *,
    seed: int = 0,
    steps: int = 200,
    rate: float = 2e-3,
    copies: int = 4,
    widths: tuple[int, ...] = (64, 64, 64, 64),
) -> Indices:
    """(episodes, way, queries), by networks that have seen the task's own support only, distorted anew in each step.

    Each task has a network of its own, with a linear layer on its features, trained by Adam to the least cross-entropy.

    Args:
        episodes: the tasks.
        seed: of weights and distortions.
        steps: of the optimizer.
        rate: the first learning rate; it falls to 0 with a cosine.
        copies: distorted copies of each support image in a step.
        widths: channels of the convolutions.
    """
    way, shot = episodes.way, episodes.shot
    labels = jnp.repeat(jnp.arange(way), shot)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def loss(weights: tuple[Weights, jax.Array], key: jax.Array, support: jax.Array) -> jax.Array:
        layers, last = weights
        drawn = distort(key, jnp.tile(support, (copies, 1, 1)))
        logits = embed(layers, drawn) @ last
        surprise: jax.Array = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.tile(labels, copies))
        return surprise.mean()

    @jax.jit
    def answer(key: jax.Array, support: jax.Array, query: jax.Array) -> jax.Array:
        layers = initial(key, widths)
        features = embed(layers, support).shape[-1]
        weights = layers, jax.random.normal(key, (features, way)) / features**0.5

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            weights, state = carry
            change, state = optimizer.update(jax.grad(loss)(weights, key, support), state, weights)
            return (optax.apply_updates(weights, change), state), None

        (weights, _), _ = jax.lax.scan(step, (weights, optimizer.init(weights)), jax.random.split(key, steps))
        layers, last = weights
        # The support's own statistics: queries are classified one by one.
        logits: jax.Array = embed(layers, query, statistics(layers, support)) @ last
        return logits.argmax(-1)

    keys = jax.random.split(jax.random.key(seed), len(episodes))
    answers = []
    for key, support, query in zip(keys, episodes.support, episodes.query, strict=True):
        found = answer(key, jnp.asarray(support.reshape(-1, 28, 28)), jnp.asarray(query.reshape(-1, 28, 28)))
        answers.append(np.asarray(found).reshape(query.shape[:2]))
    return np.array(answers, np.intp)
