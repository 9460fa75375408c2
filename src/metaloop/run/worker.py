"""The process that evaluates trials for a run: loads the objective once, then answers trial after trial.

Messages to it: the objective first (bytes, vector?), then trials; after a report, whether to stop. Messages from it:
("ready",) or ("broken", why); ("report", observation); ("done", observation, why it failed or None).
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import socket
import sys
import traceback
from typing import Any

from metaloop.optimizers.protocol import FAILED, Observation
from metaloop.run.channel import Channel
from metaloop.run.evaluate import evaluate
from metaloop.study.outcome import outcome
from metaloop.study.trial import Trial


def main(descriptor: int) -> None:
    """Work until the run hangs up.

    Args:
        descriptor: of the socket to the run.
    """
    faulthandler.enable()
    channel = Channel(socket.socket(fileno=descriptor))
    os.register_at_fork(after_in_child=channel.close)  # an objective may fork: its child does not answer for it
    try:
        data, vector = channel.receive()
        try:
            objective = pickle.loads(data)
        except BaseException as error:
            channel.send(("broken", "".join(traceback.format_exception_only(error)).strip()))
            return
        channel.send(("ready",))
        while True:
            channel.send(("done", *_answer(objective, channel.receive(), vector, channel)))
    except (EOFError, OSError):
        return  # the run is gone


def _answer(objective: Any, trial: Trial, vector: bool, channel: Channel) -> tuple[Observation, str | None]:
    def report(_: Trial, seen: Observation) -> bool:
        channel.send(("report", seen))
        return bool(channel.receive())

    try:
        returned, error = evaluate(objective, trial, vector=vector, report=report)
    except KeyboardInterrupt:
        error = "the objective raised KeyboardInterrupt"
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the objective may have closed it, or nobody reads any more
                stream.flush()
    return (FAILED, error) if error is not None else outcome(returned)
