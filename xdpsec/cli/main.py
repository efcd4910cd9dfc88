"""`xdpsec`: its commands, and the one place where an error becomes a sentence and a status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from xdpsec.cli.client import NotRunning
from xdpsec.cli.common import BAD_INPUT, FAILURE, NOT_RUNNING, complain
from xdpsec.errors import ConfigError, XdpsecError

#: Set it to see where an error that we did not foresee came from.
TRACEBACK = "XDPSEC_TRACEBACK"

#: Command -> its module, in the order of the help. Only the one that is asked for is loaded: some need half of the
#: tree, and a listing should not take longer to begin than to list.
COMMANDS = {
    "run": "run",
    "stop": "stop",
    "fence": "fence",
    "check": "check",
    "status": "status",
    "list-sas": "sas",
    "list-peers": "peers",
    "up": "up",
    "down": "down",
    "rekey": "rekey",
    "explain": "explain",
    "log": "log",
    "keylog": "keylog",
    "drops": "drops",
    "doctor": "doctor",
    "key": "key",
    "demo": "demo",
    "pki": "pki",
    "bench": "bench",
}
PASSES_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def application(words: Sequence[str]) -> typer.Typer:
    """What serves this command line: the command that it names, or all of them."""
    app = typer.Typer(
        name="xdpsec",
        help="IPsec gateway for Linux: XDP and AF_XDP data plane.",
        no_args_is_help=True,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_whole)
    named = [word for word in words if not word.startswith("-")][:1]
    for name in named if named and named[0] in COMMANDS else COMMANDS:
        module = importlib.import_module(f"xdpsec.cli.{COMMANDS[name]}")
        if name == "pki":
            app.add_typer(module.app, name=name, help="A small authority: its certificate, requests, what it signs.")
        else:
            settings = PASSES_ON if name == "bench" else {}
            app.command(name, context_settings=settings)(getattr(module, name.replace("-", "_")))
    return app


def _whole(
    version: Annotated[bool, typer.Option("--version", "-V", help="print the version and exit", is_eager=True)] = False,
) -> None:
    """IPsec gateway for Linux: XDP and AF_XDP data plane."""
    if version:
        import importlib.metadata  # half as long to load as all else

        print(f"xdpsec {importlib.metadata.version('xdpsec')}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; never returns."""
    if sys.stdout is None:  # closed by the caller: nobody reads it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for as long as we live)
    try:
        application(sys.argv[1:])()
    except Exception as error:
        if TRACEBACK in os.environ:
            raise
        sys.exit(_status(error))
    finally:
        _let_go()


def _let_go() -> None:
    """What is printed last leaves here, while somebody can hear that nobody reads it any more: that is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _status(error: Exception) -> int:
    if isinstance(error, XdpsecError):
        complain(str(error))
        return (
            NOT_RUNNING if isinstance(error, NotRunning) else BAD_INPUT if isinstance(error, ConfigError) else FAILURE
        )
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        complain(f"{name}{error.strerror or error}")
        return FAILURE
    complain(f"internal error, {type(error).__name__}: {error}; please report it ({TRACEBACK}=1 shows where it was)")
    return FAILURE


if __name__ == "__main__":
    main()
