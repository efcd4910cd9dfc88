"""One SA of a worker, from whichever source its keys came, and the message that is made of it.

Manual ones come from policy/manual.py, negotiated ones from the daemon. Knows no slot and no sequence number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdpsec.channel.messages import SaInstall, Selector
from xdpsec.config.keys import SaKey
from xdpsec.config.suites import Suite


@dataclass(frozen=True, slots=True)
class Sa:
    """One SA, one direction (RFC 4301 sec. 4.4.2). `local` and `remote` are outer addresses, `label` is peer/child;
    `encap` (local, remote) UDP ports, 0 = none. `key_file` "" = negotiated: the peer may move in and out of UDP, its
    first packet is told. `number`: what workers call its child, where that is a guest's or narrowed (None = as the
    configuration counts it). `soft` and `hard` limits: (bytes, packets), 0 = none."""

    child: int
    label: str
    outbound: bool
    spi: int
    suite: Suite
    key: SaKey = field(repr=False)
    key_file: str
    esn: bool
    replay_window: int
    local: str
    remote: str
    encap: tuple[int, int]
    selectors: tuple[Selector, ...]
    engine: str
    soft: tuple[int, int] = (0, 0)
    hard: tuple[int, int] = (0, 0)
    number: int | None = None

    @property
    def called(self) -> int:
        """The number by which workers know the child."""
        return self.child if self.number is None else self.number

    @property
    def sa_id(self) -> bytes:
        return self.key.sa_id

    def install(self, slot: int, path_mtu: int) -> SaInstall:
        """The message for the owning worker. The keys in it are copies: whoever wipes them harms no other user."""
        return SaInstall(
            spi=self.spi,
            outbound=self.outbound,
            child=self.called,
            slot=slot,
            cipher=self.suite.cipher,
            auth=self.suite.auth,
            key=bytes(bytearray(self.key.encryption)),
            auth_key=bytes(bytearray(self.key.integrity)),
            icv_len=self.suite.icv_len,
            esn=self.esn,
            replay_window=self.replay_window,
            local=self.local,
            remote=self.remote,
            encap_local=self.encap[0],
            encap_remote=self.encap[1],
            path_mtu=path_mtu,
            selectors=self.selectors,
            engine=self.engine,
            soft_bytes=self.soft[0],
            soft_packets=self.soft[1],
            hard_bytes=self.hard[0],
            hard_packets=self.hard[1],
            tell_use=not self.key_file and not self.outbound,
            any_encap=not self.key_file and not self.outbound,
        )
