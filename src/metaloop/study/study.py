"""A study: what was asked and what came back, wherever it is stored.

The optimizer's state is the fold of the study's events. Opening a study loads the newest stored state and applies the
events after it; a live ask or tell applies one more. So a killed run, resumed, asks what it would have asked.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metaloop import registry
from metaloop.errors import InputError, StoreError, nearest, refuse
from metaloop.optimizers.protocol import (
    PENDING,
    RELEASED,
    AnyOptimizer,
    Explains,
    Observation,
    ReadsBudget,
    Status,
)
from metaloop.optimizers.random import RandomSearch
from metaloop.optimizers.state import dump, load
from metaloop.recipe import from_data, is_recipe, to_data
from metaloop.space import Array, Space
from metaloop.study.assurance import Assurance
from metaloop.study.incumbent import Incumbent, incumbent
from metaloop.study.outcome import outcome
from metaloop.study.result import Result
from metaloop.study.store import Event, Store, open_store
from metaloop.study.trial import Trial, TrialState
from metaloop.study.why import Why

_SNAPSHOT_BYTES = 65_536  # a larger state is stored every few tells, and the tail is replayed
_MOST_REPLAYED = 8


class Study:
    """Ask for configurations, tell what came back.

    ```python
    study = Study("sqlite:///tuning.db", name="svm", space=space, seed=0)
    trial = study.ask()
    study.tell(trial, objective(trial.config))
    ```

    Args:
        store: where it lives: None for memory, a path, or a URL (see `open_store`).
        name: which study of the store.
        space: a Space or scipy-style bounds; may be left out where the study exists.
        seed: of every random choice.
        optimizer: a recipe or its name; default `Auto()`, or what the study was created with.
        maximize: values are to be maximized.
        budget: number of trials planned, for optimizers that plan ahead.

    Raises:
        InputError: no such study and no space, or a space, seed, optimizer or direction other than the study's.
        StoreError: a store that cannot be used.
    """

    def __init__(
        self,
        store: str | Path | Store | None = None,
        *,
        name: str = "study",
        space: Space | Any | None = None,
        seed: int | None = None,
        optimizer: AnyOptimizer | str | None = None,
        maximize: bool | None = None,
        budget: int | None = None,
        readonly: bool = False,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise refuse("name", name, "a non-empty string")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
            raise refuse("seed", seed, "a whole number >= 0")
        recipe = find_optimizer(optimizer) if optimizer is not None else None
        vector = space is not None and not isinstance(space, Space)
        given: Space | None = Space.from_bounds(space) if vector else space
        self.store = open_store(store, readonly=readonly)
        self.name = name
        header = self.store.header(name)
        if header is None:
            if given is None or readonly:
                known = self.store.names()
                raise InputError(
                    f"there is no study {name!r} here; the store has {known}{nearest(name, known)}; "
                    "give a space to create it"
                )
            recipe = find_optimizer("Auto") if recipe is None else recipe
            if isinstance(recipe, ReadsBudget) and recipe.budget is None and budget is not None:
                recipe = dataclasses.replace(recipe, budget=budget)  # type: ignore[type-var]
            header = self.store.create(
                name,
                {
                    "format": 1,
                    "space": given.to_json(),
                    "vector": vector,
                    "seed": int(seed or 0),
                    "maximize": bool(maximize),
                    "optimizer": to_data(recipe),
                },
            )
        self._header = header
        self.space = Space.from_json(header["space"])
        self.seed: int = header["seed"]
        self.maximize: bool = header["maximize"]
        self.vector: bool = header["vector"]
        self._check("space", None if given is None else given == self.space, self.space)
        self._check("seed", None if seed is None else seed == self.seed, self.seed)
        self._check("maximize", None if maximize is None else maximize == self.maximize, self.maximize)
        self.optimizer: AnyOptimizer = self._optimizer(recipe)
        self._state: Any = None
        self._reset()

    def _check(self, what: str, agrees: bool | None, holds: object) -> None:
        if agrees is False:
            shown = repr(holds) if len(repr(holds)) <= 200 else f"{str(holds)[:197]}..."
            raise InputError(f"study {self.name!r} exists with another {what}: {shown}; use that, or another name")

    def _optimizer(self, recipe: AnyOptimizer | None) -> AnyOptimizer:
        stored = self._header["optimizer"]
        if recipe is None:
            return from_data(stored)  # type: ignore[no-any-return]
        given = to_data(recipe)
        same_but_budget = {**stored, "budget": None} == {**given, "budget": None}
        self._check("optimizer", same_but_budget, stored)
        if isinstance(recipe, ReadsBudget):
            return dataclasses.replace(recipe, budget=stored.get("budget"))  # type: ignore[type-var]
        return recipe

    # --- ask and tell ------------------------------------------------------------------------------------------

    def ask(self, *, config: Mapping[str, Any] | None = None) -> Trial:
        """A new trial, written down before it is returned.

        Args:
            config: a configuration of your own; None to let the optimizer choose.

        Raises:
            InputError: a configuration that is not in the space.
            StopIteration: the optimizer has nothing left to try (a finished grid).
        """
        if config is not None:
            return self._ask_own(config)
        found = self.ask_many(1)
        if not found:
            raise StopIteration(f"{type(self.optimizer).__name__} has nothing left to try")
        return found[0]

    def ask_many(self, n: int) -> list[Trial]:
        """At most n new trials, chosen together; fewer when the optimizer has nothing left to try."""
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise refuse("n", n, "a whole number of at least 1")
        with self._writing():
            rows, self._state = self.optimizer.ask(self._state, int(n))
            configs = self.space.decode(rows) if len(rows) else []
            first, now = len(self._trials), time.time()
            events = [
                Event("ask", first + i, now, {"config": c, "of": int(n), "index": i}, row.tobytes())
                for i, (c, row) in enumerate(zip(configs, rows, strict=True))
            ]
            trials = [Trial(e.trial, c, row, started=now) for e, c, row in zip(events, configs, rows, strict=True)]
            self._record(events, trials)
        return trials

    def _ask_own(self, config: Mapping[str, Any]) -> Trial:
        row = self.space.encode(config)
        if not self.space.allowed(row)[0]:
            raise refuse("config", dict(config), "a combination that is not forbidden")
        with self._writing():
            self._state = self.optimizer.tell(self._state, row, [PENDING])
            now = time.time()
            trial = Trial(len(self._trials), self.space.decode(row)[0], row[0], source="user", started=now)
            event = Event("ask", trial.number, now, {"config": trial.config, "own": True}, row.tobytes())
            self._record([event], [trial])
        return trial

    def tell(self, trial: Trial | int, value: Any, *, error: str | None = None) -> Trial:
        """What came back, written down before the finished trial is returned.

        Args:
            trial: as `ask` gave it, or its number.
            value: a number, or a dict with `value`, `constraints`, `fidelity`, `cost`; anything that is not finite
                or not a number makes the trial a failed one. None with `error` given reports a failure.
            error: why it failed.

        Raises:
            InputError: a trial that is not running.
        """
        seen, reason = (Observation(status=Status.FAILED), error) if error is not None else outcome(value)
        state = TrialState.COMPLETE if seen.status is Status.OK else TrialState.FAILED
        return self._finish(trial, state, seen, reason)

    def release(self, trial: Trial | int) -> Trial:
        """Give a running trial up unevaluated; it keeps its number and counts for nothing.

        Raises:
            InputError: a trial that is not running.
        """
        return self._finish(trial, TrialState.RELEASED, RELEASED, None)

    def add(self, config: Mapping[str, Any], value: Any) -> Trial:
        """A result from elsewhere: a configuration of your own with what came back."""
        return self.tell(self._ask_own(config), value)

    def _finish(self, trial: Trial | int, state: TrialState, seen: Observation, reason: str | None) -> Trial:
        number = trial.number if isinstance(trial, Trial) else trial
        with self._writing():
            found = self._trials[number] if 0 <= number < len(self._trials) else None
            if found is None:
                raise refuse("trial", number, f"the number of one of the {len(self._trials)} trials of this study")
            if found.state is not TrialState.RUNNING:
                raise refuse("trial", number, f"a running one; this one is {found.state} with value {found.value}")
            self._state = self.optimizer.tell(self._state, found.row[None], [self._signed(seen)])
            now = time.time()
            data = {"state": str(state), **_as_data(seen), **({"error": reason} if reason else {})}
            done = dataclasses.replace(found, state=state, observation=seen, error=reason, ended=now)
            self._record([Event("tell", number, now, data)], [done], self._snapshot())
        return done

    def _signed(self, seen: Observation) -> Observation:
        return dataclasses.replace(seen, values=tuple(-v for v in seen.values)) if self.maximize else seen

    # --- what happened -----------------------------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """Every trial so far, by number, those of other processes included."""
        self._catch_up()
        return list(self._trials)

    @property
    def running(self) -> list[Trial]:
        """The trials that were asked and not yet told."""
        return [t for t in self.trials if t.state is TrialState.RUNNING]

    def incumbent(self, noisy: bool | None = None) -> Incumbent | None:
        """The best configuration as an estimate, or None while no trial has succeeded; see `study.incumbent`."""
        return incumbent(self.space, self.trials, maximize=self.maximize, noisy=noisy)

    def result(self, status: str = "", *, noisy: bool | None = None) -> Result:
        """The study so far.

        Args:
            status: how the run ended, a sentence.
            noisy: whether the objective is noisy; None to judge by repeated configurations.
        """
        trials = self.trials
        best = incumbent(self.space, trials, maximize=self.maximize, noisy=noisy)
        status = status or f"{sum(t.state is TrialState.COMPLETE for t in trials)} trials are complete."
        config = trials[best.trial].config if best else None
        return Result(
            config=config,
            value=best.value if best else float("nan"),
            std=best.std if best else float("nan"),
            x=np.array(list(config.values())) if config and self.vector else None,
            why=self.why(best, status),
            trials=trials,
            assurance=self.assurance,
            status=status,
            study=self,
        )

    def why(self, best: Incumbent | None = None, status: str = "") -> Why:
        """The optimizer's decisions so far and what else to know, in sentences."""
        best = best or self.incumbent()
        trials = self._trials
        notes = [f"The optimizer is {self.optimizer!r}, seed {self.seed}."]
        failed = [t for t in trials if t.state is TrialState.FAILED]
        if failed:
            last = (failed[-1].error or "no reason given").strip().splitlines()[-1]
            notes.append(f"{len(failed)} of {len(trials)} trials failed; the last one: {last}")
        if self._diverged:
            notes.append(
                f"On opening, {self._diverged} stored points differed from what would be asked now; "
                "the stored ones hold."
            )
        if best:
            notes.append(best.note)
        notes += [str(self.assurance)] if self.assurance.independent else []
        notes += [status] if status else []
        decisions = self.optimizer.decisions(self._state) if isinstance(self.optimizer, Explains) else ()
        return Why(decisions, tuple(notes))

    @property
    def assurance(self) -> Assurance:
        """What the independent trials guarantee: only those of `RandomSearch` are independent of all others."""
        finished = [t for t in self._trials if t.source == "optimizer" and t.state is not TrialState.RUNNING]
        independent = isinstance(self.optimizer, RandomSearch)
        return Assurance(sum(t.state is not TrialState.RELEASED for t in finished) if independent else 0)

    # --- the fold ----------------------------------------------------------------------------------------------

    def _reset(self) -> None:
        """Start again from what is stored."""
        self._stale = False
        self._trials: list[Trial] = []
        self._cursor = 0
        self._diverged = 0
        self._asked: Array = np.empty((0, self.space.dim))
        self._since_snapshot, self._snapshot_every = 0, 1
        self._state = self.optimizer.init(self.space, self.seed)
        self._restored = 0
        snapshot = self.store.state(self.name)
        if snapshot is not None:
            try:
                self._state = load(snapshot[1], self.space)
                self._restored = snapshot[0]
            except StoreError:
                # A state of another version: all events are replayed instead, which needs nothing but them.
                self._state = self.optimizer.init(self.space, self.seed)
        self._catch_up()

    def _catch_up(self) -> None:
        """Apply the events that are not applied yet: all of them on opening, those of other processes later."""
        if self._stale:
            self._reset()
            return
        events = self.store.events(self.name, self._cursor)
        if not events:
            return
        asks = [e for e in events if e.kind == "ask"]
        rows = np.frombuffer(b"".join(e.point for e in asks), dtype="<f8").reshape(len(asks), self.space.dim).copy()
        configs = dict(zip((e.trial for e in asks), zip(self.space.decode(rows), rows, strict=True), strict=True))
        for e in events:
            if e.kind == "ask":
                config, row = configs[e.trial]
                source = "user" if e.data.get("own") else "optimizer"
                self._trials.append(Trial(e.trial, config, row, source=source, started=e.time))
                if e.id > self._restored:
                    self._replay_ask(e, row)
            else:
                found, seen = self._trials[e.trial], _from_data(e.data)
                state = TrialState(e.data["state"])
                self._trials[e.trial] = dataclasses.replace(
                    found, state=state, observation=seen, error=e.data.get("error"), ended=e.time
                )
                if e.id > self._restored:
                    self._state = self.optimizer.tell(self._state, found.row[None], [self._signed(seen)])
            self._cursor = e.id

    def _replay_ask(self, e: Event, row: Array) -> None:
        if e.data.get("own"):
            self._state = self.optimizer.tell(self._state, row[None], [PENDING])
            return
        index = e.data["index"]
        if index == 0:
            self._asked, self._state = self.optimizer.ask(self._state, e.data["of"])
        recomputed = self._asked[index] if index < len(self._asked) else None
        if recomputed is None or recomputed.tobytes() != row.tobytes():
            self._diverged += 1
            if recomputed is not None:
                self._state = self.optimizer.tell(self._state, recomputed[None], [RELEASED])
            self._state = self.optimizer.tell(self._state, row[None], [PENDING])

    def _writing(self) -> _Writing:
        return _Writing(self)

    def _record(self, events: list[Event], trials: list[Trial], state: bytes | None = None) -> None:
        """Store events that are already applied to the optimizer, and their trials."""
        stored = self.store.append(self.name, events, state)
        for trial in trials:
            if trial.number == len(self._trials):
                self._trials.append(trial)
            else:
                self._trials[trial.number] = trial
        if stored:
            self._cursor = stored[-1].id

    def _snapshot(self) -> bytes | None:
        self._since_snapshot += 1
        if not self.store.durable or self._since_snapshot < self._snapshot_every:
            return None
        data = dump(self._state)
        self._since_snapshot, self._snapshot_every = 0, min(_MOST_REPLAYED, 1 + len(data) // _SNAPSHOT_BYTES)
        return data

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Study {self.name!r}: {len(self._trials)} trials, {type(self.optimizer).__name__}>"


class _Writing:
    """A store transaction around one change; after a failure the study is folded again from what is stored."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._transaction = study.store.transaction()

    def __enter__(self) -> None:
        self._transaction.__enter__()
        self._study._catch_up()

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        try:
            self._transaction.__exit__(kind, error, trace)
        except BaseException:
            self._study._stale = True
            raise
        if kind is not None and not issubclass(kind, InputError):
            self._study._stale = True


def find_optimizer(optimizer: AnyOptimizer | str) -> AnyOptimizer:
    """A recipe from a recipe or its registered name.

    Raises:
        InputError: an unknown name, a class instead of an instance, or something without init/ask/tell.
    """
    if isinstance(optimizer, str):
        return registry.find("optimizers", optimizer)()  # type: ignore[no-any-return]
    if isinstance(optimizer, type):
        raise refuse("optimizer", optimizer, f"an instance; write {optimizer.__name__}()")
    missing = [m for m in ("init", "ask", "tell") if not callable(getattr(optimizer, m, None))]
    if missing or not is_recipe(optimizer):
        raise refuse("optimizer", optimizer, "a name, or a frozen dataclass with init, ask and tell")
    return optimizer


def _as_data(seen: Observation) -> dict[str, Any]:
    data: dict[str, Any] = {"values": list(seen.values)} if seen.values else {}
    if seen.constraints:
        data["constraints"] = list(seen.constraints)
    if seen.fidelity != 1.0:
        data["fidelity"] = seen.fidelity
    if seen.cost is not None:
        data["cost"] = seen.cost
    return {**data, "status": str(seen.status)}


def _from_data(data: Mapping[str, Any]) -> Observation:
    return Observation(
        tuple(data.get("values", ())),
        tuple(data.get("constraints", ())),
        data.get("fidelity", 1.0),
        data.get("cost"),
        Status(data["status"]),
    )
