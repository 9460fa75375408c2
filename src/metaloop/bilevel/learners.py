"""Meta-learners: learn, from many tasks, where the adaptation to a new one should start, and how far it should go.

Sources: Finn, Abbeel & Levine 2017 (MAML and its first-order form); Raghu et al. 2020 (ANIL); Nichol, Achiam & Schulman
2018 (Reptile); Rajeswaran et al. 2019 (iMAML); Li et al. 2017 (Meta-SGD); Park & Oliva 2019 (Meta-Curvature).

All share one shape: *outer variables* that are learned, an *adaptation* from them to one task's parameters, and a loss
that judges them by one task. `metaloop.bilevel.fit` descends its mean over batches of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from metaloop.bilevel.linear import CG
from metaloop.bilevel.trees import Tree, names
from metaloop.errors import refuse, require
from metaloop.recipe import tunable
from metaloop.space import Float, Int

Batch = Any  # what a model's loss reads: a tree of arrays, usually (inputs, targets)
Task = tuple[Batch, Batch]  # support and query


@dataclass(frozen=True)
class Model:
    """What is adapted.

    Args:
        init: a random key -> parameters, a tree of float arrays.
        loss: (parameters, batch) -> a number.

    Raises:
        InputError: one of them is no function.
    """

    init: Callable[[Any], Tree]
    loss: Callable[[Tree, Batch], Any]

    def __post_init__(self) -> None:
        for name in ("init", "loss"):
            if not callable(getattr(self, name)):
                raise refuse(name, getattr(self, name), "a function")


class MetaLearner(Protocol):
    """A recipe that `fit` takes: `variables`, `adapted` and `judged` are pure functions of arrays."""

    @property
    def steps(self) -> int: ...  # noqa: D102 - of the adaptation

    def variables(self, params: Tree) -> Tree:
        """The outer variables at the beginning, for a model's fresh parameters."""
        ...

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """The parameters for one task."""
        ...

    def judged(self, model: Model, variables: Tree, task: Task) -> Any:
        """The loss on one task's query after adaptation; its gradient is what the outer variables descend."""
        ...


def _query_loss(recipe: MetaLearner, model: Model, variables: Tree, task: Task) -> Any:
    support, query = task
    return model.loss(recipe.adapted(model, variables, support, recipe.steps), query)


def _with_gradient(value: Any, variables: Tree, gradient: Tree) -> Any:
    """The value, as a function of the variables whose gradient is the one given."""
    value, gradient = jax.lax.stop_gradient((value, gradient))
    terms = jax.tree.map(lambda v, g: ((v - jax.lax.stop_gradient(v)) * g).sum(), variables, gradient)
    return value + sum(jax.tree.leaves(terms))


def _check(steps: int, rate: float) -> None:
    require("steps", steps, lambda v: v >= 1 and v == int(v), "a whole number of at least 1")
    require("rate", rate, lambda v: 0 < v < math.inf, "a number greater than 0")


def _walk(
    model: Model,
    start: Tree,
    rates: Any,
    support: Batch,
    steps: int,
    change: Callable[[Tree], Tree] = lambda gradient: gradient,
) -> Tree:
    """Gradient descent on the support. `rates`: a number, or a tree like the parameters; `change`: of the gradient."""

    def step(params: Tree, _: Any) -> tuple[Tree, None]:
        g = change(jax.grad(model.loss)(params, support))
        if jax.tree_util.all_leaves([rates]):
            return jax.tree.map(lambda p, s: p - rates * s, params, g), None
        return jax.tree.map(lambda p, r, s: p - r * s, params, rates, g), None

    if steps <= _INLINE:  # a loop costs more than such a step
        for _ in range(steps):
            start, _unused = step(start, None)
        return start
    return jax.lax.scan(step, start, length=steps)[0]


_INLINE = 5


@dataclass(frozen=True)
class MAML:
    """Model-agnostic meta-learning: learn the start from which few gradient steps do best (Finn et al. 2017).

    Args:
        steps: of the adaptation, in training.
        rate: its learning rate.
        first_order: leave second derivatives out (FOMAML): a step costs less, and is a little worse.
        every_step: judge the query after every step and not after the last one alone (Antoniou, Edwards & Storkey
            2019): the start is then good for fewer steps, and for many more.

    Raises:
        InputError: fewer than 1 step, or a rate that is not greater than 0.
    """

    steps: int = tunable(1, Int(1, 10))
    rate: float = tunable(0.01, Float(1e-3, 1.0, log=True))
    first_order: bool = False
    every_step: bool = False

    def __post_init__(self) -> None:
        _check(self.steps, self.rate)

    def variables(self, params: Tree) -> Tree:
        """See `MetaLearner`."""
        return {"start": params}

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """See `MetaLearner`."""
        change = jax.lax.stop_gradient if self.first_order else lambda gradient: gradient
        return _walk(model, variables["start"], self.rate, support, steps, change)

    def judged(self, model: Model, variables: Tree, task: Task) -> Any:
        """See `MetaLearner`."""
        if not self.every_step:
            return _query_loss(self, model, variables, task)
        support, query = task
        losses = []
        for _ in range(self.steps):
            variables = {"start": self.adapted(model, variables, support, 1)}
            losses.append(model.loss(variables["start"], query))
        return sum(losses) / self.steps


def FOMAML(steps: int = 1, rate: float = 0.01) -> MAML:
    """First-order MAML."""
    return MAML(steps, rate, first_order=True)


@dataclass(frozen=True)
class ANIL:
    """Almost no inner loop: only the head adapts to a task, the body is shared (Raghu et al. 2020).

    Args:
        head: the parts of the parameters that adapt: names of leaves, or of branches of the tree.
        steps, rate: as in `MAML`.

    Raises:
        InputError: no head, fewer than 1 step, or a rate that is not greater than 0.
    """

    head: Sequence[str]
    steps: int = tunable(5, Int(1, 20))
    rate: float = tunable(0.1, Float(1e-3, 1.0, log=True))

    def __post_init__(self) -> None:
        if isinstance(self.head, str) or not len(self.head):
            raise refuse("head", self.head, "a list of names of the parameters that adapt")
        object.__setattr__(self, "head", tuple(self.head))
        _check(self.steps, self.rate)

    def variables(self, params: Tree) -> Tree:
        """See `MetaLearner`."""
        _chosen(params, self.head)
        return {"start": params}

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """See `MetaLearner`."""
        start = variables["start"]
        chosen = _chosen(start, self.head)
        leaves, structure = jax.tree.flatten(start)
        body = [leaf for leaf, is_head in zip(leaves, chosen, strict=True) if not is_head]
        head = [leaf for leaf, is_head in zip(leaves, chosen, strict=True) if is_head]

        def whole(parts: list[Any]) -> Tree:
            mine, others = iter(parts), iter(body)
            return jax.tree.unflatten(structure, [next(mine if is_head else others) for is_head in chosen])

        alone = Model(model.init, lambda parts, batch: model.loss(whole(parts), batch))
        return whole(_walk(alone, head, self.rate, support, steps))

    def judged(self, model: Model, variables: Tree, task: Task) -> Any:
        """See `MetaLearner`."""
        return _query_loss(self, model, variables, task)


def _chosen(params: Tree, wanted: Sequence[str]) -> list[bool]:
    """Which leaves are named, themselves or by a branch that holds them.

    Raises:
        InputError: a name that is none of the parameters'.
    """
    known = names(params)
    for one in wanted:
        if not any(name == one or name.startswith(one + ".") for name in known):
            raise refuse("head", one, f"one of the parameters {known}")
    return [any(name == one or name.startswith(one + ".") for one in wanted) for name in known]


@dataclass(frozen=True)
class Reptile:
    """Move the start towards where training on a task ends: no second derivatives, no query (Nichol et al. 2018).

    Args:
        steps, rate: of the training on support and query together; the adaptation to a new task uses the same.

    Raises:
        InputError: fewer than 1 step, or a rate that is not greater than 0.
    """

    steps: int = tunable(5, Int(2, 50, log=True))
    rate: float = tunable(0.02, Float(1e-3, 1.0, log=True))

    def __post_init__(self) -> None:
        _check(self.steps, self.rate)

    def variables(self, params: Tree) -> Tree:
        """See `MetaLearner`."""
        return {"start": params}

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """See `MetaLearner`."""
        return _walk(model, variables["start"], self.rate, support, steps)

    def judged(self, model: Model, variables: Tree, task: Task) -> Any:
        """See `MetaLearner`; the "gradient" is the way back from where training ended, over the steps' length."""
        both = Model(model.init, lambda p, batches: 0.5 * (model.loss(p, batches[0]) + model.loss(p, batches[1])))
        start = jax.lax.stop_gradient(variables["start"])
        end = _walk(both, start, self.rate, task, self.steps)
        back = jax.tree.map(lambda a, b: (a - b) / (self.rate * self.steps), start, end)
        return _with_gradient(model.loss(end, task[1]), variables, {"start": back})


@dataclass(frozen=True)
class IMAML:
    """Implicit MAML: adapt to the optimum of loss + pull / 2 ‖w - start‖², and differentiate it implicitly.

    Rajeswaran et al. 2019, equation 6: (1 + H / pull)⁻¹ times the query's gradient. Memory does not grow with steps.

    Args:
        steps, rate: of the gradient descent that adapts.
        pull: strength of the proximal term (λ in the paper).
        linear: conjugate gradients for the system.

    Raises:
        InputError: fewer than 1 step, a rate or a pull that is not greater than 0.
    """

    steps: int = tunable(20, Int(5, 100, log=True))
    rate: float = tunable(0.02, Float(1e-3, 1.0, log=True))
    pull: float = tunable(1.0, Float(0.05, 20.0, log=True))
    linear: CG = field(default_factory=lambda: CG(limit=10, tolerance=1e-3))

    def __post_init__(self) -> None:
        _check(self.steps, self.rate)
        require("pull", self.pull, lambda v: 0 < v < math.inf, "a number greater than 0")

    def variables(self, params: Tree) -> Tree:
        """See `MetaLearner`."""
        return {"start": params}

    def _pulled(self, model: Model, start: Tree) -> Model:
        def loss(params: Tree, batch: Batch) -> Any:
            apart = jax.tree.map(jnp.subtract, params, start)
            return model.loss(params, batch) + 0.5 * self.pull * norm_squared(apart)

        return Model(model.init, loss)

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """See `MetaLearner`."""
        start = variables["start"]
        return _walk(self._pulled(model, start), start, self.rate, support, steps)

    def judged(self, model: Model, variables: Tree, task: Task) -> Any:
        """See `MetaLearner`."""
        start = jax.lax.stop_gradient(variables["start"])
        end = self.adapted(model, {"start": start}, task[0], self.steps)
        value, g = jax.value_and_grad(model.loss)(end, task[1])
        flat, shape = ravel_pytree(end)
        pulled = self._pulled(model, start)
        product = jax.linearize(lambda x: ravel_pytree(jax.grad(pulled.loss)(shape(x), task[0]))[0], flat)[1]
        solved = self.linear.solve(product, ravel_pytree(g)[0]).solution
        return _with_gradient(value, variables, {"start": jax.tree.map(lambda s: self.pull * s, shape(solved))})


def norm_squared(tree: Tree) -> Any:
    """Sum of squares of all leaves."""
    return sum((leaf**2).sum() for leaf in jax.tree.leaves(tree))


@dataclass(frozen=True)
class MetaSGD:
    """MAML whose learning rates are learned too, one for each parameter (Li et al. 2017), within bounds.

    A rate is `most` · tanh(ρ), so it may turn negative but not run away; unbounded ones are known to.

    Args:
        steps: of the adaptation.
        rate: at the beginning.
        most: bound of the rates.

    Raises:
        InputError: fewer than 1 step, or no 0 < rate < most.
    """

    steps: int = tunable(1, Int(1, 10))
    rate: float = tunable(0.01, Float(1e-3, 0.3, log=True))
    most: float = 1.0

    def __post_init__(self) -> None:
        _check(self.steps, self.rate)
        require("most", self.most, lambda v: self.rate < v < math.inf, f"greater than the rate, {self.rate:g}")

    def variables(self, params: Tree) -> Tree:
        """See `MetaLearner`."""
        rho = jnp.arctanh(self.rate / self.most)
        return {"start": params, "rho": jax.tree.map(lambda p: jnp.full_like(p, rho), params)}

    def rates(self, variables: Tree) -> Tree:
        """The learned rates, a tree like the parameters."""
        return jax.tree.map(lambda r: self.most * jnp.tanh(r), variables["rho"])

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """See `MetaLearner`."""
        return _walk(model, variables["start"], self.rates(variables), support, steps)

    def judged(self, model: Model, variables: Tree, task: Task) -> Any:
        """See `MetaLearner`."""
        return _query_loss(self, model, variables, task)


@dataclass(frozen=True)
class MetaCurvature(MetaSGD):
    """Meta-SGD whose gradient is first mixed along each axis by a learned matrix (Park & Oliva 2019).

    The gradient of a weight matrix becomes A·G·B, times the learned rates; both matrices begin as the identity.

    Args:
        steps, rate, most: as in `MetaSGD`.
        limit: longest axis that gets a matrix.

    Raises:
        InputError: fewer than 1 step, no 0 < rate < most, or a negative limit.
    """

    limit: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        require("limit", self.limit, lambda v: v >= 0 and v == int(v), "a whole number of at least 0")

    def variables(self, params: Tree) -> Tree:
        """See `MetaLearner`."""

        def identities(p: Any) -> dict[str, Any]:
            return {str(axis): jnp.eye(n, dtype=p.dtype) for axis, n in enumerate(p.shape) if n <= self.limit}

        return super().variables(params) | {"mixing": jax.tree.map(identities, params)}

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """See `MetaLearner`."""

        def mixed(g: Any, matrices: dict[str, Any]) -> Any:
            for axis, matrix in matrices.items():
                g = jnp.moveaxis(jnp.tensordot(g, matrix, (int(axis), 0)), -1, int(axis))
            return g

        def mix(gradient: Tree) -> Tree:
            return jax.tree.map(mixed, gradient, variables["mixing"])

        return _walk(model, variables["start"], self.rates(variables), support, steps, mix)


@dataclass(frozen=True)
class Selective:
    """Learn *what* to adapt and *how far*: a bounded rate and a proximal pull for each part of the model.

    The start may stay as it is (a model trained on all tasks together) while this learns which parts differ from task
    to task: a shift of the prior is the head's bias alone, a new representation the layers before it. Rates that the
    tasks do not call for go to 0; `report` says what is left.

    Args:
        steps: of the adaptation.
        rate: of every part at the beginning.
        most: bound of the rates.
        pull: strength of the proximal term of every part at the beginning.
        learn_start: whether the start is learned too.
        price: of a rate, as a share of `most`, in units of the loss: what adapting a part has to bring.

    Raises:
        InputError: fewer than 1 step, no 0 < rate < most, a negative price, or a pull that is not greater than 0.
    """

    steps: int = tunable(5, Int(1, 20))
    rate: float = tunable(0.05, Float(1e-3, 0.5, log=True))
    most: float = tunable(1.0, Float(0.1, 10.0, log=True))
    pull: float = tunable(0.1, Float(1e-3, 10.0, log=True))
    learn_start: bool = True
    price: float = 1e-3

    def __post_init__(self) -> None:
        _check(self.steps, self.rate)
        require("most", self.most, lambda v: self.rate < v < math.inf, f"greater than the rate, {self.rate:g}")
        require("pull", self.pull, lambda v: 0 < v < math.inf, "a number greater than 0")
        require("price", self.price, lambda v: 0 <= v < math.inf, "a number of at least 0")

    def variables(self, params: Tree) -> Tree:
        """See `MetaLearner`."""
        level = jnp.log(jnp.asarray(self.rate / (self.most - self.rate)))
        each = jax.tree.map(lambda p: jnp.asarray(level, p.dtype), params)
        pull = jax.tree.map(lambda p: jnp.asarray(math.log(self.pull), p.dtype), params)
        return {"start": params, "level": each, "pull": pull}

    def rates(self, variables: Tree) -> Tree:
        """The learned rate of each part, a tree like the parameters with one number a leaf."""
        return jax.tree.map(lambda r: self.most * jax.nn.sigmoid(r), variables["level"])

    def report(self, variables: Tree) -> list[tuple[str, float, float]]:
        """What adapts and how far: (part, rate, pull), the most mobile first."""
        rates, pulls = jax.tree.leaves(self.rates(variables)), jax.tree.leaves(variables["pull"])
        rows = [
            (n, float(r), math.exp(float(p))) for n, r, p in zip(names(variables["level"]), rates, pulls, strict=True)
        ]
        return sorted(rows, key=lambda row: -row[1])

    def adapted(self, model: Model, variables: Tree, support: Batch, steps: int) -> Tree:
        """See `MetaLearner`."""
        start = variables["start"] if self.learn_start else jax.lax.stop_gradient(variables["start"])
        pulls = jax.tree.map(jnp.exp, variables["pull"])

        def loss(params: Tree, batch: Batch) -> Any:
            apart = jax.tree.map(lambda w, s, k: k * ((w - s) ** 2).sum(), params, start, pulls)
            return model.loss(params, batch) + 0.5 * sum(jax.tree.leaves(apart))

        return _walk(Model(model.init, loss), start, self.rates(variables), support, steps)

    def judged(self, model: Model, variables: Tree, task: Task) -> Any:
        """See `MetaLearner`; the price counts in the gradient and not in the value."""
        price = self.price * sum(jax.nn.sigmoid(r) for r in jax.tree.leaves(variables["level"]))
        return _query_loss(self, model, variables, task) + price - jax.lax.stop_gradient(price)
