"""Makes the data of the few-shot system from the originals (see `src/metaloop/systems/few_shot/data/SOURCES.md`).

    python benchmarks/make_few_shot_data.py OMNIGLOT OPTDIGITS [OUT]

OMNIGLOT holds images_background_small1.zip, images_background_small2.zip and all_runs.zip of brendenlake/omniglot;
OPTDIGITS holds optdigits.tra and optdigits.tes of the UCI repository; a line of column names may stand before the rows.

Characters become 28 x 28 images of ink in sixteen levels. A pixel is the mean over the 3.75 x 3.75 pixels it covers,
parts of pixels weighted by their area: picking every so many pixels would tear strokes that are two pixels wide.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, LEVELS = 28, 15
OUT = Path(__file__).parents[1] / "src/metaloop/systems/few_shot/data"


def area_average(from_side: int, to_side: int) -> np.ndarray:
    """The (to_side, from_side) matrix of overlaps; rows sum to 1."""
    edges = np.arange(to_side + 1) * from_side / to_side
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(from_side)[None, :]
    overlap = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    return overlap * to_side / from_side


MEAN = area_average(105, SIDE)


def ink(png: bytes) -> np.ndarray:
    """A drawing, (105, 105), 1 where there is ink."""
    drawing = ~np.array(Image.open(io.BytesIO(png)).convert("1"))
    assert drawing.shape == (105, 105)
    return drawing


def shrink(drawing: np.ndarray) -> np.ndarray:
    """A drawing's image: (28, 28) whole numbers from 0 to 15."""
    return np.rint(LEVELS * (MEAN @ drawing @ MEAN.T)).astype(np.uint8)


def background(file: Path) -> list[tuple[str, int, int, np.ndarray]]:
    """(alphabet, character, drawer, drawing) of every drawing; names are alphabet/characterNN/NNNN_DD.png."""
    found = []
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".png") and not name.startswith("__MACOSX"):
                *_, alphabet, character, image = name.split("/")
                drawer = int(image.removesuffix(".png").split("_")[1])
                found.append((alphabet, int(character.removeprefix("character")), drawer, ink(archive.read(name))))
    return found


def lake_runs(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training drawings (20, 20, 105, 105), test drawings (the same) and each test drawing's class (20, 20), from 0."""
    support, query, labels = [], [], []
    with zipfile.ZipFile(file) as archive:
        prefix = next(n for n in archive.namelist() if n.endswith("run01/class_labels.txt")).removesuffix(
            "run01/class_labels.txt"
        )
        for run in range(1, 21):
            rows = archive.read(f"{prefix}run{run:02d}/class_labels.txt").decode().split("\n")
            pairs = sorted(row.split() for row in rows if row.strip())
            assert len(pairs) == 20
            # The second column names the training drawing that is of the same character: classNN.png, NN from 1.
            labels.append([int(answer[-6:-4]) - 1 for _, answer in pairs])
            query.append([ink(archive.read(f"{prefix}{item}")) for item, _ in pairs])
            support.append([ink(archive.read(f"{prefix}run{run:02d}/training/class{k:02d}.png")) for k in range(1, 21)])
    return np.array(support), np.array(query), np.array(labels, np.uint8)


def digits(file: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (rows, 64) from 0 to 16 and classes (rows,)."""
    lines = [line for line in file.read_text().split("\n") if line.strip()]
    numbers = [line.split(",") for line in lines if len(line.split(",")) == 65 and line.replace(",", "").isdigit()]
    table = np.array(numbers, int)
    assert table.shape == (rows, 65), (file, table.shape)
    assert table[:, :64].min() == 0
    assert table[:, :64].max() == 16
    return table[:, :64].astype(np.uint8), table[:, 64].astype(np.uint8)


def pack(images: np.ndarray) -> np.ndarray:
    """Two pixels a byte: (..., 28, 28) to (..., 392)."""
    flat = images.reshape(*images.shape[:-2], SIDE * SIDE)
    return flat[..., 0::2] << 4 | flat[..., 1::2]


def make_characters(folder: Path, out: Path) -> None:
    """Writes characters.npz."""
    small1 = background(folder / "images_background_small1.zip")
    small2 = background(folder / "images_background_small2.zip")
    seen = sorted({row[0] for row in small1})
    unseen = [row for row in small2 if row[0] not in seen]
    support, query, labels = lake_runs(folder / "all_runs.zip")

    # The runs come without names of alphabets. Drawings are of mouse and hand: two equal ones are one drawing.
    known = {hashlib.sha256(row[3].tobytes()).digest(): row[0] for row in small1 + small2}
    drawings = np.concatenate([support.reshape(-1, 105, 105), query.reshape(-1, 105, 105)])
    shared = sum(hashlib.sha256(d.tobytes()).digest() in known for d in drawings)
    repeated = sum(hashlib.sha256(row[3].tobytes()).digest() in known for row in small2 if row[0] in seen)
    print(f"drawings of Lake's runs that are also in the background sets: {shared} of {len(drawings)}")
    print(f"drawings of {seen} in the second background set that are also in the first: {repeated}")
    assert shared == 0

    arrays = {}
    for name, rows in (("training", small1), ("unseen", unseen)):
        alphabets = sorted({row[0] for row in rows})
        pairs = sorted({(row[0], row[1]) for row in rows})
        arrays[f"{name}_alphabets"] = np.array(alphabets)
        # One row a character, one column a drawer.
        table = np.zeros((len(pairs), 20, SIDE, SIDE), np.uint8)
        filled = np.zeros((len(pairs), 20), bool)
        for alphabet, character, drawer, drawing in rows:
            at = pairs.index((alphabet, character)), drawer - 1
            table[at], filled[at] = shrink(drawing), True
        assert filled.all()
        arrays[f"{name}_images"] = pack(table)
        arrays[f"{name}_alphabet"] = np.array([alphabets.index(a) for a, _ in pairs], np.uint8)
        arrays[f"{name}_character"] = np.array([c for _, c in pairs], np.uint8)
        print(name, table.shape, dict(zip(alphabets, np.bincount(arrays[f"{name}_alphabet"]).tolist(), strict=True)))
    for name, images in (("support", support), ("query", query)):
        arrays[f"lake_{name}"] = pack(np.array([[shrink(d) for d in run] for run in images]))
    arrays["lake_labels"] = labels
    np.savez_compressed(out / "characters.npz", **arrays)


def make_digits(folder: Path, out: Path) -> None:
    """Writes digits.npz."""
    arrays = {}
    for name, file, rows in (("training", "optdigits.tra", 3823), ("test", "optdigits.tes", 1797)):
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = digits(folder / file, rows)
    # The documentation of the data gives the number of each digit.
    known = [376, 389, 380, 389, 387, 376, 377, 387, 380, 382], [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    for name, counts in zip(("training", "test"), known, strict=True):
        assert np.bincount(arrays[f"{name}_labels"]).tolist() == counts
    np.savez_compressed(out / "digits.npz", **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("omniglot", type=Path)
    parser.add_argument("optdigits", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    make_characters(given.omniglot, given.out)
    make_digits(given.optdigits, given.out)
    for made in ("characters.npz", "digits.npz"):
        print(made, (given.out / made).stat().st_size)
