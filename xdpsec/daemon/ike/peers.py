"""From the configuration to what the machines are told of peers, and the book in which they look them up.

Secrets come in as bytes; who read them is files.py. Everything wrong that the checks of the configuration could not see
(an identity that is none, a secret that is empty) is a ConfigError with its line.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache, partial

from xdpsec.config.proposals import Offer
from xdpsec.config.psk import parse_secret
from xdpsec.config.values import Child, Config, Peer
from xdpsec.config.values_ike import HARD_OVER_SOFT, Ike, Negotiated
from xdpsec.daemon.credentials import Credentials
from xdpsec.daemon.ike.files import Files
from xdpsec.errors import ConfigError
from xdpsec.ike import identities
from xdpsec.ike.events import Path
from xdpsec.ike.settings import (
    Algorithm,
    ChildSettings,
    EspOffer,
    Identity,
    IkeOffer,
    Lifetime,
    LocalAuth,
    PeerSettings,
    Pool,
    Ppk,
    RemoteAuth,
)
from xdpsec.numbers import IdType, Protocol

JITTER = 0.1
PPK_ID_FIXED = b"\x02"  # RFC 8784 sec. 5.1: PPK_ID_FIXED

Route = Callable[[str], str]


def settings(config: Config, files: Files, credentials: Credentials, local_of: Route) -> tuple[PeerSettings, ...]:
    """Of every negotiating peer, in the order of the file. `local_of`: our address on the way to another, "" = none."""
    return tuple(_peer(config, peer, ike, files, credentials, local_of) for peer, ike in config.ike_peers)


def _peer(
    config: Config, peer: Peer, ike: Ike, files: Files, credentials: Credentials, local_of: Route
) -> PeerSettings:
    workers = config.gateway.workers
    local_id, remote_id = identities_of(config, peer, ike, local_of)
    psk, ppks = secrets_of(ike, files)
    signer, trust = credentials.signer(ike.auth), credentials.trust(ike.auth)
    return PeerSettings(
        name=peer.name,
        remote=peer.remote,
        local=peer.local,
        local_id=local_id,
        remote_id=remote_id,
        named=remote_id.exact if ike.send_remote_id and not _spelled_by_others(remote_id) else None,
        local_auth=LocalAuth(psk, signer, ike.auth.send_certificate, credentials.staple(ike.auth)),
        remote_auth=RemoteAuth(psk=psk, trust=trust),
        ike_offers=_ike_offers(tuple(ike.offers)),
        children=tuple(_child(child, child.negotiated, workers, ike) for child in peer.children if child.negotiated),
        lifetime=_lifetime(ike.rekey),
        remote_port=ike.port,
        pfs=ike.pfs,
        pq=ike.pq,
        ppks=ppks,
        ppk_required=bool(ike.ppk and ike.ppk.required),
        dpd=float(ike.dpd),
        reauthentication=float(ike.reauth),
        mobike=ike.mobike,
        force_encap=ike.force_encap,
        fragment=ike.fragment,
        uniqueness=ike.unique,
        childless=ike.childless,
        keepalive=float(ike.keepalive),
        pool=Pool(ike.pool.addresses, ike.pool.dns, ike.pool.domains) if ike.pool else None,
        ask_addresses=ike.ask_address,
    )


# --- who ------------------------------------------------------------------------------------------------------------


def identities_of(config: Config, peer: Peer, ike: Ike, local_of: Route) -> tuple[Identity, identities.Rule]:
    """Who we are, and who the peer must be."""
    return local_identity(config, peer, ike, local_of), _rule(config, peer, ike.remote_id or peer.remote)


def _spelled_by_others(rule: identities.Rule) -> bool:
    """Of a distinguished name there are several encodings, and who is asked by another than its own may not know it."""
    return rule.exact is not None and rule.exact.kind == IdType.DER_ASN1_DN


def secrets_of(ike: Ike, files: Files) -> tuple[bytes, tuple[Ppk, ...]]:
    """The shared secret, empty = none, and the postquantum one."""
    auth = ike.auth
    return parse_secret(files[auth.psk_file], auth.psk_file) if auth.psk_file else b"", _ppks(ike, files)


def local_identity(config: Config, peer: Peer, ike: Ike, local_of: Route) -> Identity:
    """Who we are towards a peer: as the configuration says, else our address."""
    text = ike.local_id or peer.local or (local_of(peer.remote) if peer.remote else "")
    if not text:
        fix = 'write who we are, such as local_id = "gw.example.net"'
        raise _wrong(config, peer, "local_id", "is missing, and no route tells our address", fix)
    try:
        return identities.parse_identity(text)
    except ValueError as error:
        raise _refused(config, peer, "local_id", error) from None


def _rule(config: Config, peer: Peer, text: str) -> identities.Rule:
    try:
        return identities.parse_rule(text)
    except ValueError as error:
        raise _refused(config, peer, "remote_id", error) from None


def _refused(config: Config, peer: Peer, key: str, error: ValueError) -> ConfigError:
    text, _, fix = str(error).partition("; ")
    return _wrong(config, peer, key, text, fix or "see the configuration reference")


def _wrong(config: Config, peer: Peer, key: str, text: str, fix: str) -> ConfigError:
    path = ("peers", peer.name, key)
    return ConfigError(config.file, config.line(path), ".".join(path), text, fix)


def _ppks(ike: Ike, files: Files) -> tuple[Ppk, ...]:
    if ike.ppk is None:
        return ()
    secret = parse_secret(files[ike.ppk.file], ike.ppk.file)
    if len(secret) < 32:
        text = f"has {len(secret)} bytes, too few against a quantum computer (RFC 8784 sec. 2)"
        raise ConfigError(ike.ppk.file, 0, "", text, "write 32 random bytes after 0x")
    return (Ppk(PPK_ID_FIXED + ike.ppk.id.encode(), secret),)


# --- what ----------------------------------------------------------------------------------------------------------


def _algorithms(offer: Offer) -> tuple[Algorithm, ...]:
    return tuple(Algorithm(number, bits) for number, bits in offer.encr)


@lru_cache(maxsize=1024)
def _ike_offers(offers: tuple[Offer, ...]) -> tuple[IkeOffer, ...]:
    """Peers that offer the same share one value: thousands do, and a responder compares them by it."""
    return tuple(IkeOffer(_algorithms(one), one.prf, one.integ, one.ke, one.extra) for one in offers)


@lru_cache(maxsize=1024)
def _esp_offers(offers: tuple[Offer, ...], ah: bool) -> tuple[EspOffer, ...]:
    protocol = Protocol.AH if ah else Protocol.ESP
    return tuple(EspOffer(protocol, _algorithms(one), one.integ, one.ke, one.extra, one.esn) for one in offers)


@lru_cache(maxsize=1024)
def _lifetime(seconds: int, octets: int = 0, packets: int = 0) -> Lifetime:
    return Lifetime(
        soft_seconds=float(seconds),
        hard_seconds=seconds * HARD_OVER_SOFT,
        soft_bytes=octets,
        hard_bytes=int(octets * HARD_OVER_SOFT),
        soft_packets=packets,
        hard_packets=int(packets * HARD_OVER_SOFT),
        jitter=JITTER,
    )


def _child(child: Child, negotiated: Negotiated, workers: int, ike: Ike) -> ChildSettings:
    """What lies within the peer's pool is not one prefix but the one address that each guest gets of it."""
    leased = ike.pool is not None and all(map(partial(_within, ike.pool.addresses), child.remote))
    return ChildSettings(
        name=child.name,
        index=child.index,
        local=child.local,
        remote=() if leased else child.remote,
        offers=_esp_offers(tuple(negotiated.offers), negotiated.ah),
        lifetime=_lifetime(negotiated.rekey, negotiated.rekey_bytes, negotiated.rekey_packets),
        protocol=child.protocol,
        local_ports=child.local_ports,
        remote_ports=child.remote_ports,
        mode=negotiated.mode,
        workers=workers if negotiated.per_worker else 1,
    )


def _within(pool: Iterable[str], prefix: str) -> bool:
    mine = ipaddress.ip_network(prefix)
    wider = [one for one in map(ipaddress.ip_network, pool) if one.version == mine.version]
    return any(mine.overlaps(one) and one.prefixlen <= mine.prefixlen for one in wider)


# --- the book ------------------------------------------------------------------------------------------------------


class Book:
    """ike.settings.PeerBook: peers by name, by address, by who they say they are."""

    def __init__(self, peers: Iterable[PeerSettings], local_of: Route) -> None:
        self._peers = {peer.name: peer for peer in peers}
        self._local_of = local_of
        self._fixed: dict[str, list[PeerSettings]] = {}
        self._wandering: list[PeerSettings] = []
        for peer in self._peers.values():
            (self._fixed.setdefault(peer.remote, []) if peer.remote else self._wandering).append(peer)
        self._order = {name: number for number, name in enumerate(self._peers)}

    @property
    def peers(self) -> Mapping[str, PeerSettings]:
        return self._peers

    def by_name(self, name: str) -> PeerSettings | None:
        """With our address as the route has it now, where the configuration names none."""
        peer = self._peers.get(name)
        if peer is None or peer.local or not peer.remote:
            return peer
        return replace(peer, local=self._local_of(peer.remote))

    def by_address(self, path: Path) -> tuple[PeerSettings, ...]:
        found = [*self._fixed.get(path.remote, ()), *self._wandering]
        if len(found) > 1:
            found.sort(key=lambda peer: self._order[peer.name])
        return tuple(peer for peer in found if peer.local in ("", path.local))

    def by_identity(
        self, idi: Identity, idr: Identity | None, candidates: tuple[PeerSettings, ...]
    ) -> tuple[PeerSettings, ...]:
        return tuple(
            peer
            for peer in candidates
            if peer.remote_id.matches(idi) and (idr is None or identities.same(peer.local_id, idr))
        )
