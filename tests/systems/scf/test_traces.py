"""The recorded traces: what fixed rules cost on them is known without a replay."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from metaloop.control import hindsight, replay


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[3] / "benchmarks" / "regret.py"
    spec = importlib.util.spec_from_file_location("bench_regret", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_fixed_rules_cost_what_was_recorded_and_no_rule_beats_hindsight(bench):
    traces = bench.load()
    assert len(traces) == 34
    for t in traces:
        best = hindsight(t.trace)
        diis, price = t.trace.costs[:, 0], t.trace.prices[:, 0, 1]
        leaving = [diis[:k].sum() + price[k] for k in range(len(diis))]  # after k cycles
        assert best == pytest.approx(min([diis.sum(), *leaving]))
        assert replay(bench.after(0)(t), t.trace).cost == pytest.approx(price[0])
        assert replay(bench.after(1000)(t), t.trace).cost == pytest.approx(diis.sum())
        for rule in (bench.Leave().on, bench.renting, bench.after(15)):
            cost = replay(rule(t), t.trace).cost
            assert cost >= best - 1e-9
            assert np.isclose(cost, [diis.sum(), *leaving]).any()
