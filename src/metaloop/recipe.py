"""A recipe is a frozen dataclass of settings. Its tunable fields carry default ranges, so it knows the Space of itself.

```python
@dataclass(frozen=True)
class Anneal:
    cooling: float = tunable(0.9, Float(0.5, 0.99))
    restarts: int = 3                      # a setting, but not one to tune by default

space_of(Anneal())                         # Space(cooling=Float(0.5, 0.99))
configure(Anneal(), {"cooling": 0.7})      # Anneal(cooling=0.7)
```

A field may itself hold a recipe; its tunable fields appear as ``field.name``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from metaloop import registry
from metaloop.errors import InputError, nearest, refuse
from metaloop.space import Choice, Parameter, Space

R = TypeVar("R")


def tunable(default: Any, parameter: Parameter) -> Any:
    """A dataclass field with a default and the range in which `tune` looks for better values."""
    return dataclasses.field(default=default, metadata={"parameter": parameter})


def is_recipe(value: object) -> bool:
    """Whether a value is a recipe: an instance of a frozen dataclass."""
    params = getattr(type(value), "__dataclass_params__", None)
    return params is not None and bool(params.frozen)


def space_of(recipe: Any) -> Space:
    """The recipe's own space, from its tunable fields and those of the recipes it holds.

    Raises:
        InputError: a value that is no recipe, or a recipe with nothing to tune.
    """
    parameters = _tunables(recipe, "")
    if not parameters:
        raise refuse("recipe", recipe, "one with tunable fields; give tune(..., space=...) the ranges instead")
    return Space(parameters)


def _tunables(recipe: Any, prefix: str) -> dict[str, Parameter]:
    if not is_recipe(recipe):
        raise refuse("recipe", recipe, "an instance of a frozen dataclass")
    out: dict[str, Parameter] = {}
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if "parameter" in f.metadata:
            parameter = cast(Parameter, f.metadata["parameter"])
            if prefix and not isinstance(parameter, Choice) and parameter.when:
                when = {prefix + k: list(v) for k, v in cast(Any, parameter.when)}
                parameter = dataclasses.replace(parameter, when=when)
            out[prefix + f.name] = parameter
        elif is_recipe(value):
            out |= _tunables(value, f"{prefix}{f.name}.")
    return out


def configure(recipe: R, config: Mapping[str, Any]) -> R:
    """The recipe with some fields changed; ``field.name`` reaches into a recipe it holds.

    Raises:
        InputError: an unknown field, or a value that the recipe refuses.
    """
    direct: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    known = [f.name for f in dataclasses.fields(cast(Any, recipe))]
    for key, value in config.items():
        head, dot, rest = key.partition(".")
        if head not in known:
            raise InputError(f"{type(recipe).__name__} has no field {head!r}; it has {known}{nearest(head, known)}")
        if dot:
            nested.setdefault(head, {})[rest] = value
        else:
            direct[head] = value
    for head, inner in nested.items():
        direct[head] = configure(getattr(recipe, head), inner)
    return cast(R, dataclasses.replace(cast(Any, recipe), **direct))


def to_data(value: Any) -> Any:
    """A recipe (or a plain value) as data for JSON: ``{"recipe": name, field: …}`` with the fields not at default.

    Raises:
        InputError: a field that no file can hold.
    """
    if is_recipe(value):
        out: dict[str, Any] = {"recipe": type(value).__name__}
        return out | {name: to_data(v) for name, v in _changed(value)}
    if isinstance(value, (list, tuple)):
        return [to_data(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): to_data(v) for k, v in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise refuse("recipe field", value, "a number, a string, a list, a dict or a recipe")


def describe(value: Any) -> str:
    """A recipe as one would write it: only what differs from the defaults."""
    if is_recipe(value):
        return f"{type(value).__name__}({', '.join(f'{name}={describe(v)}' for name, v in _changed(value))})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(describe, value))}]"
    return repr(value)


def _changed(recipe: Any) -> list[tuple[str, Any]]:
    """The fields, and their values, that differ from the defaults."""
    out = []
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        given = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        if given is dataclasses.MISSING or value != given:
            out.append((f.name, value))
    return out


def from_data(data: Any) -> Any:
    """The recipe that `to_data` described; the name is looked up in the registry, nowhere else."""
    if isinstance(data, dict) and "recipe" in data:
        group = "recipes" if data["recipe"] in registry.names("recipes") else "optimizers"
        kind = registry.find(group, data["recipe"])
        return kind(**{k: from_data(v) for k, v in data.items() if k != "recipe"})
    if isinstance(data, list):
        return tuple(from_data(v) for v in data)
    if isinstance(data, dict):
        return {k: from_data(v) for k, v in data.items()}
    return data
