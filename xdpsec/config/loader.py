"""A configuration file -> Config, or the one ConfigError that comes first in it. Checks the whole file; opens no
other: interfaces and key files are looked at by those who use them.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import ValidationError

from xdpsec.config import checks_ike, loader_ike, values
from xdpsec.config.checks import refusals
from xdpsec.config.kinds import ANY_ADDRESS
from xdpsec.config.lines import KeyLines, Path, line_of
from xdpsec.config.refusals import dotted, refusal
from xdpsec.config.schema import ChildTable, FileTable, GatewayTable, ManualTable, PeerTable, split_endpoint
from xdpsec.config.suites import SUITES
from xdpsec.errors import ConfigError

MAX_SIZE = 16 << 20


def load(path: str, cores: Sequence[int] | None = None) -> values.Config:
    """The configuration in the file `path`. `cores` are the machine's, by default those this process may use.
    ConfigError for everything that can be wrong with it."""
    return parse_bytes(read(path), path, sorted(os.sched_getaffinity(0)) if cores is None else cores)


def read(path: str) -> bytes:
    """The file whole; ConfigError when it cannot be had."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(path, 0, "", f"cannot be read ({error.strerror})", "name a readable file") from None
    if len(raw) > MAX_SIZE:
        raise ConfigError(path, 0, "", "is larger than 16 MiB", "name a configuration file")
    return raw


def parse_bytes(raw: bytes, file: str, cores: Sequence[int]) -> values.Config:
    """The configuration in `raw`; `file` is what errors call it."""
    try:
        text = raw.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(file, line, "", "is not UTF-8", "save the file as UTF-8") from None
    return parse(text, file, cores)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """What is made of thousands of peers stays, or goes by its last reference: looking through all of it again and
    again takes as long as making it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_uncollected()
def parse(text: str, file: str, cores: Sequence[int]) -> values.Config:
    """The configuration in `text`; `file` is what errors call it."""
    text = text.replace("\r\n", "\n")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = int(found[1] or text.count("\n") + 1) if found else 0
        what = str(error)[: found.start()] if found else str(error)
        raise _no_toml(file, line, text.split("\n")[line - 1] if line else "", what) from None
    except RecursionError:
        raise ConfigError(file, 0, "", "is not TOML: nested too deeply", "flatten it") from None
    lines = KeyLines(text)
    try:
        table = FileTable.model_validate(tree)
    except ValidationError as errors:
        raise refusal(file, lines, errors.errors(include_url=False)) from None
    _refuse(checks_ike.refusals(table), file, lines)
    config = _config(table, file, lines, cores)
    _refuse(refusals(config), file, lines)
    return config


def _no_toml(file: str, line: int, row: str, what: str) -> ConfigError:
    """Of tomllib's sentences those that people meet; `row` is the line, of which no more than the key is repeated."""
    key = re.match(r"\s*\[*\s*([A-Za-z0-9_.-]+)", row)
    name = key[1] if key else ""
    if what.startswith(("Cannot declare", "Cannot overwrite", "Cannot mutate", "Cannot add", "Duplicate inline")):
        return ConfigError(file, line, name, "stands here a second time", "keep one of the two, or join them")
    if what.startswith(("Invalid value", "Expected newline or end of document")):
        fix = 'put text in double quotes, as in remote = "203.0.113.7"'
        return ConfigError(file, line, name, f"is not TOML: {what}", fix)
    return ConfigError(file, line, "", f"is not TOML: {what}", "correct the line")


def _refuse(found: Iterable[tuple[Path, str, str]], file: str, lines: Mapping[Path, int]) -> None:
    """ConfigError for the first of the file."""
    wrong = [(line_of(lines, path), dotted(path), what, fix) for path, what, fix in found]
    if wrong:
        line, key, what, fix = min(wrong)
        raise ConfigError(file, line, key, what, fix)


def _config(table: FileTable, file: str, lines: Mapping[Path, int], cores: Sequence[int]) -> values.Config:
    peers: list[values.Peer] = []
    index = 0
    for name, peer in table.peers.items():
        children = []
        for child_name, child in peer.children.items():
            children.append(_child(index, name, child_name, child, peer))
            index += 1
        remote = "" if peer.remote == ANY_ADDRESS else peer.remote
        peers.append(values.Peer(name, remote, peer.local or "", tuple(children), loader_ike.ike(peer)))
    absent = isinstance(table.gateway.workers, list) and sorted(set(table.gateway.workers) - set(cores))
    if absent:
        line, have = line_of(lines, ("gateway", "workers")), ", ".join(map(str, cores))
        raise ConfigError(file, line, "gateway.workers", f"there is no core {absent[0]}", f"choose from {have}")
    return values.Config(file, _gateway(table.gateway, cores), tuple(peers), lines)


def _gateway(table: GatewayTable, cores: Sequence[int]) -> values.Gateway:
    host, port = split_endpoint(table.metrics)
    return values.Gateway(
        outside=tuple(table.outside),
        inside=tuple(table.inside),
        cores=worker_cores(table.workers, cores),
        burst=table.burst,
        rx_ring=table.rx_ring,
        spin_us=table.spin_us,
        hold_frames=table.hold_frames,
        engine=table.engine,
        xdp=table.xdp,
        replay_window=table.replay_window,
        allow_manual_counter_modes=table.allow_manual_counter_modes,
        allow_legacy=table.allow_legacy,
        user=table.user,
        run_dir=table.run_dir,
        state_dir=table.state_dir,
        metrics_host=host,
        metrics_port=port,
    )


def worker_cores(workers: int | list[int] | str, cores: Sequence[int]) -> tuple[int, ...]:
    """The core of each worker. The first core is control's for as long as there are others; more workers than cores
    share them in turn."""
    if isinstance(workers, list):
        return tuple(workers)
    turn = [*cores[1:], cores[0]]
    count = max(1, len(cores) - 1) if isinstance(workers, str) else workers
    return tuple(turn[worker % len(turn)] for worker in range(min(count, 32)))


def _child(index: int, peer_name: str, name: str, table: ChildTable, peer: PeerTable) -> values.Child:
    return values.Child(
        index=index,
        peer=peer_name,
        name=name,
        local=tuple(dict.fromkeys(table.local)),
        remote=tuple(dict.fromkeys(table.remote)),
        protocol=int(table.protocol),
        local_ports=(table.local_ports[0], table.local_ports[1]),
        remote_ports=(table.remote_ports[0], table.remote_ports[1]),
        manual=_manual(table.manual) if table.manual else None,
        negotiated=loader_ike.negotiated(table, peer) if peer.auth else None,
    )


def _manual(table: ManualTable) -> values.Manual:
    return values.Manual(
        spi_in=table.spi_in,
        spi_out=table.spi_out,
        suite=SUITES[table.esp],
        key_file=table.key_file,
        esn=table.esn,
        encap=(table.encap[0], table.encap[1]) if table.encap else None,
    )
