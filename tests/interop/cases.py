"""The rows of the interop table: SAs with manual keys between side A (ours) and side B (the peer), one pair a row.

A case says suite, ESN, encapsulation and the first sequence number of both directions. Here it becomes `ip xfrm` lines,
as ip-xfrm(8) has them, or our key file and child table, as the operator's guide has them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from xdpsec.config.suites import SUITES, Suite

NATT = 4500
#: So few numbers before 2^32 that the pings of a case cross it.
EDGE = (1 << 32) - 6
#: Linux needs no more than what is reordered on a cable.
WINDOW = 128


@dataclass(frozen=True, slots=True)
class Side:
    """One gateway: `outer` is its address on the wan."""

    outer: str
    second: int

    def prefix(self, case: Case) -> str:
        return f"10.{self.second}.{case.number}.0/24"

    def address(self, case: Case) -> str:
        """The host's, in the prefix."""
        return f"10.{self.second}.{case.number}.10"

    @property
    def all(self) -> str:
        return f"10.{self.second}.0.0/16"


A, B = Side("10.60.0.1", 61), Side("10.60.0.2", 62)


@dataclass(frozen=True, slots=True)
class Case:
    """One pair of SAs with keys of its own; `first` is the number that the first packet of each direction takes."""

    number: int
    name: str
    suite_name: str
    esn: bool = True
    udp: bool = False
    first: int = 1
    keys: dict[str, tuple[bytes, bytes]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def suite(self) -> Suite:
        return SUITES[self.suite_name]

    def key(self, receiver: Side) -> tuple[bytes, bytes]:
        """Encryption (an AEAD's salt at its end) and integrity key of the SA towards `receiver`."""
        if receiver.outer not in self.keys:
            self.keys[receiver.outer] = (
                secrets.token_bytes(self.suite.key_len),
                secrets.token_bytes(self.suite.auth_len),
            )
        return self.keys[receiver.outer]

    def spi(self, receiver: Side) -> int:
        return 0x1000 * (receiver.second - 60) + self.number


def table() -> list[Case]:
    """Every row, with fresh keys."""
    rows = (
        ("AES-GCM-128, ESN", "aes128gcm16", True, False, 1),
        ("AES-CBC-256 HMAC-SHA2-256, ESN", "aes256-sha256", True, False, 1),
        ("AES-GCM-128, ESN, across 2^32", "aes128gcm16", True, False, EDGE),
        ("AES-CBC-256 HMAC-SHA2-256, ESN, across 2^32", "aes256-sha256", True, False, EDGE),
        ("AES-CBC-256 HMAC-SHA2-256, ESN, in UDP 4500", "aes256-sha256", True, True, 1),
        ("AES-GCM-128, ESN, in UDP 4500", "aes128gcm16", True, True, 1),
        ("AES-GCM-256, 32-bit numbers", "aes256gcm16", False, False, 1),
        ("AES-CBC-128 HMAC-SHA1-96, 32-bit numbers", "aes128-sha1", False, False, 1),
        ("AES-CBC-128 HMAC-SHA2-384-192, ESN", "aes128-sha384", True, False, 1),
        ("AES-CBC-256 HMAC-SHA2-512-256, ESN", "aes256-sha512", True, False, 1),
        ("AES-GMAC-128, ESN, across 2^32", "aes128gmac", True, False, EDGE),
        ("AES-GMAC-256, 32-bit numbers, in UDP 4500", "aes256gmac", False, True, 1),
    )
    return [Case(number, *row) for number, row in enumerate(rows, start=1)]


# --- for Linux -----------------------------------------------------------------------------------------------


def xfrm(case: Case, here: Side, there: Side) -> list[str]:
    """`ip` lines for both SAs and the policies of `here`."""
    mine, theirs = here.prefix(case), there.prefix(case)
    template = f"proto esp reqid {case.number} mode tunnel"
    out = f"tmpl src {here.outer} dst {there.outer} {template}"
    back = f"tmpl src {there.outer} dst {here.outer} {template}"
    return [
        _state(case, here, there, f"replay-oseq {case.first - 1:#x}"),
        _state(case, there, here, f"replay-seq {case.first - 1:#x}"),
        f"xfrm policy add src {mine} dst {theirs} dir out {out}",
        f"xfrm policy add src {theirs} dst {mine} dir in {back}",
        f"xfrm policy add src {theirs} dst {mine} dir fwd {back}",
    ]


def _state(case: Case, source: Side, receiver: Side, numbers: str) -> str:
    encryption, integrity = (key.hex() for key in case.key(receiver))
    if case.suite.counter:
        name = "rfc4543(gcm(aes))" if case.suite.cipher == "aes-gmac" else "rfc4106(gcm(aes))"
        algorithms = f"aead {name} 0x{encryption} {case.suite.icv_len * 8}"
    else:
        hash_name = f"hmac({case.suite.auth})"
        algorithms = f"enc cbc(aes) 0x{encryption} auth-trunc {hash_name} 0x{integrity} {case.suite.icv_len * 8}"
    flags = f"flag esn replay-window {WINDOW}" if case.esn else "replay-window 32"
    encap = f" encap espinudp {NATT} {NATT} 0.0.0.0" if case.udp else ""
    identity = f"src {source.outer} dst {receiver.outer} proto esp spi {case.spi(receiver):#x}"
    return f"xfrm state add {identity} reqid {case.number} mode tunnel {flags} {numbers} {algorithms}{encap}"


# --- for us --------------------------------------------------------------------------------------------------


def write_keys(case: Case, path: Path, here: Side, there: Side) -> None:
    """The key file of `here`, root's alone."""
    lines = []
    for name, receiver in (("inbound", here), ("outbound", there)):
        encryption, integrity = (key.hex() for key in case.key(receiver))
        rest = f', integrity = "{integrity}"' if integrity else ""
        lines.append(f'{name} = {{ encryption = "{encryption}"{rest} }}\n')
    path.write_text("".join(lines))
    path.chmod(0o600)


def child_table(case: Case, peer: str, keys: Path, here: Side, there: Side) -> str:
    """[peers.PEER.children.caseN] of our configuration file."""
    encap = f", encap = [{NATT}, {NATT}]" if case.udp else ""
    manual = (
        f'spi_in = {case.spi(here):#x}, spi_out = {case.spi(there):#x}, esp = "{case.suite_name}", '
        f'key_file = "{keys}", esn = {str(case.esn).lower()}{encap}'
    )
    return (
        f"[peers.{peer}.children.case{case.number}]\n"
        f'local = ["{here.prefix(case)}"]\nremote = ["{there.prefix(case)}"]\nmanual = {{ {manual} }}\n'
    )


def split(key: bytes) -> tuple[bytes, bytes]:
    """The key of AES-GCM and its salt (RFC 4106 sec. 8.1)."""
    return key[:-4], key[-4:]
