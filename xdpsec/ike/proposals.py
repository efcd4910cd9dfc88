"""Proposals: what we offer, what of a peer's offers we take, and where a refusal lies.

Every refusal is a value that names the transform type, what was offered and what we accept, so that a person can be
told which line to change. RFC 7296 sec. 2.7 and 3.3; AEAD by RFC 5282 sec. 8; additional key exchanges by RFC 9370.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Generic, TypeVar

from xdpsec import numbers
from xdpsec.crypto.suites import is_aead
from xdpsec.errors import PeerError
from xdpsec.ike.settings import Algorithm, EspOffer, IkeOffer
from xdpsec.numbers import NotifyType, Protocol
from xdpsec.numbers import TransformType as T
from xdpsec.wire.payloads import Proposal, Transform

Offer = IkeOffer | EspOffer
Offers = tuple[Offer, ...]
Made = TypeVar("Made")

#: Plain numbers: each handshake asks for them a hundred times, and an enum takes five times as long to find its member.
ENCR, PRF, INTEG, KE, ESN = map(int, (T.ENCR, T.PRF, T.INTEG, T.KE, T.ESN))
EXTRA = tuple(range(T.ADDKE1, T.ADDKE7 + 1))
KEY_EXCHANGES = frozenset({KE, *EXTRA})
#: For these a missing type says the same as the number 0: no integrity, no key exchange, no extended numbers.
OPTIONAL = frozenset({INTEG, ESN, *KEY_EXCHANGES})
Pair = tuple[int, int]  # a transform's number and key length, as in Algorithm
NAMED = 24  # algorithms of one type that a refusal spells out
TYPES = len(T)  # transform types that it speaks of, those that we know first: a peer may invent a hundred
#: What a refusal says before the peer's whole proposal: type, names; type, names; to its end.
IN_FULL = "the peer's proposal in full: "
NONE: Pair = (0, 0)
NONE_ONLY = (NONE,)
Offered = Mapping[int, Sequence[Pair]]

_REGISTRIES: dict[int, type[IntEnum]] = {
    ENCR: numbers.Encr,
    PRF: numbers.Prf,
    INTEG: numbers.Integ,
    ESN: numbers.Esn,
    **dict.fromkeys(KEY_EXCHANGES, numbers.Ke),
}


# --- what is agreed, what is not --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chosen:
    """One transform of each type. `offer` is the index among our offers, `number` the proposal's, `spi` the SPI that
    came with it. `ke` 0 = none; `extra` are the additional key exchanges in their order, without NONE. `answer` is the
    proposal to send back, with no SPI of ours in it yet."""

    offer: int
    answer: Proposal
    spi: bytes
    encr: Algorithm
    prf: int
    integ: int
    ke: int
    extra: tuple[int, ...]
    esn: bool

    @property
    def number(self) -> int:
        return self.answer.number


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where one of our offers and one proposal of the peer part: they share nothing of this transform type."""

    kind: int
    offered: tuple[Algorithm, ...]
    accepted: tuple[Algorithm, ...]

    def __str__(self) -> str:
        return f"{label(self.kind)}: the peer offers {_words(self.kind, self.offered)}; " + (
            f"we accept {_words(self.kind, self.accepted)}"
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """`offer` (index among ours) and proposal `number` are the pair that came nearest; -1 and 0 when there was nothing
    to compare. `nearest` is that proposal: what of it fits is told too, since a person must write all of it."""

    offer: int
    number: int
    mismatches: tuple[Mismatch, ...]
    nearest: Proposal | None = None

    def __str__(self) -> str:
        if self.nearest is None:
            return "the peer offers nothing for this protocol"
        rows = sorted((kind, row) for kind, row in _sorted(self.nearest).items() if kind in _REGISTRIES)
        whole = (f"{label(kind)} {_words(kind, (Algorithm(*one) for one in row))}" for kind, row in rows)
        return "; ".join((*map(str, self.mismatches), IN_FULL + "; ".join(whole)))


def label(kind: int) -> str:
    names = {1: "encryption", 2: "PRF", 3: "integrity", 4: "key exchange", 5: "extended sequence numbers"}
    if kind in names:
        return names[kind]
    return f"additional key exchange {kind - 5}" if kind in EXTRA else f"transform type {kind}"


def name(kind: int, algorithm: Algorithm) -> str:
    """As log lines have it: AES_GCM_16-256."""
    registry = _REGISTRIES.get(kind)
    word = numbers.name_of(registry, algorithm.id) if registry else str(algorithm.id)
    return f"{word}-{algorithm.bits}" if algorithm.bits else word


def _words(kind: int, algorithms: Iterable[Algorithm]) -> str:
    """All that a configuration would have; a peer that offers hundreds does not fill the log."""
    names = [name(kind, one) for one in algorithms]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join(names[:NAMED] + more) or "NONE"


# --- our offers as tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Menu:
    """One offer, or the AEAD or the other half of it: what each transform type may be, best first."""

    protocol: int
    rows: Mapping[int, tuple[Pair, ...]]

    @cached_property
    def transforms(self) -> tuple[Transform, ...]:
        return tuple(Transform(kind, *one) for kind, row in self.rows.items() for one in row)


class Memo(Generic[Made]):
    """Derives a value from settings once. Keyed by identity: settings live long, and hashing them costs more than
    deriving."""

    MOST = 4096

    def __init__(self, make: Callable[..., Made]) -> None:
        self.make = make
        self.known: dict[tuple[Hashable, ...], tuple[object, Made]] = {}

    def __call__(self, settings: object, *rest: Hashable) -> Made:
        key = (id(settings), *rest)
        found = self.known.get(key)
        if found is None or found[0] is not settings:
            if len(self.known) >= self.MOST:
                self.known.clear()
            found = self.known[key] = (settings, self.make(settings, *rest))
        return found[1]


def menus(offer: Offer) -> tuple[Menu, ...]:
    """An AEAD takes no integrity algorithm, other ciphers need one: a mixed offer becomes two (RFC 7296 sec. 3.3)."""
    protocol = offer.protocol if isinstance(offer, EspOffer) else Protocol.IKE
    if protocol == Protocol.AH:
        return (Menu(protocol, _rows(offer, (), True)),)
    found = []
    for aead in (True, False):
        encr = tuple(one for one in offer.encr if is_aead(one.id) == aead)
        if encr:
            found.append((offer.encr.index(encr[0]), Menu(protocol, _rows(offer, encr, not aead))))
    return tuple(menu for _, menu in sorted(found, key=lambda pair: pair[0]))


def _menus_of(offers: Offers) -> tuple[tuple[int, Menu], ...]:
    return tuple((index, menu) for index, offer in enumerate(offers) for menu in menus(offer))


_every = Memo(_menus_of)


def _rows(offer: Offer, encr: tuple[Algorithm, ...], integrity: bool) -> dict[int, tuple[Pair, ...]]:
    rows: dict[int, tuple[Pair, ...]] = {}
    if encr:
        rows[ENCR] = tuple((one.id, one.bits) for one in encr)
    if isinstance(offer, IkeOffer):
        rows[PRF] = _plain(offer.prf)
    if integrity:
        rows[INTEG] = _plain(one for one in offer.integ if one)
    if offer.ke:
        rows[KE] = _plain(offer.ke)
    if isinstance(offer, EspOffer):
        rows[ESN] = _plain(map(int, offer.esn))
    return rows | {kind: _plain(row) for kind, row in zip(EXTRA, offer.extra, strict=False)}


def _plain(ids: Iterable[int]) -> tuple[Pair, ...]:
    return tuple((one, 0) for one in ids)


def without_ke(offer: EspOffer) -> EspOffer:
    """For IKE_AUTH, which carries no key exchange (RFC 7296 sec. 1.2)."""
    return replace(offer, ke=(), extra=())


def optional_ke(offer: EspOffer) -> EspOffer:
    """PFS preferred: our groups, or none."""
    return replace(
        offer,
        ke=(*(one for one in offer.ke if one), 0) if offer.ke else (),
        extra=tuple((*(one for one in groups if one), 0) for groups in offer.extra),
    )


def _for_exchange(offers: Sequence[EspOffer], pfs: str, ike_auth: bool) -> tuple[EspOffer, ...]:
    if ike_auth or pfs == "off":
        return tuple(map(without_ke, offers))
    return tuple(map(optional_ke, offers)) if pfs == "prefer" else tuple(offers)


_made = Memo(_for_exchange)


def for_exchange(offers: tuple[EspOffer, ...], pfs: str, ike_auth: bool = False) -> tuple[EspOffer, ...]:
    """A child's offers as this exchange may make or take them; `pfs` "required", "prefer" or "off"."""
    return _made(offers, pfs, ike_auth)


# --- offering ---------------------------------------------------------------------------------------------------


def build(offers: Offers, spi: bytes = b"") -> tuple[Proposal, ...]:
    """Our offers as proposals, numbered from 1 (RFC 7296 sec. 3.3.1)."""
    return tuple(
        Proposal(number, menu.protocol, spi, menu.transforms) for number, (_, menu) in enumerate(_every(offers), 1)
    )


def groups(offers: Offers) -> tuple[int, ...]:
    """Every group that may stand in the KE payload, best first."""
    return tuple(dict.fromkeys(group for offer in offers for group in offer.ke if group))


# --- choosing ---------------------------------------------------------------------------------------------------


def choose(offers: Offers, proposals: Sequence[Proposal], group: int = 0, extra: bool = True) -> Chosen | Refused:
    """The first of our offers that a proposal satisfies, each type by our preference; `group` is that of the peer's KE
    payload, which wins among groups that both know since it saves a round trip. `extra` False: the peer cannot do
    additional key exchanges now (no RFC 9242)."""
    tables = [(proposal, _sorted(proposal)) for proposal in proposals]
    nearest: tuple[int, Menu, Proposal, Offered, list[int]] | None = None
    for index, menu in _every(offers):
        for proposal, offered in tables:
            if proposal.protocol != menu.protocol:
                continue
            picked, missed = _match(menu, offered, group, extra)
            if not missed:
                return _chosen(index, proposal, picked)
            if nearest is None or len(missed) < len(nearest[-1]):
                nearest = index, menu, proposal, offered, missed
    return _refused(*nearest) if nearest else Refused(-1, 0, ())


def _refused(index: int, menu: Menu, proposal: Proposal, offered: Offered, missed: Sequence[int]) -> Refused:
    parted = tuple(_mismatch(menu, offered, kind) for kind in missed[:TYPES])
    return Refused(index, proposal.number, parted, proposal)


def _sorted(proposal: Proposal) -> Offered:
    """The proposal's transforms by type, those with attributes that nobody knows left out (RFC 7296 sec. 3.3.6)."""
    offered: dict[int, list[Pair]] = {}
    before, row = -1, []
    for kind, number, bits, others in proposal.transforms:
        if kind != before:
            before, row = kind, offered.setdefault(kind, [])
        if not others:
            row.append((number, bits))
    return offered


def _match(menu: Menu, offered: Offered, group: int, extra: bool) -> tuple[dict[int, Pair], list[int]]:
    """One transform of each type that the peer names, and the types that keep us apart."""
    picked: dict[int, Pair] = {}
    missed: list[int] = []
    used: set[Pair] = set()
    for kind in sorted(offered.keys() | menu.rows.keys()):
        absent = NONE_ONLY if kind in OPTIONAL else ()
        theirs, ours = offered.get(kind, absent), menu.rows.get(kind, absent)
        both = [one for one in ours if one in theirs]
        if kind in KEY_EXCHANGES:
            if kind == KE and (group, 0) in both:
                both = [(group, 0)]
            elif kind != KE and not extra:
                both = [one for one in both if one == NONE]
            if used:
                both = [one for one in both if one not in used]  # RFC 9370 sec. 2.2.2: no method serves twice
            if both and both[0] != NONE:
                used.add(both[0])
        if not both:
            missed.append(kind)
        elif kind in offered:
            picked[kind] = both[0]
    return picked, missed


def _mismatch(menu: Menu, offered: Offered, kind: int) -> Mismatch:
    theirs, ours = offered.get(kind, ()), menu.rows.get(kind, ())
    return Mismatch(kind, tuple(Algorithm(*one) for one in theirs), tuple(Algorithm(*one) for one in ours))


def _chosen(index: int, proposal: Proposal, picked: Mapping[int, Pair]) -> Chosen:
    transforms = tuple([Transform(kind, number, bits) for kind, (number, bits) in picked.items()])
    number_of = {kind: number for kind, (number, _) in picked.items()}.get
    return Chosen(
        offer=index,
        answer=Proposal(proposal.number, proposal.protocol, b"", transforms),
        spi=proposal.spi,
        encr=Algorithm(*picked.get(ENCR, NONE)),
        prf=number_of(PRF, 0),
        integ=number_of(INTEG, 0),
        ke=number_of(KE, 0),
        extra=tuple([number for kind, (number, _) in picked.items() if kind in EXTRA and number]),
        esn=number_of(ESN, 0) != 0,
    )


def check_answer(offers: Offers, proposals: Sequence[Proposal]) -> Chosen:
    """What the responder took of our offers, PeerError when that is none of them (RFC 7296 sec. 2.7): exactly one
    proposal, with the number of one of ours and one transform of each type, from it."""
    if len(proposals) != 1:
        raise PeerError(f"the peer accepts {len(proposals)} proposals, not one", NotifyType.NO_PROPOSAL_CHOSEN)
    answer = proposals[0]
    every = _every(offers)
    if not 1 <= answer.number <= len(every):
        raise PeerError(
            f"the peer accepts proposal {answer.number}, which we did not make", NotifyType.NO_PROPOSAL_CHOSEN
        )
    kinds = [transform.type for transform in answer.transforms]
    if len(set(kinds)) != len(kinds):
        raise PeerError("the peer accepts two transforms of one type", NotifyType.NO_PROPOSAL_CHOSEN)
    index, menu = every[answer.number - 1]
    offered = _sorted(answer)
    picked, missed = _match(menu, offered, 0, True)
    if answer.protocol != menu.protocol or missed:
        text = "; ".join(str(_mismatch(menu, offered, kind)) for kind in missed[:TYPES]) or "another protocol"
        raise PeerError(f"the peer accepts what we did not offer: {text}", NotifyType.NO_PROPOSAL_CHOSEN)
    return _chosen(index, answer, picked)
