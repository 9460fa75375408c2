"""WHAT WAS ASKED, WHAT CAME BACK? Trials, events, stores, the incumbent, the why."""

from metaloop.study.result import Result
from metaloop.study.study import Study
from metaloop.study.trial import Trial, TrialState

__all__ = ["Result", "Study", "Trial", "TrialState"]
