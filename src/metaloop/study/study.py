"""A study: what was asked and what came back, wherever it is stored.

The optimizer's state is the fold of the study's events. Opening a study loads the newest stored state and applies the
events after it; a live ask or tell applies one more. So a killed run, resumed, asks what it would have asked.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from metaloop.errors import InputError, nearest, refuse
from metaloop.optimizers.protocol import (
    PENDING,
    RELEASED,
    AnyOptimizer,
    Attributes,
    Explains,
    Observation,
    ReadsBudget,
    Status,
    Stops,
    find_optimizer,
)
from metaloop.optimizers.random import RandomSearch
from metaloop.optimizers.state import dump
from metaloop.recipe import describe, from_data, to_data
from metaloop.space import Space
from metaloop.study.assurance import Assurance
from metaloop.study.fold import Fold, write_observation
from metaloop.study.incumbent import Incumbent, incumbent
from metaloop.study.outcome import outcome
from metaloop.study.owner import alive, new_owner, retire
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
        seconds: wall-clock time planned, for the same.

    Attributes:
        owner: who evaluates the trials that are asked here, as the store names it.

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
        seconds: float | None = None,
        readonly: bool = False,
    ) -> None:
        if not isinstance(name, str) or not name or name != name.encode(errors="replace").decode():
            raise refuse("name", name, "a non-empty string of Unicode characters")
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
            if isinstance(recipe, ReadsBudget):
                plan = {"budget": budget, "seconds": seconds}
                due = {k: v for k, v in plan.items() if v is not None and getattr(recipe, k, v) is None}
                recipe = dataclasses.replace(recipe, **due)  # type: ignore[type-var]
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
        stored = Space.from_json(header["space"])
        self.seed: int = header["seed"]
        self.maximize: bool = header["maximize"]
        self.vector: bool = header["vector"]
        self._check("space", None if given is None else given == stored, stored)
        self.space = stored if given is None else given  # equal, but the one given may know more: limits by a function
        self._check("seed", None if seed is None else seed == self.seed, self.seed)
        self._check("maximize", None if maximize is None else maximize == self.maximize, self.maximize)
        self.optimizer: AnyOptimizer = self._optimizer(recipe)
        self._lock = threading.RLock()
        self._inside = self._stale = False
        self._unsaved: list[Event] = []
        self._tells, self._snapshot_every = 0, 1
        self.owner = new_owner()
        weakref.finalize(self, retire, self.owner)
        self._fold: Fold = self._reset()

    def _check(self, what: str, agrees: bool | None, holds: object) -> None:
        if agrees is False:
            shown = repr(holds) if len(repr(holds)) <= 200 else f"{str(holds)[:197]}..."
            raise InputError(f"study {self.name!r} exists with another {what}: {shown}; use that, or another name")

    def _optimizer(self, recipe: AnyOptimizer | None) -> AnyOptimizer:
        stored = self._header["optimizer"]
        if recipe is None:
            return from_data(stored)  # type: ignore[no-any-return]
        if not isinstance(recipe, ReadsBudget):
            self._check("optimizer", to_data(recipe) == stored, stored)
            return recipe
        known = from_data(stored)
        plan = {k: getattr(known, k, None) for k in ("budget", "seconds") if hasattr(recipe, k)}
        planned = dataclasses.replace(recipe, **plan)  # type: ignore[type-var]
        self._check("optimizer", to_data(planned) == to_data(known), stored)
        return planned

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
        with self.transaction():
            rows = self._fold.ask(int(n))
            configs = self.space.decode(rows) if len(rows) else []
            first, now = len(self._fold.trials), time.time()
            for i, (config, row) in enumerate(zip(configs, rows, strict=True)):
                data = {"config": config, "of": int(n), "index": i, "owner": self.owner}
                trial = Trial(first + i, config, row, owner=self.owner, started=now)
                self._record(Event("ask", trial.number, now, data, row.tobytes()), trial)
            return self._fold.trials[first:]

    def _ask_own(self, config: Mapping[str, Any]) -> Trial:
        row = self.space.encode(config)
        if not self.space.allowed(row)[0]:
            raise refuse("config", dict(config), "a combination that is not forbidden")
        with self.transaction():
            self._fold.tell(row[0], PENDING)
            now = time.time()
            decoded = self.space.decode(row)[0]
            trial = Trial(len(self._fold.trials), decoded, row[0], source="user", owner=self.owner, started=now)
            data = {"config": decoded, "own": True, "owner": self.owner}
            self._record(Event("ask", trial.number, now, data, row.tobytes()), trial)
        return trial

    def report(self, trial: Trial | int, value: Any) -> bool:
        """An intermediate value at a growing fidelity.

        It is stored with the next ask or tell. Of a trial that is run a second time, after a crash, only what is new
        counts. An optimizer that does not stop evaluations is told nothing.

        Args:
            trial: as `ask` gave it, or its number.
            value: a dict with `value` and `fidelity` in (0, 1].

        Returns:
            whether the evaluation should end now: tell its latest value then.

        Raises:
            InputError: a trial that is not running, or a value that cannot be used.
        """
        if not isinstance(self.optimizer, Stops):
            return False
        seen, reason = outcome(value)
        if reason is not None:
            raise InputError(reason)
        with self._lock:
            found = self._running(trial)
            last = found.reports[-1].fidelity if found.reports else 0.0
            if last < seen.fidelity < 1.0:
                report = dataclasses.replace(seen, status=Status.RUNNING)
                self._fold.tell(found.row, report)
                event = Event("report", found.number, time.time(), write_observation(report))
                self._record(event, dataclasses.replace(found, reports=(*found.reports, report)))
            return self.optimizer.stop(self._fold.state, found.row)

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
        with self.transaction():
            return self.tell(self._ask_own(config), value)

    def take_up(self) -> list[Trial]:
        """The running trials whose process is gone; from now on they are this study's to evaluate."""
        taken = []
        with self.transaction():
            for number in list(self._fold.running):
                left = self._fold.trials[number]
                if not alive(left.owner):
                    now = time.time()
                    taken.append(dataclasses.replace(left, owner=self.owner, started=now))
                    self._record(Event("take", number, now, {"owner": self.owner}), taken[-1])
        return taken

    def _finish(self, trial: Trial | int, state: TrialState, seen: Observation, reason: str | None) -> Trial:
        if reason is not None:  # never blank, and no lone surrogates (a file name that is not UTF-8)
            reason = reason.strip().encode(errors="backslashreplace").decode() or "no reason given"
        with self.transaction():
            found = self._running(trial)
            now = time.time()
            self._fold.tell(found.row, seen, now - found.started)
            data = {"state": str(state), **write_observation(seen), **({"error": reason} if reason else {})}
            done = dataclasses.replace(found, state=state, observation=seen, error=reason, ended=now)
            self._record(Event("tell", found.number, now, data), done)
            self._tells += 1
        return done

    def _running(self, trial: Trial | int) -> Trial:
        number, trials = trial.number if isinstance(trial, Trial) else trial, self._fold.trials
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or not 0 <= number < len(trials):
            raise refuse("trial", number, f"the number of one of the {len(trials)} trials of this study")
        found = trials[number]
        if found.state is not TrialState.RUNNING:
            raise refuse("trial", number, f"a running one; this one is {found.state} with value {found.value}")
        return found

    # --- what happened -----------------------------------------------------------------------------------------

    @property
    def trials(self) -> list[Trial]:
        """Every trial so far, by number, those of other processes included."""
        return list(self._current().trials)

    @property
    def running(self) -> list[Trial]:
        """The trials that were asked and not yet told."""
        fold = self._current()
        return [fold.trials[number] for number in fold.running]

    def state_of(self, trial: Trial) -> TrialState:
        """What has become of a trial by now."""
        return self._current().trials[trial.number].state

    @property
    def finished(self) -> int:
        """How many trials are not running any more, those of other processes included."""
        fold = self._current()
        return len(fold.trials) - len(fold.running)

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
        trials = self._fold.trials
        notes = [f"The optimizer is {describe(self.optimizer)}, seed {self.seed}."]
        failed = [t for t in trials if t.state is TrialState.FAILED]
        if failed:
            last = (failed[-1].error or "no reason given").strip().splitlines()[-1]
            notes.append(f"{len(failed)} of {len(trials)} trials failed; the last one: {last}")
        if self._fold.diverged:
            notes.append(
                f"On opening, {self._fold.diverged} stored points differed from what would be asked now; "
                "the stored ones hold."
            )
        if best:
            notes.append(best.note)
        notes += [str(self.assurance)] if self.assurance.independent else []
        notes += [status] if status else []
        decisions = self.optimizer.decisions(self._fold.state) if isinstance(self.optimizer, Explains) else ()
        if not isinstance(self.optimizer, Attributes):
            return Why(decisions, tuple(notes), maximize=self.maximize)
        askers, values = self.optimizer.turns(self._fold.state)
        return Why(
            decisions, tuple(notes), askers, tuple((-values if self.maximize else values).tolist()), self.maximize
        )

    @property
    def assurance(self) -> Assurance:
        """What the independent trials guarantee: only those of `RandomSearch` are independent of all others."""
        finished = [t for t in self._fold.trials if t.source == "optimizer" and t.state is not TrialState.RUNNING]
        independent = isinstance(self.optimizer, RandomSearch)
        return Assurance(sum(t.state is not TrialState.RELEASED for t in finished) if independent else 0)

    # --- events ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A block whose asks and tells are stored together, in one durable commit, or not at all.

        Blocks may nest; the outermost stores. After an error the study is folded again from what is stored.
        """
        with self._lock:
            if self._inside:
                yield
                return
            before = len(self._unsaved)
            try:
                with self.store.transaction():
                    self._catch_up()
                    before = len(self._unsaved)
                    self._inside = True
                    yield
                    self._save()
            except InputError:
                self._stale |= len(self._unsaved) > before
                raise
            except BaseException:
                self._stale = True
                raise
            finally:
                self._inside = False

    def _record(self, event: Event, trial: Trial) -> None:
        """An event that is already applied to the optimizer, and its trial; stored when the transaction ends."""
        self._unsaved.append(event)
        self._fold.put(trial)

    def _save(self) -> None:
        if not self._unsaved:
            return
        state = None
        if self.store.durable and self._tells >= self._snapshot_every:
            state = dump(self._fold.state)
            self._tells, self._snapshot_every = 0, min(_MOST_REPLAYED, 1 + len(state) // _SNAPSHOT_BYTES)
        stored = self.store.append(self.name, self._unsaved, state)
        self._fold.cursor = stored[-1].id
        self._unsaved = []

    def _catch_up(self) -> None:
        """Apply the events that are not applied yet: all of them on opening, those of other processes later."""
        if self._stale:
            self._reset()
            return
        events = self.store.events(self.name, self._fold.cursor)
        if events and self._unsaved:
            # Others were first: reports that only this process knew of come after, and the state with them.
            self.store.append(self.name, self._unsaved, None)
            self._reset()
        elif events:
            self._fold.replay(events)

    def _reset(self) -> Fold:
        """Fold everything that is stored."""
        self._stale, self._unsaved = False, []
        self._tells, self._snapshot_every = 0, 1
        snapshot = self.store.state(self.name)
        self._fold = Fold(self.space, self.optimizer, self.seed, self.maximize, snapshot)
        self._fold.replay(self.store.events(self.name))
        return self._fold

    def _current(self) -> Fold:
        """The fold of everything that is stored by now, and of what this process has not stored yet."""
        with self._lock:
            if self._unsaved and not self._inside:
                with self.transaction():
                    pass
            elif not self._inside:
                self._catch_up()
            return self._fold

    def close(self) -> None:
        """Let go of the store and of the trials that are still running here: a later run takes them up."""
        retire(self.owner)
        self.store.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Study {self.name!r}: {len(self._fold.trials)} trials, {type(self.optimizer).__name__}>"
