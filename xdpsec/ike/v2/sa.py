"""What a machine remembers: IKE SAs, their children, the state of each. Values and small slots; decides nothing.

Memory counts (some thousand bytes for an established SA): no payload, no cipher object, no finished exchange is kept.
RFC 7296 sec. 1.2, 1.3, 2.8. Secrets leave at one exit, IkeSa.forget().
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from xdpsec.crypto.exchange import KEMS
from xdpsec.crypto.sealed import Sealer
from xdpsec.crypto.suites import EspSuite, Suite
from xdpsec.errors import LocalError
from xdpsec.ike.settings import ChildSettings, Limits
from xdpsec.ike.window import Inbox, Outbox
from xdpsec.wire.fragments import Reassembly
from xdpsec.wire.payloads import Proposal, Selector

if TYPE_CHECKING:
    from xdpsec.crypto.announce import Announcement
    from xdpsec.ike.events import Path
    from xdpsec.ike.settings import IkeOffer, PeerSettings
    from xdpsec.ike.v2.flow import Ask, Task
    from xdpsec.ike.v2.followup import Expected


class State(IntEnum):
    """Of one IKE SA. The table says which exchange may run when; Machine.enter alone changes it."""

    FRESH = 0  # nothing agreed: a responder waits for IKE_SA_INIT, an initiator for its answer
    KEYED = 1  # keys, no authentication: IKE_INTERMEDIATE and IKE_AUTH
    ESTABLISHED = 2
    REKEYED = 3  # replaced by another IKE SA, which has its children; waits to be deleted
    CLOSING = 4  # our delete is under way
    DEAD = 5


class Role(IntEnum):
    """In one exchange: does the message that just came ask us, or answer us?"""

    ASKED = 0
    ANSWERED = 1


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """SK_* of RFC 7296 sec. 2.14; `ai` and `ar` are empty with an AEAD."""

    d: bytes = field(repr=False)
    ai: bytes = field(repr=False)
    ar: bytes = field(repr=False)
    ei: bytes = field(repr=False)
    er: bytes = field(repr=False)
    pi: bytes = field(repr=False)
    pr: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deal:
    """What both sides agreed about a child, before there are keys. `offer` indexes settings.offers; `ke` and `extra`
    are the groups that were chosen for its own exchange, 0 and () in IKE_AUTH."""

    settings: ChildSettings
    resource: int | None
    offer: int
    protocol: int
    suite: EspSuite
    esn: bool
    ke: int
    extra: tuple[int, ...]
    mode: str
    spi_in: int
    spi_out: int
    local: tuple[Selector, ...]
    remote: tuple[Selector, ...]


class Child:
    """A pair of child SAs that is installed: a Deal with keys. `ke`: groups of its own exchange, empty = none.

    `rekeying`, `deleting`: our exchange to replace or delete it is under way. `successor`: inbound SPI of the child
    that replaced it, 0 = none. `nonce`: the lower one of the exchange that made it, kept only while it can lose a
    simultaneous rekey (sec. 2.8.1)."""

    __slots__ = (
        *("settings", "resource", "protocol", "suite", "esn", "ke", "mode", "offer"),
        *("spi_in", "spi_out", "local", "remote", "initiator", "rekeying", "deleting", "successor", "rival_nonce"),
        *("rekey_at", "expire_at", "prove_at"),
    )

    def __init__(self, deal: Deal, initiator: bool) -> None:
        self.settings = deal.settings
        self.resource = deal.resource
        self.protocol = deal.protocol
        self.suite = deal.suite
        self.esn = deal.esn
        self.ke = (deal.ke, *deal.extra) if deal.ke else ()
        self.mode = deal.mode
        self.offer = deal.offer
        self.spi_in = deal.spi_in
        self.spi_out = deal.spi_out
        self.local = deal.local
        self.remote = deal.remote
        self.initiator = initiator
        self.rekeying = self.deleting = False
        self.successor = 0
        self.rival_nonce = b""
        self.rekey_at = self.expire_at = 0.0  # 0 = never
        self.prove_at = 0.0  # until then the peer may not have our answer that made this child; 0 = it has


class Handshake:
    """What an SA needs only until it is ESTABLISHED; dropped then. `keys` are the newest of all SK_*."""

    __slots__ = (
        *("since", "request", "response", "nonce_i", "nonce_r", "keys", "rounds", "cookie", "group", "extra", "hint"),
        *(
            "candidates",
            "accepted",
            "offers",
            "hashes",
            "methods",
            "transcript",
            "ppk",
            "childless",
            "asked_certificates",
            "asked_ocsp",
        ),
        *("intauth_i", "intauth_r", "octets", "heard_octets", "secret"),
    )

    def __init__(self, since: float) -> None:
        self.since = since
        self.request = b""  # IKE_SA_INIT as it was on the wire, for AUTH
        self.response = b""
        self.nonce_i = b""
        self.nonce_r = b""
        self.keys: IkeKeys | None = None
        self.rounds = 0  # answers that made us ask again (COOKIE, INVALID_KE_PAYLOAD)
        self.cookie = b""
        self.group = 0  # of the KE payload to send
        self.extra: tuple[int, ...] = ()  # additional key exchanges that are still to run (RFC 9370)
        self.hint: tuple[int, str] = (0, "")  # the last error that nobody authenticated
        self.candidates: tuple[PeerSettings, ...] = ()  # responder: who may come from that address
        self.accepted: Proposal | None = None  # responder: what we took, to be checked again for the peer found
        self.offers: tuple[IkeOffer, ...] = ()  # responder: the offers of ours that took it
        self.hashes: frozenset[int] = frozenset()  # SIGNATURE_HASH_ALGORITHMS of the peer
        self.methods: tuple[Announcement, ...] = ()  # SUPPORTED_AUTH_METHODS of the peer
        self.transcript = False  # both sent IKE_SA_INIT_FULL_TRANSCRIPT_AUTH
        self.ppk = False  # both sent USE_PPK
        self.childless = False  # the responder sent CHILDLESS_IKEV2_SUPPORTED
        self.asked_certificates = False  # the peer sent CERTREQ
        self.asked_ocsp = False  # and one for an OCSP response
        self.intauth_i = b""  # RFC 9242 sec. 3.3.2
        self.intauth_r = b""
        self.octets = b""  # of the last sealed message of ours, as IntAuth takes it
        self.heard_octets = b""  # of the last IKE_INTERMEDIATE request of the peer
        self.secret = b""  # of the key exchange that comes into force after our reply

    @property
    def sk(self) -> IkeKeys:
        if self.keys is None:
            raise LocalError("this handshake has no keys yet")
        return self.keys


class IkeSa:
    """One IKE SA. `initiator`: of the SA, which after a rekey is who began that. SPIs are 8 bytes.

    `inbox` has the peer's requests, `outbox` ours (window.py). `asking` is our exchange under way, from the task's
    first step until its response is dealt with; `tasks` wait for that. `children` are by inbound SPI."""

    __slots__ = (
        *("initiator", "state", "spi_i", "spi_r", "path", "suite", "ke", "extra_ke", "sk_d", "sealer", "opener"),
        *("inbox", "outbox", "fingerprint", "answered", "asking", "busy", "tasks", "children", "handshake"),
        *("reassembly", "fragments", "nat_here", "nat_there", "mobike", "intermediate", "ppk", "heard", "sent"),
        *("rekey_at", "expire_at", "nonce", "rival", "farewell", "leaving"),
        *("renewing", "expected", "aside", "reauth_at", "leave_at", "seen_as"),
    )

    def __init__(self, initiator: bool, path: Path, limits: Limits, now: float) -> None:
        self.initiator = initiator
        self.state = State.FRESH
        self.spi_i = self.spi_r = bytes(8)
        self.path = path
        self.suite: Suite | None = None
        self.ke = 0
        self.extra_ke: tuple[int, ...] = ()
        self.sk_d = b""
        self.sealer: Sealer | None = None  # what we send
        self.opener: Sealer | None = None  # what we get
        self.inbox = Inbox()
        self.outbox = Outbox(limits)
        self.fingerprint = 0  # of the request that is being worked on, or of its first fragment
        self.answered = 0  # of the one whose reply is kept: only its exact repetition gets that again
        self.asking: Ask | None = None
        self.busy = False  # a response is being worked on
        self.tasks: tuple[Task, ...] = ()
        self.children: dict[int, Child] = {}
        self.handshake: Handshake | None = None
        self.reassembly: Reassembly | None = None
        self.fragments = False  # both know RFC 7383
        self.nat_here = self.nat_there = False
        self.mobike = False
        self.intermediate = False  # both know RFC 9242, so additional key exchanges are possible
        self.ppk = False
        self.heard = now  # when the peer last proved to live
        self.sent = now  # when we last sent something
        self.rekey_at = 0.0  # 0 = never
        self.expire_at = 0.0
        self.nonce = (
            b""  # the lower one of the exchange that made it, while it can lose a simultaneous rekey (sec. 2.8.2)
        )
        self.rival: IkeSa | None = None  # made by the peer's rekey of this SA while ours is under way
        self.renewing = False  # our rekey of this SA is under way
        self.expected: Expected | None = None  # the peer's SA in the making, between CREATE_CHILD_SA and FOLLOWUP_KE
        self.aside = False  # another IKE SA has taken over; its end is not the end of the talk with the peer
        self.reauth_at = 0.0  # 0 = never
        self.leave_at = 0.0  # when another talk with the peer has taken over, 0 = none has
        self.seen_as = 0  # hash of where the peer last said that it sees us (mobike.py), 0 = not asked yet
        self.leaving: tuple[str, str, int] | None = None  # the peer ends this SA, our reply is on its way: as farewell
        self.farewell = ("deleted", "", 0)  # what IkeDown will say once this SA has been deleted: reason, text, notify

    @property
    def spi_local(self) -> bytes:
        return self.spi_i if self.initiator else self.spi_r

    @property
    def dead(self) -> bool:
        return self.state == State.DEAD

    @property
    def shake(self) -> Handshake:
        """Of an SA that is not ESTABLISHED yet."""
        if self.handshake is None:
            raise LocalError("the handshake of this IKE SA is over")
        return self.handshake

    @property
    def algorithms(self) -> Suite:
        """Of an SA that has keys."""
        if self.suite is None:
            raise LocalError("this IKE SA has no keys yet")
        return self.suite

    @property
    def encap(self) -> bool:
        """ESP goes in UDP."""
        return self.nat_here or self.nat_there

    @property
    def hybrid(self) -> bool:
        return any(group in KEMS for group in (self.ke, *self.extra_ke))

    def inherit(self, old: IkeSa) -> None:
        """What a rekey does not negotiate anew."""
        self.fragments, self.nat_here, self.nat_there = old.fragments, old.nat_here, old.nat_there
        self.mobike, self.intermediate, self.ppk = old.mobike, old.intermediate, old.ppk
        self.reauth_at, self.leave_at = old.reauth_at, old.leave_at

    def use_keys(self, suite: Suite, keys: IkeKeys) -> None:
        """From the next message on, either way."""
        self.suite = suite
        self.sk_d = keys.d
        i, r = Sealer(suite, keys.ei, keys.ai), Sealer(suite, keys.er, keys.ar)
        self.sealer, self.opener = (i, r) if self.initiator else (r, i)

    def forget(self) -> None:
        """The one exit of an IKE SA's secrets. What Python can promise is that nothing here refers to them any more."""
        self.sk_d = self.nonce = b""
        self.rival = self.expected = None
        self.sealer = self.opener = None
        self.handshake = None
        self.asking = None
        self.reassembly = None
