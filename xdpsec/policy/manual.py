"""Manual SAs: configuration and keys -> two SA values per child. Knows no slot and no sequence number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from xdpsec.config.keys import KeyPair, check_distinct
from xdpsec.config.values import Child, Config, Manual
from xdpsec.policy.sa import Sa
from xdpsec.policy.spd import selectors


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
