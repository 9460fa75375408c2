"""Optimizer state -> bytes -> the same state, bit for bit, without pickle.

A state is a dataclass marked `@state` whose fields are numbers, strings, None, lists, dicts, arrays, random
generators and other states. A field marked `plan()` is derived from the others: it is left out, and rebuilt on use.
Reading constructs only classes that marked themselves; nothing is imported by a name found in the bytes.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any, TypeVar, cast

import numpy as np

from metaloop.errors import StoreError
from metaloop.space import Space

T = TypeVar("T")

_KINDS: dict[str, type] = {}
_MAGIC = b"MLS1"
_DTYPES = {"<f8", "<i8", "|b1", "|u1", "<u8"}


def state(kind: type[T]) -> type[T]:
    """Mark a dataclass as storable state.

    Raises:
        TypeError: another class of this name is marked already; the bytes could not tell them apart.
    """
    known = _KINDS.get(kind.__name__, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise TypeError(f"state {kind.__name__} of {kind.__module__} has the name of one of {known.__module__}")
    _KINDS[kind.__name__] = kind
    return kind


def plan() -> Any:
    """A dataclass field that is derived from the others and never stored."""
    return dataclasses.field(default=None, repr=False, compare=False, metadata={"plan": True})


def dump(value: Any) -> bytes:
    """A state as bytes."""
    blobs: list[bytes] = []
    header = json.dumps(_pack(value, blobs), separators=(",", ":")).encode()
    return b"".join([_MAGIC, struct.pack("<I", len(header)), header, *blobs])


def load(data: bytes, space: Space) -> Any:
    """The state in some bytes, with `space` put back where states hold it.

    Raises:
        StoreError: bytes that `dump` did not write, or of an optimizer that is not imported.
    """
    try:
        if data[:4] != _MAGIC:
            raise ValueError("unknown format")
        (size,) = struct.unpack("<I", data[4:8])
        header = json.loads(data[8 : 8 + size])
        return _unpack(header, memoryview(data)[8 + size :], space)
    except (ValueError, KeyError, TypeError, IndexError, struct.error, RecursionError) as error:
        raise StoreError(f"optimizer state is damaged or of another version ({error})") from None


def _pack(value: Any, blobs: list[bytes]) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.ndarray):
        dtype = value.dtype.newbyteorder("<").str
        if dtype not in _DTYPES:
            raise TypeError(f"state holds an array of {value.dtype}; it may be float64, int64, uint64, uint8 or bool")
        raw = np.ascontiguousarray(value, dtype=dtype).tobytes()
        blobs.append(raw)
        return {"!": "array", "dtype": dtype, "shape": list(value.shape), "bytes": len(raw)}
    if isinstance(value, np.random.Generator):
        return {"!": "rng", "state": value.bit_generator.state}
    if isinstance(value, Space):
        return {"!": "space"}
    if isinstance(value, tuple):
        return {"!": "tuple", "items": [_pack(v, blobs) for v in value]}
    if isinstance(value, list):
        return [_pack(v, blobs) for v in value]
    if isinstance(value, dict):
        return {"!": "dict", "items": [[_pack(k, blobs), _pack(v, blobs)] for k, v in value.items()]}
    name = type(value).__name__
    if _KINDS.get(name) is type(value):
        fields = [f.name for f in dataclasses.fields(cast(Any, value)) if not f.metadata.get("plan")]
        return {"!": "state", "kind": name, "fields": {f: _pack(getattr(value, f), blobs) for f in fields}}
    raise TypeError(f"state holds a {name}; it may be numbers, strings, arrays, generators and marked dataclasses")


def _unpack(header: Any, body: memoryview, space: Space) -> Any:
    position = 0

    def read(node: Any) -> Any:
        nonlocal position
        if isinstance(node, list):
            return [read(v) for v in node]
        if not isinstance(node, dict):
            return node
        match node["!"]:
            case "array":
                if node["dtype"] not in _DTYPES or position + node["bytes"] > len(body):
                    raise ValueError("bad array")
                raw = body[position : position + node["bytes"]]
                position += node["bytes"]
                return np.frombuffer(raw, dtype=node["dtype"]).reshape(node["shape"]).copy()
            case "rng":
                generator = np.random.Generator(np.random.PCG64(0))
                generator.bit_generator.state = node["state"]
                return generator
            case "space":
                return space
            case "tuple":
                return tuple(read(v) for v in node["items"])
            case "dict":
                return {read(k): read(v) for k, v in node["items"]}
            case "state":
                kind = _KINDS[node["kind"]]
                return kind(**{f: read(v) for f, v in node["fields"].items()})
        raise ValueError(f"unknown node {node['!']!r}")

    return read(header)
