"""What the station's peers offer, in IANA's numbers: one suite, and all that strongSwan does by itself."""

from __future__ import annotations

from typing import Any

from xdpsec.numbers import Encr, Integ, Ke, Prf

Offer = dict[str, Any]
ALL = (128, 192, 256)

#: The suite that every row negotiates.
NARROW: list[Offer] = [
    {"encr": [[Encr.AES_GCM_16, 256]], "prf": [Prf.HMAC_SHA2_256], "ke": [Ke.X25519]},
]
SLOW: list[Offer] = [
    {"encr": [[Encr.AES_GCM_16, 256]], "prf": [Prf.HMAC_SHA2_256], "ke": [Ke.MODP_8192]},
]
CHILD: list[Offer] = [{"encr": [[Encr.AES_GCM_16, 256]], "esn": [1, 0]}]

_PRFS = [
    *(Prf.HMAC_SHA2_256, Prf.HMAC_SHA2_384, Prf.HMAC_SHA2_512),
    *(Prf.AES128_XCBC, Prf.AES128_CMAC, Prf.HMAC_SHA1),
]
_KES = [
    *(Ke.X25519, Ke.X448, Ke.ECP_256, Ke.ECP_384, Ke.ECP_521),
    *(Ke.BRAINPOOL_256, Ke.BRAINPOOL_384, Ke.BRAINPOOL_512),
    *(Ke.MODP_3072, Ke.MODP_4096, Ke.MODP_6144, Ke.MODP_8192, Ke.MODP_2048),
]
#: The proposals of strongSwan 5.9.8 without `proposals` in its configuration, as Debian's plugins make them: read from
#: one of its requests. 85 transforms; the AEADs come second.
WIDE: list[Offer] = [
    {
        "encr": [
            *([number, bits] for number in (Encr.AES_CBC, Encr.AES_CTR) for bits in ALL),
            *([number, bits] for number in (Encr.CAMELLIA_CBC, Encr.CAMELLIA_CTR) for bits in ALL),
            [Encr.TRIPLE_DES, 0],
        ],
        "integ": [
            *(Integ.HMAC_SHA2_256_128, Integ.HMAC_SHA2_384_192, Integ.HMAC_SHA2_512_256),
            *(Integ.HMAC_SHA1_96, Integ.AES_CMAC_96, Integ.AES_XCBC_96),
        ],
        "prf": _PRFS,
        "ke": _KES,
    },
    {
        "encr": [
            *([number, bits] for number in (Encr.AES_GCM_16, Encr.AES_CCM_16) for bits in ALL),
            [Encr.CHACHA20_POLY1305, 0],
            *(
                [number, bits]
                for number in (
                    *(Encr.CAMELLIA_CCM_16, Encr.AES_GCM_12, Encr.AES_GCM_8, Encr.AES_CCM_12, Encr.AES_CCM_8),
                    *(Encr.CAMELLIA_CCM_8, Encr.CAMELLIA_CCM_12),
                )
                for bits in ALL
            ),
        ],
        "prf": _PRFS,
        "ke": _KES,
    },
]
