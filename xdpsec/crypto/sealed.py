"""What seals the SK and SKF payloads of one direction: IV, ciphertext and ICV over bytes that others lay out.

RFC 7296 sec. 3.14 (cipher and integrity), RFC 5282 (AEAD), RFC 5930 (CTR). Cipher objects live for one call: at
thousands of SAs their contexts would be most of the memory. Knows no header and no message number.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from xdpsec.crypto.prf import cmac_mac, hmac_function, xcbc_mac
from xdpsec.crypto.suites import Suite
from xdpsec.errors import LocalError, PeerError
from xdpsec.numbers import Encr, Integ, NotifyType

_GCM_TAG = 16  # the only one that AESGCM knows
_COUNTER_LAST = (1 << 64) - 1

_MACS: dict[int, Callable[[bytes, bytes], bytes]] = {
    Integ.HMAC_SHA1_96: hmac_function("sha1"),
    Integ.AES_XCBC_96: xcbc_mac,
    Integ.AES_CMAC_96: cmac_mac,
    Integ.HMAC_SHA2_256_128: hmac_function("sha256"),
    Integ.HMAC_SHA2_384_192: hmac_function("sha384"),
    Integ.HMAC_SHA2_512_256: hmac_function("sha512"),
}


class Sealer:
    """The keys of one direction of an IKE SA: ours seals, the peer's opens. A body is IV | ciphertext | ICV; `aad` is
    all that stands before it, from the IKE header to the SK (SKF) payload's own header."""

    __slots__ = ("_auth_key", "_key", "_salt", "_sent", "suite")

    def __init__(self, suite: Suite, encryption: bytes, integrity: bytes) -> None:
        if len(encryption) != suite.encr_key or len(integrity) != suite.integ_key:
            raise LocalError("keys of another length than the suite's")
        end = suite.encr_key - suite.salt
        self.suite = suite
        self._key, self._salt, self._auth_key = encryption[:end], encryption[end:], integrity
        self._sent = 0

    def __repr__(self) -> str:
        return f"Sealer({self.suite!r})"

    def length(self, plaintext: int) -> int:
        """Bytes of the body around that many bytes of payloads."""
        suite = self.suite
        return suite.iv + -(-(plaintext + 1) // suite.block) * suite.block + suite.icv

    def seal(self, aad: bytes, plaintext: bytes, random: Callable[[int], bytes]) -> bytes:
        """The body around `plaintext`, which is padded here. `random` makes the IVs of block ciphers; a counter those
        of the others, so that none comes twice: nobody may copy a Sealer and go on with both."""
        suite = self.suite
        pad = -(len(plaintext) + 1) % suite.block
        padded = plaintext + bytes(pad) + bytes([pad])
        if suite.block > 1:
            iv = random(suite.iv)
        else:
            if self._sent == _COUNTER_LAST:
                raise LocalError("this key has sealed all it may")
            self._sent += 1
            iv = self._sent.to_bytes(suite.iv, "big")
        if suite.aead:
            return iv + self._aead_seal(iv, padded, aad)
        encryptor = self._cipher(iv).encryptor()
        body = iv + encryptor.update(padded) + encryptor.finalize()
        return body + self._mac(aad + body)

    def open(self, aad: bytes, body: bytes) -> bytes:
        """The payloads in `body`. PeerError, to be met with silence (notify 0), when it is not authentic; with
        INVALID_SYNTAX when it is, and its padding is nonsense."""
        suite = self.suite
        if len(body) < suite.iv + suite.block + suite.icv:
            raise PeerError("the sealed part is shorter than its IV, padding and checksum")
        iv, sealed = body[: suite.iv], body[suite.iv :]
        if suite.aead:
            try:
                padded = self._aead_open(iv, sealed, aad)
            except InvalidTag:
                raise _forged() from None
        else:
            icv = body[-suite.icv :]
            if not hmac.compare_digest(self._mac(aad + body[: -suite.icv]), icv):
                raise _forged()
            ciphertext = sealed[: -suite.icv]
            if len(ciphertext) % suite.block:
                raise PeerError("the ciphertext is no whole number of blocks", NotifyType.INVALID_SYNTAX)
            decryptor = self._cipher(iv).decryptor()
            padded = decryptor.update(ciphertext) + decryptor.finalize()
        pad = padded[-1] + 1
        if pad > len(padded):
            raise PeerError("the padding is longer than the sealed part", NotifyType.INVALID_SYNTAX)
        return padded[:-pad]

    def _mac(self, data: bytes) -> bytes:
        return _MACS[self.suite.integ](self._auth_key, data)[: self.suite.icv]

    def _cipher(self, iv: bytes) -> Cipher[modes.CBC] | Cipher[modes.CTR]:
        if self.suite.encr == Encr.AES_CTR:
            counter = (1).to_bytes(4, "big")  # RFC 3686 sec. 4
            return Cipher(algorithms.AES(self._key), modes.CTR(self._salt + iv + counter))
        algorithm: CipherAlgorithm = (
            TripleDES(self._key) if self.suite.encr == Encr.TRIPLE_DES else algorithms.AES(self._key)
        )
        return Cipher(algorithm, modes.CBC(iv))

    def _short_gcm(self, iv: bytes, tag: bytes | None) -> Cipher[modes.GCM]:
        return Cipher(algorithms.AES(self._key), modes.GCM(self._salt + iv, tag, min_tag_length=self.suite.icv))

    def _whole_aead(self) -> AESGCM | AESCCM | ChaCha20Poly1305:
        suite = self.suite
        if suite.encr == Encr.AES_GCM_16:
            return AESGCM(self._key)
        if suite.encr == Encr.CHACHA20_POLY1305:
            return ChaCha20Poly1305(self._key)
        return AESCCM(self._key, tag_length=suite.icv)

    def _aead_seal(self, iv: bytes, padded: bytes, aad: bytes) -> bytes:
        if self.suite.encr in (Encr.AES_GCM_8, Encr.AES_GCM_12):
            encryptor = self._short_gcm(iv, None).encryptor()
            encryptor.authenticate_additional_data(aad)
            sealed = encryptor.update(padded) + encryptor.finalize()
            return sealed + encryptor.tag[: self.suite.icv]
        return self._whole_aead().encrypt(self._salt + iv, padded, aad)

    def _aead_open(self, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
        icv = self.suite.icv
        if self.suite.encr in (Encr.AES_GCM_8, Encr.AES_GCM_12):
            decryptor = self._short_gcm(iv, sealed[-icv:]).decryptor()
            decryptor.authenticate_additional_data(aad)
            return decryptor.update(sealed[:-icv]) + decryptor.finalize()
        return self._whole_aead().decrypt(self._salt + iv, sealed, aad)


def _forged() -> PeerError:
    return PeerError("the message is not authentic: its checksum does not match")
