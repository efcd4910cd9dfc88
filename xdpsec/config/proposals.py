"""Proposals as a person writes them, in strongSwan's words ("aes256gcm16-prfsha384-x25519"), and the default ones.

A word is a transform; words of one type are alternatives in order of preference. `ke1_` to `ke7_` before a key exchange
make it an additional one (RFC 9370). Numbers are IANA's; who can do what is for those who do it (crypto).
"""

from __future__ import annotations

from dataclasses import dataclass

from xdpsec.config import hints
from xdpsec.numbers import Encr, Integ, Ke, Prf

#: Word -> (number, key length in bits; 0 = the number says it).
ENCR: dict[str, tuple[int, int]] = {
    **{f"aes{bits}": (Encr.AES_CBC, bits) for bits in (128, 192, 256)},
    **{f"aes{bits}ctr": (Encr.AES_CTR, bits) for bits in (128, 192, 256)},
    **{
        f"aes{bits}{mode}{tag}": (number, bits)
        for bits in (128, 192, 256)
        for mode, tag, number in (
            *(("gcm", 8, Encr.AES_GCM_8), ("gcm", 12, Encr.AES_GCM_12), ("gcm", 16, Encr.AES_GCM_16)),
            *(("ccm", 8, Encr.AES_CCM_8), ("ccm", 12, Encr.AES_CCM_12), ("ccm", 16, Encr.AES_CCM_16)),
        )
    },
    **{f"aes{bits}gmac": (Encr.NULL_AES_GMAC, bits) for bits in (128, 192, 256)},
    **{f"aes{bits}gcm16iiv": (Encr.AES_GCM_16_IIV, bits) for bits in (128, 192, 256)},
    **{f"aes{bits}ccm8iiv": (Encr.AES_CCM_8_IIV, bits) for bits in (128, 192, 256)},
    "chacha20poly1305": (Encr.CHACHA20_POLY1305, 0),
    "chacha20poly1305iiv": (Encr.CHACHA20_POLY1305_IIV, 0),
    "null": (Encr.NULL, 0),
    "3des": (Encr.TRIPLE_DES, 0),
}
INTEG: dict[str, int] = {
    "sha1": Integ.HMAC_SHA1_96,
    "sha256": Integ.HMAC_SHA2_256_128,
    "sha384": Integ.HMAC_SHA2_384_192,
    "sha512": Integ.HMAC_SHA2_512_256,
    "aesxcbc": Integ.AES_XCBC_96,
    "aescmac": Integ.AES_CMAC_96,
}
AH_INTEG: dict[str, int] = {
    **INTEG,
    "aes128gmac": Integ.AES_128_GMAC,
    "aes192gmac": Integ.AES_192_GMAC,
    "aes256gmac": Integ.AES_256_GMAC,
}
PRF: dict[str, int] = {
    "prfsha1": Prf.HMAC_SHA1,
    "prfsha256": Prf.HMAC_SHA2_256,
    "prfsha384": Prf.HMAC_SHA2_384,
    "prfsha512": Prf.HMAC_SHA2_512,
    "prfaesxcbc": Prf.AES128_XCBC,
    "prfaescmac": Prf.AES128_CMAC,
}
#: The PRF that an integrity algorithm brings where no PRF is written.
PRF_OF: dict[int, int] = {INTEG[name]: PRF[f"prf{name}"] for name in INTEG}
KE: dict[str, int] = {
    **{f"modp{bits}": Ke[f"MODP_{bits}"] for bits in (1024, 1536, 2048, 3072, 4096, 6144, 8192)},
    **{f"ecp{bits}": Ke[f"ECP_{bits}"] for bits in (256, 384, 521)},
    **{f"ecp{bits}bp": Ke[f"BRAINPOOL_{bits}"] for bits in (256, 384, 512)},
    "x25519": Ke.X25519,
    "curve25519": Ke.X25519,
    "x448": Ke.X448,
    "curve448": Ke.X448,
    "mlkem768": Ke.ML_KEM_768,
    "mlkem1024": Ke.ML_KEM_1024,
}
#: Need no integrity transform (RFC 5282, 5116).
AEAD = frozenset(
    (Encr.AES_CCM_8, Encr.AES_CCM_12, Encr.AES_CCM_16, Encr.AES_GCM_8, Encr.AES_GCM_12, Encr.AES_GCM_16)
) | {Encr.NULL_AES_GMAC, Encr.CHACHA20_POLY1305, Encr.AES_CCM_8_IIV, Encr.AES_GCM_16_IIV, Encr.CHACHA20_POLY1305_IIV}
#: Never for IKE's own messages (RFC 5282, 8750).
NOT_FOR_IKE = frozenset(
    (Encr.NULL, Encr.NULL_AES_GMAC, Encr.AES_CCM_8_IIV, Encr.AES_GCM_16_IIV, Encr.CHACHA20_POLY1305_IIV)
)
LEGACY = frozenset(("3des", "modp1024", "modp1536"))
WHERE = "docs/config.md, Proposals,"
MOST = 16  # proposals of one kind: a message has room for more, a person has no use for them


@dataclass(frozen=True, slots=True)
class Offer:
    """One proposal; each tuple in order of preference, IANA's numbers. `encr`: (number, key bits). `ke` empty = none.
    `extra[n]`: groups of the additional exchange n+1. `esn`: what the child may use, the better first."""

    encr: tuple[tuple[int, int], ...] = ()
    integ: tuple[int, ...] = ()
    prf: tuple[int, ...] = ()
    ke: tuple[int, ...] = ()
    extra: tuple[tuple[int, ...], ...] = ()
    esn: tuple[bool, ...] = (True, False)


def parse_ike(text: str) -> Offer:
    """ValueError with "what; how to mend it"."""
    offer = _parse(text, ENCR, INTEG, frozenset(("encr", "integ", "prf", "ke")))
    unfit = [word for word in text.split("-") if ENCR.get(word, (0, 0))[0] in NOT_FOR_IKE]
    if unfit:
        raise ValueError(f"{unfit[0]!r} cannot protect IKE itself (RFC 5282); choose one like aes256gcm16")
    prf = offer.prf or tuple(dict.fromkeys(PRF_OF[integ] for integ in offer.integ))
    if not offer.encr or not offer.ke or not prf:
        lacks = "an encryption" if not offer.encr else "a PRF" if not prf else "a key exchange"
        raise ValueError(f"{text!r} lacks {lacks}; write one like aes256gcm16-prfsha384-x25519")
    return Offer(offer.encr, _integrity(text, offer), prf, offer.ke, offer.extra)


def parse_esp(text: str) -> Offer:
    offer = _parse(text, ENCR, INTEG, frozenset(("encr", "integ", "ke", "esn")))
    if not offer.encr:
        raise ValueError(f"{text!r} lacks an encryption; write one like aes256gcm16-x25519")
    return Offer(offer.encr, _integrity(text, offer), (), offer.ke, offer.extra, offer.esn)


def parse_ah(text: str) -> Offer:
    offer = _parse(text, {}, AH_INTEG, frozenset(("integ", "ke", "esn")))
    if not offer.integ:
        raise ValueError(f"{text!r} lacks an integrity algorithm; write one like sha256-x25519")
    return offer


def _integrity(text: str, offer: Offer) -> tuple[int, ...]:
    """None with an AEAD, some with all others; one proposal cannot hold both kinds (RFC 7296 sec. 3.3.3)."""
    kinds = {number in AEAD for number, _ in offer.encr}
    if len(kinds) == 2:
        raise ValueError(f"{text!r} mixes ciphers with and without integrity of their own; write two proposals")
    if kinds == {True} and offer.integ:
        raise ValueError(f"{text!r} gives an AEAD an integrity algorithm; leave that out, or name a PRF (prfsha256)")
    if kinds == {False} and not offer.integ:
        raise ValueError(f"{text!r} lacks an integrity algorithm; add one, such as sha256")
    return offer.integ


def _parse(text: str, encr: dict[str, tuple[int, int]], integ: dict[str, int], types: frozenset[str]) -> Offer:
    found: dict[str, dict[tuple[int, int] | int | bool, None]] = {}
    extra: dict[int, dict[int, None]] = {}
    for word in text.split("-"):
        step, _, group = word.partition("_")
        if word in encr:
            found.setdefault("encr", {})[encr[word]] = None
        elif word in integ:
            found.setdefault("integ", {})[integ[word]] = None
        elif word in PRF and "prf" in types:
            found.setdefault("prf", {})[PRF[word]] = None
        elif word in KE:
            found.setdefault("ke", {})[KE[word]] = None
        elif word in ("esn", "noesn") and "esn" in types:
            found.setdefault("esn", {})[word == "esn"] = None
        elif step in _STEPS and (group in KE or group == "none"):
            extra.setdefault(_STEPS[step], {})[KE.get(group, 0)] = None
        else:
            raise ValueError(_unknown(word, _known(encr, integ, types)))
    if extra and ("ke" not in found or sorted(extra) != list(range(len(extra)))):
        raise ValueError(f"{text!r} skips a key exchange; write one without number, then ke1_, ke2_ and so on")
    return Offer(
        tuple(found.get("encr", ())),  # type: ignore[arg-type]
        tuple(found.get("integ", ())),  # type: ignore[arg-type]
        tuple(found.get("prf", ())),  # type: ignore[arg-type]
        tuple(found.get("ke", ())),  # type: ignore[arg-type]
        tuple(tuple(extra[step]) for step in sorted(extra)),
        tuple(found.get("esn", (True, False))),  # type: ignore[arg-type]
    )


_STEPS = {f"ke{number}": number - 1 for number in range(1, 8)}


def _known(encr: dict[str, tuple[int, int]], integ: dict[str, int], types: frozenset[str]) -> list[str]:
    return [*encr, *integ, *(PRF if "prf" in types else ()), *KE, *(("esn", "noesn") if "esn" in types else ())]


def _unknown(word: str, known: list[str]) -> str:
    """What is wrong with it, and the way out: it stands in the wrong place, is misspelt, or is nothing of ours."""
    if word in (*ENCR, *AH_INTEG, *PRF, "esn", "noesn"):
        return f"{word!r} has no place in a proposal of this kind; leave it out ({WHERE} says what may stand where)"
    meant = hints.meant(word, known, hints.WORDS)
    return f"{word!r} is no algorithm here; {meant or 'choose another'} ({WHERE} lists all)"


# --- what stands where nothing is written -----------------------------------------------------------------------

_AEADS = ((int(Encr.AES_GCM_16), 256), (int(Encr.CHACHA20_POLY1305), 0), (int(Encr.AES_GCM_16), 128))
_GROUPS = (int(Ke.X25519), int(Ke.ECP_256), int(Ke.ECP_384), int(Ke.MODP_3072))
_PRFS = (int(Prf.HMAC_SHA2_384), int(Prf.HMAC_SHA2_256))
_HYBRID = ((int(Ke.ML_KEM_768),),)


def default_ike(pq_required: bool) -> tuple[Offer, ...]:
    """With ML-KEM first; a peer that does not know it takes the second (RFC 9370 sec. 2.2.1: it must refuse a proposal
    with a transform type that it does not know)."""
    hybrid = Offer(_AEADS, (), _PRFS, _GROUPS[:3], _HYBRID)
    return (hybrid,) if pq_required else (hybrid, Offer(_AEADS, (), _PRFS, _GROUPS))


def default_esp(pfs: bool, pq_required: bool) -> tuple[Offer, ...]:
    """As for IKE; without PFS a rekey has no exchange of its own."""
    if not pfs:
        return (Offer(_AEADS),)
    hybrid = Offer(_AEADS, ke=_GROUPS[:3], extra=_HYBRID)
    return (hybrid,) if pq_required else (hybrid, Offer(_AEADS, ke=_GROUPS))
