"""A run described in a TOML file.

```toml
command = ["python", "train.py", "--lr", "{lr}"]     # or: objective = "package.module:function"
budget = 50              # also: seconds, target, maximize, seed, store, name, noisy, workers, timeout
optimizer = { name = "CMAES", sigma0 = 0.2 }         # or: optimizer = "CMAES"
forbidden = ["low >= high", { kernel = "poly", degree = [4, 5] }]

[space]
lr     = { float = [1e-5, 1e-1], log = true }
k      = { int = [1, 9] }
kernel = { choices = ["rbf", "poly"] }
degree = { int = [2, 5], when = { kernel = "poly" } }
model  = { choice = { svm = { C = { float = [0.1, 10.0] } }, none = {} } }
shape  = "cat(round,square)"                         # or as on the command line
```
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metaloop import registry
from metaloop.cli.parameters import Draft, draft, resolve
from metaloop.errors import InputError, nearest, refuse
from metaloop.space import Categorical, Choice, Float, Int, Parameter, Space

_NUMBER: tuple[type, ...] = (int, float)
_KEYS: dict[str, tuple[tuple[type, ...], str]] = {
    "command": ((list,), "a list of strings"),
    "objective": ((str,), "'package.module:function'"),
    "space": ((dict,), "a table of parameters"),
    "forbidden": ((list,), "a list of tables or comparisons"),
    "budget": ((int,), "a whole number of trials"),
    "seconds": (_NUMBER, "a number of seconds"),
    "target": (_NUMBER, "a number"),
    "maximize": ((bool,), "true or false"),
    "optimizer": ((str, dict), "a name, or a table with a name and settings"),
    "seed": ((int,), "a whole number >= 0"),
    "store": ((str,), "a path or a store URL"),
    "name": ((str,), "a string"),
    "noisy": ((bool,), "true or false"),
    "workers": ((int,), "a whole number of processes"),
    "timeout": (_NUMBER, "a number of seconds a trial may take"),
}
_KINDS: dict[str, tuple[str, ...]] = {
    "float": ("log", "step", "when"),
    "int": ("log", "step", "when"),
    "choices": ("ordered", "when"),
    "choice": ("when",),
}


@dataclass
class Settings:
    """Everything a run needs; None where nothing was said."""

    command: list[str] | None = None
    objective: str | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict)
    forbidden: list[Any] = field(default_factory=list)
    budget: int | None = None
    seconds: float | None = None
    target: float | None = None
    maximize: bool | None = None
    optimizer: Any = None
    seed: int | None = None
    store: str | None = None
    name: str | None = None
    noisy: bool | None = None
    workers: int | None = None
    timeout: float | None = None
    folder: Path = Path()

    def space(self) -> Space:
        """The space of the parameters.

        Raises:
            InputError: none, or parameters that do not fit together.
        """
        if not self.parameters:
            raise InputError("there is nothing to tune: give --param 'NAME=float(LOW,HIGH)', or a [space] in a file")
        return Space(self.parameters, forbidden=self.forbidden)


def read(path: str | Path) -> Settings:
    """The settings in a TOML file.

    Raises:
        InputError: no such file, not TOML, an unknown key (with the nearest known), or a value that cannot be used.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    try:
        return _settings(data, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _settings(data: dict[str, Any], path: Path) -> Settings:
    for key, value in data.items():
        if key not in _KEYS:
            raise InputError(f"unknown key {key!r}; known are {sorted(_KEYS)}{nearest(key, _KEYS)}")
        types, may = _KEYS[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise refuse(key, value, may)
    command = data.get("command")
    if command is not None and not all(isinstance(a, str) for a in command):
        raise refuse("command", command, "a list of strings")
    if command is not None and "objective" in data:
        raise InputError("both command and objective are given; there may be one of them")
    rest = {k: v for k, v in data.items() if k not in ("space", "optimizer", "forbidden")}
    return Settings(
        **rest,
        parameters=parameters(data.get("space", {})),
        forbidden=[_listed(c) for c in data.get("forbidden", [])],
        optimizer=recipe(data["optimizer"]) if "optimizer" in data else None,
        folder=path.resolve().parent,
    )


def parameters(table: Mapping[str, Any], where: str = "") -> dict[str, Parameter]:
    """The parameters in a ``[space]`` table.

    Raises:
        InputError: naming the parameter, what it was, and what it may be.
    """
    drafts: dict[str, Draft | Parameter] = {}
    for name, value in table.items():
        if isinstance(value, str):
            drafts[name] = draft(where + name, value)
        elif isinstance(value, dict):
            try:
                drafts[name] = _parameter(where + name, value)
            except InputError as error:
                prefix = f"parameter {where + name!r}"
                inner = str(error).startswith("parameter ")
                raise error if inner else InputError(f"{prefix}: {error}") from None
        else:
            raise refuse(f"parameter {where + name!r}", value, "a table such as {float = [0.0, 1.0]}")
    return resolve(drafts)


def _parameter(name: str, table: dict[str, Any]) -> Parameter:
    kinds = [k for k in _KINDS if k in table]
    if len(kinds) != 1:
        known = "float = [LOW, HIGH], int = [LOW, HIGH], choices = [A, B, …] or choice = {NAME = {…}, …}"
        raise refuse(
            f"parameter {name!r}", table, f"a table with one of {known}{nearest(next(iter(table), ''), _KINDS)}"
        )
    (kind,) = kinds
    for key in table:
        if key != kind and key not in _KINDS[kind]:
            raise InputError(f"parameter {name!r}: unknown key {key!r}{nearest(key, _KINDS[kind])}")
    value = table[kind]
    options = {k: v for k, v in table.items() if k != kind}
    if kind == "choice":
        if not isinstance(value, dict) or not all(isinstance(s, dict) for s in value.values()):
            raise refuse("choice", value, "a table of tables of parameters")
        spaces = {b: Space(parameters(s, f"{name}.{b}.")) if s else None for b, s in value.items()}
        return Choice(spaces, **options)
    if kind == "choices":
        return Categorical([_hashable(v) for v in value] if isinstance(value, list) else value, **options)
    if not isinstance(value, list) or len(value) != 2:
        raise refuse(kind, value, "two bounds, [LOW, HIGH]")
    for flag in ("log",):
        if not isinstance(options.get(flag, False), bool):
            raise refuse(flag, options[flag], "true or false")
    return Float(*value, **options) if kind == "float" else Int(*value, **options)


def recipe(value: Any) -> Any:
    """An optimizer's name, or the recipe that a table with a name and settings describes.

    Raises:
        InputError: an unknown name or setting, with the nearest known ones.
    """
    if isinstance(value, list):
        return tuple(recipe(v) if isinstance(v, (dict, list)) else v for v in value)
    if not isinstance(value, dict):
        return value
    if not isinstance(value.get("name"), str):
        raise refuse("optimizer", value, "a table with a name, e.g. {name = 'CMAES', sigma0 = 0.2}")
    kind = registry.find("optimizers", value["name"])
    known = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    settings = {k: recipe(v) if isinstance(v, (dict, list)) else v for k, v in value.items() if k != "name"}
    for key in settings:
        if key not in known:
            raise InputError(
                f"optimizer {value['name']}: unknown setting {key!r}; known are {known}{nearest(key, known)}"
            )
    try:
        return kind(**settings)
    except TypeError as error:
        raise InputError(f"optimizer {value['name']}: {error}") from None


def _hashable(value: Any) -> Any:
    return tuple(_hashable(v) for v in value) if isinstance(value, list) else value


def _listed(clause: Any) -> Any:
    if not isinstance(clause, (str, dict)):
        raise refuse("forbidden", clause, "a list of tables or comparisons")
    return clause
