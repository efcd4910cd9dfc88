"""A child as negotiated -> its two SAs as workers take them, or why none takes it yet. Values in, values out."""

from __future__ import annotations

from itertools import product

from xdpsec.channel.messages import Selector
from xdpsec.config import proposals
from xdpsec.config.keys import SaKey
from xdpsec.config.suites import Suite
from xdpsec.config.values import Gateway
from xdpsec.ike import selectors
from xdpsec.ike.events import DirectionKeys, NegotiatedChild
from xdpsec.numbers import Protocol
from xdpsec.policy.sa import Sa

MAX_SELECTORS = 16  # XS_SELECTORS_MAX

_ENCR = {transform: word for word, transform in reversed(proposals.ENCR.items())}
_INTEG = {number: word for word, number in proposals.AH_INTEG.items()}


def suite_name(child: NegotiatedChild) -> str:
    """In the words of the configuration, such as aes256gcm16 or aes128-sha256."""
    words = [_ENCR.get((child.suite.encr, child.suite.bits), ""), _INTEG.get(child.suite.integ, "")]
    return "-".join(word for word in words if word)


def not_carried(child: NegotiatedChild) -> str:
    """Why no worker takes it: empty, or a few words."""
    if child.protocol != Protocol.ESP:
        return "AH is not carried yet"
    if child.mode != "tunnel":
        return "transport mode is not carried yet"
    if ":" in child.path.remote:
        return "ESP over IPv6 is not carried yet"
    if not rows(child):
        return "IPv6 is not carried yet"
    return ""


def rows(child: NegotiatedChild) -> tuple[Selector, ...]:
    """Each pair of a local and a remote prefix of IPv4."""
    found: dict[Selector, None] = {}
    for here, there in product(child.local, child.remote):
        for local, remote in product(selectors.prefixes(here), selectors.prefixes(there)):
            if local.version == remote.version == 4:
                ports = (here.first_port, here.last_port), (there.first_port, there.last_port)
                found[Selector(str(local), str(remote), here.protocol or there.protocol, *ports)] = None
    return tuple(found)


Limits = tuple[int, int]


def pair(
    child: NegotiatedChild, gateway: Gateway, label: str, index: int, soft: Limits = (0, 0), hard: Limits = (0, 0)
) -> tuple[Sa, Sa]:
    """Inbound and outbound. `index` is what workers call the child; limits in bytes and packets."""
    facts = child.suite
    suite = Suite(suite_name(child), facts.cipher, facts.auth, facts.key_len, facts.auth_len, facts.icv_len)
    matches = rows(child)
    path = child.path
    encap = (path.local_port, path.remote_port) if child.encap else (0, 0)

    def sa(outbound: bool, spi: int, keys: DirectionKeys) -> Sa:
        return Sa(
            child=index,
            label=label,
            outbound=outbound,
            spi=spi,
            suite=suite,
            key=SaKey(keys.key, keys.auth),
            key_file="",
            esn=child.esn,
            replay_window=gateway.replay_window,
            local=path.local,
            remote=path.remote,
            encap=encap,
            selectors=matches,
            engine=gateway.engine,
            soft=soft,
            hard=hard,
        )

    return sa(False, child.spi_in, child.keys_in), sa(True, child.spi_out, child.keys_out)
