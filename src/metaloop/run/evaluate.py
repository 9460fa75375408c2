"""One evaluation in this process: the objective's value, or the failure of its trial.

An objective may be a generator: it yields intermediate values at growing fidelity, and is closed early where an
optimizer that `Stops` has seen enough.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

import numpy as np

from metaloop.errors import TrialFailed
from metaloop.optimizers.protocol import Observation
from metaloop.study.outcome import outcome
from metaloop.study.trial import Trial

current_trial: ContextVar[Trial] = ContextVar("current_trial")
"""The trial that is being evaluated, for objectives that want its number."""

_MOST_TEXT = 20_000  # characters kept of a failure's reason

Report = Callable[[Trial, Observation], bool]  # an intermediate value -> whether to end the evaluation


def evaluate(objective: Callable[[Any], Any], trial: Trial, *, vector: bool, report: Report) -> tuple[Any, str | None]:
    """Call the objective.

    Args:
        objective: takes a dict, or a vector of shape (dim,) where the space was given as bounds.
        trial: what to evaluate.
        vector: which of the two.
        report: where intermediate values go.

    Returns:
        (what the objective returned, None) or (None, the traceback). Only a KeyboardInterrupt comes through.
    """
    argument: Any = np.array(list(trial.config.values())) if vector else dict(trial.config)
    token = current_trial.set(trial)
    try:
        returned = objective(argument)
        return _follow(returned, trial, report) if inspect.isgenerator(returned) else returned, None
    except TrialFailed as failure:
        return None, str(failure)[-_MOST_TEXT:]
    except (Exception, SystemExit, GeneratorExit) as error:
        # The frame of this function says nothing to the user.
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, trace))
        return None, text[-_MOST_TEXT:]
    finally:
        current_trial.reset(token)


def _follow(steps: Generator[Any, Any, Any], trial: Trial, report: Report) -> Any:
    """What a generator returned, or else its last intermediate value."""
    last: Observation | None = None
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            if end.value is not None:
                return end.value
            if last is None:
                raise TrialFailed("the objective is a generator that yielded nothing") from None
            return last
        if not isinstance(step, Observation) and "fidelity" not in (step if isinstance(step, dict) else ()):
            raise TrialFailed(f"the objective yielded {step!r:.80}; it may yield a dict with 'value' and 'fidelity'")
        last, reason = outcome(step)
        if reason is not None:
            raise TrialFailed(reason)
        if report(trial, last):
            steps.close()
            return last
