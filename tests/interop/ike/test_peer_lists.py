"""What strongSwan says it can do, against the rows: nothing that both sides have may lack one."""

from __future__ import annotations

import pytest

from interop.ike.ground import ground
from interop.ike.strongswan import NamespaceCharon
from interop.ike.words import ALGORITHMS, ENCR, INTEG, KE, PRF

KINDS = {"encryption": ENCR, "aead": ENCR, "integrity": INTEG, "prf": PRF, "dh": KE}
#: What it has and we have not, by RFC 8247 and 8221: broken, obsolete, or nobody's use.
NOT_OURS = (
    *("CAMELLIA_CBC", "CAMELLIA_CTR", "CAMELLIA_CCM_8", "CAMELLIA_CCM_12", "CAMELLIA_CCM_16", "CAMELLIA_XCBC_96"),
    *("PRF_CAMELLIA128_XCBC", "CAST_CBC", "BLOWFISH_CBC", "DES_CBC", "PRF_HMAC_MD5", "HMAC_MD5_96"),
    *("MODP_768", "MODP_1024_160", "MODP_2048_224", "MODP_2048_256", "ECP_192", "ECP_224", "ECP_224_BP"),
    # no transform of IKEv2
    *("AES_ECB", "DES_ECB", "AES_CFB", "PRF_KEYED_SHA1", "MODP_CUSTOM", "HMAC_MD5_128", "HMAC_SHA1_128"),
    *("HMAC_SHA1_160", "HMAC_SHA2_256_256", "HMAC_SHA2_384_384", "HMAC_SHA2_512_512"),
)


@pytest.fixture(scope="module")
def listed() -> dict[int, set[str]]:
    with ground() as where:
        answer = NamespaceCharon(where.lab, where.right).ask("get-algorithms")[-1]
    found: dict[int, set[str]] = {}
    for name, kind in KINDS.items():
        found.setdefault(kind, set()).update(answer[name])
    return found


@pytest.mark.parametrize("kind", sorted(set(KINDS.values())))
def test_the_table_has_what_both_have(listed: dict[int, set[str]], kind: int) -> None:
    ours = {one.strongswan for one in ALGORITHMS.values() if one.type == kind}
    assert listed[kind] - set(NOT_OURS) == ours & listed[kind]
    # the userspace ESP and the kernel have these, which charon itself needs not
    assert ours - listed[kind] <= {"NULL_AES_GMAC"}


def test_the_exceptions_are_those_that_it_has(listed: dict[int, set[str]]) -> None:
    assert set(NOT_OURS) <= set().union(*listed.values())
