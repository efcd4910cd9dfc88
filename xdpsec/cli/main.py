"""`xdpsec`: its commands, and the one place where an error becomes a sentence and a status."""

from __future__ import annotations

import os
import sys

import typer

from xdpsec.cli import (
    bench,
    check,
    demo,
    doctor,
    down,
    drops,
    explain,
    fence,
    key,
    keylog,
    log,
    peers,
    pki,
    rekey,
    run,
    sas,
    status,
    stop,
    up,
)
from xdpsec.cli.client import NotRunning
from xdpsec.cli.common import BAD_INPUT, FAILURE, NOT_RUNNING, complain
from xdpsec.errors import ConfigError, XdpsecError

#: Set it to see where an error that we did not foresee came from.
TRACEBACK = "XDPSEC_TRACEBACK"

app = typer.Typer(
    name="xdpsec",
    help="IPsec gateway for Linux: XDP and AF_XDP data plane.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, command in (
    ("run", run.run),
    ("stop", stop.stop),
    ("fence", fence.fence),
    ("check", check.check),
    ("status", status.status),
    ("list-sas", sas.list_sas),
    ("list-peers", peers.list_peers),
    ("up", up.up),
    ("down", down.down),
    ("rekey", rekey.rekey),
    ("explain", explain.explain),
    ("log", log.log),
    ("keylog", keylog.keylog),
    ("drops", drops.drops),
    ("doctor", doctor.doctor),
    ("key", key.key),
    ("demo", demo.demo),
):
    app.command(name)(command)
app.add_typer(pki.app, name="pki", help="A small authority: its certificate, requests, what it signs.")
app.command("bench", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench.bench)


def main() -> None:
    """Runs the command line; never returns."""
    try:
        app()
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
