"""Host - gateway - cable to the peer: our side of the interop table, one child for each case.

Sequence numbers begin where the case says: as after a reboot, by what the files of the durable state say.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netns.rig.gateways import Gateway

from interop.cases import A, B, Case, child_table, write_keys
from xdpsec.config.keys import SaKey
from xdpsec.daemon.durable import STATE_NAME, SUFFIX, Marker, StateFile
from xdpsec.demo.lab import Lab
from xdpsec.policy.sequence import Saved

USER = "nobody"
PEER = "peer"
WORKERS = 2
ECHO = str(Path(__file__).with_name("echo.py").resolve())
ECHO_PORT = 7


@dataclass(frozen=True, slots=True)
class Station:
    """`peer` is the namespace at the other end of the cable, with an interface eth0 that has no address."""

    lab: Lab
    host: str
    gateway: Gateway
    peer: str
    cases: tuple[Case, ...]

    def ping(self, case: Case, count: int = 4) -> None:
        """From our host to the peer's. LabError when an answer is missing."""
        words = ["ping", "-n", f"-c{count}", "-i0.05", "-W20", "-I", A.address(case), B.address(case)]
        out = self.lab.inside(self.host, *words)
        assert f" {count} received" in out, out

    def ask(self, case: Case, size: int) -> None:
        """TCP from our host to the peer's echo server."""
        words = [sys.executable, ECHO, "ask", B.address(case), str(ECHO_PORT), A.address(case), str(size)]
        self.lab.inside(self.host, *words, timeout=60.0)

    def numbers(self, case: Case) -> dict[str, Any]:
        """Direction -> row of list-sas."""
        rows = self.gateway.ask("list-sas")
        return {row["direction"]: row for row in rows if row["label"] == f"{PEER}/case{case.number}"}


@contextmanager
def station(cases: Sequence[Case]) -> Iterator[Station]:
    """The gateway serves."""
    with Lab() as lab:
        host, ours, peer = (lab.namespace(role) for role in ("host", "gw", "peer"))
        lab.cable((host, "eth0"), (ours, "lan0"), WORKERS)
        lab.cable((ours, "wan0"), (peer, "eth0"), WORKERS)
        lab.ip(ours, "address", "add", f"{A.outer}/24", "dev", "wan0")
        lab.ip(ours, "address", "add", "10.61.0.1/24", "dev", "lan0")
        lab.ip(ours, "route", "add", B.all, "via", B.outer)
        lab.ip(host, "address", "add", "10.61.0.2/24", "dev", "eth0")
        lab.ip(host, "route", "add", "default", "via", "10.61.0.1")
        for case in cases:
            lab.ip(host, "address", "add", f"{A.address(case)}/32", "dev", "eth0")
            lab.ip(ours, "route", "add", A.prefix(case), "via", "10.61.0.2")
        gateway = Gateway(lab, ours, _write(lab.directory / "gateway", cases))
        gateway.start()
        with lab.running(host, [sys.executable, ECHO, "serve", "0.0.0.0", str(ECHO_PORT)]):
            yield Station(lab, host, gateway, peer, tuple(cases))


def _write(directory: Path, cases: Sequence[Case]) -> Path:
    """Configuration, keys and sequence state."""
    directory.mkdir()
    text = (
        f'[gateway]\noutside = ["wan0"]\ninside = ["lan0"]\nworkers = {WORKERS}\nuser = "{USER}"\n'
        f'run_dir = "{directory}/run"\nstate_dir = "{directory}/state"\nallow_manual_counter_modes = true\n'
        f'[peers.{PEER}]\nremote = "{B.outer}"\n'
    )
    for case in cases:
        keys = directory / f"case{case.number}.keys"
        write_keys(case, keys, A, B)
        text += child_table(case, PEER, keys, A, B)
    _used(directory / "state", directory, [case for case in cases if case.first > 1])
    config = directory / "xdpsec.toml"
    config.write_text(text)
    return config


def _used(state: Path, directory: Path, cases: Sequence[Case]) -> None:
    """State file and markers that say: every number below the case's first was used, or accepted."""
    account = pwd.getpwnam(USER)
    state.mkdir(mode=0o700)
    rows = {case.number: _rows(case) for case in cases}
    StateFile(str(state)).write({sa_id: saved for saved_rows in rows.values() for sa_id, saved in saved_rows.items()})
    for path in (state, state / STATE_NAME):
        os.chown(path, account.pw_uid, account.pw_gid)
    for number, saved_rows in rows.items():
        file = str(directory / f"case{number}.keys")
        descriptor = os.open(file + SUFFIX, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        Marker(descriptor, file).write(saved_rows, saved_rows.keys())
        os.close(descriptor)


def _rows(case: Case) -> dict[bytes, Saved]:
    return {
        SaKey(*case.key(receiver)).sa_id: Saved(receiver is B, case.first, label=f"{PEER}/case{case.number}")
        for receiver in (A, B)
    }
