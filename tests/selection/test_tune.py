"""`tune` finds a recipe's best settings where they are known, and works on Auto itself."""

from dataclasses import dataclass

import numpy as np
import pytest

import metaloop as ml
from metaloop.recipe import space_of, tunable
from metaloop.space import Float


@dataclass(frozen=True)
class Lever:
    """A recipe whose loss is known: least at 0.7."""

    angle: float = tunable(0.1, Float(0.0, 1.0))


def pull(offset):
    """A task that shifts every loss by a hard task's offset and a seed's, which differences cancel."""
    return lambda recipe, seed: (recipe.angle - 0.7) ** 2 + offset + np.random.default_rng(seed).normal()


def test_the_best_setting_is_found_whatever_tasks_and_seeds_add():
    tuned = ml.tune(Lever(), [pull(0.0), pull(100.0)], budget=160, seeds=2)
    assert abs(tuned.recipe.angle - 0.7) < 0.05
    assert tuned.gain == pytest.approx(0.36 - (tuned.recipe.angle - 0.7) ** 2, abs=1e-9)
    assert tuned.evaluations <= 160


def test_a_recipe_that_nothing_beats_is_given_back():
    tuned = ml.tune(Lever(0.7), [pull(0.0)], budget=40)
    assert tuned.recipe == Lever(0.7)
    assert tuned.gain == 0.0


def test_those_clearly_behind_are_dropped_before_all_pairs_are_spent():
    counts: dict[float, int] = {}

    def task(recipe, seed):
        counts[recipe.angle] = counts.get(recipe.angle, 0) + 1
        return abs(recipe.angle - 0.1) + 0.01 * np.random.default_rng(seed).normal()

    ml.tune(Lever(), [task] * 5, budget=100, seeds=2)
    assert counts[0.1] == 10
    assert np.median([n for angle, n in counts.items() if angle > 0.5]) == 3


def test_auto_is_a_recipe_with_settings_of_its_own():
    names = {c.name for c in space_of(ml.Auto()).columns}
    assert {"lead", "model.kappa", "credit.hope", "credit.memory"} <= names

    def task(recipe, seed):
        result = ml.minimize(
            lambda x: float(((x - 0.3) ** 2).sum()), [(0.0, 1.0)] * 2, budget=15, seed=seed, optimizer=recipe
        )
        return np.log10(result.value + 1e-9)

    tuned = ml.tune(ml.Auto(), [task], budget=8, seeds=2)
    assert isinstance(tuned.recipe, ml.Auto)
    assert tuned.gain >= 0
