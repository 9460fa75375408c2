"""An external program as the objective: no shell, bounded memory, and nothing of it left running.

**Arguments.** `{name}` inside an argument stands for that parameter's value; `{{` and `}}` are literal braces. Where
the parameter is inactive in a configuration, the whole argument is left out; and if the argument is nothing but the
placeholder and the one before it is an option (it starts with `-` and holds no placeholder), that option is left out
too: `--degree {degree}` and `--degree={degree}` both vanish.

**Environment.** `METALOOP_CONFIG` is the configuration as JSON, `METALOOP_TRIAL` the trial's number.

**Value.** The last line of stdout that is a number, or a JSON object with a `value` (and optionally `constraints`,
`fidelity`, `cost`). Another exit status than 0, or no such line, fails the trial with the last lines of stderr.

**Early values.** A line that is a JSON object with a `value` and a `fidelity` (above 0, at most 1) counts as soon as it
is written: an optimizer that stops trials early may end the program there. Its stdout has to be flushed line by line.

Ctrl-C does not reach the program; at the time limit it is asked to end (SIGTERM), and soon made to. When it has ended,
so does everything that it started.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cached_property
from typing import IO, Any

from metaloop.cli.output import plain, setting
from metaloop.errors import InputError, TrialFailed, nearest, refuse
from metaloop.run.evaluate import current_trial
from metaloop.run.offspring import Offspring
from metaloop.space import Space

_KEEP = 65_536  # bytes of stdout and of stderr that are kept: their ends
_SHOWN_LINES = 12  # of stderr, in a failure's reason
_SHOWN_CHARACTERS = 4_000
_GRACE = 2.0  # seconds between the request to end and the end
_TICK = 0.1  # seconds between looks at a program whose pipes somebody else holds open
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Command:
    """A program as an objective: called with a configuration, it returns what the program printed.

    Args:
        argv: the program and its arguments, with placeholders.
        space: whose parameters they may name.
        timeout: seconds a trial may take; None for no limit.

    Raises:
        InputError: no program, an unknown placeholder, or a stray brace; before anything runs.
    """

    def __init__(
        self,
        argv: Sequence[str],
        space: Space,
        *,
        timeout: float | None = None,
    ) -> None:
        if os.name != "posix":
            raise InputError("running a program needs Linux or macOS; on Windows give the file an `objective`")
        if not argv or not all(isinstance(a, str) and "\0" not in a for a in argv) or not argv[0]:
            raise refuse("command", list(argv), "a program and its arguments, e.g. python train.py --lr '{lr}'")
        if "{" not in argv[0] and shutil.which(argv[0]) is None:
            raise refuse("command", argv[0], "a program that can be found and run")
        number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
        if timeout is not None and not (number and timeout > 0):
            raise refuse("timeout", timeout, "a number of seconds greater than 0")
        names = {column.name for column in space.columns}
        self._template = [_pieces(argument, names) for argument in argv]
        if any(not isinstance(piece, str) for piece in self._template[0]):
            conditional = {c.name for c in space.columns if c.conditions}
            for piece in self._template[0]:
                if isinstance(piece, tuple) and piece[0] in conditional:
                    raise refuse("command", argv[0], f"a program whose name needs no {piece[0]!r}: it may be inactive")
        self.timeout = timeout

    def arguments(self, config: Mapping[str, Any]) -> list[str]:
        """The program and its arguments for one configuration."""
        out: list[str] = []
        previous_is_option = False
        for pieces in self._template:
            names = [piece[0] for piece in pieces if isinstance(piece, tuple)]
            if any(name not in config for name in names):
                if len(pieces) == 1 and previous_is_option:
                    out.pop()
                previous_is_option = False
                continue
            out.append("".join(p if isinstance(p, str) else setting(config[p[0]]) for p in pieces))
            previous_is_option = not names and len(out) > 1 and out[-1].startswith("-")
        return out

    def __call__(self, config: Mapping[str, Any]) -> Generator[Any, None, Any]:
        """Run the program once; it is ended where the generator is closed.

        Yields:
            early values: dicts with `value` and `fidelity`.

        Returns:
            a number, or a dict with `value`.

        Raises:
            TrialFailed: no value came back.
        """
        trial = current_trial.get(None)
        environment = {**os.environ, "METALOOP_CONFIG": json.dumps(plain(config))}
        if trial is not None:
            environment["METALOOP_TRIAL"] = str(trial.number)
        argv = self.arguments(config)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            process = self._offspring.start(argv, environment, **pipes)
        except OSError as error:
            raise TrialFailed(f"{argv[0]!r} could not be started: {error.strerror or error}") from None
        try:
            out, err, in_time = yield from _read(process, self.timeout)
        finally:
            # Also on a second Ctrl-C: nothing of the trial outlives it.
            self._end(process)
        if not in_time:
            raise TrialFailed(_reason(f"it took longer than {self.timeout:g} s and was ended", err))
        status = process.returncode
        if status != 0:
            how = f"exit status {status}" if status > 0 else f"ended by signal {_signal_name(-status)}"
            raise TrialFailed(_reason(how, err))
        found = last_value(out.decode("utf-8", errors="replace"))
        if found is None:
            raise TrialFailed(_reason("no line of stdout was a number or a JSON object with a 'value'", err))
        return found

    @cached_property
    def _offspring(self) -> Offspring:
        offspring = Offspring()
        weakref.finalize(self, offspring.close)
        return offspring

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End the program if it still runs, and everything it started; close its pipes."""
        try:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
                    os.killpg(process.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE)
        finally:  # also when somebody is impatient
            self._offspring.end(process)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def last_value(text: str) -> Any | None:
    """The last line that is a number or a JSON object with a value; None where there is none."""
    for line in reversed(text.splitlines()):
        line = line.strip()
        if not line:
            continue
        with contextlib.suppress(ValueError):
            return float(line)
        if line.startswith("{"):
            with contextlib.suppress(ValueError, RecursionError):
                data = json.loads(line)
                if "value" in data or "values" in data:
                    return data
    return None


def _pieces(argument: str, names: set[str]) -> list[str | tuple[str]]:
    """An argument as literal text and (parameter,) placeholders."""
    out: list[str | tuple[str]] = []
    at = 0

    def add(text: str) -> None:
        if text and out and isinstance(out[-1], str):
            out[-1] += text
        elif text:
            out.append(text)

    for token in _TOKEN.finditer(argument):
        add(argument[at : token.start()])
        at = token.end()
        if token.group() in ("{{", "}}"):
            add(token.group()[0])
        elif token.group(1) is None:
            raise refuse("argument", argument, f"written with literal braces doubled: {token.group() * 2}")
        elif token.group(1) not in names:
            known = ", ".join(f"{{{n}}}" for n in sorted(names))
            hint = nearest(token.group(1), names)
            raise refuse("argument", argument, f"written with {known} only{hint} (literal braces are {{{{ and }}}})")
        else:
            out.append((token.group(1),))
    add(argument[at:])
    return out or [""]


class _Tail:
    """The last `_KEEP` bytes of a stream."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._cut = False

    def add(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * _KEEP:
            del self._data[:-_KEEP]
            self._cut = True

    def bytes(self) -> bytes:
        # After a cut the first line is only the end of one: not to be taken for a number.
        data = bytes(self._data)
        return data.partition(b"\n")[2] if self._cut else data


class _Lines:
    """The early values in a stream; of lines that are longer than `_KEEP` nothing is kept."""

    def __init__(self) -> None:
        self._rest, self._long = b"", False

    def add(self, data: bytes) -> Iterator[Any]:
        """Those that are complete with more data."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self._long and line.lstrip().startswith(b"{") and b'"fidelity"' in line:
                found = last_value(line.decode("utf-8", errors="replace"))
                if isinstance(found, dict) and "fidelity" in found:
                    yield found
            self._long = False
        if len(self._rest) > _KEEP:
            self._rest, self._long = b"", True


def _read(process: subprocess.Popen[bytes], timeout: float | None) -> Generator[Any, None, tuple[bytes, bytes, bool]]:
    """Yields early values; returns the ends of stdout and stderr, and whether the program ended in time."""
    deadline = None if timeout is None else time.monotonic() + timeout
    tails: dict[IO[bytes], _Tail] = {}
    lines = _Lines()
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            tails[stream] = _Tail()
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        in_time = True
        while selector.get_map():
            left = _TICK if deadline is None else min(_TICK, deadline - time.monotonic())
            if left <= 0:
                in_time = False
                break
            ended = process.poll() is not None  # looked at before reading: what it wrote is in the pipe by then
            ready = selector.select(0 if ended else left)
            for key, _ in ready:
                stream = key.fileobj  # type: ignore[assignment]
                data = os.read(key.fd, _KEEP)
                if data:
                    tails[stream].add(data)  # type: ignore[index]
                    if stream is process.stdout:
                        yield from lines.add(data)
                else:
                    selector.unregister(stream)  # type: ignore[arg-type]
            if ended and not ready:
                break  # something that it started still holds the pipe
    if in_time:
        try:
            process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            in_time = False
    out, err = tails.values()
    return out.bytes(), err.bytes(), in_time


def _reason(what: str, err: bytes) -> str:
    lines = err.decode("utf-8", errors="replace").strip().splitlines()[-_SHOWN_LINES:]
    if not lines:
        return f"{what}; stderr was empty"
    # Where only the last line of a reason is shown it has to say both what happened and what the program said.
    tail = "\n".join(lines)[-_SHOWN_CHARACTERS:]
    return f"the program failed; the last lines of its stderr:\n{tail}\n{what}; stderr ended with: {lines[-1][-300:]}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
