"""The incumbent is an estimate: exact where the objective repeats itself, a posterior where it does not."""

import numpy as np

from metaloop import Float, RandomSearch, Space, Study

SPACE = Space(x=Float(-1, 1), y=Float(-1, 1))


def filled(noise, n=120, repeat=True, seed=0):
    rng = np.random.default_rng(seed)
    study = Study(space=SPACE, optimizer=RandomSearch(), seed=seed)

    def objective(c):
        return c["x"] ** 2 + c["y"] ** 2 + noise * rng.standard_normal()

    for _ in range(n):
        trial = study.ask()
        study.tell(trial, objective(trial.config))
    if repeat:
        study.add(study.trials[0].config, objective(study.trials[0].config))
    return study


def truth(config):
    return config["x"] ** 2 + config["y"] ** 2


def test_exact_objectives_keep_their_best_observation():
    study = filled(0.0)
    best = study.incumbent()
    assert best.value == min(t.value for t in study.trials)
    assert best.std == 0


def test_without_repeats_noise_is_unknown_and_said_so():
    study = filled(0.5, repeat=False)
    best = study.incumbent()
    assert best.value == min(t.value for t in study.trials)
    assert np.isnan(best.std)
    assert "noise is unknown" in best.note


def test_noisy_objectives_are_judged_by_the_posterior():
    ours, lucky, errors = [], [], []
    for seed in range(25):
        study = filled(0.5, seed=seed)
        best = study.incumbent()
        ours.append(truth(study.trials[best.trial].config))
        lucky.append(truth(min(study.trials, key=lambda t: t.value).config))
        errors.append(best.value - ours[-1])
        assert best.std > 0
        assert "noisy" in best.note
    assert np.mean(ours) < 0.6 * np.mean(lucky)
    assert abs(np.mean(errors)) < 0.25  # the best single observation is about 1.2 too low here


def test_no_trials_no_incumbent():
    assert Study(space=SPACE, optimizer=RandomSearch()).incumbent() is None
