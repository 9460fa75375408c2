"""Handwritten digits of 43 people, small enough to learn in a second: for weighing examples whose labels are wrong.

Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository;
`data/SOURCES.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Digits:
    """Images and what they show.

    Attributes:
        images: (n, 8, 8), ink from 0 to 1 in steps of 1/16.
        labels: (n,), from 0 to 9.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.images)


def _stored(name: str) -> Digits:
    with (resources.files(__package__) / "data/digits.npz").open("rb") as file, np.load(file) as arrays:
        images = arrays[f"{name}_images"].reshape(-1, 8, 8) / np.float32(16)
        return Digits(images.astype(np.float32), arrays[f"{name}_labels"].astype(np.intp))


def training() -> Digits:
    """The 3823 digits of 30 people, about as many of each."""
    return _stored("training")


def test() -> Digits:
    """The 1797 digits of 13 other people."""
    return _stored("test")
