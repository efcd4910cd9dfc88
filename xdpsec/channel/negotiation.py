"""What the CLI may ask about peers and IKE: the operator's words beside those of operator.py, same rules, same version.

Ids from 132 and 164 on. A question about lines may be answered late: when there is one beyond those already seen.
"""

from __future__ import annotations

from dataclasses import dataclass

# --- values inside answers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A peer that negotiates. `remote` as configured, "" = any; the rest as of its newest IKE SA, empty without one.
    `children` configured, `children_up` with SAs in both directions; `age_ns` of the IKE SA. `leased`: addresses
    that we asked the peer for, with name `servers` and the `domains` that those are for."""

    name: str
    remote: str
    up: bool
    address: str
    local_id: str
    remote_id: str
    suite: str
    hybrid: bool
    ppk: bool
    initiator: bool
    children: int
    children_up: int
    age_ns: int
    leased: tuple[str, ...]
    servers: tuple[str, ...]
    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """Why something is down, or that it is up. `what` names the peer or the child, "" = what was said of them lately;
    `fix` is the line to change, or what to look at, "" = nothing to do."""

    what: str
    up: bool
    text: str
    fix: str


# --- operator -> control -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PeersQuery:
    """Answered by Peers."""


@dataclass(frozen=True, slots=True)
class BringUp:
    """Call the peer and open the child, "" = all of them. Answered by Begun."""

    peer: str
    child: str


@dataclass(frozen=True, slots=True)
class BringDown:
    """Close the IKE SAs with the peer and their children; we do not call it again by ourselves. Answered by Begun."""

    peer: str


@dataclass(frozen=True, slots=True)
class Rekey:
    """New keys for the child, "*" = for each child, "" = for the IKE SA. Answered by Begun."""

    peer: str
    child: str


@dataclass(frozen=True, slots=True)
class ExplainQuery:
    """Answered by Explanation."""

    peer: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Lines of the log beyond number `after`; `wait`: answer when there is one. Answered by Lines."""

    after: int
    wait: bool


@dataclass(frozen=True, slots=True)
class KeyLogQuery:
    """Keys of IKE and ESP made since this connection asked first, beyond row `after`: rows of Wireshark's tables, those
    of esp_sa begin with a quotation mark. Answered by Lines, when there is one.
    While the connection lasts, the gateway gives keys away."""

    after: int


# --- control -> operator -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peers:
    """`more`: another page of the same answer follows."""

    seq: int
    rows: tuple[PeerRow, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """`count` exchanges or calls were begun; `error` is empty, or says why none was."""

    seq: int
    count: int
    error: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The peer first, then its children. `error`: there is no such peer."""

    seq: int
    rows: tuple[Finding, ...]
    error: str


@dataclass(frozen=True, slots=True)
class Lines:
    """`last` is the number of the last row; log lines are JSON objects, key rows are Wireshark's."""

    seq: int
    last: int
    rows: tuple[str, ...]


Question = PeersQuery | BringUp | BringDown | Rekey | ExplainQuery | LogQuery | KeyLogQuery
Answer = Peers | Begun | Explanation | Lines

QUESTIONS: dict[int, type] = {
    132: PeersQuery,
    133: BringUp,
    134: BringDown,
    135: Rekey,
    136: ExplainQuery,
    137: LogQuery,
    138: KeyLogQuery,
}
#: id on the wire -> class, part of operator.TABLE.
TABLE: dict[int, type] = {**QUESTIONS, 164: Peers, 165: Begun, 166: Explanation, 167: Lines}
