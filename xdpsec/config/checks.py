"""What two places of one configuration must not say together. Values in, the first refusal out."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from xdpsec.config.lines import Path
from xdpsec.config.values import Child, Config

#: (path of the key, what is wrong, how to fix it)
Refusal = tuple[Path, str, str]
#: XS_MAX_PREFIXES of bpf/shared.h
MAX_PREFIXES = 65536


def refusals(config: Config) -> Iterator[Refusal]:
    """Every refusal, in no particular order."""
    for check in (_directories, _interfaces, _spis, _key_files, _counter_modes, _legacy, _overlaps, _prefixes):
        yield from check(config)


def _directories(config: Config) -> Iterator[Refusal]:
    if config.gateway.state_dir == config.gateway.run_dir:
        yield ("gateway", "state_dir"), "is run_dir too, which a reboot empties", "name another directory"


def _interfaces(config: Config) -> Iterator[Refusal]:
    seen: set[str] = set()
    gateway = config.gateway
    if len(gateway.outside) + len(gateway.inside) > 8:
        yield ("gateway", "inside"), "more than 8 interfaces", "name at most 8, both sides together"
    for side, names in (("outside", gateway.outside), ("inside", gateway.inside)):
        for number, name in enumerate(names):
            if name in seen:
                yield ("gateway", side, number), f"interface {name!r} is named twice", "name each interface once"
            seen.add(name)


def _manual(child: Child, key: str) -> Path:
    return ("peers", child.peer, "children", child.name, "manual", key)


def _spis(config: Config) -> Iterator[Refusal]:
    inbound: dict[int, Child] = {}
    outbound: dict[tuple[str, int], Child] = {}
    remotes = {peer.name: peer.remote for peer in config.peers}
    for child, manual in config.manual:
        spi_in, spi_out, remote = manual.spi_in, manual.spi_out, remotes[child.peer]
        if spi_in in inbound:
            text = f"inbound SPI {spi_in:#x} belongs to {inbound[spi_in].label} already"
            yield _manual(child, "spi_in"), text, "give each child its own"
        if (remote, spi_out) in outbound:
            text = f"outbound SPI {spi_out:#x} to {remote} belongs to {outbound[remote, spi_out].label}"
            yield _manual(child, "spi_out"), text, "give each child its own"
        inbound.setdefault(spi_in, child)
        outbound.setdefault((remote, spi_out), child)


def _key_files(config: Config) -> Iterator[Refusal]:
    seen: dict[str, Child] = {}
    for child, manual in config.manual:
        name = manual.key_file
        if name in seen:
            text = f"{name} holds the keys of {seen[name].label} already"
            yield _manual(child, "key_file"), text, "give each child keys of its own"
        seen.setdefault(name, child)


def _counter_modes(config: Config) -> Iterator[Refusal]:
    for child, manual in config.manual:
        if manual.suite.counter and not config.gateway.allow_manual_counter_modes:
            text = f"{manual.suite.name} is a counter mode, which manual keys must not use (RFC 8221 sec. 3)"
            fix = 'choose esp = "aes256-sha256", or set allow_manual_counter_modes = true in [gateway]'
            yield _manual(child, "esp"), text, fix


def _legacy(config: Config) -> Iterator[Refusal]:
    for child, manual in config.manual:
        if manual.suite.legacy and not config.gateway.allow_legacy:
            fix = 'choose esp = "aes256-sha256", or set allow_legacy = true in [gateway]'
            yield _manual(child, "esp"), f"{manual.suite.name} is weak (RFC 8221 sec. 5)", fix


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    mine, theirs = ([ipaddress.ip_network(text) for text in side] for side in (one, other))
    return any(a.version == b.version and a.overlaps(b) for a in mine for b in theirs)


def _ports_meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def overlapping(one: Child, other: Child) -> bool:
    """Whether some packet belongs to both."""
    same_protocol = one.protocol == other.protocol or 0 in (one.protocol, other.protocol)
    return (
        same_protocol
        and _ports_meet(one.local_ports, other.local_ports)
        and _ports_meet(one.remote_ports, other.remote_ports)
        and _meet(one.local, other.local)
        and _meet(one.remote, other.remote)
    )


def _overlaps(config: Config) -> Iterator[Refusal]:
    """Prefixes either nest or are apart: in order of their first address, all that hold one are on the stack."""
    rows = [(ipaddress.ip_network(text), child) for child in config.children for text in child.remote]
    rows.sort(key=lambda row: (row[0].version, int(row[0].network_address), row[0].prefixlen))
    stack: list[tuple[int, int, Child]] = []  # version, first address behind the prefix
    first: dict[int, Child] = {}
    for net, child in rows:
        address = int(net.network_address)
        while stack and (stack[-1][0] != net.version or stack[-1][1] <= address):
            stack.pop()
        for _, _, other in stack:
            early, late = sorted((child, other), key=lambda one: one.index)
            if early is not late and late.index not in first and overlapping(early, late):
                first[late.index] = early
                path = ("peers", late.peer, "children", late.name)
                yield path, f"overlaps {early.label}", "change local, remote, protocol or ports of one of them"
        stack.append((net.version, address + (1 << net.max_prefixlen - net.prefixlen), child))


def _prefixes(config: Config) -> Iterator[Refusal]:
    sides: tuple[tuple[str, Callable[[Child], tuple[str, ...]]], ...] = (
        ("local", lambda child: child.local),
        ("remote", lambda child: child.remote),
    )
    for side, prefixes_of in sides:
        if len({prefix for child in config.children for prefix in prefixes_of(child)}) > MAX_PREFIXES:
            yield ("peers",), f"more than {MAX_PREFIXES} {side} prefixes", "join neighbouring prefixes"
