"""What works today and should not stay so: short secrets, open keys, certificates that end, that a peer may refuse, or
of which nobody can know whether they are revoked.

The gateway says it in its log when it starts, `xdpsec check` before that.
"""

from __future__ import annotations

from collections.abc import Iterator

from xdpsec.config.psk import SHORT, parse_secret
from xdpsec.config.values import Config
from xdpsec.daemon.credentials import Credentials, doubts
from xdpsec.daemon.ike import files, peers

#: A sentence, and its values by name.
Doubt = tuple[str, dict[str, str | int]]
EVERYTHING = "0.0.0.0/0"


def found(config: Config, read: files.Files, credentials: Credentials, local_of: peers.Route) -> Iterator[Doubt]:
    """`read`: file -> bytes of each that the configuration names."""
    for file in dict.fromkeys(ike.auth.psk_file for _, ike in config.ike_peers if ike.auth.psk_file):
        if len(parse_secret(read[file], file)) < SHORT:
            yield "shared secret is short and can be guessed", {"file": file, "fix": "openssl rand -hex 32 makes one"}
    for peer, ike in config.ike_peers:
        leaf = credentials.leaf(ike.auth)
        if leaf and (why := doubts(leaf, peers.local_identity(config, peer, ike, local_of))):
            yield "peers may refuse our certificate", {"peer": peer.name, "why": why}
    if unreachable := _unreachable(config):
        yield "revocation lists and OCSP answers cannot be fetched", unreachable
    for why, labels in _not_carried(config).items():
        fields: dict[str, str | int] = {"child": labels[0], "why": why, "children": len(labels)}
        yield "child is negotiated, but no packet goes through it", fields
    for file in credentials.unencrypted():
        yield "private key is not encrypted", {"file": file, "fix": "openssl pkcs8 -topk8 -scrypt encrypts it"}


def _unreachable(config: Config) -> dict[str, str | int]:
    """Nothing is fetched from a protected prefix (net/fetch.py): where one is everything, from nowhere. Told once."""
    whole = next((one.label for one in config.children if EVERYTHING in (*one.local, *one.remote)), "")
    for peer, ike in config.ike_peers:
        if whole and ike.auth.ca and not ike.auth.crl and ike.auth.revocation != "off":
            why = f"child {whole} protects {EVERYTHING}, and nothing is fetched from there"
            return {"peer": peer.name, "why": why, "fix": 'name lists in crl, or write revocation = "off"'}
    return {}


def _not_carried(config: Config) -> dict[str, list[str]]:
    """What keeps workers from children whatever the peer says (esp.not_carried: from what was agreed) -> labels."""
    whys: dict[str, list[str]] = {}
    for child in config.children:
        if child.negotiated and child.negotiated.ah:
            whys.setdefault("AH is not carried yet", []).append(child.label)
        elif child.negotiated and child.negotiated.mode != "tunnel":
            whys.setdefault("transport mode is not carried yet", []).append(child.label)
        elif ":" in child.local[0]:
            whys.setdefault("IPv6 is not carried yet", []).append(child.label)
    return whys


def ends(credentials: Credentials, wall: float) -> Iterator[Doubt]:
    """Of each certificate that ends within a month, or has ended."""
    for file, one in credentials.expiring(wall):
        days = int((one.ends - wall) // 86400)
        text = "certificate ends soon" if days >= 0 else "certificate has ended"
        yield text, {"file": file, "name": one.name, "days": days}
