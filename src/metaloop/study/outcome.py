"""What an objective returned, as an observation; what cannot be used is a failure with a reason, never an error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from metaloop.optimizers.protocol import FAILED, Observation, Status

_KEYS = {"value", "values", "constraints", "fidelity", "cost"}


def outcome(returned: Any) -> tuple[Observation, str | None]:
    """An objective's return value as (observation, why it failed or None).

    Args:
        returned: a number, an `Observation`, or a dict with `value` (or `values`) and optionally `constraints`
            (violated where > 0), `fidelity` in (0, 1] and `cost`.
    """
    try:
        if isinstance(returned, Observation):
            return _finite(returned)
        if isinstance(returned, Mapping):
            unknown = set(returned) - _KEYS
            if unknown or ("value" in returned) == ("values" in returned):
                known = "'value' or 'values', and optionally 'constraints', 'fidelity', 'cost'"
                return FAILED, f"the objective returned a dict with the keys {sorted(map(str, returned))}; use {known}"
            values = _numbers("values", returned["values"]) if "values" in returned else (number(returned["value"]),)
            fidelity = number(returned.get("fidelity", 1.0))
            if not 0 < fidelity <= 1:
                return FAILED, f"the objective returned fidelity {fidelity}; it may be in (0, 1]"
            cost = returned.get("cost")
            seen = Observation(
                values,
                _numbers("constraints", returned.get("constraints", ())),
                fidelity,
                None if cost is None else number(cost),
            )
            return _finite(seen)
        return _finite(Observation((number(returned),)))
    except (TypeError, ValueError) as error:
        return FAILED, str(error)
    except Exception as error:  # an object of the user's may raise anything
        return FAILED, f"the objective returned an object that cannot be read: {type(error).__name__}"


def number(value: Any) -> float:
    """A real number out of what an objective returned.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, np.ndarray) and value.size == 1 and not np.ma.is_masked(value):
        value = value.reshape(()).item()
    no_numbers = (str, bytes, bool, complex, np.bool_, np.complexfloating, np.ndarray)
    if isinstance(value, no_numbers) or not hasattr(value, "__float__"):
        shown = repr(value).replace("\n", " ")
        raise TypeError(
            f"the objective returned {shown[:80]} ({type(value).__name__}); it may return a number or a dict"
        )
    try:
        return float(value)
    except OverflowError:
        raise ValueError("the objective returned a number too large for a double") from None


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, (Sequence, np.ndarray)) or isinstance(values, (str, bytes)):
        raise TypeError(f"the objective returned {name} {values!r}; it may be a list of numbers")
    return tuple(number(v) for v in values)


def _finite(seen: Observation) -> tuple[Observation, str | None]:
    if seen.status is not Status.OK:
        return FAILED, f"the objective returned an observation that is {seen.status}; it may return one that is ok"
    bad = [v for v in (*seen.values, *seen.constraints) if not math.isfinite(v)]
    if bad:
        return FAILED, f"the objective returned {bad[0]}; it may return a finite number"
    if not seen.values:
        return FAILED, "the objective returned no value"
    return seen, None
