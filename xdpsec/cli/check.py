"""`xdpsec check FILE`: is it right, and what would run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from xdpsec.cli.common import BAD_INPUT, DEFAULT_CONFIG, ConfigOption, Table, complain, console, show, table
from xdpsec.config.values import Child, Gateway
from xdpsec.daemon.review import Review, review
from xdpsec.errors import LocalError

FileArgument = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="configuration to check", show_default=False)
]


def check(file: FileArgument = None, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check a configuration and show what would run.

    As root with its key files, its sequence state, its account and its interfaces. Status 2 when it is refused."""
    file = file or config  # named as every other command has it, or just so
    try:
        found = review(str(file), as_root=os.geteuid() == 0)
    except LocalError as error:  # state and machine are part of what was asked about
        complain(str(error))
        raise typer.Exit(BAD_INPUT) from None
    gateway, out = found.config.gateway, console()
    out.print(f"{file} is right", soft_wrap=True)
    for text, fields in found.doubts:
        out.print(f"but {text}: {', '.join(f'{name} {value}' for name, value in fields.items())}", soft_wrap=True)
    if not found.whole:
        out.print("not root: key files, sequence state, account and interfaces were not looked at")
    out.print(f"outside {', '.join(gateway.outside)}; inside {', '.join(gateway.inside)}; XDP {gateway.xdp}")
    out.print(_workers(gateway))
    out.print(f"metrics on {gateway.metrics_host} port {gateway.metrics_port}; account {gateway.user}")
    if found.config.ike_peers:
        print()
        show(_peers(found))
    print()
    show(_children(found))


def _workers(gateway: Gateway) -> str:
    if gateway.workers == 1:
        return f"1 worker on core {gateway.cores[0]}"
    return f"{gateway.workers} workers on cores {', '.join(map(str, gateway.cores))}"


def _children(found: Review) -> Table:
    """What only manual keys have stands there when there are some."""
    given = (">SPI in", ">SPI out", "suite", "ESN", "UDP", ">next in", ">next out") if found.config.manual else ()
    made = table("children", "child", ">worker", "local", "remote", "keys", *given)
    for child in found.config.children:
        made.add_row(*_cells(child, found)[: len(made.columns)])
    return made


def _peers(found: Review) -> Table:
    made = table("peers that negotiate", "peer", "remote", "we are", "it is", "we prove it by", "it proves it by")
    for peer, ike in found.config.ike_peers:
        ours = "certificate" if ike.auth.certificate else "secret"
        theirs = [*(["secret"] if ike.auth.psk_file else []), *(["certificate"] if ike.auth.ca else [])]
        who = ike.local_id or "our address", ike.remote_id or "its address"
        made.add_row(peer.name, peer.remote or "any", *who, ours, " or ".join(theirs))
    return made


def _cells(child: Child, found: Review) -> list[str]:
    manual = child.manual
    if manual is None:
        keys = ["IKE", "-", "-", "-", "-", "-"]
    else:
        encap = "-" if manual.encap is None else "{} to {}".format(*manual.encap)
        esn = "yes" if manual.esn else "no"
        keys = ["manual", f"{manual.spi_in:#x}", f"{manual.spi_out:#x}", manual.suite.name, esn, encap]
    numbers = [str(found.numbers.get((child.index, outbound), "-")) for outbound in (False, True)]
    return [
        child.label,
        str(found.owners[child.index]),
        ", ".join(child.local),
        ", ".join(child.remote),
        *keys,
        *numbers,
    ]
