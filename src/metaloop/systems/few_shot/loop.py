"""The outer loops: meta-learners for sine waves and for characters, made of the wing's parts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metaloop.bilevel import ANIL, MAML, Fitted, MetaCurvature, Model, fit
from metaloop.systems.few_shot.characters import Characters, Episodes, Indices
from metaloop.systems.few_shot.embedding import distort, embed, initial
from metaloop.systems.few_shot.sinusoid import MODEL, waves

Progress = Callable[[int, float], None]

WIDTHS = (64, 64, 64, 64)  # of Finn, Abbeel & Levine 2017
_FEATURES = 4 * WIDTHS[-1]
_TASKS = 16  # a meta-step
_QUERIES = 3


def learn_waves(meta_steps: int, seed: int = 0, *, rates: bool = False, progress: Progress | None = None) -> Fitted:
    """MAML judged after one step and after two; with `rates`, Meta-Curvature with one step, its outer rate falling.

    Args:
        meta_steps: of 25 tasks each.
        seed: of all that is random.
        rates: learned rates, by Meta-Curvature in place of MAML. The optimizer was chosen on other waves than the
            report's.
        progress: see `fit`.
    """
    if not rates:
        return fit(
            MAML(steps=2, rate=0.01, every_step=True), MODEL, waves, meta_steps=meta_steps, seed=seed, progress=progress
        )
    return fit(
        MetaCurvature(rate=0.01), MODEL, waves, meta_steps=meta_steps, seed=seed, optimizer=_clipped(6e-3, meta_steps),
        progress=progress,
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _falling(rate: float, steps: int) -> Any:
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


@functools.lru_cache(maxsize=8)
def _clipped(rate: float, steps: int) -> Any:
    return optax.chain(optax.clip_by_global_norm(1.0), _falling(rate, steps))


def reader(way: int) -> Model:
    """A net that reads one of `way` characters: convolutions (`body`) and a linear layer (`head`).

    Batch statistics are those of the images that are read together, as in the paper: queries are read all at once.
    """

    def start(key: Any) -> dict[str, Any]:
        head = {"w": jnp.zeros((_FEATURES, way)), "b": jnp.zeros(way)}
        return {"body": initial(key, WIDTHS), "head": head}

    def loss(params: dict[str, Any], batch: tuple[Any, Any]) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(read(params, batch[0]), batch[1]).mean()

    return Model(start, loss)


def read(params: dict[str, Any], images: Any) -> Any:
    """Logits of images (n, 28, 28), shape (n, way)."""
    features = embed(params["body"], images) / np.sqrt(_FEATURES)
    return features @ params["head"]["w"] + params["head"]["b"]


def learn_characters(
    characters: Characters, way: int, meta_steps: int, seed: int = 0, *, progress: Progress | None = None
) -> tuple[Model, Fitted]:
    """ANIL on one-shot tasks of these characters, turned ones being further classes, and distorted drawings."""
    pool = jnp.asarray(characters.turned(mirrored=True).images)
    labels = jnp.tile(jnp.arange(way), 1)

    def tasks(key: Any) -> tuple[Any, Any]:
        def one(k: Any) -> tuple[Any, Any]:
            k1, k2, k3 = jax.random.split(k, 3)
            rows = jax.random.choice(k1, len(pool), (way,), replace=False)
            columns = jax.vmap(lambda q: jax.random.choice(q, pool.shape[1], (1 + _QUERIES,), replace=False))(
                jax.random.split(k2, way)
            )
            drawn = pool[rows[:, None], columns].reshape(-1, 28, 28)
            drawn = distort(k3, drawn).reshape(way, 1 + _QUERIES, 28, 28)
            query = drawn[:, 1:].reshape(-1, 28, 28)
            return (drawn[:, 0], labels), (query, jnp.repeat(labels, _QUERIES))

        return jax.vmap(one)(jax.random.split(key, _TASKS))

    model = reader(way)
    recipe = ANIL(head=("head",), steps=5, rate=2.0)
    fitted = fit(
        recipe, model, tasks, meta_steps=meta_steps, seed=seed, optimizer=_falling(2e-3, meta_steps), chunk=100,
        progress=progress,
    )  # fmt: skip
    return model, fitted


_read = jax.jit(jax.vmap(read))


def classify(fitted: Fitted, episodes: Episodes, steps: int | None = None) -> Indices:
    """(episodes, way, queries): what a meta-learner that has adapted to each support takes each query for."""
    n, way, queries = episodes.query.shape[:3]
    labels = np.tile(np.repeat(np.arange(way), episodes.shot), (n, 1))
    answers = []
    for k in range(0, n, 50):
        part = slice(k, min(n, k + 50))
        support = episodes.support[part].reshape(-1, way * episodes.shot, 28, 28)
        params = fitted.adapt_all((support, labels[part]), steps)
        found = np.asarray(_read(params, episodes.query[part].reshape(-1, way * queries, 28, 28)))
        answers.append(found.argmax(-1).reshape(-1, way, queries))
    return np.concatenate(answers).astype(np.intp)
