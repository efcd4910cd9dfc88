"""What the tables of one peer must not say together: manual keys or IKE, and what each of them needs. Tables in,
refusals out; what several peers must not say together is in checks.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdpsec.config.kinds import ANY_ADDRESS
from xdpsec.config.lines import Path
from xdpsec.config.proposals import LEGACY
from xdpsec.config.schema import ChildTable, FileTable, PeerTable
from xdpsec.config.schema_ike import AuthTable, IkeChildPart, IkePart

Refusal = tuple[Path, str, str]


def refusals(table: FileTable) -> Iterator[Refusal]:
    """Every refusal, in no particular order."""
    for name, peer in table.peers.items():
        path: Path = ("peers", name)
        yield from _manual_peer(path, peer) if peer.auth is None else _ike_peer(path, peer, peer.auth)
        for label, words in (("ike", peer.ike), *((f"children.{n}.esp", c.esp) for n, c in peer.children.items())):
            yield from _legacy((*path, *label.split(".")), words or [], table.gateway.allow_legacy)


def _manual_peer(path: Path, peer: PeerTable) -> Iterator[Refusal]:
    for key in peer.model_fields_set & IkePart.model_fields.keys():
        yield (*path, key), "is for peers with auth", "add auth = { psk_file = ... }, or remove it"
    if peer.remote == ANY_ADDRESS:
        fix = "write the peer's address, or add auth = { psk_file = ... }"
        yield (*path, "remote"), "manual SAs have a fixed peer", fix
    for address, key in ((peer.remote, "remote"), (peer.local, "local")):
        if address and ":" in address:
            yield (*path, key), f"{address!r} is IPv6, which manual SAs cannot have yet", "write an IPv4 address"
    for name, child in peer.children.items():
        yield from _manual_child((*path, "children", name), child)


def _manual_child(path: Path, child: ChildTable) -> Iterator[Refusal]:
    if child.manual is None:
        fix = "add manual = { spi_in = ..., spi_out = ..., key_file = ... }, or auth = { psk_file = ... } to the peer"
        yield (*path, "manual"), "is missing", fix
    for key in child.model_fields_set & IkeChildPart.model_fields.keys():
        yield (*path, key), "is for children that are negotiated", "remove it"
    for side, prefixes in (("local", child.local), ("remote", child.remote)):
        for number, text in enumerate(prefixes):
            if ":" in text:
                yield (*path, side, number), f"{text!r} is no IPv4 prefix", "write one like 10.1.0.0/16"


def _ike_peer(path: Path, peer: PeerTable, auth: AuthTable) -> Iterator[Refusal]:
    yield from _auth((*path, "auth"), auth)
    if peer.remote == ANY_ADDRESS and not peer.remote_id:
        yield (*path, "remote_id"), "is missing", 'say who may come, such as remote_id = "*.example.net"'
    if peer.local and peer.remote != ANY_ADDRESS and (":" in peer.local) != (":" in peer.remote):
        yield (*path, "local"), "is of another address family than remote", "write both as IPv4 or both as IPv6"
    for name, child in peer.children.items():
        at = (*path, "children", name)
        if child.manual is not None:
            yield (*at, "manual"), "has no place in a peer with auth", "remove it, or make it a peer of its own"
        if child.esp and child.ah:
            yield (*at, "ah"), "stands beside esp", "keep one of them"
        if peer.remote == ANY_ADDRESS and child.start != "wait":
            yield (*at, "start"), f"{child.start!r} needs to know where the peer is", 'write start = "wait"'


def _auth(path: Path, auth: AuthTable) -> Iterator[Refusal]:
    if bool(auth.certificate) != bool(auth.key):
        lacks, has = ("key", "certificate") if auth.certificate else ("certificate", "key")
        yield (*path, lacks), f"is missing beside {has}", f'add {lacks} = "/etc/xdpsec/..."'
    elif not auth.psk_file and not auth.certificate:
        yield path, "names neither a secret nor a certificate", 'write auth = { psk_file = "/etc/xdpsec/NAME.psk" }'
    elif not auth.psk_file and not auth.ca:
        yield (*path, "ca"), "is missing: nobody vouches for the peer", 'add ca = ["/etc/xdpsec/ca.pem"]'
    if auth.ocsp and not auth.certificate:
        yield (*path, "ocsp"), "is about a certificate", "add certificate and key, or remove it"
    if auth.passphrase and not auth.key:
        yield (*path, "passphrase"), "is for a key", "add certificate and key, or remove it"


def _legacy(path: Path, proposals: list[str], allowed: bool) -> Iterator[Refusal]:
    for number, text in enumerate(proposals):
        weak = [word for word in text.split("-") if word in LEGACY]
        if weak and not allowed:
            fix = "choose another, or set allow_legacy = true in [gateway]"
            yield (*path, number), f"{weak[0]!r} is weak", fix
