"""The whole line of the configuration that takes what a peer offered, made from the sentence that refused it.

Of what the peer offers: what we have already before the rest, weak words last. What a configuration cannot say makes
no line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from xdpsec.config.proposals import (
    AEAD,
    AH_INTEG,
    ENCR,
    KE,
    LEGACY,
    MOST,
    NOT_FOR_IKE,
    PRF,
    PRF_OF,
    Offer,
    parse_ah,
    parse_esp,
    parse_ike,
)
from xdpsec.ike.proposals import EXTRA, IN_FULL, label
from xdpsec.numbers import Encr, Integ, Ke, Prf, TransformType

PARSERS: Mapping[str, Callable[[str], Offer]] = {"ike": parse_ike, "esp": parse_esp, "ah": parse_ah}
#: Taken only where a peer has nothing else.
WEAK = LEGACY | {"sha1", "prfsha1", "null"}
NONE = "NONE"
_ENCR = {pair: word for word, pair in ENCR.items()}
_INTEG, _PRF = ({number: word for word, number in words.items()} for words in (AH_INTEG, PRF))
_KE = {number: word for word, number in reversed(KE.items())}
_LABELS = {label(kind): kind for kind in TransformType}


def _written() -> dict[str, str]:
    """AES_GCM_16-256 -> aes256gcm16."""
    found = {f"{Encr(encr).name}-{bits}" if bits else Encr(encr).name: word for (encr, bits), word in _ENCR.items()}
    found |= {Integ(number).name: word for number, word in _INTEG.items()}
    found |= {Prf(number).name: word for number, word in _PRF.items()}
    return found | {Ke(number).name: word for number, word in _KE.items()}


_WRITTEN = _written()
_SAYABLE = frozenset(_WRITTEN.values())


def as_written(text: str) -> str:
    """The names of algorithms as a proposal has them; NONE and whatever a configuration cannot say stays."""
    return re.sub(r"\b[A-Z][A-Z0-9_]*(-\d+)?\b", lambda found: _WRITTEN.get(found[0], found[0]), text)


def word_of(offer: Offer) -> str:
    """The proposal as a configuration has it."""
    brought = offer.prf == tuple(PRF_OF.get(one) for one in offer.integ)
    words = [
        *(_ENCR[one] for one in offer.encr),
        *(_INTEG[one] for one in offer.integ),
        *(_PRF[one] for one in offer.prf if not brought),
        *(_KE[one] for one in offer.ke),
        *(f"ke{step}_{_KE.get(one, 'none')}" for step, row in enumerate(offer.extra, 1) for one in row),
    ]
    return "-".join(words if len(offer.esn) == 2 else (*words, "esn" if offer.esn[0] else "noesn"))


def line(key: str, kept: Sequence[Offer], new: str) -> str:
    """`ike = ["what was there", "what is new"]`."""
    words = dict.fromkeys((*(word_of(offer) for offer in kept[: MOST - 1]), new))
    return f"{key} = {json.dumps(list(words))}"


def is_weak(proposal: str) -> bool:
    """Whether it needs allow_legacy."""
    return not LEGACY.isdisjoint(proposal.split("-"))


def proposal(text: str, key: str, ours: Sequence[Offer]) -> str:
    """The proposal for `key` ("ike", "esp", "ah") that takes what the refusal `text` says was offered, "" when there is
    none. `ours` is what we accept; a child has its groups where the peer, in IKE_AUTH, offers none."""
    offered = _offered(text)
    known = [word for offer in ours for word in word_of(offer).split("-")]
    ciphers = _ciphers(key, offered)
    needed = [] if key == "ah" else [ciphers]
    if key == "ah" or not _aead(_best(ciphers, known)):
        needed.append(_usable(offered, TransformType.INTEG))
    if key == "ike":
        needed.append(_usable(offered, TransformType.PRF))
    words = [_best(row, known) for row in needed] + _exchanges(key, offered, known)
    groups = [_KE[one] for one in ours[-1].ke] if key != "ike" and not _usable(offered, TransformType.KE) else []
    if not all(words):
        return ""
    brought = {f"prf{word}" for word in words}
    written = "-".join((*(word for word in words if word not in brought), *groups))
    try:
        PARSERS[key](written)
    except ValueError:
        return ""
    return written


def _exchanges(key: str, offered: Mapping[int, Sequence[str]], known: Sequence[str]) -> list[str]:
    """Those that the peer demands, and the first one where it has any; "" for one that cannot be said."""
    steps = [kind for kind in EXTRA if NONE not in offered.get(kind, (NONE,))]
    if steps or key == "ike" or set(offered.get(TransformType.KE, ())) - {NONE}:
        steps.insert(0, TransformType.KE)
    words: list[str] = []
    for kind in steps:
        taken = {word.rpartition("_")[2] for word in words}  # no method serves twice (RFC 9370 sec. 2.2.2)
        group = _best([word for word in _usable(offered, kind) if word not in taken], known)
        words.append(group and (f"ke{kind - EXTRA[0] + 1}_" if kind in EXTRA else "") + group)
    return words


def _offered(text: str) -> dict[int, list[str]]:
    """Type -> words of the proposal that stands in full at the sentence's end."""
    found: dict[int, list[str]] = {}
    for part in text.partition(IN_FULL)[2].split("; "):
        kind = next((kind for name, kind in _LABELS.items() if part.startswith(f"{name} ")), None)
        if kind is not None:
            found[kind] = [_WRITTEN.get(name, name) for name in part.removeprefix(f"{label(kind)} ").split(", ")]
    return found


def _usable(offered: Mapping[int, Sequence[str]], kind: int) -> list[str]:
    return [word for word in offered.get(kind, ()) if word in _SAYABLE]


def _ciphers(key: str, offered: Mapping[int, Sequence[str]]) -> list[str]:
    """Those that fit the integrity algorithms beside them: an AEAD stands alone (RFC 7296 sec. 3.3)."""
    integrity = offered.get(TransformType.INTEG, [NONE])
    kinds = {True} if set(integrity) == {NONE} else {True, False} if NONE in integrity else {False}
    fit = [word for word in _usable(offered, TransformType.ENCR) if _aead(word) in kinds]
    return [word for word in fit if key != "ike" or ENCR[word][0] not in NOT_FOR_IKE]


def _aead(word: str) -> bool:
    return word in ENCR and ENCR[word][0] in AEAD


def _best(words: Sequence[str], known: Sequence[str]) -> str:
    """What is not weak, then what we have already in our order, then in the peer's; "" of none."""
    place = {word: number for number, word in reversed(list(enumerate(known)))}
    return min(words, key=lambda word: (word in WEAK, place.get(word, len(known))), default="")
