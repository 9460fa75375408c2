"""Prototypical networks: one network for all tasks, whose features of a class's examples lie around their mean.

Sources: Snell, Swersky & Zemel 2017, "Prototypical networks for few-shot learning" (distances to means of features,
many classes in training); Goldberger et al. 2004, "Neighborhood components analysis" (every image in turn the example).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from metaloop.errors import refuse
from metaloop.systems.few_shot.characters import Characters, Episodes, Images, Indices
from metaloop.systems.few_shot.embedding import Statistics, Weights, distort, embed, initial, statistics

_AT_ONCE = 512  # images embedded in one call; the last call is filled up, so that XLA compiles one shape


@dataclass(frozen=True)
class Settings:
    """How a prototypical network is trained.

    Attributes:
        widths: channels of the convolutions.
        steps: of the optimizer, AdamW with a cosine schedule.
        way: classes of a batch.
        drawings: of each class; each in turn is the support of a one-shot episode whose queries are the others.
        groups: alphabets, rotations counted apart, that `per_group` classes of a batch are taken from; the other
            classes come from anywhere. Characters of one alphabet are harder to tell apart, and Lake's runs are such.
        per_group: see `groups`.
        same_drawers: share of the batches in which the k-th drawing of all classes of an alphabet is by one person.
        rate: the first learning rate.
        decay: of weights.
        mirrored: whether the classes are also mirrored, not just turned.
        strength: of the random distortions.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    steps: int = 3000
    way: int = 64
    drawings: int = 4
    groups: int = 2
    per_group: int = 20
    same_drawers: float = 0.5
    rate: float = 1e-3
    decay: float = 1e-4
    mirrored: bool = True
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name in ("steps", "way", "drawings"):
            if getattr(self, name) < (1 if name == "steps" else 2):
                raise refuse(name, getattr(self, name), f"a whole number >= {1 if name == 'steps' else 2}")
        if self.groups * self.per_group > self.way:
            raise refuse("groups * per_group", self.groups * self.per_group, f"at most way, {self.way}")


@jax.jit
def _features(weights: Weights, images: jax.Array, known: Statistics) -> jax.Array:
    return embed(weights, images, known)


@jax.jit
def _distort(key: jax.Array, images: jax.Array) -> jax.Array:
    # Half as much as in training was better than as much, on held-out training alphabets.
    return distort(key, images, 0.5)


@dataclass(frozen=True)
class Prototypes:
    """A trained network.

    Attributes:
        weights: of the network.
        statistics: of its layers, over the training characters: what is in a batch does not change the features.
    """

    weights: Weights
    statistics: Statistics

    def features(self, images: Images, *, views: int = 0, seed: int = 0) -> Images:
        """Features of images.

        Args:
            images: (..., 28, 28), normalized as the training images were.
            views: 0 for the features of the image; else their mean over it and so many distorted copies of it, which
                takes as many times longer.
            seed: of the distortions.

        Returns:
            (..., features).
        """
        flat = images.reshape(-1, *images.shape[-2:])
        found = []
        for k in range(0, len(flat), _AT_ONCE):
            part = flat[k : k + _AT_ONCE]
            filled = jnp.asarray(np.concatenate([part, np.zeros((_AT_ONCE - len(part), *part.shape[1:]), np.float32)]))
            total = _features(self.weights, filled, self.statistics)
            for view in range(views):
                key = jax.random.fold_in(jax.random.key(seed), view * len(flat) + k)
                total += _features(self.weights, _distort(key, filled), self.statistics)
            found.append(np.asarray(total / (1 + views), np.float32)[: len(part)])
        features: Images = np.concatenate(found).reshape(*images.shape[:-2], -1)
        return features

    def classify(self, episodes: Episodes, *, views: int = 0) -> Indices:
        """(episodes, way, queries), the class whose support's mean features are nearest to each query's.

        Each query is classified by itself. With `views`, features are means over distorted copies, see `features`.
        """
        support = self.features(episodes.support, views=views).mean(2)
        return nearest(support, self.features(episodes.query, views=views, seed=1))


def nearest(prototypes: Images, queries: Images) -> Indices:
    """Of prototypes (episodes, way, d) the nearest to each of the queries (episodes, way, q, d): (episodes, way, q)."""
    answers = []
    for known, asked in zip(prototypes, queries, strict=True):
        apart = (known**2).sum(-1) - 2 * asked @ known.T  # less the query's own square, the same for all classes
        answers.append(apart.argmin(-1))
    return np.array(answers, np.intp)


def _choose(characters: Characters, rng: np.random.Generator, settings: Settings) -> tuple[Indices, Indices]:
    """Rows (way,) and drawers (way, drawings) of a batch."""
    way, drawers = settings.way, characters.images.shape[1]
    chosen: list[int] = []
    for alphabet in rng.permutation(len(characters.names))[: settings.groups]:
        members = np.flatnonzero(characters.alphabets == alphabet)
        chosen += rng.permutation(members)[: settings.per_group].tolist()
    others = np.setdiff1d(np.arange(len(characters)), chosen)
    rows = np.array(chosen + rng.choice(others, way - len(chosen), replace=False).tolist(), np.intp)
    shape = (1 if rng.random() < settings.same_drawers else way, drawers)
    columns = np.argsort(rng.random(shape), axis=1)[:, : settings.drawings]
    return rows, np.broadcast_to(columns, (way, settings.drawings))


def _loss(weights: Weights, key: jax.Array, images: jax.Array, strength: float) -> jax.Array:
    """Mean cross-entropy of one-shot episodes of images (way, drawings, 28, 28), each drawing in turn the support."""
    way, drawings = images.shape[:2]
    features = embed(weights, distort(key, images.reshape(-1, *images.shape[2:]), strength))
    # The distance grows with the number of features; its root keeps the softmax off its ends at the start.
    features = (features / features.shape[-1] ** 0.25).reshape(way, drawings, -1)
    squares = (features**2).sum(-1)
    # apart[i, q, j, s]: query drawing q of class i to support drawing s of class j.
    apart = squares[:, :, None, None] + squares - 2 * jnp.einsum("iqd,jsd->iqjs", features, features)
    surprise = -jnp.einsum("iqis->iqs", jax.nn.log_softmax(-apart, axis=2))
    others = 1 - jnp.eye(drawings)
    return (surprise * others).sum() / (way * others.sum())


def train(
    characters: Characters,
    *,
    seed: int = 0,
    settings: Settings | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Prototypes:
    """A prototypical network of these characters, turned (and mirrored) ones being further classes.

    Args:
        characters: to learn from.
        seed: of the weights, the batches and the distortions.
        settings: None for the defaults.
        progress: told the steps done and the batch's loss, every 100 steps.

    Raises:
        InputError: fewer characters than a batch has classes, or fewer drawings.
    """
    chosen = Settings() if settings is None else settings
    pool = characters.turned(mirrored=chosen.mirrored)
    if len(pool) < chosen.way:
        raise refuse("way", chosen.way, f"at most the number of characters and turned characters, {len(pool)}")
    if characters.images.shape[1] < chosen.drawings:
        raise refuse("drawings", chosen.drawings, f"at most those of a character, {characters.images.shape[1]}")
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.cosine_decay_schedule(chosen.rate, chosen.steps), weight_decay=chosen.decay),
    )

    @jax.jit
    def step(
        weights: Weights, state: optax.OptState, key: jax.Array, images: jax.Array
    ) -> tuple[Weights, optax.OptState, jax.Array]:
        loss, slope = jax.value_and_grad(_loss)(weights, key, images, chosen.strength)
        change, state = optimizer.update(slope, state, weights)
        return optax.apply_updates(weights, change), state, loss

    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    weights = initial(key, chosen.widths)
    state = optimizer.init(weights)
    for k in range(chosen.steps):
        rows, columns = _choose(pool, rng, chosen)
        images = jnp.asarray(pool.images[rows[:, None], columns])
        weights, state, loss = step(weights, state, jax.random.fold_in(key, k), images)
        if progress is not None and (k + 1) % 100 == 0:
            progress(k + 1, float(loss))
    # Every second drawing is enough for means and variances of thousands of pixels.
    return Prototypes(weights, statistics(weights, jnp.asarray(characters.images[:, ::2].reshape(-1, 28, 28))))
