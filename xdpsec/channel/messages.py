"""The words our processes say to each other: one frozen dataclass each, one id table.

Closed vocabularies: control <-> worker, the smaller one of what control may ask of the supervisor, and the operator's
(operator.py). Values are plain (int, str, bytes, bool, tuples and other messages' values); framing.py turns them into
msgpack. Anything that is not in the table is our own bug and crashes loudly (house rule 7). Knows no socket and no C.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdpsec.channel import operator

# --- values inside messages ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Selector:
    """A traffic selector pair, seen from this gateway. Prefixes are text ("10.1.0.0/16"); protocol 0 means any;
    port ranges are inclusive, 0-65535 means any (RFC 4301 sec. 4.4.1.1)."""

    local: str
    remote: str
    protocol: int = 0
    local_ports: tuple[int, int] = (0, 65535)
    remote_ports: tuple[int, int] = (0, 65535)


@dataclass(frozen=True, slots=True)
class Policy:
    """One row of the SPD. `owner` is the worker that has the child's outbound SA."""

    selector: Selector
    child: int
    owner: int


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the workers' FIB; `via` is empty when the prefix is connected."""

    prefix: str
    via: str
    port: int


# --- control -> worker --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SaInstall:
    """One SA for one direction (RFC 4301 sec. 4.4.2). Keys are raw bytes; `key` ends with the salt of GCM, GMAC, CCM
    and ChaCha20-Poly1305, with the nonce of CTR. Window in packets, MTU in bytes; encap ports 0 = no UDP encapsulation.
    Limits count what the slot has counted, bytes of inner packets; 0 = none: a soft one is told once by SaSoft, a hard
    one stops the SA (Exhausted, then counted drops), by packets exactly when outbound, else at the end of the burst
    that reaches it. Answered by Ack."""

    spi: int
    outbound: bool
    child: int
    slot: int
    cipher: str  # aes-gcm, aes-gmac, aes-ccm, aes-ctr, aes-cbc, chacha20-poly1305, null, 3des-cbc
    auth: str  # "" (with an AEAD), "sha1", "sha256", "sha384", "sha512", "xcbc", "cmac"
    key: bytes = field(repr=False)
    auth_key: bytes = field(repr=False)
    icv_len: int
    esn: bool
    replay_window: int
    local: str
    remote: str
    encap_local: int
    encap_remote: int
    path_mtu: int
    selectors: tuple[Selector, ...]
    engine: str = "auto"  # "auto", "ipsec-mb", "openssl"
    copy_dscp: bool = True
    dscp: int = 0
    df: str = "copy"  # "copy", "set", "clear"
    soft_bytes: int = 0
    soft_packets: int = 0
    hard_bytes: int = 0
    hard_packets: int = 0
    tell_use: bool = False  # inbound: say SaFirstUse when the first packet opened
    any_encap: bool = False  # inbound: with and without UDP, as negotiated SAs must (RFC 7296 sec. 2.23)


@dataclass(frozen=True, slots=True)
class SaRemove:
    """Forget the SA in `slot` and wipe its keys. Answered by Ack. Not named by its SPI: two peers may have chosen the
    same for what we send."""

    slot: int


@dataclass(frozen=True, slots=True)
class SaUse:
    """Outbound traffic of `child` takes the SA in `slot` from the next burst on. Answered by Ack."""

    child: int
    slot: int


@dataclass(frozen=True, slots=True)
class SaMove:
    """The SA in `slot` runs between other outer addresses and UDP ports from the next burst on (RFC 4555, RFC 7296
    sec. 2.23); ports 0 = no UDP encapsulation. Numbers, keys and window stay. Answered by Ack."""

    slot: int
    local: str
    remote: str
    encap_local: int
    encap_remote: int


@dataclass(frozen=True, slots=True)
class SeqGrant:
    """Numbers below `mark` of the SA in `slot` may be used (outbound) or accepted (inbound)."""

    slot: int
    mark: int


@dataclass(frozen=True, slots=True)
class PathMtu:
    """Outer path MTU of `child` in bytes."""

    child: int
    mtu: int


@dataclass(frozen=True, slots=True)
class PolicyReplace:
    """The whole SPD, in order of priority. Answered by Ack."""

    rows: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class PolicyFirst:
    """The rows of `child` come before all others from now on, in place of those that it had; without selectors it has
    none. Answered by Ack."""

    child: int
    owner: int
    selectors: tuple[Selector, ...]


@dataclass(frozen=True, slots=True)
class RouteReplace:
    """The whole FIB. Answered by Ack."""

    rows: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class NextHop:
    """The link-layer address of `addr` on `port`; mac empty = gone. vlan -1 = untagged."""

    port: int
    addr: str
    mac: bytes
    vlan: int = -1


@dataclass(frozen=True, slots=True)
class Go:
    """End of the snapshot: take frames from the rings from now on. Answered by Ack."""


@dataclass(frozen=True, slots=True)
class SaQuery:
    """Which engine serves each SA? Answered by SaEngines."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what is in hand, wipe the keys, exit 0."""


# --- worker -> control --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has its descriptors and waits for its snapshot."""

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Answer to the message that carried `seq`; `error` is empty on success, else one sentence."""

    seq: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class GrantWanted:
    """Half of the granted block of the SA in `slot` is used. `number` is of the packet that found out; an inbound one
    that opened may lie far beyond the block (its sender rebooted)."""

    slot: int
    number: int


@dataclass(frozen=True, slots=True)
class ResolveWanted:
    """A packet waits for the link-layer address of `addr` on `port`."""

    port: int
    addr: str


@dataclass(frozen=True, slots=True)
class Acquire:
    """A packet of `child` waits for an SA."""

    child: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """The SA in `slot` stopped: sequence numbers used up, or a hard limit reached."""

    slot: int


@dataclass(frozen=True, slots=True)
class SaFirstUse:
    """The inbound SA in `slot` opened its first packet: the peer uses it. Said once, where SaInstall asked for it."""

    slot: int


@dataclass(frozen=True, slots=True)
class SaSoft:
    """The SA in `slot` reached a soft limit. Said once."""

    slot: int


@dataclass(frozen=True, slots=True)
class SaElsewhere:
    """The newest packet that the inbound SA in `slot` opened came in UDP from another address or port than the peer is
    known to have. Said each second while it lasts, of negotiated SAs (RFC 7296 sec. 2.23)."""

    slot: int
    remote: str
    port: int


@dataclass(frozen=True, slots=True)
class SaEngines:
    """Answer to the SaQuery that carried `seq`: rows of (slot, engine name)."""

    seq: int
    rows: tuple[tuple[int, str], ...]


# --- control -> supervisor (each is validated against the configuration, answered by Done or descriptors) ----


@dataclass(frozen=True, slots=True)
class AttachPort:
    """Attach XDP to the configured interface and open its sockets. Answered by PortAttached."""

    port: int


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A datagram socket for IKE on every address of a family: `address` "0.0.0.0" or "::", `port` 500 or 4500.
    Answered by Done with its descriptor."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class OpenKeyFile:
    """A key file named in the configuration, and its marker file beside it. Owner and mode are checked.
    Answered by Done with two descriptors: key file (read) and marker (read, write)."""

    path: str


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Files of peers named in the configuration: secrets and private keys (owner and mode are checked), certificates,
    revocation lists; no more than a packet carries (SCM_MAX_FD). Answered by Done with their descriptors (read), of all
    or of none."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenPassphrase:
    """The passphrase of a private key that the configuration names, as the supervisor got it at its start. Answered by
    Done with the descriptor of a file in memory."""

    key: str


@dataclass(frozen=True, slots=True)
class MakeTun:
    """A multi-queue TUN device."""

    name: str
    queues: int


@dataclass(frozen=True, slots=True)
class SetRoute:
    """Add or remove a route that the configuration calls for."""

    prefix: str
    via: str
    interface: str
    remove: bool = False


@dataclass(frozen=True, slots=True)
class SetNeighbour:
    """Let the kernel resolve `addr` on `port` and keep it fresh (NTF_EXT_MANAGED, else NTF_USE)."""

    port: int
    addr: str


@dataclass(frozen=True, slots=True)
class SetFence:
    """Protect (local, remote) prefix pairs by the nft fence; pairs are only ever added. `spare` are peers' outer
    addresses. open=True removes the fence."""

    pairs: tuple[tuple[str, str], ...]
    spare: tuple[str, ...]
    open: bool = False


@dataclass(frozen=True, slots=True)
class SpawnWorker:
    """Start (or replace) worker `worker`. Answered by Done with control's end of its channel, then the worker's
    sockets by port and queue (for XDP_STATISTICS)."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerServes:
    """Worker `worker` has its snapshot: let XDP redirect to its sockets. Answered by Done."""

    worker: int


# --- supervisor -> control -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortAttached:
    """XDP is attached: mode is "native" or "generic"; bind is "zero-copy" or "copy" per the first queue."""

    seq: int
    port: int
    ifindex: int
    mac: bytes
    mtu: int
    queues: int
    mode: str
    bind: str


@dataclass(frozen=True, slots=True)
class Done:
    """Answer to `seq`; `error` is empty on success, else one sentence for a person."""

    seq: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """Worker `worker` exited; its XSKMAP slots are already cleared."""

    worker: int
    status: int


@dataclass(frozen=True, slots=True)
class Breach:
    """The fence (`port` -1) or the door of a port was found gone, `times` since the supervisor started. `error` is
    empty when it stands again, else why it cannot be put back. Said at each change, and to a new control."""

    port: int
    times: int
    error: str


Message = (
    SaInstall | SaRemove | SaUse | SeqGrant | PathMtu | PolicyReplace | RouteReplace | NextHop | Go | SaQuery | Stop
    | SaMove | SaFirstUse | SaSoft | SaElsewhere | Ready | Ack | GrantWanted | ResolveWanted | Acquire | Exhausted
    | SaEngines | PolicyFirst
    | AttachPort | OpenSocket | OpenKeyFile | MakeTun | SetRoute | SetNeighbour | SetFence | SpawnWorker | WorkerServes
    | OpenFiles | OpenPassphrase
    | PortAttached | Done | WorkerDied | Breach | operator.Question | operator.Answer
)  # fmt: skip

#: id on the wire -> class. Ids are never reused; a new word takes the next free one of its block.
TABLE: dict[int, type] = {
    1: SaInstall,
    2: SaRemove,
    3: SaUse,
    4: SeqGrant,
    5: PathMtu,
    6: PolicyReplace,
    7: RouteReplace,
    8: NextHop,
    9: Go,
    10: SaQuery,
    11: Stop,
    12: SaMove,
    13: PolicyFirst,
    32: Ready,
    33: Ack,
    34: GrantWanted,
    35: ResolveWanted,
    36: Acquire,
    37: Exhausted,
    38: SaEngines,
    39: SaFirstUse,
    40: SaSoft,
    41: SaElsewhere,
    64: AttachPort,
    65: OpenSocket,
    66: OpenKeyFile,
    67: MakeTun,
    68: SetRoute,
    69: SetNeighbour,
    70: SetFence,
    71: SpawnWorker,
    72: WorkerServes,
    74: OpenPassphrase,
    75: OpenFiles,
    96: PortAttached,
    97: Done,
    98: WorkerDied,
    99: Breach,
    **operator.TABLE,
}
