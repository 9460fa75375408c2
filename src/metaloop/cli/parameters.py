"""Parameters as text: ``lr=float(1e-5,1e-1,log)``.

::

    NAME=float(LOW,HIGH[,log][,step=X])         NAME=cat(A,B,C[,ordered])      numbers are read as numbers,
    NAME=int(LOW,HIGH[,log][,step=N])           NAME=bool                      "quoted" choices always as text

Any kind takes ``when:PARENT=VALUE`` (``when:PARENT=A|B`` for either; several conditions must all hold):
``degree=int(2,5,when:kernel=poly)``. Quotes keep commas, bars and words such as ``ordered`` literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metaloop.errors import InputError, nearest
from metaloop.space import Categorical, Choice, Float, Int, Parameter

_KINDS = ("float", "int", "cat", "bool")
_SHAPE = re.compile(r"\s*([A-Za-z_]+)\s*(?:\((.*)\))?\s*\Z", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z")
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Draft:
    """A parameter as written, before the values of its `when` are looked up among those of its parents."""

    name: str
    kind: str
    items: tuple[str, ...]
    flags: frozenset[str]
    step: str | None
    when: tuple[tuple[str, tuple[str, ...]], ...]


def parse_all(texts: Iterable[str], others: Mapping[str, Parameter] | None = None) -> dict[str, Parameter]:
    """Parameters from texts ``NAME=KIND(…)``.

    Args:
        texts: one a parameter.
        others: parameters that conditions may refer to.

    Returns:
        name -> parameter, in order.

    Raises:
        InputError: naming the parameter, what was written, and what may be.
    """
    drafts: dict[str, Draft | Parameter] = {}
    for text in texts:
        name, equals, kind = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise InputError(f"--param was {text!r}; it may be NAME=KIND(…), e.g. 'lr=float(1e-5,1e-1,log)'")
        if name in drafts:
            raise InputError(f"parameter {name!r} is given twice")
        drafts[name] = draft(name, kind)
    return resolve(drafts, others)


def draft(name: str, text: str) -> Draft:
    """One parameter's text ``KIND(…)``, taken apart.

    Raises:
        InputError: text that is not of this form.
    """
    shape = _SHAPE.match(text)
    kind = shape.group(1).lower() if shape else ""
    if shape is None or kind not in _KINDS:
        may = "float(LOW,HIGH), int(LOW,HIGH), cat(A,B,…) or bool"
        raise InputError(f"parameter {name!r} was {text.strip()!r}; it may be {may}{nearest(kind, _KINDS)}")
    known = {"float": ("log",), "int": ("log",), "cat": ("ordered",), "bool": ()}[kind]
    items, flags, step, when = [], set(), None, []
    for raw in _split(shape.group(2) or "", ",", name):
        word, has_value, value = raw.partition("=")
        if raw in known:
            flags.add(raw)
        elif raw.startswith("when:"):
            parent, equals, values = raw.removeprefix("when:").partition("=")
            if not equals or not parent.strip() or not values.strip():
                raise InputError(f"parameter {name!r}: {raw!r} may be when:PARENT=VALUE or when:PARENT=A|B")
            when.append((parent.strip(), tuple(_split(values, "|", name))))
        elif kind in ("float", "int") and has_value and word.strip() == "step":
            step = value.strip()
        elif kind in ("float", "int") and not _NUMBER.match(raw):
            may = "LOW, HIGH, log, step=X or when:PARENT=VALUE"
            raise InputError(f"parameter {name!r}: {raw!r} may be one of {may}{nearest(raw, known)}")
        else:
            items.append(raw)
    if kind in ("float", "int") and len(items) != 2:
        raise InputError(f"parameter {name!r} was {text.strip()!r}; it may be {kind}(LOW,HIGH) with exactly two bounds")
    if kind == "cat" and not items:
        raise InputError(f"parameter {name!r} was {text.strip()!r}; it may be cat(A,B,…) with at least one choice")
    if kind == "bool" and items:
        raise InputError(f"parameter {name!r} was {text.strip()!r}; it may be bool or bool(when:PARENT=VALUE)")
    return Draft(name, kind, tuple(items), frozenset(flags), step, tuple(when))


def resolve(
    drafts: Mapping[str, Draft | Parameter], others: Mapping[str, Parameter] | None = None
) -> dict[str, Parameter]:
    """Drafts as parameters; the words in a `when` become values of the parent that it names.

    Raises:
        InputError: bounds, choices or conditions that cannot be.
    """
    built: dict[str, Parameter] = dict(others or {})
    for name, item in drafts.items():
        built[name] = _build(item, None) if isinstance(item, Draft) else item
    for name, item in drafts.items():
        if isinstance(item, Draft) and item.when:
            when: dict[str, list[Any]] = {}
            for parent, words in item.when:
                if parent not in built:
                    hint = nearest(parent, built)
                    raise InputError(f"parameter {name!r}: when names {parent!r}, which is no parameter{hint}")
                when.setdefault(parent, []).extend(_value_of(built[parent], w) for w in words)
            built[name] = _build(item, when)
    return {name: built[name] for name in [*(others or {}), *(n for n in drafts if n not in (others or {}))]}


def _build(item: Draft, when: dict[str, list[Any]] | None) -> Parameter:
    try:
        if item.kind == "float":
            low, high = (float(x) for x in item.items)
            step = None if item.step is None else _number(item, item.step)
            return Float(low, high, log="log" in item.flags, step=step, when=when)
        if item.kind == "int":
            low, high = (_whole(item, x) for x in item.items)
            return Int(low, high, log="log" in item.flags, step=_whole(item, item.step or "1"), when=when)
        if item.kind == "bool":
            return Categorical([False, True], when=when)
        return Categorical([_choice(x) for x in item.items], ordered="ordered" in item.flags, when=when)
    except InputError as error:
        prefix = f"parameter {item.name!r}"
        raise error if str(error).startswith(prefix) else InputError(f"{prefix}: {error}") from None


def _number(item: Draft, text: str) -> float:
    if not _NUMBER.match(text):
        raise InputError(f"parameter {item.name!r}: {text!r} may be a number")
    return float(text)


def _whole(item: Draft, text: str) -> int:
    number = _number(item, text)
    if number != int(number):
        raise InputError(f"parameter {item.name!r}: {text!r} may be a whole number, or the kind may be float")
    return int(text) if text.lstrip("+-").isdigit() else int(number)


def _choice(raw: str) -> str | int | float:
    """A choice as written: a number where it reads as one and is not quoted, else text."""
    text = _unquote(raw)
    if text != raw or not _NUMBER.match(raw):
        return text
    return int(raw) if raw.lstrip("+-").isdigit() else float(raw)


def _value_of(parent: Parameter, raw: str) -> Any:
    """The value of `parent` that a word of a `when` means; the space says so if it has none such."""
    word = _unquote(raw)
    if isinstance(parent, Choice):
        return word
    if isinstance(parent, Categorical):
        if word.lower() in _WORDS and _WORDS[word.lower()] in [c for c in parent.choices if isinstance(c, bool)]:
            return _WORDS[word.lower()]
        literal = _choice(raw)
        return literal if literal in parent.choices or word not in parent.choices else word
    return _choice(raw)


def _split(text: str, at: str, name: str) -> list[str]:
    """The parts between separators that stand outside of quotes, stripped; quotes stay."""
    parts, quote = [""], ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'":
            quote = c
        elif c == at:
            parts.append("")
            continue
        parts[-1] += c
    if quote:
        raise InputError(f"parameter {name!r}: a quote {quote} is not closed in {text!r}")
    stripped = [p.strip() for p in parts]
    if stripped == [""]:
        return []
    if "" in stripped:
        raise InputError(f'parameter {name!r}: {text!r} has an empty part; write "" for an empty choice')
    return stripped


def _unquote(raw: str) -> str:
    return raw[1:-1] if len(raw) >= 2 and raw[0] == raw[-1] and raw[0] in "\"'" else raw
