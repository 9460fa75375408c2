"""What an estimate is worth."""

from enum import StrEnum


class Status(StrEnum):
    """Whether there is an answer."""

    OK = "ok"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"
