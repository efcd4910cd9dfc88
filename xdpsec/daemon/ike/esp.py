"""A child as negotiated -> its two SAs as workers take them, or why none takes it yet. Values in, values out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from itertools import product

from xdpsec.channel.messages import Selector
from xdpsec.config import proposals
from xdpsec.config.keys import SaKey
from xdpsec.config.suites import SUITES, Suite
from xdpsec.config.values import Child, Gateway
from xdpsec.ike.events import DirectionKeys, NegotiatedChild
from xdpsec.numbers import Protocol
from xdpsec.policy.sa import Sa
from xdpsec.policy.spd import selectors

MAX_SELECTORS = 16  # XS_SELECTORS_MAX

_ENCR = {transform: word for word, transform in reversed(proposals.ENCR.items())}
_KE = {number: word for word, number in reversed(proposals.KE.items())}
_INTEG = {number: word for word, number in proposals.AH_INTEG.items()}


def suite_name(child: NegotiatedChild) -> str:
    """In the words of the configuration, such as aes256gcm16 or aes128-sha256."""
    words = [_ENCR.get((child.suite.encr, child.suite.bits), ""), _INTEG.get(child.suite.integ, "")]
    return "-".join(word for word in words if word)


def pfs_name(ke: Iterable[int]) -> str:
    """The key exchanges that it had of its own, such as x25519-mlkem768; "none" = its keys come from the IKE SA's."""
    return "-".join(_KE.get(number, str(number)) for number in ke) or "none"


def not_carried(child: NegotiatedChild) -> str:
    """Why no worker takes it: empty, or a few words."""
    if child.protocol != Protocol.ESP:
        return "AH is not carried yet"
    name = suite_name(child)
    if name not in SUITES:
        return f"{name} is not carried yet"
    if child.mode != "tunnel":
        return "transport mode is not carried yet"
    if ":" in child.path.remote:
        return "ESP over IPv6 is not carried yet"
    if not rows(child):
        return "IPv6 is not carried yet"
    return ""


def carried(addresses: Iterable[str]) -> tuple[str, ...]:
    """Outer addresses between which ESP can run."""
    return tuple(one for one in addresses if ":" not in one)


def rows(child: NegotiatedChild) -> tuple[Selector, ...]:
    """Each pair of a local and a remote prefix of IPv4; of more than MAX_SELECTORS that many and one: a range from one
    odd address to another is dozens of prefixes, and two sets of them thousands of pairs."""
    found: dict[Selector, None] = {}
    for here, there in product(child.local, child.remote):
        for local, remote in product(_prefixes(here.first, here.last), _prefixes(there.first, there.last)):
            ports = (here.first_port, here.last_port), (there.first_port, there.last_port)
            found[Selector(local, remote, here.protocol or there.protocol, *ports)] = None
            if len(found) > MAX_SELECTORS:
                return tuple(found)
    return tuple(found)


def narrowed(child: NegotiatedChild, configured: Child) -> bool:
    """Less than the configuration has for it (RFC 7296 sec. 2.9), or the same in other pieces."""
    whole = {row for row in selectors(configured) if ":" not in row.local + row.remote}
    return set(rows(child)) != whole


@lru_cache(maxsize=256)
def _prefixes(first: bytes, last: bytes) -> tuple[str, ...]:
    """A range of IPv4 as prefixes; none of IPv6. Asked for several times with each child."""
    if len(first) != 4:
        return ()
    low, high = int.from_bytes(first, "big"), int.from_bytes(last, "big")
    return tuple(map(str, ipaddress.summarize_address_range(ipaddress.IPv4Address(low), ipaddress.IPv4Address(high))))


Limits = tuple[int, int]


def pair(
    child: NegotiatedChild,
    gateway: Gateway,
    label: str,
    number: int | None = None,
    soft: Limits = (0, 0),
    hard: Limits = (0, 0),
) -> tuple[Sa, Sa]:
    """Inbound and outbound. `number`: a guest's (guests.py); limits in bytes and packets."""
    facts = child.suite
    suite = Suite(suite_name(child), facts.cipher, facts.auth, facts.key_len, facts.auth_len, facts.icv_len)
    matches = rows(child)
    path = child.path
    encap = (path.local_port, path.remote_port) if child.encap else (0, 0)

    def sa(outbound: bool, spi: int, keys: DirectionKeys) -> Sa:
        return Sa(
            child=child.index,
            label=label,
            outbound=outbound,
            spi=spi,
            suite=suite,
            key=SaKey(keys.key, keys.auth),
            key_file="",
            esn=child.esn,
            replay_window=gateway.replay_window,
            local=path.local,
            remote=path.remote,
            encap=encap,
            selectors=matches,
            engine=gateway.engine,
            soft=soft,
            hard=hard,
            number=number,
        )

    return sa(False, child.spi_in, child.keys_in), sa(True, child.spi_out, child.keys_out)


# --- for Wireshark ---------------------------------------------------------------------------------------------------

_CIPHERS = {
    "aes-cbc": "AES-CBC [RFC3602]",
    "aes-ctr": "AES-CTR [RFC3686]",
    "aes-gcm": "AES-GCM with {} octet ICV [RFC4106]",
    "aes-ccm": "AES-CCM with {} octet ICV [RFC4309]",
    "chacha20-poly1305": "ChaCha20 with Poly1305 [RFC7634]",
    "null": "NULL",
    "3des-cbc": "TripleDES-CBC [RFC2451]",
}
_AUTHS = {
    "": "NULL",
    "sha1": "HMAC-SHA-1-96 [RFC2404]",
    "sha256": "HMAC-SHA-256-128 [RFC4868]",
    "sha384": "HMAC-SHA-384-192 [RFC4868]",
    "sha512": "HMAC-SHA-512-256 [RFC4868]",
}
_ANY_96 = "ANY 96 bit authentication [no checking]"


def key_row(sa: Sa) -> str:
    """A row of Wireshark's table esp_sa: family, addresses, SPI, cipher, key (with its salt), auth, its key. Empty for
    GMAC: Wireshark has no word for it, and one unknown word costs it the whole table."""
    if sa.suite.cipher not in _CIPHERS:
        return ""
    sender, receiver = (sa.local, sa.remote) if sa.outbound else (sa.remote, sa.local)
    cipher = _CIPHERS[sa.suite.cipher].format(sa.suite.icv_len)
    keys = [f"0x{key.hex()}" if key else "" for key in (sa.key.encryption, sa.key.integrity)]
    suite = (cipher, keys[0], _AUTHS.get(sa.suite.auth, _ANY_96), keys[1])
    family = "IPv6" if ":" in sa.remote else "IPv4"
    return ",".join(f'"{word}"' for word in (family, sender, receiver, f"0x{sa.spi:08x}", *suite))
