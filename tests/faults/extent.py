"""How much is run: a sample, or everything where METALOOP_FAULTS=all."""

import os
from collections.abc import Iterable
from typing import Any

ALL = os.environ.get("METALOOP_FAULTS") == "all"


def seeds(total: int, sample: int) -> list[int]:
    """0 … total-1, or as many of them as the sample has, evenly spread."""
    return list(range(total)) if ALL else [i * total // sample for i in range(sample)]


def some(items: Iterable[Any], *sample: Any) -> list[Any]:
    """All items, or those named."""
    return list(items) if ALL else list(sample)
