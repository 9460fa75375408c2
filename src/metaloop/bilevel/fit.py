"""`fit`: a meta-learner learns from tasks; `Fitted.adapt`: and adapts to a new one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from metaloop.bilevel.learners import Batch, Model, Task
from metaloop.bilevel.trees import Tree, arrays, finite, floats, precision, shape_of, with_floats
from metaloop.errors import InputError, refuse, require

Sampler = Callable[[Any], Task]


@dataclass(frozen=True)
class Fitted:
    """A meta-learner that has learned.

    Attributes:
        recipe, model: as given.
        variables: what was learned, of numpy arrays.
        losses: of the query after adaptation, mean over the batch of each meta-step, shape (meta_steps,).
        skipped: meta-steps whose gradient was not finite and that changed nothing.
        state: of the outer optimizer: all that `fit(..., resume=)` needs beside the variables.
    """

    recipe: Any
    model: Model
    variables: Tree
    losses: npt.NDArray[np.float64]
    skipped: int
    state: Any

    def adapt(self, support: Batch, steps: int | None = None) -> Tree:
        """The parameters for a new task.

        Args:
            support: its examples, a batch of the model.
            steps: of the adaptation; as in training if None; 0 for the start itself.

        Raises:
            InputError: an empty support, or one that the loss does not take.
        """
        with precision(self.variables, support):
            _not_empty("support", support)
            return _adapter(shape_of(self.recipe), self.model, self.recipe.steps if steps is None else steps)(
                floats(self.recipe), self.variables, support)  # fmt: skip

    def adapt_all(self, supports: Batch, steps: int | None = None) -> Tree:
        """The same for many tasks at once; every array has a leading axis of tasks."""
        with precision(self.variables, supports):
            _not_empty("supports", supports)
            return _adapter(shape_of(self.recipe), self.model, self.recipe.steps if steps is None else steps, True)(
                floats(self.recipe), self.variables, supports)  # fmt: skip


@functools.lru_cache(maxsize=64)
def _adapter(recipe: Any, model: Model, steps: int, many: bool = False) -> Callable[..., Tree]:
    def run(values: dict[str, Any], variables: Tree, support: Batch) -> Tree:
        if not steps:
            return variables["start"]
        return with_floats(recipe, values).adapted(model, variables, support, steps)

    return jax.jit(jax.vmap(run, in_axes=(None, None, 0)) if many else run)


@functools.lru_cache(maxsize=64)
def _chunk(recipe: Any, model: Model, optimizer: Any, sampler: Any, batch: int, length: int) -> Callable[..., Any]:
    """Many meta-steps in one compiled loop: (values, variables, optimizer state, key, first, data) -> what follows."""

    def step(values: dict[str, Any], data: Any, carry: tuple[Any, ...], key: Any) -> tuple[tuple[Any, ...], Any]:
        variables, state = carry
        learner = with_floats(recipe, values)
        if sampler is None:
            chosen = jax.random.randint(key, (batch,), 0, jax.tree.leaves(data)[0].shape[0])
            tasks = jax.tree.map(lambda a: a[chosen], data)
        else:
            tasks = sampler(key)

        def mean(variables: Tree) -> tuple[Any, Any]:
            losses = jax.vmap(lambda task: learner.judged(model, variables, task))(tasks)
            return losses.mean(), losses

        (loss, losses), slope = jax.value_and_grad(mean, has_aux=True)(variables)
        good = finite(slope)

        def moved() -> tuple[Tree, Any]:
            change, after = optimizer.update(slope, state, variables)
            return jax.tree.map(lambda v, c: (v + c).astype(v.dtype), variables, change), after

        kept = jax.lax.cond(good, moved, lambda: (variables, state))
        return kept, (loss, good, jnp.argmin(jnp.isfinite(losses)))

    def run(values: dict[str, Any], variables: Tree, state: Any, key: Any, begin: Any, data: Any) -> Any:
        keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(begin + jnp.arange(length))
        return jax.lax.scan(lambda c, k: step(values, data, c, k), (variables, state), keys)

    return jax.jit(run, donate_argnums=(1, 2))


def fit(
    recipe: Any,
    model: Model,
    tasks: Sampler | Task,
    *,
    meta_steps: int = 10_000,
    batch: int = 25,
    optimizer: Any = None,
    seed: int = 0,
    start: Tree | None = None,
    resume: Fitted | None = None,
    chunk: int = 1000,
    patience: int = 20,
    progress: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Learn from tasks.

    ```python
    fitted = fit(MAML(steps=1, rate=0.01), model, tasks, meta_steps=70_000)
    params = fitted.adapt(support, steps=10)
    ```

    Args:
        recipe: `MAML`, `FOMAML`, `ANIL`, `Reptile`, `IMAML`, `MetaSGD`, `MetaCurvature`, `Selective`, or your own
            `MetaLearner`.
        model: what is adapted.
        tasks: a function of a random key that jax can trace and that returns a batch of tasks, (support, query), every
            array with a leading axis of tasks; or all tasks there are, in the same form, of which each meta-step draws
            `batch` with replacement.
        meta_steps: of the outer optimizer.
        batch: tasks a meta-step, where `tasks` is not a function.
        optimizer: an optax optimizer of the outer variables; `optax.adam(1e-3)` if None.
        seed: of the model's start and the tasks' order.
        start: parameters to begin with, in place of the model's own.
        resume: go on from here, to `meta_steps` in all: with the same seed and tasks what follows is what an
            uninterrupted run would have done.
        chunk: meta-steps compiled into one loop.
        patience: meta-steps without a finite gradient, in a row over whole chunks, after which to give up.
        progress: called after each chunk with the meta-steps done and the latest loss.

    Raises:
        InputError: no tasks, shapes that disagree, or losses that are not finite from the beginning: the meta-step and
            the task are named.
    """
    require("meta_steps", meta_steps, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
    require("chunk", chunk, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
    if optimizer is None:
        optimizer = _default_optimizer()
    elif not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise refuse("optimizer", optimizer, "an optax optimizer")
    key, at_start = jax.random.split(jax.random.key(seed))
    sampler = tasks if callable(tasks) else None
    data = None if callable(tasks) else tasks
    with precision(start, data):
        params = model.init(at_start) if start is None else start
        data = None if data is None else jax.tree.map(jnp.asarray, data)
        example = jax.eval_shape(sampler, key) if sampler is not None else data
        _check_tasks(model, params, example, "tasks")
        if resume is None:
            variables = recipe.variables(jax.tree.map(jnp.array, params))
            state, losses, skipped = optimizer.init(variables), [], 0
        else:
            variables, state = jax.tree.map(jnp.array, (resume.variables, resume.state))
            losses, skipped = [resume.losses], resume.skipped
        done, bad = sum(map(len, losses)), 0
        while done < meta_steps:
            length = min(chunk, meta_steps - done)
            run = _chunk(shape_of(recipe), model, optimizer, sampler, batch, length)
            (variables, state), (loss, good, which) = run(floats(recipe), variables, state, key, done, data)
            good = np.asarray(good)
            skipped += int((~good).sum())
            bad = length - 1 - int(np.flatnonzero(good)[-1]) if good.any() else bad + length
            if bad >= patience:
                at = done + length - bad
                raise InputError(
                    f"tasks gave losses that are not finite at {bad} meta-steps in a row, the first of them {at} (task "
                    f"{int(which[max(0, length - bad)])} of its batch): take a smaller rate, or look at that task"
                )
            losses.append(np.asarray(loss, float))
            done += length
            if progress is not None:
                progress(done, float(loss[-1]))
    return Fitted(recipe, model, arrays(variables), np.concatenate(losses), skipped, arrays(state))


@functools.cache
def _default_optimizer() -> Any:
    import optax

    return optax.adam(1e-3)


def _not_empty(name: str, tree: Tree) -> None:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    if not shapes or any(0 in s for s in shapes):
        raise refuse(name, shapes, "arrays with at least one element each")


def _check_tasks(model: Model, params: Tree, tasks: Any, name: str) -> None:
    """Two batches with one leading axis of tasks, that the loss takes.

    Raises:
        InputError: otherwise.
    """
    if not isinstance(tasks, (tuple, list)) or len(tasks) != 2:
        raise refuse(name, type(tasks).__name__, "a pair (support, query)")
    _not_empty(name, tasks)
    counts = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(tasks)}
    if len(counts) != 1 or () in counts:
        raise refuse(name, sorted(counts), "arrays with the same leading axis, one entry a task")
    for part, batch in zip(("support", "query"), tasks, strict=True):
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], a.dtype), batch)
        try:
            out = jax.eval_shape(model.loss, params, one)
        except (TypeError, ValueError) as error:
            raise InputError(f"the loss does not take the {part}: {str(error).splitlines()[0]}") from error
        if getattr(out, "shape", None) != ():
            raise refuse("loss", getattr(out, "shape", out), "a function that returns one number, of shape ()")
