"""The algorithms of algorithms.tsv: what a proposal such as aes256-sha256-x25519 asks for, in each peer's words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ENCR, PRF, INTEG, KE, ESN = 1, 2, 3, 4, 5
FILE = Path(__file__).with_name("algorithms.tsv")
#: Encryption with its own integrity (RFC 5282): no transform of type 3 beside it.
AEAD = ("ccm", "gcm", "gmac", "poly1305")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`strongswan` and `openiked`: the peer's word for it, "" when it has none."""

    word: str
    type: int
    id: int
    bits: int
    strongswan: str
    openiked: str
    use: frozenset[str]

    @property
    def aead(self) -> bool:
        return self.type == ENCR and any(part in self.word for part in AEAD)


def _read() -> dict[str, Algorithm]:
    rows = [line.split("\t") for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return {
        word: Algorithm(
            word, int(kind), int(number), int(bits), swan.strip("-"), iked.strip("-"), frozenset(use.split())
        )
        for word, kind, number, bits, swan, iked, use in rows
    }


ALGORITHMS = _read()


def parse(proposal: str) -> tuple[Algorithm, ...]:
    return tuple(ALGORITHMS[word] for word in proposal.split("-"))


def expected(proposal: str, protocol: str) -> frozenset[str]:
    """The words that both ends must have agreed on, none where nothing is configured. An IKE proposal that names no PRF
    takes that of its integrity."""
    if proposal == "default":
        return frozenset()
    found = parse(proposal)
    words = {one.word for one in found}
    if protocol == "ike" and not any(one.type == PRF for one in found):
        words |= {"prf" + one.word for one in found if one.type == INTEG}
    return frozenset(words)


def word_of(kind: int, name: str, bits: str = "0") -> str:
    """Our word for what strongSwan lists."""
    for one in ALGORITHMS.values():
        if one.type == kind and one.strongswan == name and (one.bits == int(bits or 0) or not one.bits):
            return one.word
    return f"{name}-{bits}"


def openiked(proposal: Iterable[Algorithm]) -> str:
    """As an ikesa or childsa line of iked.conf(5) has it."""
    keys = {ENCR: "enc ", PRF: "prf ", INTEG: "auth ", KE: "group ", ESN: ""}
    return " ".join(keys[one.type] + one.openiked for one in proposal)
