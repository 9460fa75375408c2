"""A search of nets that are really trained: handwritten digits of 8 x 8 pixels, at most 2,410 parameters.

The search sees the training part alone: a candidate is trained on three quarters of it and judged by the cross-entropy
on the rest, first by short training runs, then the best few by longer ones. The winner is trained on the whole part,
and meets the test part once. Sizes of steps, distortions and candidates were set by hand on the training part of one
other split (seed 12345).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import InputError
from metaloop.optimizers.protocol import FAILED, AnyOptimizer, Told
from metaloop.space import Array
from metaloop.structure.architecture import Architectures, Limit
from metaloop.systems.architecture import nets

LIMIT = 2410  # the parameters of an MLP with 32 hidden units
TEST = 450
_VALIDATION = 337


@dataclass(frozen=True)
class Budget:
    """How much a search may train.

    Attributes:
        candidates: architectures that are trained for `short` steps.
        finalists: of them that are trained for `long` steps.
        short, long, last: steps of a candidate, a finalist, and of the winner on the whole training part.
    """

    candidates: int = 16
    finalists: int = 3
    short: int = 300
    long: int = 1000
    last: int = 2000


@dataclass(frozen=True)
class Split:
    """The images, and who may see which.

    Attributes:
        images: shape (1797, 8, 8), ink from 0 to 1.
        labels: shape (1797,).
        training, test: indices; stratified.
        fit, validation: the two parts of `training`, for a search; stratified.
    """

    images: Array
    labels: npt.NDArray[np.int64]
    training: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]
    fit: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]


@cache
def split(seed: int) -> Split:
    """A random split of scikit-learn's digits.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise InputError("the digits need scikit-learn: pip install 'metaloop[sklearn]'") from None
    data = load_digits()
    labels = data.target.astype(np.int64)
    training, test = train_test_split(np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=seed)
    fit, validation = train_test_split(training, test_size=_VALIDATION, stratify=labels[training], random_state=seed)
    return Split((data.images / 16).astype(np.float32), labels, training, test, fit, validation)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        net: the architecture.
        tried: (parameters, validation cross-entropy after the short training in nats) of each candidate.
        validation: cross-entropy of the winner after the long training, in nats.
        accuracy: on the test part, of the winner trained on the whole training part.
        seconds: CPU time of the search; `training`: that of the last training run.
    """

    net: nets.Chain
    tried: tuple[tuple[int, float], ...]
    validation: float
    accuracy: float
    seconds: float
    training: float


def architectures(limit: int = LIMIT) -> Architectures:
    """All chains with at most so many parameters.

    Raises:
        InputError: no architecture is that small.
    """
    return Architectures(nets.space(), [Limit(nets.parameters, limit)])


def search(
    seed: int, optimizer: AnyOptimizer, budget: Budget | None = None, limit: int = LIMIT,
    progress: Callable[[float], None] | None = None,
) -> Found:  # fmt: skip
    """Search, train the winner, test it.

    Args:
        seed: of the split, of the search and of all training runs.
        optimizer: chooses the candidates.
        budget: how much may be trained.
        limit: the most parameters.
        progress: called with the share that is done.
    """
    budget = budget or Budget()
    begun, data, space = time.process_time(), split(seed), architectures(limit)

    def judge(net: nets.Chain, steps: int) -> float:
        trained = nets.train(net, data.images, data.labels, data.fit, steps, seed)
        return trained.cross_entropy(data.images[data.validation], data.labels[data.validation])

    losses: dict[nets.Chain, float] = {}
    state = optimizer.init(space, seed)
    for _ in range(20 * budget.candidates):
        if len(losses) == budget.candidates:
            break
        rows, state = optimizer.ask(state, 1)
        if not len(rows):
            break
        net = nets.chain(space.decode(rows)[0])
        if net not in losses:
            losses[net] = judge(net, budget.short)
            if progress is not None:
                progress(0.7 * len(losses) / budget.candidates)
        told: list[Told] = [losses[net] if np.isfinite(losses[net]) else FAILED]
        state = optimizer.tell(state, rows, told)
    finalists = {net: judge(net, budget.long) for net in sorted(losses, key=losses.__getitem__)[: budget.finalists]}
    winner = min(finalists, key=finalists.__getitem__)
    searched = time.process_time()
    trained = nets.train(winner, data.images, data.labels, data.training, budget.last, seed)
    accuracy = 1.0 - trained.error(data.images[data.test], data.labels[data.test])
    tried = tuple((net.parameters, loss) for net, loss in losses.items())
    ended = time.process_time()
    return Found(winner, tried, finalists[winner], accuracy, searched - begun, ended - searched)


def perceptron(seed: int, *, distorted: int = 0) -> float:
    """Test accuracy of a hand-made net of the same size: 64 - 32 - 10, scikit-learn's MLP with its own settings.

    Args:
        seed: of the split and of the training.
        distorted: how many distorted copies of each image it sees besides the image itself.
    """
    from sklearn.neural_network import MLPClassifier

    data = split(seed)
    images: Any = data.images[data.training].reshape(-1, nets.PIXELS**2)
    labels = data.labels[data.training]
    rng, warps = np.random.default_rng(seed), nets.distortions()
    more = [np.einsum("np,npq->nq", images, warps[rng.integers(0, len(warps), len(images))]) for _ in range(distorted)]
    net = MLPClassifier((32,), max_iter=1000 if not distorted else 100, random_state=seed)
    net.fit(np.concatenate([images, *more]), np.tile(labels, 1 + distorted))
    return float(net.score(data.images[data.test].reshape(-1, nets.PIXELS**2), data.labels[data.test]))
