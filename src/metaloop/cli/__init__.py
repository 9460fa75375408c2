"""WHAT PEOPLE TOUCH FIRST. The command `metaloop`; one file a command.

Exit codes: 0 ok; 1 no trial succeeded; 2 bad input, with one line on stderr; 3 a system ran and some claim does not
hold; 130 interrupted (128 + the signal's number where another signal ended it).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

from metaloop.errors import InputError, RunError, StoreError

BAD_INPUT = 2
_COMMANDS = (
    "tune",
    "show",
    "why",
    "export",
    "systems",
    "design",
)  # modules, each with an `add(app)`, in the order of the help


class Ended(BaseException):
    """SIGTERM or SIGHUP arrived: everything is put away as after a second Ctrl-C.

    No `Exception`, so that no objective's handler takes it for a failure of its own.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; default `sys.argv[1:]`.

    Returns:
        the exit code.
    """
    if any(importlib.util.find_spec(package) is None for package in ("typer", "rich")):
        print("the command line needs typer and rich: pip install 'metaloop[cli]'", file=sys.stderr)
        return BAD_INPUT
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        given = ["--help"]
    # What follows the first `--` is the user's program, whatever it looks like: no parser of ours sees it.
    program: list[str] | None = None
    if given[:1] == ["tune"] and "--" in given:
        at = given.index("--")
        given, program = given[:at], given[at + 1 :]
    try:
        code = _app()(args=given, prog_name="metaloop", standalone_mode=False, obj={"program": program})
    except (InputError, RunError, StoreError) as error:
        return _refused(str(error))
    except Ended as ended:
        return ended.code
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:
        # The reader has gone (`metaloop export … | head`); keep Python from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _refused(f"{where}{error.strerror or error}")
    except Exception as error:
        # Typer's own errors; which module defines them differs between its versions.
        if type(error).__name__ == "Abort":
            return 130
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        hint = ""
        if given[:1] == ["tune"] and program is None:
            hint = " (the program to run is written after `--`)"
        return _refused(f"{message()}{hint}; see: metaloop {given[0] if given else ''} --help".replace("  ", " "))
    return code if isinstance(code, int) else 0


def _refused(message: str) -> int:
    from metaloop.cli.output import clean

    print(f"metaloop: {clean(' '.join(message.split()))}", file=sys.stderr)
    return BAD_INPUT


def _app() -> Any:
    import typer

    app = typer.Typer(
        name="metaloop",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # help texts hold [brackets] that are meant
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Build, run and understand outer loops.",
    )

    def version(wanted: bool) -> None:
        if wanted:
            from metaloop import __version__

            typer.echo(f"metaloop {__version__}")
            raise typer.Exit

    @app.callback()
    def _(
        version: bool = typer.Option(
            False, "--version", callback=version, is_eager=True, help="Print the version and leave."
        ),
    ) -> None:
        pass

    for module in _COMMANDS:
        importlib.import_module(f"metaloop.cli.{module}").add(app)
    return app
