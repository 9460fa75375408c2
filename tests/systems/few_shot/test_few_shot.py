"""The loops and the report of few-shot, at sizes of seconds."""

import numpy as np
import pytest

from metaloop.systems import RunOptions
from metaloop.systems.few_shot import SYSTEM, cleaning, loop, peers, prototypes, report, sinusoid
from metaloop.systems.few_shot.characters import sample, training
from metaloop.systems.few_shot.digits import digits


@pytest.mark.parametrize("rates", [False, True])
def test_a_wave_is_learned_from_ten_points(rates):
    fitted = loop.learn_waves(3000, rates=rates)
    errors = sinusoid.errors(fitted, (0, 1), 500, seed=5)
    assert errors.mean(1)[0] < 0.7 * errors.mean(0)[0]
    assert len(errors.after[1]) == 500


def test_the_time_is_that_of_one_thread():
    assert 0.1 < report._seconds(20, 0) < 60


def test_waves_are_those_of_the_paper():
    import jax

    (xs, ys), (xq, yq) = sinusoid.waves(jax.random.key(0), 2000)
    assert xs.shape == ys.shape == xq.shape == yq.shape == (2000, 10, 1)
    assert -5 <= float(xs.min()) < -4.9
    assert 4.9 < float(np.abs(ys).max()) <= 5
    # variance of an amplitude from 0.1 to 5, times that of a sine
    assert float((ys**2).mean()) == pytest.approx((5**3 - 0.1**3) / 3 / 4.9 / 2, rel=0.1)


def test_wrong_labels_are_found():
    setting = cleaning.Setting(outer=40, final=300)
    data = cleaning.corrupted(digits(), setting, 0)
    assert 0.42 < data.bad.mean() < 0.48  # a tenth of the labels drawn are right by chance
    weights, found = cleaning.clean(data, setting, 0)
    assert found.sound
    assert weights[data.bad].mean() < 0.5 * weights[~data.bad].mean()
    first = cleaning.accuracy(digits(), data, np.ones(len(weights)), setting, 0)
    assert 0.5 < first < 1


def test_anil_reads_characters():
    pool = training().normalized()
    fitted = loop.learn_characters(pool, 5, 3)[1]
    episodes = sample(pool, np.random.default_rng(0), way=5, queries=2, episodes=30)
    assert episodes.error(loop.classify(fitted, episodes)).mean() < 0.6  # guessing: 0.8


def test_the_report_has_claims_and_figures(monkeypatch):
    monkeypatch.setitem(report.SIZES, "quick", report.Size(200, 100, 2, 0, 8, 2, 1, 2))
    tiny = cleaning.Setting(outer=2, final=50)
    monkeypatch.setattr(report.cleaning, "Setting", lambda outer: tiny)
    small = prototypes.Settings(widths=(4, 4, 4, 4), steps=2, way=20, groups=1)
    monkeypatch.setattr(report.prototypes, "Settings", lambda steps: small)
    waves = loop.learn_waves(20)
    monkeypatch.setattr(report.loop, "learn_waves", lambda *a, **b: waves)  # tested above
    monkeypatch.setattr(report.peers, "from_scratch", lambda episodes, seed: peers.nearest_neighbor(episodes))
    found = SYSTEM.run(RunOptions())
    assert [c.id for c in found.claims] == ["sine-gain", "sine-rates", "unseen-5"]
    assert len(found.figures) == 3
