"""Suites: lengths as the RFCs have them, and what is no suite at all."""

from __future__ import annotations

import pytest

from xdpsec.crypto.suites import ENCRS, INTEGS, EspSuite, esp_suite, ike_suite, is_aead
from xdpsec.errors import LocalError
from xdpsec.numbers import Encr, Integ, Prf

#: encryption, bits, integrity -> cipher, auth, key with salt, integrity key, ICV.
ESP: dict[tuple[int, int, int], tuple[str, str, int, int, int]] = {
    (Encr.AES_GCM_16, 128, 0): ("aes-gcm", "", 20, 0, 16),
    (Encr.AES_GCM_12, 192, 0): ("aes-gcm", "", 28, 0, 12),
    (Encr.AES_GCM_8, 256, 0): ("aes-gcm", "", 36, 0, 8),
    (Encr.AES_CCM_8, 128, 0): ("aes-ccm", "", 19, 0, 8),
    (Encr.AES_CCM_12, 192, 0): ("aes-ccm", "", 27, 0, 12),
    (Encr.AES_CCM_16, 256, 0): ("aes-ccm", "", 35, 0, 16),
    (Encr.CHACHA20_POLY1305, 0, 0): ("chacha20-poly1305", "", 36, 0, 16),
    (Encr.AES_CBC, 128, Integ.HMAC_SHA1_96): ("aes-cbc", "sha1", 16, 20, 12),
    (Encr.AES_CBC, 192, Integ.HMAC_SHA2_256_128): ("aes-cbc", "sha256", 24, 32, 16),
    (Encr.AES_CBC, 256, Integ.HMAC_SHA2_384_192): ("aes-cbc", "sha384", 32, 48, 24),
    (Encr.AES_CTR, 128, Integ.HMAC_SHA2_512_256): ("aes-ctr", "sha512", 20, 64, 32),
    (Encr.AES_CTR, 256, Integ.AES_XCBC_96): ("aes-ctr", "xcbc", 36, 16, 12),
    (Encr.NULL, 0, Integ.AES_CMAC_96): ("null", "cmac", 0, 16, 12),
    (Encr.TRIPLE_DES, 0, Integ.HMAC_SHA1_96): ("3des-cbc", "sha1", 24, 20, 12),
    (Encr.NULL_AES_GMAC, 128, 0): ("aes-gmac", "", 20, 0, 16),
    (Encr.AES_CCM_8_IIV, 128, 0): ("aes-ccm-iiv", "", 19, 0, 8),
    (Encr.AES_GCM_16_IIV, 256, 0): ("aes-gcm-iiv", "", 36, 0, 16),
    (Encr.CHACHA20_POLY1305_IIV, 0, 0): ("chacha20-poly1305-iiv", "", 36, 0, 16),
}


@pytest.mark.parametrize("combination", ESP)
def test_esp_suites(combination: tuple[int, int, int]) -> None:
    suite = esp_suite(*combination)
    cipher, auth, key_len, auth_len, icv_len = ESP[combination]
    assert suite == EspSuite(*combination, cipher, auth, key_len, auth_len, icv_len)
    assert suite.keymat == key_len + auth_len


def test_every_algorithm_stands_in_the_table() -> None:
    assert {encr for encr, _, _ in ESP} == set(ENCRS)
    assert {integ for _, _, integ in ESP} == set(INTEGS)


def test_what_an_ike_suite_derives() -> None:
    gcm = ike_suite(Encr.AES_GCM_16, 256, Prf.HMAC_SHA2_384)
    assert (gcm.encr_key, gcm.salt, gcm.iv, gcm.block, gcm.icv, gcm.integ_key, gcm.prf_key) == (36, 4, 8, 1, 16, 0, 48)
    ctr = ike_suite(Encr.AES_CTR, 192, Prf.AES128_XCBC, Integ.AES_XCBC_96)
    assert (ctr.encr_key, ctr.salt, ctr.iv, ctr.block, ctr.icv, ctr.integ_key, ctr.prf_key) == (28, 4, 8, 1, 12, 16, 16)
    cbc = ike_suite(Encr.AES_CBC, 128, Prf.HMAC_SHA1, Integ.HMAC_SHA2_512_256)
    assert (cbc.encr_key, cbc.salt, cbc.iv, cbc.block, cbc.icv, cbc.integ_key, cbc.prf_key) == (
        16,
        0,
        16,
        16,
        32,
        64,
        20,
    )


#: Never for IKE itself (RFC 5282 sec. 10.1 allows AEADs with an explicit IV only).
NOT_FOR_IKE = (Encr.NULL, Encr.NULL_AES_GMAC, Encr.AES_CCM_8_IIV, Encr.AES_GCM_16_IIV, Encr.CHACHA20_POLY1305_IIV)


@pytest.mark.parametrize("encr", NOT_FOR_IKE)
def test_not_for_ike(encr: Encr) -> None:
    integ = Integ.NONE if is_aead(encr) else Integ.HMAC_SHA2_256_128
    with pytest.raises(LocalError, match="never protects IKE"):
        ike_suite(encr, ENCRS[encr].bits[0], Prf.HMAC_SHA2_256, integ)


#: encryption, bits, integrity, what the sentence says.
NONE_AT_ALL = (
    (Encr.AES_CBC, 128, Integ.NONE, "needs an integrity"),
    (Encr.NULL, 0, Integ.NONE, "needs an integrity"),
    (Encr.AES_GCM_16, 128, Integ.HMAC_SHA2_256_128, "authenticates itself"),
    (Encr.AES_GCM_16, 0, Integ.NONE, "no key of 0 bits"),
    (Encr.AES_CBC, 512, Integ.HMAC_SHA2_256_128, "no key of 512 bits"),
    (Encr.CHACHA20_POLY1305, 256, Integ.NONE, "no key of 256 bits"),
    (Encr.DES, 0, Integ.HMAC_SHA1_96, "not built in"),
    (Encr.AES_CBC, 128, Integ.HMAC_MD5_96, "not built in"),
)


@pytest.mark.parametrize(("encr", "bits", "integ", "text"), NONE_AT_ALL)
def test_no_suite(encr: Encr, bits: int, integ: Integ, text: str) -> None:
    with pytest.raises(LocalError, match=text):
        esp_suite(encr, bits, integ)
    with pytest.raises(LocalError):
        ike_suite(encr, bits, Prf.HMAC_SHA2_256, integ)


def test_the_prf_must_be_known_too() -> None:
    with pytest.raises(LocalError):
        ike_suite(Encr.AES_GCM_16, 128, Prf.HMAC_MD5)
