"""Handwritten digits, all 5620 of the UCI set (`data/SOURCES.md`): what hyper-cleaning cleans."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Labels = NDArray[np.int32]

CLASSES = 10
PIXELS = 64


@dataclass(frozen=True)
class Digits:
    """Images of 8 x 8 pixels, ink from 0 to 1, and what they show; the people of the test set are others.

    Attributes:
        training_images, test_images: shapes (3823, 64) and (1797, 64).
        training_labels, test_labels: shapes (3823,) and (1797,).
    """

    training_images: Images
    training_labels: Labels
    test_images: Images
    test_labels: Labels


def digits() -> Digits:
    """The whole set."""
    with (resources.files(__package__) / "data/digits.npz").open("rb") as file, np.load(file) as stored:
        images = {part: (stored[f"{part}_images"] / 16).astype(np.float32) for part in ("training", "test")}
        labels = {part: stored[f"{part}_labels"].astype(np.int32) for part in ("training", "test")}
    return Digits(images["training"], labels["training"], images["test"], labels["test"])
