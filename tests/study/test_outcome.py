"""Whatever an objective returns is a value or a failure with a reason."""

import decimal
import fractions

import numpy as np
import pytest

from metaloop.optimizers.protocol import Observation, Status
from metaloop.study.outcome import outcome


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        np.float32(2),
        np.int64(3),
        np.array(4.0),
        np.array([[5.0]]),
        decimal.Decimal("1.5"),
        fractions.Fraction(1, 2),
    ],
)
def test_numbers_of_every_kind(value):
    seen, reason = outcome(value)
    assert reason is None
    assert seen.values == (float(value if not isinstance(value, np.ndarray) else value.item()),)


@pytest.mark.parametrize(
    "value",
    [None, "1.0", 1 + 2j, [1.0], np.zeros(3), True, {}, {"value": 1, "values": [1]}, {"loss": 1}, {"value": "a"},
     float("nan"), float("inf"), -float("inf"), 10**400, {"value": 1, "fidelity": 0}, {"value": 1, "fidelity": 2},
     {"value": 1, "constraints": "ab"}, {"values": []}, {"value": 1, "constraints": [np.nan]}, object()],
)  # fmt: skip
def test_everything_else_fails_with_a_reason(value):
    seen, reason = outcome(value)
    assert seen.status is Status.FAILED
    assert reason
    assert "\n" not in reason
    assert "return" in reason


def test_a_dict_is_an_observation():
    seen, reason = outcome({"value": 1, "constraints": [-1, 2], "fidelity": 0.5, "cost": 3})
    assert reason is None
    assert seen == Observation((1.0,), (-1.0, 2.0), 0.5, 3.0)
    assert seen.violation == 2
