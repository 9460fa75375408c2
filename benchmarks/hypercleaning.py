"""Half of the labels of real digits are drawn at random: what weights learned by hypergradients are worth.

Nets of one kind are trained on all examples as they are (baseline), on the clean validation examples alone, on all with
the learned weights, and on the right labels only (oracle), with several weight decays: a strong one protects the
baseline too, and leaves little to close.

Usage: python benchmarks/hypercleaning.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np

from metaloop.systems.few_shot.cleaning import Setting, accuracy, clean, corrupted
from metaloop.systems.few_shot.digits import digits

DECAYS = (1e-5, 1e-4, 1e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    data, setting = digits(), Setting()
    rows = {decay: [] for decay in DECAYS}
    spent, scores = [], []
    for seed in range(given.seeds):
        part = corrupted(data, setting, seed)
        begun = time.process_time()
        weights, _ = clean(part, setting, seed)
        spent.append(time.process_time() - begun)
        found = weights < 0.5
        scores.append(2 * (found & part.bad).sum() / (found.sum() + part.bad.sum()))
        ones = np.ones(len(weights))
        for decay in DECAYS:
            rows[decay].append([100 * accuracy(data, part, w, setting, seed + 1, decay=decay)
                                for w in (ones, 0 * ones, weights, 1.0 - part.bad)])  # fmt: skip
    print(f"{len(weights):,} weights, {setting.validation} clean examples, {given.seeds} random splits; cleaning took "
          f"{np.mean(spent):.0f} CPU s; F1 of the wrong labels found {np.mean(scores):.3f} "
          f"[{min(scores):.3f}, {max(scores):.3f}]\n")  # fmt: skip
    print("| weight decay | baseline | clean ones alone | learned weights | oracle | gap closed, 95 % interval |")
    print("|---|---|---|---|---|---|")
    for decay, values in rows.items():
        each = np.array(values)
        closed = (each[:, 2] - each[:, 0]) / (each[:, 3] - each[:, 0])
        half = 1.96 * closed.std(ddof=1) / np.sqrt(len(closed))
        cells = " | ".join(f"{m:.1f} ± {s:.1f}" for m, s in zip(each.mean(0), each.std(0, ddof=1), strict=True))
        print(f"| {decay:g} | {cells} | {closed.mean():.2f} [{closed.mean() - half:.2f}, {closed.mean() + half:.2f}] |")


if __name__ == "__main__":
    main()
