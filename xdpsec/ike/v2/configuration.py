"""The Configuration payload, both roles: an inner address, name servers, the domains they answer for.

Rides on IKE_AUTH (RFC 7296 sec. 2.19, 3.15); split DNS by RFC 8598. Who holds which address is leases.py's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xdpsec.errors import PeerError
from xdpsec.ike.events import AddressLeased
from xdpsec.ike.identities import key
from xdpsec.ike.settings import Identity, Pool
from xdpsec.numbers import ConfigAttribute, ConfigType, NotifyType
from xdpsec.wire.message import find, find_notify
from xdpsec.wire.payloads import Attribute, Configuration, Payload

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

A = ConfigAttribute
ADDRESS = {4: A.INTERNAL_IP4_ADDRESS, 6: A.INTERNAL_IP6_ADDRESS}
DNS = {4: A.INTERNAL_IP4_DNS, 6: A.INTERNAL_IP6_DNS}
_SIZES = {A.INTERNAL_IP4_ADDRESS: 4, A.INTERNAL_IP6_ADDRESS: 17, A.INTERNAL_IP4_DNS: 4, A.INTERNAL_IP6_DNS: 16}
#: RFC 8598 sec. 3.1: a name in presentation form. What goes to a resolver's configuration is held to letters that
#: mean nothing there.
_DOMAIN = re.compile(rb"(?=.{1,253}\.?\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
MOST = 16  # servers, and domains, taken from one reply


@dataclass(frozen=True, slots=True)
class Granted:
    """What a reply gives: addresses, servers and domains as text."""

    addresses: tuple[str, ...]
    dns: tuple[str, ...]
    domains: tuple[str, ...]


# --- as initiator -----------------------------------------------------------------------------------------------


def request(versions: Iterable[int]) -> Configuration:
    """Ask for an address of each IP version, and for name servers with their domains."""
    kinds = [kind for version in versions for kind in (ADDRESS[version], DNS[version])]
    return Configuration(ConfigType.REQUEST, tuple(map(Attribute, (*kinds, A.INTERNAL_DNS_DOMAIN))))


def learn(m: Machine, payloads: Sequence[Payload]) -> None:
    """Keep what we asked for and got, and tell the host; errors as of `granted`."""
    versions = m.settings.ask_addresses
    if not versions:
        return
    refusal = find_notify(payloads, NotifyType.INTERNAL_ADDRESS_FAILURE)
    if refusal is not None:
        raise PeerError("the peer has no address for us", NotifyType.INTERNAL_ADDRESS_FAILURE)
    found = granted(versions, find(payloads, Configuration))
    # commit
    m.inner = found.addresses
    m.emit(AddressLeased(m.number, found.addresses, found.dns, found.domains))


def granted(versions: Iterable[int], reply: Configuration | None) -> Granted:
    """Read the reply. PeerError when it lacks an address that we asked for, or holds one that is none. Attributes that
    we did not ask for are passed over; so are domains without a server (RFC 8598 sec. 3.2) and names that are none."""
    if reply is None or reply.kind != ConfigType.REPLY:
        raise PeerError("the peer gives no address: it answers without a configuration", NotifyType.FAILED_CP_REQUIRED)
    addresses, dns = [], []
    for version in versions:
        found = _values(reply, ADDRESS[version])
        if not found:
            raise PeerError(f"the peer gives no IPv{version} address", NotifyType.INTERNAL_ADDRESS_FAILURE)
        addresses.append(str(ipaddress.ip_address(found[0][: 4 if version == 4 else 16])))
        dns += [str(ipaddress.ip_address(value)) for value in _values(reply, DNS[version])]
    domains = [
        each.value.decode().rstrip(".")
        for each in reply.attributes
        if each.kind == A.INTERNAL_DNS_DOMAIN and _DOMAIN.fullmatch(each.value)
    ]
    return Granted(tuple(addresses), tuple(dns[:MOST]), tuple(domains[:MOST]) if dns else ())


def _values(reply: Configuration, kind: ConfigAttribute) -> list[bytes]:
    values = [each.value for each in reply.attributes if each.kind == kind and each.value]
    if any(len(value) != _SIZES[kind] for value in values):
        raise PeerError(f"{kind.name} of a length that it cannot have", NotifyType.INVALID_SYNTAX)
    return values


# --- as responder -----------------------------------------------------------------------------------------------


def asked(wanted: Configuration) -> tuple[int, ...]:
    """IP versions that the peer wants an address of."""
    if wanted.kind != ConfigType.REQUEST:
        return ()
    kinds = {each.kind for each in wanted.attributes}
    return tuple(version for version, kind in ADDRESS.items() if kind in kinds)


def give(m: Machine, identity: Identity, payloads: Sequence[Payload]) -> tuple[Payload, ...]:
    """Lease what the peer asks for, and say so; nothing where there is no pool. An identity keeps its address over
    reauthentication, unless its connections may stand side by side. PeerError(INTERNAL_ADDRESS_FAILURE) when a pool is
    exhausted, FAILED_CP_REQUIRED when the peer must have an address and did not ask."""
    pool, wanted = m.settings.pool, find(payloads, Configuration)
    if pool is None:
        return ()
    if wanted is None or not asked(wanted):
        raise PeerError("the peer must ask for an inner address", NotifyType.FAILED_CP_REQUIRED)
    owner = key(identity)
    if m.settings.uniqueness == "off":
        owner += m.number.to_bytes(8, "big")
    leased = [m.registry.leases.take(pool.prefixes, version, owner, m.number) for version in asked(wanted)]
    addresses = tuple(one for one in leased if one is not None)
    if not addresses:
        raise PeerError("no address is left in the pool", NotifyType.INTERNAL_ADDRESS_FAILURE)
    # commit
    m.inner = addresses
    return (reply(pool, wanted, addresses),)


def reply(pool: Pool, wanted: Configuration, addresses: Iterable[str]) -> Configuration:
    """What we give: the addresses, and of servers and domains what was asked for (RFC 7296 sec. 3.15.1)."""
    kinds = {each.kind for each in wanted.attributes}
    given = [Attribute(ADDRESS[4 if "." in one else 6], _address(one)) for one in addresses]
    servers = [ipaddress.ip_address(one) for one in pool.dns]
    given += [Attribute(DNS[one.version], one.packed) for one in servers if DNS[one.version] in kinds]
    if A.INTERNAL_DNS_DOMAIN in kinds and any(DNS[one.version] in kinds for one in servers):
        given += [Attribute(A.INTERNAL_DNS_DOMAIN, one.encode()) for one in pool.domains]
    return Configuration(ConfigType.REPLY, tuple(given))


def _address(text: str) -> bytes:
    """IPv6 has a prefix length behind it (RFC 7296 sec. 3.15.1): the one address is all there is."""
    packed = ipaddress.ip_address(text).packed
    return packed if len(packed) == 4 else packed + bytes((128,))
