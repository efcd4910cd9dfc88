"""The configuration after every check, as frozen values: nothing left to default, to parse or to doubt.

Prefixes and addresses are text in canonical form. No keys stand here, only the names of their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from xdpsec.config.lines import Path, line_of
from xdpsec.config.suites import Suite
from xdpsec.config.values_ike import Ike, Negotiated

ANY_PORT = (0, 65535)


@dataclass(frozen=True, slots=True)
class Gateway:
    """`cores[w]` is the core of worker w. `spin_us` microseconds, `hold_frames` frames of a child, `replay_window`
    packets. `engine` "auto", "ipsec-mb" or "openssl"; `xdp` "auto", "native" or "generic"; `user` the account of
    control and workers."""

    outside: tuple[str, ...]
    inside: tuple[str, ...]
    cores: tuple[int, ...]
    burst: int
    rx_ring: int
    spin_us: int
    hold_frames: int
    engine: str
    xdp: str
    replay_window: int
    allow_manual_counter_modes: bool
    allow_legacy: bool
    user: str
    run_dir: str
    state_dir: str
    metrics_host: str
    metrics_port: int

    @property
    def workers(self) -> int:
        return len(self.cores)


@dataclass(frozen=True, slots=True)
class Manual:
    """Two SAs with given keys. `encap` is (local, remote) UDP port or None (RFC 3948)."""

    spi_in: int
    spi_out: int
    suite: Suite
    key_file: str
    esn: bool
    encap: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Child:
    """What one pair of SAs protects. `index` counts children over all peers in the order of the file; `protocol` 0
    and ports (0, 65535) mean any. Either `manual` or `negotiated` is there."""

    index: int
    peer: str
    name: str
    local: tuple[str, ...]
    remote: tuple[str, ...]
    protocol: int
    local_ports: tuple[int, int]
    remote_ports: tuple[int, int]
    manual: Manual | None = None
    negotiated: Negotiated | None = None

    @property
    def label(self) -> str:
        return f"{self.peer}/{self.name}"

    @property
    def stands(self) -> bool:
        """It is to be up all the time, not when a packet or the peer asks for it."""
        return self.negotiated is None or self.negotiated.start == "on-start"


@dataclass(frozen=True, slots=True)
class Peer:
    """`remote` is the peer's outer address, empty = any; `local` ours, empty = the one that the route to the peer has.
    `ike`: its children are negotiated; None: they are manual."""

    name: str
    remote: str
    local: str
    children: tuple[Child, ...]
    ike: Ike | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """`lines`: where the keys of the file stand, for those who find something wrong later."""

    file: str
    gateway: Gateway
    peers: tuple[Peer, ...]
    lines: Mapping[Path, int] = field(default_factory=dict, repr=False, compare=False, hash=False)
    #: of all peers, in the order of the file; made once, since thousands of them are asked for again and again
    children: tuple[Child, ...] = field(init=False, repr=False, compare=False)
    ike_peers: tuple[tuple[Peer, Ike], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "children", tuple(child for peer in self.peers for child in peer.children))
        object.__setattr__(self, "ike_peers", tuple((peer, peer.ike) for peer in self.peers if peer.ike))

    def line(self, path: Path) -> int:
        return line_of(self.lines, path)

    @property
    def manual(self) -> tuple[tuple[Child, Manual], ...]:
        """Children with given keys."""
        return tuple((child, child.manual) for child in self.children if child.manual)
