"""What the machines tell the host: one frozen dataclass each, drained with next_event() after every other verb.

`ike` is the machine's number: given by the gate, never used again, the same over rekeys of the IKE SA. Events with a
`ticket` are questions: the host gives answer(ike, ticket, result, now) once; the class says what the result is.
Secrets stand in fields that repr does not show. Knows no payload and no daemon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from xdpsec.crypto.suites import EspSuite
from xdpsec.ike.settings import Identity
from xdpsec.wire.payloads import Selector

# --- values -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Path:
    """Outer addresses (canonical text, v4 or v6) and UDP ports between which messages run, seen from here."""

    local: str
    local_port: int
    remote: str
    remote_port: int


class Job(Protocol):
    """Work that may hold the interpreter for more than 2 ms (crypto/jobs.py); frozen and picklable."""

    @property
    def slow(self) -> bool: ...

    def run(self) -> object: ...


@dataclass(frozen=True, slots=True)
class DirectionKeys:
    """KEYMAT of one direction (RFC 7296 sec. 2.17): `key` ends with the salt of an AEAD or counter mode (RFC 4106)."""

    key: bytes = field(repr=False)
    auth: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NegotiatedChild:
    """A pair of SAs, both directions ready to install. `protocol` 3 ESP, 2 AH; `ke` the groups of its own exchange,
    empty = none. Selectors as negotiated (selectors.py makes prefixes and words of them). `encap` = inside UDP between
    the ports of `path`. `initiator`: we began the exchange that made it. `replaces`: inbound SPI of the SA that this
    one rekeys, 0 = none. `resource`: the worker index of RFC 9611, None = any."""

    peer: str
    name: str
    index: int
    resource: int | None
    protocol: int
    spi_in: int
    spi_out: int
    suite: EspSuite
    esn: bool
    ke: tuple[int, ...]
    mode: str
    keys_in: DirectionKeys = field(repr=False)
    keys_out: DirectionKeys = field(repr=False)
    local: tuple[Selector, ...]
    remote: tuple[Selector, ...]
    encap: bool
    path: Path
    initiator: bool
    replaces: int = 0


# --- the life of an IKE SA ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IkeUp:
    """The peer is authenticated. `suite` names the algorithms for people; `hybrid`: ML-KEM took part."""

    ike: int
    peer: str
    path: Path
    local_id: Identity
    remote_id: Identity
    initiator: bool
    suite: str
    hybrid: bool
    ppk: bool
    seconds: float  # from the first message to now


@dataclass(frozen=True, slots=True)
class IkeRekeyed:
    ike: int
    peer: str
    suite: str
    hybrid: bool


@dataclass(frozen=True, slots=True)
class IkeDown:
    """The machine is gone; its children were retired before this. `reason` is a label of a closed set (machine.py):
    "deleted", "closed", "timeout", "authentication", "proposal", "replaced", "expired", "refused", "fault"; `text` a
    sentence. `peer` "" = never known; `remote` is where it was. `notify` the error that the peer gave or got, 0 =
    none."""

    ike: int
    peer: str
    initiator: bool
    established: bool
    reason: str
    text: str
    notify: int = 0
    remote: str = ""


@dataclass(frozen=True, slots=True)
class PathChanged:
    """Messages run between other addresses or ports; children follow (SaMove). `encap`: their ESP goes in UDP now."""

    ike: int
    path: Path
    encap: bool


# --- children -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstallInbound:
    """Install both directions of the child, the outbound SA unused. Answer: "" when the worker acknowledged, else a
    sentence. After an error, or no answer in time, the machine refuses the child and RetireChild follows."""

    ike: int
    ticket: int
    child: NegotiatedChild


@dataclass(frozen=True, slots=True)
class UseOutbound:
    """Send on this SA from now on. A responder says it for a child that replaces none, or when the peer deletes the
    old one; for a rekey the host switches earlier, on the first packet that opens on `spi_in`."""

    ike: int
    spi_in: int
    spi_out: int
    index: int


@dataclass(frozen=True, slots=True)
class RetireChild:
    """Remove both directions. `reason`: "rekeyed", "deleted", "closed", "failed", "down"."""

    ike: int
    spi_in: int
    spi_out: int
    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """A wanted child is not there; the IKE SA stays. `notify` as refused by us or the peer, 0 = a local cause."""

    ike: int
    peer: str
    name: str
    index: int
    resource: int | None
    notify: int
    text: str


@dataclass(frozen=True, slots=True)
class AddressLeased:
    """The configuration payload gave us these addresses (initiator): prefixes as text, servers, domains."""

    ike: int
    addresses: tuple[str, ...]
    dns: tuple[str, ...]
    domains: tuple[str, ...]


# --- questions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WorkWanted:
    """Run the job in the helper process. Answer: what run() returned, or the exception that it raised."""

    ike: int
    ticket: int
    job: Job


@dataclass(frozen=True, slots=True)
class FetchWanted:
    """Get these URLs for revocation and put them where Trust looks. Answer: anything; the machine asks Trust again."""

    ike: int
    ticket: int
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FreshWanted:
    """Did a packet open on any of these inbound SPIs lately? Answer: seconds since the last, or None for never."""

    ike: int
    ticket: int
    spis: tuple[int, ...]


# --- words for people ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Note:
    """One log line. `level` "debug", "info", "warning", "error"; `event` a sentence without values; `fields` pairs.
    `stranger`: anyone can cause it, so the host limits its rate per `event`."""

    ike: int
    level: str
    event: str
    fields: tuple[tuple[str, str | int], ...] = ()
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of ours ended the machine, if there was one: nothing of it is left, IkeDown was said before this.
    `stranger`: nobody had authenticated."""

    ike: int
    peer: str
    error: Exception
    stranger: bool


@dataclass(frozen=True, slots=True)
class Counted:
    """One more for a counter; `label` "" = the counter has none. metrics/ike.py names them all."""

    ike: int
    name: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class KeyLog:
    """A row of Wireshark's ikev2_decryption_table, without newline. Only if Host.keylog."""

    ike: int
    row: str = field(repr=False)


Event = (
    IkeUp
    | IkeRekeyed
    | IkeDown
    | PathChanged
    | InstallInbound
    | UseOutbound
    | RetireChild
    | ChildFailed
    | AddressLeased
    | WorkWanted
    | FetchWanted
    | FreshWanted
    | Note
    | Fault
    | Counted
    | KeyLog
)
