"""Handwritten characters to learn from one drawing: Omniglot's small sets, Lake's one-shot runs, and episodes.

Sources: Lake, Salakhutdinov & Tenenbaum 2015, Science 350, 1332 (the data and the 20 runs); Vinyals et al. 2016,
"Matching networks for one shot learning" (episodes; rotated characters as further classes); Casey 1970, IBM J. Res.
Dev. 14, 548 (normalization by moments); `data/SOURCES.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from metaloop.errors import refuse

Images = NDArray[np.float32]
Indices = NDArray[np.intp]

SIDE = 28
DRAWERS = 20
_LEVELS = 15
_BATCH = 1024  # images normalized at once, so that the intermediate arrays stay small


def normalize(images: Images, *, spread: float = 6.5, aspect: float = 0.5) -> Images:
    """Images of the same ink at one place, of one size and nearer to one aspect ratio.

    The ink's center of mass moves to the image's center and its root mean square distance per axis becomes `spread`;
    no one is enlarged more than 2.5 times. What people draw alike then lies on the same pixels.

    Args:
        images: (..., 28, 28), ink from 0 to 1.
        spread: root mean square distance from the center, per axis, in pixels.
        aspect: 0 to keep the ratio of height to width, 1 to make both equal, between them for a power of the ratio.
            0.5 and 6.5 pixels were the best for nearest neighbors on the training alphabets.

    Returns:
        (..., 28, 28), bilinear interpolation.
    """
    flat = images.reshape(-1, SIDE, SIDE)
    parts = [_normalize(flat[k : k + _BATCH], spread, aspect) for k in range(0, len(flat), _BATCH)]
    return np.concatenate(parts).reshape(images.shape)


def _normalize(images: Images, spread: float, aspect: float) -> Images:
    grid = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    ink = images.sum((1, 2)) + 1e-6
    rows, columns = images.sum(2), images.sum(1)
    y, x = rows @ grid / ink, columns @ grid / ink
    # Half a pixel keeps the ratio finite for straight strokes.
    height, width = rows @ grid**2 / ink - y**2 + 0.5, columns @ grid**2 / ink - x**2 + 0.5
    zoom = np.clip(np.sqrt((height + width) / 2) / spread, 0.4, 1.5)
    ratio = np.clip(height / width, 1 / 9, 9) ** (aspect / 4)
    found = _weights(y, zoom * ratio) @ images @ _weights(x, zoom / ratio).transpose(0, 2, 1)
    return np.asarray(found, np.float32)


def _weights(center: NDArray[np.floating], step: NDArray[np.floating]) -> NDArray[np.floating]:
    """(n, 28, 28), what of each input row makes each output row: linear interpolation, no ink outside."""
    pixel = np.arange(SIDE, dtype=np.float32)
    place = center[:, None] + step[:, None] * (pixel - (SIDE - 1) / 2) + (SIDE - 1) / 2
    weights: NDArray[np.floating] = np.maximum(0, 1 - np.abs(place[..., None] - pixel))
    return weights


@dataclass(frozen=True)
class Characters:
    """Characters of some alphabets, each drawn once by each of 20 people.

    Attributes:
        images: (characters, drawers, 28, 28), ink from 0 to 1.
        alphabets: (characters,), index into `names`. Rotated characters have alphabets of their own.
        names: of the alphabets.
    """

    images: Images
    alphabets: Indices
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> Indices:
        """(characters, drawers), the class of each image: its character's row."""
        rows = np.arange(len(self))[:, None]
        return np.broadcast_to(rows, self.images.shape[:2])

    def only(self, *names: str) -> Characters:
        """Those of the alphabets named.

        Raises:
            InputError: an alphabet that is not here.
        """
        for name in names:
            if name not in self.names:
                raise refuse("alphabet", name, f"one of {', '.join(self.names)}")
        kept = [self.names.index(name) for name in names]
        rows = np.isin(self.alphabets, kept)
        place = np.array([kept.index(a) for a in self.alphabets[rows]], np.intp)
        return Characters(self.images[rows], place, tuple(names))

    def without(self, *names: str) -> Characters:
        """Those of all other alphabets.

        Raises:
            InputError: an alphabet that is not here.
        """
        self.only(*names)
        return self.only(*(name for name in self.names if name not in names))

    def normalized(self) -> Characters:
        """With all images as `normalize` makes them."""
        return replace(self, images=normalize(self.images))

    def turned(self, *, mirrored: bool = False) -> Characters:
        """With the characters turned by 90, 180 and 270 degrees as new characters of new alphabets.

        Args:
            mirrored: also all of them mirrored: eight times as many, not four.
        """
        images: list[Images] = []
        names: list[str] = []
        for flip in (False, True)[: 1 + mirrored]:
            source = self.images[..., ::-1] if flip else self.images
            for turn in range(4):
                images.append(np.rot90(source, turn, (2, 3)))
                note = f"{', mirrored' if flip else ''}{f', turned by {90 * turn}' if turn else ''}"
                names += [f"{name}{note}" for name in self.names]
        alphabets = [self.alphabets + k * len(self.names) for k in range(len(images))]
        return Characters(np.concatenate(images), np.concatenate(alphabets), tuple(names))


@dataclass(frozen=True)
class Episodes:
    """Few-shot tasks: tell for each query image which of the `way` support classes it belongs to.

    Attributes:
        support: (episodes, way, shot, 28, 28).
        query: (episodes, way, queries, 28, 28).
        labels: (episodes, way, queries), the class of each query, from 0 to way - 1.
        characters: (episodes, way), the row in the `Characters` that each class was; -1 where that is not known.
    """

    support: Images
    query: Images
    labels: Indices
    characters: Indices

    def __len__(self) -> int:
        return len(self.support)

    @property
    def way(self) -> int:
        """Classes of an episode."""
        return int(self.support.shape[1])

    @property
    def shot(self) -> int:
        """Support images of a class."""
        return int(self.support.shape[2])

    def normalized(self) -> Episodes:
        """With all images as `normalize` makes them."""
        return replace(self, support=normalize(self.support), query=normalize(self.query))

    def error(self, answers: Indices) -> NDArray[np.float64]:
        """(episodes,), the share of queries whose class is not the answer, (episodes, way, queries)."""
        wrong: NDArray[np.float64] = (answers != self.labels).mean((1, 2))
        return wrong

    def __getitem__(self, part: slice) -> Episodes:
        return Episodes(self.support[part], self.query[part], self.labels[part], self.characters[part])


def _unpack(packed: NDArray[np.uint8]) -> Images:
    """Images from two pixels a byte: (..., 392) to (..., 28, 28)."""
    pixels = np.stack([packed >> 4, packed & 15], axis=-1)
    return (pixels.reshape(*packed.shape[:-1], SIDE, SIDE) / np.float32(_LEVELS)).astype(np.float32)


def _stored(name: str) -> NDArray[np.generic]:
    with (resources.files(__package__) / "data/characters.npz").open("rb") as file, np.load(file) as arrays:
        return np.asarray(arrays[name])


def _characters(name: str) -> Characters:
    names = tuple(str(n) for n in _stored(f"{name}_alphabets"))
    packed = _stored(f"{name}_images").astype(np.uint8, copy=False)
    return Characters(_unpack(packed), _stored(f"{name}_alphabet").astype(np.intp), names)


def training() -> Characters:
    """The 136 characters of five alphabets to learn from: Balinese, Early Aramaic, Greek, Korean, Latin."""
    return _characters("training")


def unseen() -> Characters:
    """The 106 characters of three other alphabets to be tested on: Japanese katakana, Sanskrit, Tagalog."""
    return _characters("unseen")


def lake_runs() -> Episodes:
    """Lake's 20 runs, to be tested on: 20-way one-shot, all of one alphabet, in no alphabet above.

    One person drew all support images of a run and another one all its queries. `query` is (20, 20, 1, 28, 28) in the
    published order, which is not that of the classes: see `labels`.
    """
    support, query = (_unpack(_stored(f"lake_{part}").astype(np.uint8, copy=False)) for part in ("support", "query"))
    labels = _stored("lake_labels").astype(np.intp)
    return Episodes(support[:, :, None], query[:, :, None], labels[:, :, None], np.full(labels.shape, -1, np.intp))


def sample_classes(characters: Characters, rng: np.random.Generator, way: int, *, within: bool) -> Indices:
    """Rows of `way` different characters, (way,).

    Args:
        characters: to choose from.
        rng: of the choice.
        way: how many.
        within: all of one alphabet, which is chosen in proportion to its number of characters.

    Raises:
        InputError: fewer than `way` characters, or no alphabet of that many.
    """
    if not within:
        if not 1 <= way <= len(characters):
            raise refuse("way", way, f"from 1 to the number of characters, {len(characters)}")
        return rng.choice(len(characters), way, replace=False)
    sizes = np.bincount(characters.alphabets, minlength=len(characters.names))
    if not 1 <= way <= sizes.max():
        raise refuse("way", way, f"from 1 to the characters of the largest alphabet, {sizes.max()}")
    weights = np.where(sizes >= way, sizes, 0)
    alphabet = rng.choice(len(sizes), p=weights / weights.sum())
    return rng.choice(np.flatnonzero(characters.alphabets == alphabet), way, replace=False)


def sample(
    characters: Characters,
    rng: np.random.Generator,
    *,
    way: int,
    shot: int = 1,
    queries: int = 1,
    episodes: int = 1,
    within: float = 0.0,
    same_drawers: bool = False,
) -> Episodes:
    """Random episodes; no image is both support and query.

    Args:
        characters: to choose from; `characters.turned()` for rotations as further classes.
        rng: of all choices.
        way: classes of an episode.
        shot: support images of a class.
        queries: query images of a class.
        episodes: how many.
        within: share of the episodes, from 0 to 1, whose classes are all of one alphabet; Lake's runs are.
        same_drawers: the k-th image of all classes of an alphabet is by one person, as in Lake's runs; else each
            class has its own.

    Raises:
        InputError: more classes than there are, or more images of a class than its 20.
    """
    if not 0 <= within <= 1:
        raise refuse("within", within, "from 0 to 1")
    for name, value in (("shot", shot), ("queries", queries), ("episodes", episodes)):
        if value < 1:
            raise refuse(name, value, "a whole number >= 1")
    drawers = characters.images.shape[1]
    if shot + queries > drawers:
        raise refuse("shot + queries", shot + queries, f"at most the number of drawings of a character, {drawers}")
    rows = np.empty((episodes, way), np.intp)
    columns = np.empty((episodes, way, shot + queries), np.intp)
    for k in range(episodes):
        rows[k] = sample_classes(characters, rng, way, within=bool(rng.random() < within))
        chances = rng.random((1 if same_drawers else way, drawers))
        columns[k] = np.argsort(chances, axis=1)[:, : shot + queries]
    images = characters.images[rows[..., None], columns]
    labels = np.broadcast_to(np.arange(way)[:, None], (episodes, way, queries)).astype(np.intp)
    return Episodes(images[:, :, :shot], images[:, :, shot:], labels, rows)
