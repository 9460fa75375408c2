"""The problems of benchmarks/families.py: their tables are what scikit-learn gives, their least values are reached."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name, patch):
    patch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, spec.name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def families(patch):
    module = load("families", patch)
    yield module
    sys.modules.pop("control_tasks", None)


@pytest.fixture(scope="module")
def maker(patch):
    pytest.importorskip("sklearn")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        patch.setenv(name, "1")  # the module sets them; this sets them back
    return load("make_selection_tables", patch)


@pytest.mark.parametrize("family", ["tuning", "control"])
def test_every_problem_is_finite_repeatable_and_no_better_than_its_best(families, family):
    for name in families.names(family):
        p = families.problem(family, name, 1)
        assert len(p.steps) == len(p.categorical) == p.dim
        assert p.typical > 0
        rng = np.random.default_rng(5)
        points = np.concatenate([rng.random((16, p.dim)), rng.integers(0, 2, (8, p.dim))])
        losses = [p.loss(u) for u in points]
        assert np.isfinite(losses).all(), name
        assert losses == [p.loss(u) for u in points], name
        assert min(losses) >= p.best, name


def test_instances_differ_and_unknown_ones_of_tasks_are_refused(families):
    for family in families.FAMILIES:
        for name in families.names(family):
            first, second = (families.problem(family, name, i) for i in (1, 2))
            points = np.random.default_rng(6).random((16, first.dim))
            assert [first.loss(u) for u in points] != [second.loss(u) for u in points]
    with pytest.raises(ValueError, match="not stored"):
        families.problem("control", "servo", 999)


def test_the_least_value_of_a_table_is_on_its_grid(families):
    for name in families.names("tuning"):
        p = families.problem("tuning", name, 3)
        centers = np.stack(np.meshgrid(*((np.arange(n) + 0.5) / n for n in p.steps), indexing="ij"), axis=-1)
        losses = np.array([p.loss(u) for u in centers.reshape(-1, p.dim)])
        assert losses.min() == p.best
        assert np.median(losses) - p.best == p.typical


@pytest.mark.filterwarnings("ignore")  # settings that fit badly are part of the grid
@pytest.mark.parametrize("name", ["svc-wine", "svr-friedman2", "ridge-friedman3", "neighbors-iris", "sgd-blend"])
def test_a_table_is_what_scikit_learn_gives(families, maker, name):
    fill, data, settings = maker.TABLES[name]
    stored = families._tables()[0][name]
    every = [slice(1, None, max(len(v) // 2, 1)) for v in settings.values()]
    folds = maker.Folds(data, maker.SPLITS.get(fill, 3))
    out = np.zeros(stored[tuple(every)].shape)
    fill(folds, {n: v[s] for (n, v), s in zip(settings.items(), every, strict=True)}, out)
    assert out / len(folds.parts) == pytest.approx(stored[tuple(every)], abs=0.02)


@pytest.mark.parametrize("name", ["boosting-friedman1", "extra-friedman3"])
def test_the_first_trees_of_many_are_the_model_of_few(maker, name):
    fill, data, settings = maker.TABLES[name]
    folds, few = maker.Folds(data), {n: v[-1:] for n, v in settings.items()}
    both, alone = np.zeros((1,) * (len(settings) - 1) + (2,)), np.zeros((1,) * len(settings))
    fill(folds, few | {"n_estimators": [5, 20]}, both)
    fill(folds, few | {"n_estimators": [5]}, alone)
    assert both.ravel()[0] == pytest.approx(alone.item())
