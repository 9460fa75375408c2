"""What the events of a study add up to: its trials and the optimizer's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from metaloop.errors import StoreError
from metaloop.optimizers.protocol import PENDING, RELEASED, AnyOptimizer, Observation, Status, Stops
from metaloop.optimizers.state import load
from metaloop.space import Array, Space
from metaloop.study.store import Event
from metaloop.study.trial import Trial, TrialState


class Fold:
    """The trials and the optimizer's state after the events up to `cursor`.

    Args:
        space: of the study.
        optimizer: its recipe.
        seed: of the optimizer.
        maximize: values are to be maximized; the optimizer sees them negated.
        snapshot: a stored state and the id of the last event in it; events up to there are not told again.
    """

    def __init__(
        self, space: Space, optimizer: AnyOptimizer, seed: int, maximize: bool, snapshot: tuple[int, bytes] | None
    ) -> None:
        self.space, self.optimizer, self.maximize = space, optimizer, maximize
        self.trials: list[Trial] = []
        self.running: dict[int, None] = {}  # numbers, oldest first
        self.cursor = 0
        self.diverged = 0
        self.state: Any = None
        self._restored = 0
        self._asked: Array = np.empty((0, space.dim))
        if snapshot is not None:
            try:
                self.state = load(snapshot[1], space)
                self._restored = snapshot[0]
            except StoreError:
                pass  # a state of another version: all events are replayed instead, which needs nothing but them
        if not self._restored:
            self.state = optimizer.init(space, seed)

    def put(self, trial: Trial) -> None:
        """File a trial, new or changed."""
        if trial.state is TrialState.RUNNING:
            self.running[trial.number] = None
        else:
            self.running.pop(trial.number, None)
        if trial.number == len(self.trials):
            self.trials.append(trial)
        else:
            self.trials[trial.number] = trial

    def ask(self, n: int) -> Array:
        """The optimizer's next points, shape (m, dim)."""
        rows, self.state = self.optimizer.ask(self.state, n)
        return rows

    def tell(self, row: Array, seen: Observation, seconds: float | None = None) -> None:
        """What became of a point, shape (dim,), told to the optimizer with the sign that it minimizes.

        Args:
            row: the point.
            seen: what came back.
            seconds: from its ask to its tell.
        """
        values = tuple(-v for v in seen.values) if self.maximize else seen.values
        self.state = self.optimizer.tell(self.state, row[None], [replace(seen, values=values, seconds=seconds)])

    def replay(self, events: Sequence[Event]) -> None:
        """Apply stored events."""
        asks = [e for e in events if e.kind == "ask"]
        rows = np.frombuffer(b"".join(e.point for e in asks), dtype="<f8").reshape(len(asks), self.space.dim).copy()
        configs = dict(zip((e.trial for e in asks), zip(self.space.decode(rows), rows, strict=True), strict=True))
        for e in events:
            self._apply(e, *configs[e.trial] if e.kind == "ask" else ({}, rows))
            self.cursor = e.id

    def _apply(self, e: Event, config: dict[str, Any], row: Array) -> None:
        new = e.id > self._restored
        match e.kind:
            case "ask":
                source = "user" if e.data.get("own") else "optimizer"
                owner = e.data.get("owner", "")
                self.put(Trial(e.trial, config, row, source=source, owner=owner, started=e.time))
                if new:
                    self._ask_again(e, row)
            case "take":
                self.put(replace(self.trials[e.trial], owner=e.data["owner"], started=e.time))
            case "report":
                trial, seen = self.trials[e.trial], read_observation(e.data)
                self.put(replace(trial, reports=(*trial.reports, seen)))
                if new and isinstance(self.optimizer, Stops):
                    self.tell(trial.row, seen)
            case _:
                trial, seen = self.trials[e.trial], read_observation(e.data)
                state, error = TrialState(e.data["state"]), e.data.get("error")
                self.put(replace(trial, state=state, observation=seen, error=error, ended=e.time))
                if new:
                    self.tell(trial.row, seen, e.time - trial.started)

    def _ask_again(self, e: Event, row: Array) -> None:
        """Ask what was asked then; where the answer differs now, the stored one holds."""
        if e.data.get("own"):
            self.tell(row, PENDING)
            return
        index = e.data["index"]
        if index == 0:
            self._asked = self.ask(e.data["of"])
        recomputed = self._asked[index] if index < len(self._asked) else None
        if recomputed is None or recomputed.tobytes() != row.tobytes():
            self.diverged += 1
            if recomputed is not None:
                self.tell(recomputed, RELEASED)
            self.tell(row, PENDING)


def write_observation(seen: Observation) -> dict[str, Any]:
    """An observation as an event's data."""
    data: dict[str, Any] = {"values": list(seen.values)} if seen.values else {}
    if seen.constraints:
        data["constraints"] = list(seen.constraints)
    if seen.fidelity != 1.0:
        data["fidelity"] = seen.fidelity
    if seen.cost is not None:
        data["cost"] = seen.cost
    return {**data, "status": str(seen.status)}


def read_observation(data: Mapping[str, Any]) -> Observation:
    """The observation in an event's data."""
    return Observation(
        tuple(data.get("values", ())),
        tuple(data.get("constraints", ())),
        data.get("fidelity", 1.0),
        data.get("cost"),
        status=Status(data["status"]),
    )
