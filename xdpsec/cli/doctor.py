"""`xdpsec doctor`: what this machine and its interfaces can do, and what stands in the way."""

from __future__ import annotations

import dataclasses

import typer
from rich.text import Text

from xdpsec.cli.common import DEFAULT_CONFIG, FAILURE, ConfigOption, JsonOption, print_json, show, table
from xdpsec.config.loader import load
from xdpsec.daemon.doctor import gateway, machine, ports
from xdpsec.daemon.doctor.finding import FAIL, NOTE, Finding, worst
from xdpsec.errors import ConfigError

COLOURS = {"ok": "green", "note": "cyan", "warn": "yellow", "fail": "red"}


def doctor(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Say what this machine can do, and what is in the way.

    Kernel, rights, interfaces, cores, engines, firewall. Changes nothing. Status 1 when something fails."""
    found = [*machine.findings(), *_of(config)]
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in found])
    else:
        made = table("", "", "topic", "finding")
        for finding in found:
            made.add_row(Text(finding.level, COLOURS[finding.level]), finding.topic, finding.text)
        show(made)
    if worst(found) == FAIL:
        raise typer.Exit(FAILURE)


def _of(config: ConfigOption) -> list[Finding]:
    """Looks that need a configuration; without one, the word that they were not made."""
    if not config.exists():
        text = f"{config} does not exist: account, directories and interfaces were not looked at"
        return [Finding("configuration", NOTE, text)]
    try:
        whole = load(str(config))
    except ConfigError as error:
        return [Finding("configuration", FAIL, str(error))]
    return [*gateway.findings(whole), *ports.findings(whole.gateway)]
