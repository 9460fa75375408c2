"""Make the tables of `metaloop.systems.architecture` from their originals; see the SOURCES.md beside them.

Usage: python benchmarks/make_nas_tables.py mini-nasbench201.csv nas-bench-macro_cifar10.json FOLDER
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np

OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


def cells(source: Path, folder: Path) -> None:
    table = np.full((5**6, 3, 2), -1, np.int32)  # sets; validation, test
    with source.open() as file:
        for row in csv.DictReader(file):
            found = re.findall(r"([a-z0-9_]+)~(\d)", row["cellstr"])
            if [int(node) for _, node in found] != [0, 0, 1, 0, 1, 2]:
                raise SystemExit(f"not a cell: {row['cellstr']}")
            at = np.ravel_multi_index([OPERATIONS.index(name) for name, _ in found], (5,) * 6)
            for k, name in enumerate(("cifar10", "cifar100", "imagenet")):
                table[at, k] = [round(1000 * float(row[f"{name}-{part}"])) for part in ("val", "test")]
    if (table < 0).any():
        raise SystemExit("some cells are missing")
    np.savez_compressed(folder / "cells.npz", accuracy=table)


def macro(source: Path, folder: Path) -> None:
    data = json.loads(source.read_text())
    names = [np.base_repr(k, 3).zfill(8) for k in range(3**8)]
    accuracy = np.array([np.round(100 * np.array(data[name]["test_acc"])) for name in names])
    np.savez_compressed(
        folder / "macro.npz",
        accuracy=accuracy.astype(np.uint16),
        parameters=np.array([data[name]["params"] for name in names], np.uint32),
        flops=np.array([data[name]["flops"] for name in names], np.uint32),
    )


if __name__ == "__main__":
    first, second, out = map(Path, sys.argv[1:])
    cells(first, out)
    macro(second, out)
