"""What each negotiated algorithm needs: lengths of keys, salts, IVs, paddings and ICVs, for IKE and for ESP.

RFC 3602 (CBC), 3686 and 5930 (CTR), 4309 (CCM), 4106 (GCM), 4543 (GMAC), 5282 (AEAD in SK), 7634 (ChaCha20), 8750
(implicit IV), 2404, 3566, 4494, 4868 (integrity). Computes nothing with a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from xdpsec.crypto.prf import key_length
from xdpsec.errors import LocalError
from xdpsec.numbers import Encr, Integ

_AES = (128, 192, 256)


@dataclass(frozen=True, slots=True)
class EncrFacts:
    """`name` as the channel calls the cipher. Bytes: `salt` ends the key, `iv` goes on the wire, `block` is what IKE
    pads to, `icv` 0 = needs an integrity algorithm. `bits`: the lengths that may be negotiated; (0,) = the transform
    has no key length and the key has `fixed` bytes. `sk`: may seal IKE itself."""

    name: str
    bits: tuple[int, ...] = _AES
    fixed: int = 0
    salt: int = 0
    iv: int = 0
    block: int = 1
    icv: int = 0
    sk: bool = True

    def key(self, bits: int) -> int:
        """Bytes of the key with its salt."""
        return (bits // 8 or self.fixed) + self.salt


ENCRS: dict[int, EncrFacts] = {
    Encr.TRIPLE_DES: EncrFacts("3des-cbc", bits=(0,), fixed=24, iv=8, block=8),
    Encr.NULL: EncrFacts("null", bits=(0,), sk=False),
    Encr.AES_CBC: EncrFacts("aes-cbc", iv=16, block=16),
    Encr.AES_CTR: EncrFacts("aes-ctr", salt=4, iv=8),
    **{
        number: EncrFacts("aes-ccm", salt=3, iv=8, icv=icv)
        for number, icv in ((Encr.AES_CCM_8, 8), (Encr.AES_CCM_12, 12), (Encr.AES_CCM_16, 16))
    },
    **{
        number: EncrFacts("aes-gcm", salt=4, iv=8, icv=icv)
        for number, icv in ((Encr.AES_GCM_8, 8), (Encr.AES_GCM_12, 12), (Encr.AES_GCM_16, 16))
    },
    Encr.NULL_AES_GMAC: EncrFacts("aes-gmac", salt=4, iv=8, icv=16, sk=False),
    Encr.CHACHA20_POLY1305: EncrFacts("chacha20-poly1305", bits=(0,), fixed=32, salt=4, iv=8, icv=16),
    Encr.AES_CCM_8_IIV: EncrFacts("aes-ccm-iiv", salt=3, icv=8, sk=False),
    Encr.AES_GCM_16_IIV: EncrFacts("aes-gcm-iiv", salt=4, icv=16, sk=False),
    Encr.CHACHA20_POLY1305_IIV: EncrFacts("chacha20-poly1305-iiv", bits=(0,), fixed=32, salt=4, icv=16, sk=False),
}

_NO_CIPHER = EncrFacts("", bits=(0,), sk=False)  # AH


@dataclass(frozen=True, slots=True)
class IntegFacts:
    """`name` as the channel calls it; key and ICV in bytes."""

    name: str
    key: int
    icv: int


INTEGS: dict[int, IntegFacts] = {
    Integ.NONE: IntegFacts("", 0, 0),
    Integ.HMAC_SHA1_96: IntegFacts("sha1", 20, 12),
    Integ.AES_XCBC_96: IntegFacts("xcbc", 16, 12),
    Integ.AES_CMAC_96: IntegFacts("cmac", 16, 12),
    Integ.HMAC_SHA2_256_128: IntegFacts("sha256", 32, 16),
    Integ.HMAC_SHA2_384_192: IntegFacts("sha384", 48, 24),
    Integ.HMAC_SHA2_512_256: IntegFacts("sha512", 64, 32),
}


@dataclass(frozen=True, slots=True)
class Suite:
    """What an IKE SA is sealed with. Lengths in bytes: `encr_key` includes the salt that ends it, `integ_key` is 0 for
    an AEAD (no SK_a is derived then), `prf_key` is that of SK_d, SK_pi and SK_pr."""

    encr: int
    bits: int
    prf: int
    integ: int
    encr_key: int
    salt: int
    iv: int
    block: int
    icv: int
    integ_key: int
    prf_key: int
    aead: bool


@dataclass(frozen=True, slots=True)
class EspSuite:
    """What a child SA is protected with, `cipher` and `auth` as the channel's SaInstall has them. `key_len` includes
    the salt that ends the key; `auth_len` is 0 for an AEAD. Of KEYMAT a direction takes key, then auth (RFC 7296
    sec. 2.17)."""

    encr: int
    bits: int
    integ: int
    cipher: str
    auth: str
    key_len: int
    auth_len: int
    icv_len: int

    @property
    def keymat(self) -> int:
        """Bytes of KEYMAT for one direction."""
        return self.key_len + self.auth_len


@lru_cache(maxsize=1024)
def ike_suite(encr: int, bits: int, prf: int, integ: int = Integ.NONE) -> Suite:
    """The facts of a combination. LocalError when it is none: an algorithm not built in or not for IKE, a key length
    that it does not have, an AEAD with integrity or a plain cipher without."""
    cipher, auth = _pair(encr, bits, integ)
    if not cipher.sk:
        raise LocalError(f"{cipher.name} never protects IKE itself")
    if not cipher.icv and not auth.icv:
        raise LocalError(f"{cipher.name} needs an integrity algorithm beside it")
    return Suite(
        encr=encr,
        bits=bits,
        prf=prf,
        integ=integ,
        encr_key=cipher.key(bits),
        salt=cipher.salt,
        iv=cipher.iv,
        block=cipher.block,
        icv=cipher.icv or auth.icv,
        integ_key=auth.key,
        prf_key=key_length(prf),
        aead=cipher.icv > 0,
    )


@lru_cache(maxsize=1024)
def esp_suite(encr: int, bits: int, integ: int = Integ.NONE) -> EspSuite:
    """The facts of a combination for ESP, of AH with `encr` 0. LocalError as of `ike_suite`; NULL too needs integrity
    (RFC 8221 sec. 5)."""
    cipher, auth = _pair(encr, bits, integ)
    if not cipher.icv and not auth.icv:
        raise LocalError(f"{cipher.name} needs an integrity algorithm beside it")
    icv = cipher.icv or auth.icv
    return EspSuite(encr, bits, integ, cipher.name, auth.name, cipher.key(bits), auth.key, icv)


def is_aead(encr: int) -> bool:
    """True when the algorithm authenticates too, and so is proposed without integrity (RFC 5282 sec. 8)."""
    found = ENCRS.get(encr)
    return found is not None and found.icv > 0


def _pair(encr: int, bits: int, integ: int) -> tuple[EncrFacts, IntegFacts]:
    cipher, auth = ENCRS.get(encr) if encr else _NO_CIPHER, INTEGS.get(integ)
    if cipher is None:
        raise LocalError(f"encryption algorithm {encr} is not built in")
    if auth is None:
        raise LocalError(f"integrity algorithm {integ} is not built in")
    if bits not in cipher.bits:
        raise LocalError(f"{cipher.name} has no key of {bits} bits")
    if cipher.icv and auth.icv:
        raise LocalError(f"{cipher.name} authenticates itself; it takes no {auth.name} beside it")
    return cipher, auth
