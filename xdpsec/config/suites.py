"""ESP suites as a person writes them, with the lengths that their key files must keep.

Sources: RFC 4106 sec. 4 and 8.1 (GCM, salt after the key), RFC 3602 (CBC), RFC 2404 and 4868 (HMAC keys and
ICVs).
"""

from __future__ import annotations

from dataclasses import dataclass

GCM_SALT = 4


@dataclass(frozen=True, slots=True)
class Suite:
    """`cipher` and `auth` as the channel's SaInstall names them. Lengths in bytes; `key_len` includes an AEAD's salt;
    `auth_len` is 0 for an AEAD. `counter`: the nonce is the sequence number (RFC 8221 sec. 3)."""

    name: str
    cipher: str
    auth: str
    key_len: int
    auth_len: int
    icv_len: int

    @property
    def counter(self) -> bool:
        return self.cipher == "aes-gcm"


def _gcm(bits: int) -> Suite:
    return Suite(f"aes{bits}gcm16", "aes-gcm", "", bits // 8 + GCM_SALT, 0, 16)


def _cbc(bits: int, auth: str, auth_len: int, icv_len: int) -> Suite:
    return Suite(f"aes{bits}-{auth}", "aes-cbc", auth, bits // 8, auth_len, icv_len)


_HMACS = (("sha1", 20, 12), ("sha256", 32, 16), ("sha384", 48, 24), ("sha512", 64, 32))

#: Name in the configuration -> suite.
SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (*map(_gcm, (128, 256)), *(_cbc(bits, *hmac) for bits in (128, 256) for hmac in _HMACS))
}
