"""ESP suites of manual SAs as a person writes them, with the lengths that their key files must keep.

Sources: RFC 4106 sec. 4 and 8.1 (GCM, salt after the key), RFC 4543 (GMAC, alike), RFC 4309 (CCM), RFC 7634
(ChaCha20-Poly1305), RFC 3686 (CTR, nonce after the key), RFC 3602 (CBC), RFC 2451 (3DES), RFC 2410 (NULL); RFC 2404,
4868, 3566 and 4494 (MAC keys, ICVs).
"""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes behind the key that are no key: a salt, or CTR's nonce.
_SALTS = {"aes-gcm": 4, "aes-gmac": 4, "aes-ccm": 3, "aes-ctr": 4, "chacha20-poly1305": 4}


@dataclass(frozen=True, slots=True)
class Suite:
    """`cipher` and `auth` as the channel's SaInstall names them. Lengths in bytes; `key_len` includes the salt and is 0
    where nothing is encrypted; `auth_len` is 0 for an AEAD."""

    name: str
    cipher: str
    auth: str
    key_len: int
    auth_len: int
    icv_len: int

    @property
    def salt_len(self) -> int:
        return _SALTS.get(self.cipher, 0)

    @property
    def counter(self) -> bool:
        """The nonce is the sequence number (RFC 8221 sec. 3)."""
        return self.cipher in _SALTS

    @property
    def legacy(self) -> bool:
        """Weak, for old peers only: blocks of 64 bits (RFC 8221 sec. 5)."""
        return self.cipher == "3des-cbc"


def _aead(name: str, cipher: str, bits: int, icv_len: int) -> Suite:
    return Suite(name, cipher, "", bits // 8 + _SALTS[cipher], 0, icv_len)


def _with_mac(name: str, cipher: str, bits: int, mac: tuple[str, str, int, int]) -> Suite:
    written, auth, auth_len, icv_len = mac
    return Suite(f"{name}-{written}", cipher, auth, bits // 8 + _SALTS.get(cipher, 0), auth_len, icv_len)


_SIZES, _ICVS = (128, 192, 256), (8, 12, 16)
_MACS = (
    ("sha1", "sha1", 20, 12),
    ("sha256", "sha256", 32, 16),
    ("sha384", "sha384", 48, 24),
    ("sha512", "sha512", 64, 32),
    ("aesxcbc", "xcbc", 16, 12),
    ("aescmac", "cmac", 16, 12),
)

#: Name in the configuration -> suite.
SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        *(_aead(f"aes{bits}gcm{icv}", "aes-gcm", bits, icv) for bits in _SIZES for icv in _ICVS),
        *(_aead(f"aes{bits}ccm{icv}", "aes-ccm", bits, icv) for bits in _SIZES for icv in _ICVS),
        *(_aead(f"aes{bits}gmac", "aes-gmac", bits, 16) for bits in _SIZES),
        _aead("chacha20poly1305", "chacha20-poly1305", 256, 16),
        *(_with_mac(f"aes{bits}", "aes-cbc", bits, mac) for bits in _SIZES for mac in _MACS),
        *(_with_mac(f"aes{bits}ctr", "aes-ctr", bits, mac) for bits in _SIZES for mac in _MACS),
        *(_with_mac("null", "null", 0, mac) for mac in _MACS),
        *(_with_mac("3des", "3des-cbc", 192, mac) for mac in _MACS),
    )
}
