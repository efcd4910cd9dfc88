"""Doctor on the configured interfaces: XDP mode, zero-copy, MTU, queues, and checksums behind a veth."""

from __future__ import annotations

from collections.abc import Iterator

from xdpsec.config.values import Gateway
from xdpsec.daemon.doctor.finding import FAIL, NOTE, OK, WARN, Finding
from xdpsec.net.survey import Survey, survey

#: Above this MTU most drivers refuse native XDP on one page per frame: 4096 less headroom and the tail of an skb.
NATIVE_MTU = 3498
#: Outer IPv4 20, UDP 8, ESP 8, IV 16, padding to 15 and trailer 2, ICV 16 to 32: what the tunnel adds at most.
TUNNEL_MOST = 101


def findings(gateway: Gateway) -> Iterator[Finding]:
    """Every look at every interface of both sides."""
    seen: dict[str, Survey] = {}
    for name in (*gateway.outside, *gateway.inside):
        try:
            seen[name] = survey(name)
        except LookupError as error:
            yield Finding(name, FAIL, f"{error} in this network namespace; correct [gateway] or make it")
            continue
        yield from interface(seen[name], gateway)
    outside = [seen[name].mtu for name in gateway.outside if name in seen]
    inside = [seen[name].mtu for name in gateway.inside if name in seen]
    if outside and inside:
        yield sizes(min(outside), max(inside))


def interface(found: Survey, gateway: Gateway) -> Iterator[Finding]:
    """What its survey means for a gateway like this."""
    if not found.up:
        yield Finding(found.interface, WARN, f"is down; run ip link set {found.interface} up")
    yield _mode(found, gateway.xdp)
    yield _zero_copy(found)
    if found.attached:
        text = f"an XDP program is attached ({found.attached}): a gateway that runs, or another that must go first"
        yield Finding(found.interface, NOTE, text)
    yield _queues(found, gateway.workers)
    if found.mtu > NATIVE_MTU:
        text = f"MTU {found.mtu}: most drivers refuse native XDP above {NATIVE_MTU}; lower it, or expect generic mode"
        yield Finding(found.interface, WARN, text)
    if found.kind == "veth":
        yield _checksums(found)


def _mode(found: Survey, wanted: str) -> Finding:
    if found.native is None:
        return Finding(found.interface, NOTE, "this kernel does not tell its XDP features (6.3 does); run will say")
    if found.native:
        return Finding(
            found.interface, OK, "XDP native" + (", though xdp asks for generic" if wanted == "generic" else "")
        )
    if wanted == "native":
        return Finding(found.interface, FAIL, 'the driver has no native XDP; write `xdp = "auto"`')
    return Finding(
        found.interface, WARN, "the driver has no native XDP: generic mode works, at a fraction of the speed"
    )


def _zero_copy(found: Survey) -> Finding:
    if found.zero_copy:
        return Finding(found.interface, OK, "zero-copy AF_XDP possible")
    if found.zero_copy is None:
        return Finding(found.interface, NOTE, "whether zero-copy AF_XDP works, run will say")
    return Finding(found.interface, NOTE, "no zero-copy AF_XDP: frames are copied once each way")


def _queues(found: Survey, workers: int) -> Finding:
    text = f"{_many(found.queues, 'receive queue')} for {_many(workers, 'worker')}"
    if found.queues >= workers:
        return Finding(found.interface, OK, text)
    text += ": one core receives for several workers; ethtool -L may give more queues"
    return Finding(found.interface, NOTE, text)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _checksums(found: Survey) -> Finding:
    if not found.peer:
        text = "veth, its other end is in another namespace: there, run ethtool -K <end> tx off, else TCP dies"
        return Finding(found.interface, NOTE, text)
    if found.peer_fills:
        return Finding(found.interface, OK, f"veth, its other end {found.peer} fills checksums in itself")
    text = f"veth, its other end {found.peer} leaves checksums out: TCP dies; run ethtool -K {found.peer} tx off"
    return Finding(found.interface, WARN, text)


def sizes(outside: int, inside: int) -> Finding:
    """Whether a full packet of the inside fits the outside once it is in the tunnel."""
    room = outside - TUNNEL_MOST
    if inside <= room:
        return Finding("MTU", OK, f"inside {inside} fits into outside {outside} with the tunnel around it")
    text = f"inside {inside}, outside {outside}: packets above about {room} bytes are answered with Too Big, TCP adapts"
    return Finding("MTU", NOTE, text)
