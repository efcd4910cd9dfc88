"""Manual SAs: configuration and keys -> two SA values per child, from which the workers' messages are made.

Everything after this treats them as negotiated ones. Knows no slot and no sequence number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from xdpsec.channel.messages import SaInstall, Selector
from xdpsec.config.keys import KeyPair, SaKey, check_distinct
from xdpsec.config.suites import Suite
from xdpsec.config.values import Child, Config, Manual
from xdpsec.policy.spd import selectors


@dataclass(frozen=True, slots=True)
class Sa:
    """One SA, one direction (RFC 4301 sec. 4.4.2). `local` and `remote` are outer addresses, `label` is peer/child;
    `encap` (local, remote) UDP ports, 0 = none."""

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

    @property
    def sa_id(self) -> bytes:
        return self.key.sa_id

    def install(self, slot: int, path_mtu: int) -> SaInstall:
        """The message for the owning worker. The keys in it are copies: whoever wipes them harms no other user."""
        return SaInstall(
            spi=self.spi,
            outbound=self.outbound,
            child=self.child,
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
        )


def manual_sas(config: Config, keys: Mapping[str, KeyPair], local_of: Callable[[str], str]) -> tuple[Sa, ...]:
    """Both SAs of every child, inbound first. `keys`: key file -> its keys; `local_of`: a peer's outer address -> the
    address of ours that reaches it, asked where the configuration names none. ConfigError when a key serves twice."""
    check_distinct({manual.key_file: keys[manual.key_file] for _, manual in config.manual})
    outer = {peer.name: (peer.local or local_of(peer.remote), peer.remote) for peer in config.peers if not peer.ike}
    return tuple(
        sa
        for child, manual in config.manual
        for sa in _pair(config, child, manual, keys[manual.key_file], outer[child.peer])
    )


def _pair(config: Config, child: Child, manual: Manual, keys: KeyPair, outer: tuple[str, str]) -> Iterable[Sa]:
    local, remote = outer
    for outbound, spi, key in ((False, manual.spi_in, keys.inbound), (True, manual.spi_out, keys.outbound)):
        yield Sa(
            child=child.index,
            label=child.label,
            outbound=outbound,
            spi=spi,
            suite=manual.suite,
            key=key,
            key_file=manual.key_file,
            esn=manual.esn,
            replay_window=config.gateway.replay_window,
            local=local,
            remote=remote,
            encap=manual.encap or (0, 0),
            selectors=selectors(child),
            engine=config.gateway.engine,
        )
