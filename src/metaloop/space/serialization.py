"""Spaces as JSON text, without loss: nested choices stay nested, tuples stay tuples."""

from __future__ import annotations

import json
from typing import Any

from metaloop.errors import InputError, refuse
from metaloop.space.parameters import Categorical, Choice, Float, Int, Parameter
from metaloop.space.space import Space

FORMAT = 1


def dumps(space: Space) -> str:
    """JSON text of a space."""
    return json.dumps({"metaloop.space": FORMAT, **_space(space)})


def loads(text: str) -> Space:
    """The space in JSON text.

    Raises:
        InputError: not JSON, not a space, or a newer format.
    """
    try:
        data = json.loads(text)
        version = data["metaloop.space"]
    except (ValueError, KeyError, TypeError):
        raise refuse("space", text, "JSON text that Space.to_json wrote") from None
    if version != FORMAT:
        raise refuse("space format", version, f"{FORMAT}; a newer metaloop wrote this space")
    try:
        return _read_space(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"space is damaged: {error!r}") from None


def _space(space: Space) -> dict[str, Any]:
    out: dict[str, Any] = {"parameters": {name: _parameter(p) for name, p in space.parameters.items()}}
    if space.forbidden:
        out["forbidden"] = [c if isinstance(c, str) else {k: _listed(v) for k, v in c.items()} for c in space.forbidden]
    return out


def _read_space(data: dict[str, Any]) -> Space:
    forbidden = [
        c if isinstance(c, str) else {k: _unlisted(v) for k, v in c.items()} for c in data.get("forbidden", [])
    ]
    return Space({name: _read_parameter(p) for name, p in data["parameters"].items()}, forbidden=forbidden)


def _parameter(p: Parameter) -> dict[str, Any]:
    out: dict[str, Any]
    match p:
        case Float():
            out = {"kind": "float", "low": p.low, "high": p.high}
            out |= ({"log": True} if p.log else {}) | ({"step": p.step} if p.step is not None else {})
        case Int():
            out = {"kind": "int", "low": p.low, "high": p.high}
            out |= ({"log": True} if p.log else {}) | ({"step": p.step} if p.step != 1 else {})
        case Categorical():
            out = {"kind": "categorical", "choices": [_value(c) for c in p.choices]}
            out |= {"ordered": True} if p.ordered else {}
        case Choice():
            out = {"kind": "choice", "spaces": {k: None if s is None else _space(s) for k, s in p.spaces.items()}}
    if p.when:
        pairs = p.when if isinstance(p.when, tuple) else tuple(p.when.items())
        out["when"] = {name: [_value(v) for v in values] for name, values in pairs}
    return out


def _read_parameter(data: dict[str, Any]) -> Parameter:
    fields = dict(data)
    kind = fields.pop("kind")
    when = fields.pop("when", None)
    if when is not None:
        fields["when"] = {name: [_read_value(v) for v in values] for name, values in when.items()}
    if kind == "float":
        return Float(fields.pop("low"), fields.pop("high"), **fields)
    if kind == "int":
        return Int(fields.pop("low"), fields.pop("high"), **fields)
    if kind == "categorical":
        return Categorical([_read_value(c) for c in fields.pop("choices")], **fields)
    if kind == "choice":
        spaces = {k: None if s is None else _read_space(s) for k, s in fields.pop("spaces").items()}
        return Choice(spaces, **fields)
    raise refuse("kind", kind, "float, int, categorical or choice")


def _value(value: Any) -> Any:
    return {"tuple": [_value(v) for v in value]} if isinstance(value, tuple) else value


def _read_value(value: Any) -> Any:
    return tuple(_read_value(v) for v in value["tuple"]) if isinstance(value, dict) else value


def _listed(values: Any) -> Any:
    if isinstance(values, (list, set, frozenset, range)):
        return [_value(v) for v in values]
    return _value(values)


def _unlisted(values: Any) -> Any:
    return [_read_value(v) for v in values] if isinstance(values, list) else _read_value(values)
