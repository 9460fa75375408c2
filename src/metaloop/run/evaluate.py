"""One evaluation in this process: the objective's value, or the failure of its trial."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from metaloop.errors import TrialFailed
from metaloop.study.trial import Trial

current_trial: ContextVar[Trial] = ContextVar("current_trial")
"""The trial that is being evaluated, for objectives that want its number."""

_MOST_TRACEBACK = 20_000  # characters kept of a failure's traceback


def evaluate(objective: Callable[[Any], Any], trial: Trial, *, vector: bool) -> tuple[Any, str | None]:
    """Call the objective.

    Args:
        objective: takes a dict, or a vector of shape (dim,) where the space was given as bounds.
        trial: what to evaluate.
        vector: which of the two.

    Returns:
        (what the objective returned, None) or (None, the traceback). Only a KeyboardInterrupt comes through.
    """
    argument: Any = np.array(list(trial.config.values())) if vector else dict(trial.config)
    token = current_trial.set(trial)
    try:
        return objective(argument), None
    except TrialFailed as failure:
        return None, str(failure)
    except (Exception, SystemExit, GeneratorExit) as error:
        # The frame of this function says nothing to the user.
        trace = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, trace))
        return None, text[-_MOST_TRACEBACK:]
    finally:
        current_trial.reset(token)
