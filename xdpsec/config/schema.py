"""What a configuration file may say: one pydantic model per table, every key with its type, range and default.

Shapes only; what two places of the file must not say together is in checks.py. Docstrings become docs/config.md.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from xdpsec.config import hints
from xdpsec.config.defaults import RUN_DIR
from xdpsec.config.kinds import Address, FilePath, Interface, Name, Port, Prefix, Remote, Spi, Table, UdpPort
from xdpsec.config.schema_ike import IkeChildPart, IkePart
from xdpsec.config.suites import SUITES
from xdpsec.numbers import PORT_MAX, WITH_PORTS, IpProtocol

MAX_PORTS = 8  # XS_MAX_PORTS of bpf/shared.h
MAX_WORKERS = 32  # XS_MAX_WORKERS
MAX_CORES = 4096
MAX_WINDOW = 4096  # XS_WINDOW_DEFAULT: what a slot of sa_state has room for
MAX_SELECTORS = 16  # XS_SELECTORS_MAX: rows of one SA


def _suite(text: str) -> str:
    if text not in SUITES:
        meant = hints.meant(text, SUITES, {}) or "aes256-sha256 suits most"
        raise ValueError(f"{text!r} is no suite here; {meant} (docs/config.md, Suites, lists all)")
    return text


Core = Annotated[int, Field(ge=0, lt=MAX_CORES)]
Interfaces = Annotated[list[Interface], Field(min_length=1, max_length=MAX_PORTS)]


class GatewayTable(Table):
    """The two sides and the machine."""

    outside: Interfaces
    """Interfaces on the ESP side. Eight at most, both sides together."""
    inside: Interfaces
    """Interfaces on the cleartext side."""
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] | list[Core] | Literal["auto"] = "auto"
    """How many workers, or the core of each, or "auto": every core but one, which is for the control process."""
    burst: Annotated[int, Field(ge=1, le=256)] = 64
    """Most frames that a worker takes from a ring at once."""
    rx_ring: Literal[1024, 2048, 4096, 8192, 16384, 32768] = 4096
    """Frames that a receive ring holds for a worker that lost its core: 4096 are 4 ms at a million a second. Deeper
    ones ride out longer waits, as on virtual machines, and cost memory: 32768 some 140 MiB for each queue with one
    worker, 70 MiB more with each further one."""
    spin_us: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Microseconds that an idle worker goes on looking before it sleeps."""
    hold_frames: Annotated[int, Field(ge=1, le=1024)] = 64
    """Frames of one child that wait in a worker for an SA, three seconds at most; 1024 of all children together."""
    engine: Literal["auto", "ipsec-mb", "openssl"] = "auto"
    """The crypto library. "auto": intel-ipsec-mb where it passes its known answers, else OpenSSL. What one lacks
    (AES-XCBC, AES-CCM with 192 bits) the other serves; `xdpsec list-sas` says which."""
    xdp: Literal["auto", "native", "generic"] = "auto"
    """How XDP is attached. "auto": native, else generic; `xdpsec status` says which."""
    replay_window: Annotated[int, Field(ge=64, le=MAX_WINDOW, multiple_of=64)] = MAX_WINDOW
    """Packets that may arrive late and still be taken (RFC 4303 sec. 3.4.3)."""
    allow_manual_counter_modes: bool = False
    """Lets manual SAs use counter modes such as AES-GCM, which RFC 8221 sec. 3 forbids; see the warning in guide.md."""
    allow_legacy: bool = False
    """Lets proposals and manual SAs name what is weak: 3des, modp1024, modp1536."""
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "xdpsec"
    """Account of the control process and the workers. It must exist, and not be root."""
    run_dir: FilePath = RUN_DIR
    """Directory in tmpfs: sequence state of this boot, control socket, lock. One per gateway."""
    state_dir: FilePath = "/var/lib/xdpsec"
    """Directory on disk: sequence state that survives a reboot; the account's, mode 0700. One per gateway."""
    metrics: str = "127.0.0.1:9310"
    """Address and port where Prometheus reads."""

    @field_validator("workers", mode="before")
    @classmethod
    def _workers(cls, value: Any) -> Any:
        """One sentence for the three forms, where a union would complain three times."""
        if value == "auto":
            return value
        if type(value) is int and 1 <= value <= MAX_WORKERS:
            return value
        named = value if type(value) is list else []
        if 1 <= len(named) <= MAX_WORKERS and all(type(core) is int and 0 <= core < MAX_CORES for core in named):
            return value
        raise ValueError(f'not a number of workers; write 1 to {MAX_WORKERS}, a list of as many cores, or "auto"')

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, text: str) -> str:
        split_endpoint(text)
        return text


class ManualTable(Table):
    """Two SAs with keys that you made: two SPIs, a suite and the file of keys."""

    spi_in: Spi
    """SPI of the SA that we receive on; the peer's `spi_out`."""
    spi_out: Spi
    """SPI of the SA that we send on; the peer's `spi_in`."""
    esp: Annotated[str, AfterValidator(_suite)] = "aes256-sha256"
    """The suite, one of the list below."""
    key_file: FilePath
    """File with the keys, root's alone (mode 0600). No two children may share one."""
    esn: bool = True
    """Extended sequence numbers (RFC 4304). Both ends must say the same."""
    encap: Annotated[list[UdpPort], Field(min_length=2, max_length=2)] | None = None
    """UDP encapsulation (RFC 3948): [local port, remote port]; without it, plain ESP."""


class ChildTable(IkeChildPart):
    """What is protected between which prefixes."""

    local: Annotated[list[Prefix], Field(min_length=1)]
    """Prefixes on our side."""
    remote: Annotated[list[Prefix], Field(min_length=1)]
    """Prefixes on the peer's side."""
    protocol: int | str = 0
    """Upper-layer protocol by number or name; 0 or "any" for all."""
    local_ports: list[Port] = [0, PORT_MAX]
    """One port or [lowest, highest] on our side; only with TCP or UDP."""
    remote_ports: list[Port] = [0, PORT_MAX]
    """The same on the peer's side."""
    manual: ManualTable | None = None
    """SAs with keys that you made, for a peer without `auth`."""

    @field_validator("protocol", mode="before")
    @classmethod
    def _protocol(cls, value: Any) -> int:
        names = {protocol.name.lower(): int(protocol) for protocol in IpProtocol}
        if value == "any":
            return 0
        if isinstance(value, str) and value in names:
            return names[value]
        if type(value) is int and 0 <= value <= 255:
            return value
        fix = hints.meant(str(value), names, {}) or 'write a name such as "tcp", a number from 0 to 255, or "any"'
        raise ValueError(f"{value!r} is no protocol; {fix}")

    @field_validator("local_ports", "remote_ports", mode="before")
    @classmethod
    def _ports(cls, value: Any) -> Any:
        return [value, value] if type(value) is int else value

    @field_validator("local_ports", "remote_ports")
    @classmethod
    def _range(cls, value: list[int]) -> list[int]:
        if len(value) != 2 or value[0] > value[1]:
            raise ValueError("no range of ports; write one port or [lowest, highest]")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        ported = [self.local_ports, self.remote_ports] != [[0, PORT_MAX]] * 2
        if ported and self.protocol not in WITH_PORTS:
            raise ValueError('ports without a protocol that has them; add protocol = "tcp" or "udp"')
        if len({":" in text for text in (*self.local, *self.remote)}) > 1:
            raise ValueError("IPv4 and IPv6 prefixes in one child; split it in two")
        if len(self.local) * len(self.remote) > MAX_SELECTORS:
            raise ValueError(f"more than {MAX_SELECTORS} pairs of prefixes; split the child in two")
        return self


class PeerTable(IkePart):
    """The other gateway."""

    remote: Remote
    """Its outer address; "any" for peers that begin from wherever they are."""
    local: Address | None = None
    """Our outer address; without it, the one that the route to the peer takes."""
    children: Annotated[dict[Name, ChildTable], Field(min_length=1)]
    """Children by name."""


class FileTable(Table):
    """The whole file."""

    gateway: GatewayTable
    peers: Annotated[dict[Name, PeerTable], Field(min_length=1)]


def split_endpoint(text: str) -> tuple[str, int]:
    """Address and port of "127.0.0.1:9310" or "[::1]:9310". ValueError says how to write it."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
        if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= PORT_MAX:
            raise ValueError
        if (address.version == 6) != (bare != host):
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is no address and port; write one like 127.0.0.1:9310") from None
    return bare, int(port)
