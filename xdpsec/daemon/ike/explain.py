"""Why a peer or a child is down, and the line to change: what the machines said last, kept by peer, read with the
configuration beside it.

Bounded: a few sentences a peer, and a few addresses that no peer is configured for. Knows no packet and no socket.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from xdpsec.channel.negotiation import Finding
from xdpsec.config.values import Child, Config, Peer
from xdpsec.config.values_ike import Ike
from xdpsec.ike.events import ChildFailed, IkeDown, IkeUp, Note
from xdpsec.numbers import NotifyType

#: Warnings kept for each peer; an older one explains nothing that the newer do not.
WARNINGS = 4
#: Addresses of strangers whose refusal is kept.
STRANGERS = 64


@dataclass(slots=True)
class _Past:
    up: IkeUp | None = None
    down: IkeDown | None = None
    children: dict[int, ChildFailed] = field(default_factory=dict)
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=WARNINGS))


class Memory:
    """What was said of each peer since it last was well."""

    def __init__(self) -> None:
        self._peers: dict[str, _Past] = {}
        self._strangers: OrderedDict[str, IkeDown] = OrderedDict()

    def _past(self, peer: str) -> _Past:
        return self._peers.setdefault(peer, _Past())

    def came(self, event: IkeUp) -> None:
        self._peers[event.peer] = _Past(up=event)

    def went(self, event: IkeDown) -> None:
        if event.peer:
            past = self._past(event.peer)
            past.up, past.down = None, event
        elif event.remote:
            self._strangers[event.remote] = event
            self._strangers.move_to_end(event.remote)
            while len(self._strangers) > STRANGERS:
                self._strangers.popitem(last=False)

    def failed(self, event: ChildFailed) -> None:
        self._past(event.peer).children[event.index] = event

    def noted(self, event: Note) -> None:
        fields = dict(event.fields)
        peer = fields.pop("peer", "")
        if peer and event.level in ("warning", "error"):
            words = "; ".join(f"{key} {value}" if key != "why" else str(value) for key, value in fields.items())
            self._past(str(peer)).warnings.append(f"{event.event}: {words}" if words else event.event)

    def opened(self, peer: str, index: int) -> None:
        self._past(peer).children.pop(index, None)

    # --- reading -------------------------------------------------------------------------------------------------

    def findings(self, config: Config, peer: Peer, ike: Ike, is_up: Callable[[int], bool]) -> Iterator[Finding]:
        """The peer, its children, and what was said of them."""
        past = self._peers.get(peer.name, _Past())
        yield self._of_peer(config, peer, ike, past)
        for child in peer.children:
            yield _of_child(config, child, past.children.get(child.index), is_up(child.index))
        for text in past.warnings:
            yield Finding(peer.name, past.up is not None, text, "")

    def _of_peer(self, config: Config, peer: Peer, ike: Ike, past: _Past) -> Finding:
        if past.up is not None:
            return Finding(peer.name, True, f"IKE SA with {past.up.path.remote}: {past.up.suite}", "")
        down = past.down or self._strangers.get(peer.remote)
        if down is None:
            fix = f"`xdpsec up {peer.name}` calls it" if peer.remote else "it has no remote address: the peer must call"
            return Finding(peer.name, False, "no IKE SA, and nothing was tried yet", fix)
        return Finding(peer.name, False, down.text, _fix(config, peer, ike, down))


def _line(config: Config, *path: str) -> str:
    return f"{config.file}:{config.line(path)}: {'.'.join(path)}"


def _fix(config: Config, peer: Peer, ike: Ike, down: IkeDown) -> str:
    if down.reason == "proposal":
        return f"{_line(config, 'peers', peer.name, 'ike')}: accept what the peer offers, or change the peer's proposal"
    if down.reason == "timeout":
        return f"see that UDP 500 and 4500 reach {peer.remote or 'us'} both ways, and that IKE runs there"
    if down.reason == "authentication":
        proof = ike.auth.psk_file or ike.auth.certificate
        return f"compare {proof} and {_line(config, 'peers', peer.name)}: local_id, remote_id with the peer's"
    return ""


#: Refusal of a child -> the keys of its table to look at.
_KEYS = {
    NotifyType.TS_UNACCEPTABLE: ("local", "remote"),
    NotifyType.NO_PROPOSAL_CHOSEN: ("esp",),
    NotifyType.INVALID_KE_PAYLOAD: ("esp",),
}


def _of_child(config: Config, child: Child, failed: ChildFailed | None, up: bool) -> Finding:
    if up:
        return Finding(child.label, True, "SAs in both directions", "")
    path = ("peers", child.peer, "children", child.name)
    if failed is None:
        start = child.negotiated.start if child.negotiated else ""
        wanted = {"on-traffic": "no packet has asked for it", "wait": "the peer is to ask for it"}.get(start, "")
        return Finding(child.label, False, f"no SAs yet{'; ' + wanted if wanted else ''}", "")
    fixes = [_line(config, *path, key) for key in _KEYS.get(NotifyType(failed.notify), ())] if failed.notify else []
    return Finding(child.label, False, failed.text, f"compare with the peer's: {', '.join(fixes)}" if fixes else "")
