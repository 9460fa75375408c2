"""Characters from one drawing without bilevel learning: pixels, networks from scratch, prototypical networks.

    python benchmarks/few_shot_characters.py [--seeds 3] [--steps 3000] [--held-out Balinese Korean]

Networks learn from the five training alphabets alone. Tests: Lake's 20 runs (20-way one-shot within an alphabet, 400
queries; published, from five training alphabets: Lake, Salakhutdinov & Tenenbaum 2019, "The Omniglot challenge: a
3-year progress report") and episodes of three unseen alphabets, always the same ones. With --held-out, nothing is
tested: those training alphabets are left out of training, and the errors are on episodes of each, to choose settings.
Prints a line of JSON for each model and seed; seconds are of CPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from metaloop.systems.few_shot import characters as room
from metaloop.systems.few_shot.peers import from_scratch, nearest_neighbor
from metaloop.systems.few_shot.prototypes import Settings, train


def tests() -> dict[str, room.Episodes]:
    """What is tested on; all images as they were drawn."""
    new, rng = room.unseen(), np.random.default_rng(2026)
    return {
        "lake": room.lake_runs(),
        "unseen 5-way 1-shot": room.sample(new, rng, way=5, queries=15, episodes=600),
        "unseen 5-way 5-shot": room.sample(new, rng, way=5, shot=5, queries=15, episodes=600),
        "unseen 20-way 1-shot": room.sample(new, rng, way=20, queries=15, episodes=200),
        "unseen 20-way 1-shot within": room.sample(new, rng, way=20, episodes=200, within=1, same_drawers=True),
    }


def held_out(names: list[str]) -> dict[str, room.Episodes]:
    """Episodes like Lake's of training alphabets."""
    rng, seen = np.random.default_rng(7), room.training()
    return {
        name: room.sample(seen.only(name), rng, way=20, episodes=100, within=1, same_drawers=True) for name in names
    }


def report(model: str, seed: int | None, answer: Callable[[room.Episodes], room.Indices], on: dict, seconds: float = 0):
    begun = time.process_time()
    errors = {name: round(float(e.error(answer(e)).mean()), 4) for name, e in on.items()}
    line = {"model": model, "seed": seed, **errors, "training_s": round(seconds)}
    print(json.dumps({**line, "test_s": round(time.process_time() - begun, 1)}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=Settings().steps)
    parser.add_argument("--held-out", nargs="+", default=[])
    parser.add_argument("--models", nargs="+", default=["pixels", "scratch", "prototypes"])
    given = parser.parse_args()
    as_drawn = held_out(given.held_out) if given.held_out else tests()
    normal = {name: e.normalized() for name, e in as_drawn.items()}
    if "pixels" in given.models:
        report("pixels", None, nearest_neighbor, as_drawn)
        report("blurred pixels", None, lambda e: nearest_neighbor(e, blur=1.5), as_drawn)
        report("normalized, blurred pixels", None, lambda e: nearest_neighbor(e, blur=1.5), normal)
    if "scratch" in given.models:
        # One network a task: the first 20 tasks of each kind.
        few = {name: e[:20] for name, e in normal.items()}
        for seed in range(given.seeds):
            report("from scratch", seed, lambda e, seed=seed: from_scratch(e, seed=seed), few)
    if "prototypes" in given.models:
        characters = room.training().normalized()
        if given.held_out:
            characters = characters.without(*given.held_out)
        for seed in range(given.seeds):
            begun = time.process_time()
            network = train(characters, seed=seed, settings=Settings(steps=given.steps))
            seconds = time.process_time() - begun
            model = f"prototypes, {given.steps} steps"
            report(model, seed, network.classify, normal, seconds)
            # Support and queries are both seen as they are and in 8 distorted copies.
            few = {name: e[:100] for name, e in normal.items()}
            report(f"{model}, 8 views", seed, lambda e, network=network: network.classify(e, views=8), few, seconds)
