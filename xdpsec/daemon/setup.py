"""Start-up: from the configuration to a gateway whose slots, door and ports are ready for workers.

A person's mistake ends it with one sentence. Knows no worker.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from xdpsec.channel import messages as words
from xdpsec.channel.framing import close_all
from xdpsec.channel.hub import PRIVILEGED_SECONDS, Peer, Reply
from xdpsec.config.keys import KeyPair, check_owner, read_keys
from xdpsec.config.values import Config
from xdpsec.daemon import ledger
from xdpsec.daemon.durable import Marker, StateFile
from xdpsec.daemon.grants import want_of
from xdpsec.daemon.ledger import Ledger, Place
from xdpsec.daemon.rooms import Maps
from xdpsec.daemon.seats import Seat
from xdpsec.daemon.slots import Slots
from xdpsec.errors import LocalError
from xdpsec.metrics.values import Port
from xdpsec.policy import placement, prefixes
from xdpsec.policy.manual import manual_sas
from xdpsec.policy.sa import Sa
from xdpsec.workers import native

#: Any port will do: a connected UDP socket is asked for its address and never sends.
ANY_PORT = 9


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys by file, and where their use is marked. The markers' descriptors stay open."""

    pairs: Mapping[str, KeyPair]
    markers: Mapping[str, Marker]


@dataclass(frozen=True, slots=True)
class Security:
    """`seats`: slot -> SA, `owners`: child -> worker, `places`: sa_id -> where it starts."""

    seats: Mapping[int, Seat]
    owners: Mapping[int, int]
    table: tuple[int, ...]
    places: Mapping[bytes, Place]
    ledger: Ledger


async def ask(supervisor: Peer, message: words.Message) -> Reply:
    """Refused when the supervisor says no."""
    return await supervisor.call(message, PRIVILEGED_SECONDS)


async def open_keys(config: Config, supervisor: Peer) -> Keys:
    """Every key file that the configuration names, read once. ConfigError for what is wrong with one."""
    pairs: dict[str, KeyPair] = {}
    markers: dict[str, Marker] = {}
    for _, manual in config.manual:
        file = manual.key_file
        keys, marker = (await ask(supervisor, words.OpenKeyFile(file))).descriptors
        try:
            check_owner(os.fstat(keys), file)
            pairs[file] = read_keys(keys, file, manual.suite)
        finally:
            close_all((keys,))
        markers[file] = Marker(marker, file)
        check_owner(os.fstat(marker), markers[file].file)
    return Keys(pairs, markers)


def local_address(remote: str) -> str:
    """Our address on the way to a peer. LocalError when there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, ANY_PORT))
        except OSError as error:
            fix = "add a route, or name our outer address as `local` of the peer"
            raise LocalError(f"no route leads to the peer {remote} ({error.strerror}); {fix}") from None
        return str(probe.getsockname()[0])


def seat(config: Config, keys: Keys, slots: Slots, now: float) -> Security:
    """Every SA gets its worker, its slot and its numbers. LocalError when the durable state does not allow it."""
    sas = manual_sas(config, keys.pairs, local_address)
    table = placement.deal([sa.spi for sa in sas if not sa.outbound], config.gateway.workers, native.bucket_of)
    given = {sa.child: placement.owner_of(sa.spi, table, native.bucket_of) for sa in sas if not sa.outbound}
    owners = placement.homes(given, [child.index for child in config.children], config.gateway.workers)
    wants = [want_of(sa) for sa in sas]
    slots.drop_negotiated()
    book = Ledger(StateFile(config.gateway.state_dir), keys.markers, wants)
    try:
        places = ledger.start(book, slots, wants, {sa.sa_id: sa.spi for sa in sas}, now)
    except OSError as error:
        where = f"the sequence state in {config.gateway.state_dir}, or its marker beside a key file,"
        raise LocalError(
            f"{where} cannot be saved ({error.strerror}); make room there, and let it be written"
        ) from None
    return Security(_seats(sas, owners, places), owners, table, places, book)


def _seats(sas: tuple[Sa, ...], owners: Mapping[int, int], places: Mapping[bytes, Place]) -> dict[int, Seat]:
    seats = [Seat(sa, places[sa.sa_id].slot, owners[sa.child]) for sa in sas]
    return {seat.slot: seat for seat in seats}


def set_door(maps: Maps, config: Config, table: tuple[int, ...], owners: Mapping[int, int]) -> None:
    """What is protected, and by whom, before the first port opens."""
    maps.set_buckets(table)
    tries = prefixes.tables(config.children, owners, config.gateway.workers)
    maps.set_prefixes(
        {text: prefix.policies for text, prefix in tries.local.items()},
        {text: (prefix.policies, prefix.workers) for text, prefix in tries.remote.items()},
    )


async def attach(config: Config, supervisor: Peer) -> tuple[Port, ...]:
    """Every port, outside first."""
    names = [(name, True) for name in config.gateway.outside] + [(name, False) for name in config.gateway.inside]
    return tuple([await _attach(supervisor, index, *name) for index, name in enumerate(names)])


async def _attach(supervisor: Peer, index: int, interface: str, outside: bool) -> Port:
    answer = (await ask(supervisor, words.AttachPort(index))).message
    assert isinstance(answer, words.PortAttached)
    return Port(
        index=index,
        interface=interface,
        outside=outside,
        mode=answer.mode,
        bind=answer.bind,
        queues=answer.queues,
        ifindex=answer.ifindex,
        mac=answer.mac,
        mtu=answer.mtu,
    )
