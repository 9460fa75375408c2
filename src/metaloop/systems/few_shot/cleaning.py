"""Data hyper-cleaning: half of the labels are wrong, and a weight for each example is learned that says which.

Source: Franceschi et al. 2017, section 5.1: weights of training examples as outer variables, a small clean validation
set as the outer loss; the judge is a net trained on what the weights leave.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from metaloop.bilevel import Descent, Learned, OuterDescent, Problem, Unrolled, learn
from metaloop.systems.few_shot.digits import CLASSES, PIXELS, Digits

_MOMENTUM = 0.9
_RATE = 0.3


@dataclass(frozen=True)
class Setting:
    """What is cleaned, and how.

    Attributes:
        validation: clean examples; all others are for training.
        wrong: share of the training labels that are drawn at random.
        hidden: units of the net's one layer.
        decay: of its weights; little, so that it can learn the wrong labels by heart.
        inner: steps of an inner solve, which begins where the last one ended.
        outer: steps of the outer loop.
        rate: of Adam for the weights' logits.
        final: steps of the nets that are compared.
    """

    validation: int = 500
    wrong: float = 0.5
    hidden: int = 48
    decay: float = 1e-4
    inner: int = 20
    outer: int = 200
    rate: float = 0.1
    final: int = 1500


@dataclass(frozen=True)
class Corrupted:
    """Training examples of which some have a wrong label, and clean ones for validation."""

    images: NDArray[np.float32]
    labels: NDArray[np.int32]
    true: NDArray[np.int32]
    validation_images: NDArray[np.float32]
    validation_labels: NDArray[np.int32]

    @property
    def bad(self) -> NDArray[np.bool_]:
        """Which labels are wrong; nobody is told."""
        return np.asarray(self.labels != self.true)


def corrupted(digits: Digits, setting: Setting, seed: int) -> Corrupted:
    """A random split, with labels drawn at random for a share of the training examples."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.training_images))
    kept, rest = order[: setting.validation], order[setting.validation :]
    true = digits.training_labels[rest]
    drawn = rng.random(len(rest)) < setting.wrong
    labels = np.where(drawn, rng.integers(0, CLASSES, len(rest), dtype=np.int32), true)
    images = digits.training_images
    return Corrupted(images[rest], labels, true, images[kept], digits.training_labels[kept])


def fresh(setting: Setting, seed: int) -> dict[str, Any]:
    """Weights of the net."""
    a, b = jax.random.split(jax.random.key(seed))
    return {
        "w": jax.random.normal(a, (PIXELS, setting.hidden)) * math.sqrt(2 / PIXELS),
        "b": jnp.zeros(setting.hidden),
        "v": jax.random.normal(b, (setting.hidden, CLASSES)) / math.sqrt(setting.hidden),
        "c": jnp.zeros(CLASSES),
    }


def logits(net: dict[str, Any], images: Any) -> Any:
    """What the net says, shape (n, 10)."""
    return jnp.tanh(images @ net["w"] + net["b"]) @ net["v"] + net["c"]


def surprise(net: dict[str, Any], images: Any, labels: Any) -> Any:
    """Cross-entropy of each example, shape (n,)."""
    return optax.softmax_cross_entropy_with_integer_labels(logits(net, images), labels)


def problem(setting: Setting) -> Problem:
    """Inner: weighted cross-entropy on the training examples; outer: cross-entropy on the validation examples."""

    def inner(net: Any, u: Any, data: Any) -> Any:
        decay = setting.decay * sum((leaf**2).sum() for leaf in jax.tree.leaves(net))
        return (jax.nn.sigmoid(u) * surprise(net, data["x"], data["y"])).mean() + decay

    def outer(net: Any, u: Any, data: Any) -> Any:
        return surprise(net, data["xv"], data["yv"]).mean()

    return Problem(inner, outer, Descent(_momentum, setting.inner))


_momentum = optax.sgd(_RATE, momentum=_MOMENTUM)


def clean(data: Corrupted, setting: Setting, seed: int) -> tuple[NDArray[np.float64], Learned]:
    """A weight for each example, from 0 to 1, shape (n,), and the outer loop's course."""
    arrays = {"x": data.images, "y": data.labels, "xv": data.validation_images, "yv": data.validation_labels}
    recipe = OuterDescent(Unrolled(), setting.rate, setting.outer, look=setting.outer)
    found = learn(problem(setting), jnp.zeros(len(data.labels)), fresh(setting, seed), data=arrays, recipe=recipe)
    return np.asarray(jax.nn.sigmoid(found.outer), dtype=float), found


def accuracy(
    digits: Digits, data: Corrupted, weights: NDArray[Any], setting: Setting, seed: int, *, decay: float | None = None
) -> float:
    """Share of the test set that a net reads which was trained on weighted and validation examples together."""
    images = np.concatenate([data.images, data.validation_images])
    labels = np.concatenate([data.labels, data.validation_labels])
    weight = np.concatenate([weights, np.ones(len(data.validation_labels))]).astype(np.float32)
    net = _train(fresh(setting, seed), images, labels, weight, setting.decay if decay is None else decay, setting.final)
    return float((np.asarray(logits(net, digits.test_images)).argmax(1) == digits.test_labels).mean())


@jax.jit
def _slope(net: Any, images: Any, labels: Any, weight: Any, decay: Any) -> Any:
    def total(n: Any) -> Any:
        penalty = decay * sum((leaf**2).sum() for leaf in jax.tree.leaves(n))
        return (weight * surprise(n, images, labels)).mean() + penalty

    return jax.grad(total)(net)


def _train(net: Any, images: Any, labels: Any, weight: Any, decay: float, steps: int) -> Any:
    solver = Descent(_momentum, steps)

    @jax.jit
    def run(net: Any, images: Any, labels: Any, weight: Any, decay: Any) -> Any:
        return solver.solve(lambda n: _slope(n, images, labels, weight, decay), None, net)[0]

    return run(net, images, labels, weight, jnp.asarray(decay))


@dataclass(frozen=True)
class Cleaned:
    """What cleaning was worth: test accuracies of nets trained alike on different examples.

    Attributes:
        baseline: on all examples as they are.
        oracle: on those whose labels are right.
        clean_only: on the validation examples alone.
        ours: on all, weighted.
        weights: shape (n,).
        bad: which labels were wrong, shape (n,).
        sound: whether the looks at the hypergradient found nothing.
    """

    baseline: float
    oracle: float
    clean_only: float
    ours: float
    weights: NDArray[np.float64]
    bad: NDArray[np.bool_]
    sound: bool

    @property
    def closed(self) -> float:
        """Share of the gap from the baseline to the oracle that is closed."""
        return (self.ours - self.baseline) / (self.oracle - self.baseline)

    @property
    def f1(self) -> float:
        """Of the wrong labels found, weights below one half."""
        found = self.weights < 0.5
        return float(2 * (found & self.bad).sum() / max(1, found.sum() + self.bad.sum()))


def measure(digits: Digits, setting: Setting, seed: int, *, decay: float | None = None) -> Cleaned:
    """Clean once, and train the nets to compare.

    Args:
        digits: the data.
        setting: what and how.
        seed: of the split, the wrong labels and the nets.
        decay: of the nets to compare; the setting's if None.
    """
    data = corrupted(digits, setting, seed)
    weights, found = clean(data, setting, seed)

    def test(w: NDArray[Any]) -> float:
        return accuracy(digits, data, w, setting, seed + 1, decay=decay)

    n = len(data.labels)
    return Cleaned(
        test(np.ones(n)), test(1.0 - data.bad), test(np.zeros(n)), test(weights), weights, data.bad, found.sound
    )
