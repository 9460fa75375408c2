"""The known values are what quadrature and brute force say, the peers do what their papers say, and claims follow."""

import math
import sys

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from metaloop import InputError
from metaloop.online.sampling import Status
from metaloop.systems import RunOptions
from metaloop.systems.sampling import cases, solve
from metaloop.systems.sampling.model import (
    TRUSS,
    TRUSS_FAILS,
    _branches,
    _bumps,
    _chain,
    _paraboloid,
    _shell,
    _slabs,
    named,
)
from metaloop.systems.sampling.peers import cross_entropy, peers, subset_simulation
from metaloop.systems.sampling.report import OURS, VEGAS, Runs, _bars, _claims, _intervals, measured, run


def test_there_are_24_problems_half_of_them_untouched():
    assert len(cases()) == 24
    assert sum(c.untouched for c in cases()) == 12
    assert len({c.name for c in cases()}) == 24
    assert {c.group for c in cases()} == {"smooth", "peaks", "rare"}


@pytest.mark.parametrize("case", [c for c in cases() if c.group == "smooth"], ids=lambda c: c.name)
def test_the_values_of_smooth_integrals(case):
    u = qmc.Sobol(case.dim, rng=np.random.default_rng(0)).random_base2(16)
    assert case.function(u).mean() == pytest.approx(case.exact, rel=2e-3)


@pytest.mark.parametrize(
    ("made", "dim"),
    [
        (_bumps(np.array([[0.3, 0.4], [0.6, 0.9]]), np.array([0.1, 0.2]), np.array([1.0, 0.5])), 2),
        (_chain(3, 0.2), 3),
        (_shell(3, 0.3, 0.02), 3),
    ],
    ids=["bumps", "chain", "shell"],
)
def test_the_values_of_peaks_and_ridges_where_they_are_wide(made, dim):
    f, exact = made
    u = qmc.Sobol(dim, rng=np.random.default_rng(0)).random_base2(16)
    assert f(u).mean() == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(
    ("made", "dim"), [(_slabs(3, 2, 1.5), 3), (_paraboloid(4, 1.5, 0.2), 4), (_branches(1.0), 2)],
    ids=["slabs", "paraboloid", "branches"],
)  # fmt: skip
def test_the_values_of_rare_events_where_they_are_frequent(made, dim):
    g, exact = made
    z = ndtri(qmc.Sobol(dim, rng=np.random.default_rng(0)).random_base2(16))
    assert (g(z) <= 0).mean() == pytest.approx(exact, rel=0.01)


def test_the_truss_by_integrating_its_load_analytically():
    z = ndtri(qmc.Sobol(5, rng=np.random.default_rng(0)).random_base2(15))
    span, a_s, a_c, e_s, e_c = (m["loc"] + m["scale"] * column for (_, m), column in zip(TRUSS[1:], z.T, strict=True))
    load = 2 * 0.03 / (span**2 * (3.81 / (a_c * e_c) + 1.13 / (a_s * e_s)))
    assert ndtr(-(load - 20000.0) / 1400.0).mean() == pytest.approx(TRUSS_FAILS, rel=2e-3)


def test_subset_simulation_varies_as_its_paper_says():
    # Au & Beck 2001, eq. 29: the squared coefficient of variation of a level is (1 - p) / (p n) (1 + gamma), gamma some
    # units; there are four levels. Each run here is a quarter of the answer's budget.
    case, n = named("half-space 1e-4, d = 4"), 1000
    values = np.array([subset_simulation(case, 4 * 12 * n, seed).value for seed in range(30)]) / case.exact
    independent = math.sqrt(4 * 0.9 / (0.1 * n)) / 2
    assert independent < values.std() < 3.5 * independent
    assert values.mean() == pytest.approx(1.0, abs=4 * values.std() / math.sqrt(30))


def test_cross_entropy_finds_a_single_mode_and_collapses_in_many_dimensions():
    case = named("half-space 1e-4, d = 4")
    values = np.array([cross_entropy(case, 20_000, seed).value for seed in range(20)]) / case.exact
    assert values.mean() == pytest.approx(1.0, abs=0.05)
    assert 1 < values.std() * math.sqrt(20_000) < 10  # 3 to 5 per root of evaluations in the literature
    many = named("half-space 1e-6, d = 100")
    assert abs(cross_entropy(many, 20_000, 0).value / many.exact - 1) > 0.5


def test_every_peer_answers_and_is_measured_by_the_same_rule():
    found = [measured(named(n), 8192, range(2)) for n in ("two peaks, d = 4", "half-space 1e-4, d = 4")]
    assert {"vegas+", "subset simulation"} <= set(found[1].theirs)
    assert all(a.evaluations <= 1.3 * 8192 for r in found for answers in r.theirs.values() for a in answers)
    assert found[0].best in peers(found[0].case)
    claims = {c.id: c for c in _claims(found, full=True)}
    assert set(claims) == {"hindsight", "vegas", "silent", "coverage", "enough"}
    assert claims["vegas"].n == 4
    for drawn in (_bars(found), _intervals(found)):
        assert drawn.svg.startswith("<svg")


def test_without_its_peers_the_system_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "vegas", None)
    with pytest.raises(InputError, match="pip install 'metaloop\\[sampling\\]'"):
        run(RunOptions())


def test_an_answer_of_zero_has_relative_error_one():
    case = named("half-space 1e-4, d = 4")
    runs = Runs(case, [solve(case, 1024, 0)], {VEGAS: []})
    assert runs.ours[0].status is Status.NOT_ENOUGH_EVIDENCE
    assert runs.scores(OURS)[0] == pytest.approx(runs.ours[0].evaluations, rel=0.01)
    assert runs.misses() == []
