"""Small nets: what they cost, what they compute, and that they learn."""

import numpy as np
import pytest

from metaloop.errors import InputError
from metaloop.optimizers import LocalSearch
from metaloop.systems import RunOptions
from metaloop.systems.architecture import SYSTEM, differentiable, digits, nets, report

NET = nets.Chain((("conv3", 6), ("pool", 6), ("separable", 8), ("residual", 8), ("conv1", 6)), "relu", "mean")


def test_parameters_are_all_numbers_that_training_sets():
    rng = np.random.default_rng(0)
    space = nets.space()
    for config in space.decode(space.sample(rng, 30)):
        net = nets.chain(config)
        params = nets.start(net, rng)
        sizes = [np.size(leaf) for part in params.values() for leaf in (part if isinstance(part, list) else [part])]
        assert sum(sizes) == net.parameters == nets.parameters(config)
        assert nets.forward(net, params, rng.random((2, 8, 8)))[0].shape == (2, 10)


def test_a_convolution_is_that_of_scipy():
    from scipy.ndimage import correlate

    x, w = np.random.default_rng(0).random((1, 8, 8, 1)), np.random.default_rng(1).normal(size=(3, 3))
    # `around` lists columns first, then rows
    found = nets.around(x, np) @ w.T.reshape(9, 1)
    np.testing.assert_allclose(found[0, :, :, 0], correlate(x[0, :, :, 0], w, mode="constant"), atol=1e-12)


def test_distortions_move_ink_and_keep_it():
    warps = nets.distortions()
    assert warps.shape == (256, 64, 64)
    blob = np.zeros((8, 8))
    blob[2:6, 2:6] = 1
    moved = blob.reshape(-1) @ warps
    assert moved.sum(1) == pytest.approx(np.full(256, 16.0), rel=0.2)
    assert np.ptp(moved, axis=0).max() > 0.5


def test_a_net_learns_and_training_repeats_with_the_seed():
    data = digits.split(0)
    net = nets.Chain((("conv3", 6), ("pool", 6)), "relu", "flat")
    first = nets.train(net, data.images, data.labels, data.fit, 80, 1)
    assert first.error(data.images[data.validation], data.labels[data.validation]) < 0.2
    again = nets.train(net, data.images, data.labels, data.fit, 80, 1)
    some = data.images[data.validation][:5]
    assert (first.log_probabilities(some) == again.log_probabilities(some)).all()
    assert np.exp(first.log_probabilities(some)).sum(1) == pytest.approx(np.ones(5))
    with pytest.raises(InputError, match=r"^steps was 2001"):
        nets.train(net, data.images, data.labels, data.fit, 2001, 1)


def test_nobody_sees_the_test_part():
    data = digits.split(3)
    assert not set(data.training) & set(data.test)
    assert set(data.fit) | set(data.validation) == set(data.training)
    assert not set(data.fit) & set(data.validation)
    assert len(data.test) == digits.TEST


def test_a_limit_that_no_net_meets_is_refused():
    with pytest.raises(InputError, match=r"^limits was 'at most 10 parameters'"):
        digits.architectures(10)


def test_the_costliest_choice_of_the_net_that_holds_all_is_within_the_limit():
    for k in range(len(differentiable.CHOICES)):
        share = np.eye(len(differentiable.CHOICES))[[k] * differentiable.MIXED]
        net = differentiable.chosen(share)
        assert net.parameters <= digits.LIMIT
        assert sum(op == differentiable.CHOICES[k] for op, _ in net.layers[1:]) == 3 * (k > 0)


def test_a_preferred_operation_is_what_is_computed():
    rng = np.random.default_rng(0)
    params, images = differentiable.start(rng), rng.random((4, 8, 8)).astype(np.float32)
    sure = np.full((3, 4), -1e4)
    sure[:, 2] = 0.0
    net = differentiable.chosen(np.exp(sure))
    units = [params["stem"], *(layer["conv3"] for layer in params["mixed"])]
    same = {"w": [*(u["w"] for u in units), params["head"]], "scale": [u["scale"] for u in units],
            "shift": [u["shift"] for u in units], "bias": params["bias"]}  # fmt: skip
    expected = nets.forward(net, same, images)[0]
    np.testing.assert_allclose(differentiable.forward(params, sure, images), expected, atol=1e-4)


def test_the_report_has_claims_and_figures(monkeypatch):
    tiny = report.Size(3, 1, digits.Budget(2, 1, 20, 20, 20), ("CIFAR-10",))
    monkeypatch.setitem(report.SIZES, "quick", tiny)
    monkeypatch.setattr(report, "SEARCHES", {report.OURS: LocalSearch(), report.PEER: LocalSearch()})
    found = SYSTEM.run(RunOptions())
    assert [c.id for c in found.claims] == ["cells-cifar10", "macro-small"]
    assert not found.claims[0].holds  # local search in our place
    assert [f.name for f in found.figures] == ["queries", "sizes", "net"]
