"""From the configuration to an Ike that can start: files read, sockets opened, peers made, the helper forked.

`prepare` needs the supervisor and comes before there are workers; `build` puts the rest together.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import structlog

from xdpsec.channel import messages as words
from xdpsec.channel.hub import PRIVILEGED_SECONDS, Peer, Refused
from xdpsec.config.values import Config
from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.fleet import Fleet
from xdpsec.daemon.ike import doubts, files, peers
from xdpsec.daemon.ike.fetching import Fetching
from xdpsec.daemon.ike.guests import Guests
from xdpsec.daemon.ike.helper import Helper
from xdpsec.daemon.ike.peers import Book
from xdpsec.daemon.ike.sas import Sas
from xdpsec.daemon.ike.service import Ike
from xdpsec.daemon.ike.spis import Spis
from xdpsec.daemon.ike.upkeep import Upkeep
from xdpsec.daemon.seats import Seats
from xdpsec.daemon.setup import Security
from xdpsec.daemon.slots import Slots
from xdpsec.daemon.snapshot import Snapshots
from xdpsec.ike.gate import Gate
from xdpsec.ike.v2.make import Machines
from xdpsec.net import udp
from xdpsec.net.udp import Udp
from xdpsec.workers import native

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What outlives no control."""

    book: Book
    datagrams: Udp
    helper: Helper
    credentials: Credentials
    upkeep: Upkeep


async def prepare(config: Config, supervisor: Peer) -> Prepared | None:
    """None when no peer negotiates. ConfigError, LocalError and Refused when a person must act."""
    if not config.ike_peers:
        return None
    helper = Helper()  # first: it should inherit no secret
    found = await files.read_all(config, supervisor)
    credentials = Credentials(found, await files.read_passphrases(config, supervisor))
    crls = [file for _, ike in config.ike_peers for file in ike.auth.crl]
    credentials.load_crls(crls)
    book = Book(peers.settings(config, found, credentials, route), route)
    for sentence, fields in doubts.found(config, found, credentials, route):
        log.warning(sentence, **fields)
    staples = [ike.auth.ocsp for _, ike in config.ike_peers if ike.auth.ocsp]
    upkeep = Upkeep(credentials, crls, staples, lambda file: files.read_again(file, supervisor))
    return Prepared(book, Udp(await _sockets(supervisor)), helper, credentials, upkeep)


async def _sockets(supervisor: Peer) -> list[int]:
    """IPv4 must be there; a machine without IPv6 has two sockets less."""
    opened: list[int] = []
    for family, address in udp.ANY.items():
        for port in udp.PORTS:
            try:
                opened += (await supervisor.call(words.OpenSocket(address, port), PRIVILEGED_SECONDS)).descriptors
            except Refused as refusal:
                if family == socket.AF_INET:
                    raise
                log.warning("no IKE over IPv6", port=port, error=str(refusal))
    return opened


def route(remote: str) -> str:
    """Our address on the way to a peer, "" when there is no way just now."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in remote else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((remote, udp.PORTS[0]))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def build(
    prepared: Prepared,
    config: Config,
    security: Security,
    seats: Seats,
    slots: Slots,
    fleet: Fleet,
    snapshots: Snapshots,
) -> Ike:
    """On a running loop."""
    given = [manual.spi_in for _, manual in config.manual]
    spis = Spis(security.table, native.bucket_of, given, os.urandom)
    sas = Sas(seats, slots, fleet, snapshots)
    guests = Guests(len(config.children), fleet.tell_all)
    snapshots.guests = guests.rows
    protected = [text for child in config.children for text in (*child.local, *child.remote)]
    return Ike(
        config,
        prepared.book,
        security.owners,
        sas,
        spis,
        prepared.datagrams,
        lambda host: Gate(host, Machines()),
        prepared.helper,
        Fetching(prepared.credentials.known, protected),
        guests,
        prepared.upkeep,
        route,
    )
