"""A row of Wireshark's ikev2_decryption_table for each generation of keys, to read a capture by. Off by default.

The names are Wireshark's own (epan/dissectors/packet-isakmp.c); it knows no ChaCha20-Poly1305, which gets no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdpsec.crypto.suites import Suite
from xdpsec.ike.events import KeyLog
from xdpsec.ike.v2.sa import IkeKeys, IkeSa
from xdpsec.numbers import Encr, Integ

if TYPE_CHECKING:
    from xdpsec.ike.v2.machine import Machine

_ENCR = {
    Encr.TRIPLE_DES: "3DES [RFC2451]",
    Encr.AES_CBC: "AES-CBC-{} [RFC3602]",
    Encr.AES_CTR: "AES-CTR-{} [RFC5930]",
    Encr.AES_CCM_8: "AES-CCM-{} with 8 octet ICV [RFC5282]",
    Encr.AES_CCM_12: "AES-CCM-{} with 12 octet ICV [RFC5282]",
    Encr.AES_CCM_16: "AES-CCM-{} with 16 octet ICV [RFC5282]",
    Encr.AES_GCM_8: "AES-GCM-{} with 8 octet ICV [RFC5282]",
    Encr.AES_GCM_12: "AES-GCM-{} with 12 octet ICV [RFC5282]",
    Encr.AES_GCM_16: "AES-GCM-{} with 16 octet ICV [RFC5282]",
}
_INTEG = {
    Integ.NONE: "NONE [RFC4306]",
    Integ.HMAC_SHA1_96: "HMAC_SHA1_96 [RFC2404]",
    Integ.HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    Integ.HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    Integ.HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}
_ANY_96 = "ANY 96-bits of Authentication [No Checking]"


def row(spi_i: bytes, spi_r: bytes, suite: Suite, keys: IkeKeys) -> str:
    """The row without newline, empty when Wireshark does not know the cipher."""
    cipher = _ENCR.get(Encr(suite.encr))
    if cipher is None:
        return ""
    parts = (spi_i.hex(), spi_r.hex(), keys.ei.hex(), keys.er.hex(), f'"{cipher.format(suite.bits)}"')
    auth = _INTEG.get(Integ(suite.integ))
    if auth is None:  # one that it cannot check: it wants no keys then, or it drops the whole table
        return ",".join((*parts, "", "", f'"{_ANY_96}"'))
    return ",".join((*parts, keys.ai.hex(), keys.ar.hex(), f'"{auth}"'))


def log(m: Machine, sa: IkeSa, suite: Suite, keys: IkeKeys) -> None:
    """New keys for this SA: say so to who asked for it."""
    if m.host.keylog and (text := row(sa.spi_i, sa.spi_r, suite, keys)):
        m.emit(KeyLog(m.number, text))
