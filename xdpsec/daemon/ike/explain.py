"""Why a peer or a child is down, and the line to change: what the machines said last, kept by peer, read with the
configuration beside it (fixes.py).

Bounded: a few sentences a peer, and a few addresses that no peer is configured for. Knows no packet and no socket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from xdpsec.channel.negotiation import Finding
from xdpsec.config.values import Child, Config, Peer
from xdpsec.config.values_ike import Ike
from xdpsec.daemon.ike import fixes, pasting
from xdpsec.ike.events import ChildFailed, IkeDown, IkeUp, Note

#: Warnings kept for each peer; an older one explains nothing that the newer do not.
WARNINGS = 4
#: Seconds after which a call that has no answer is worth a word.
PATIENCE = 1.0
#: Addresses of strangers whose refusal is kept.
STRANGERS = 64
#: Of them as many are shown with a peer that may come from anywhere.
GUESTS = 3


@dataclass(slots=True)
class _Past:
    ups: dict[int, IkeUp] = field(default_factory=dict)  # two when both sides called, until one gives way
    down: IkeDown | None = None
    children: dict[int, ChildFailed] = field(default_factory=dict)
    warnings: OrderedDict[str, float] = field(default_factory=OrderedDict)  # sentence -> when it came last


@dataclass(frozen=True, slots=True)
class Outlook:
    """`calling_s`: so long a call of ours is under way; `keyed`: its first message was answered. `again_s`: in so long
    the peer is called again. None = no."""

    calling_s: float | None = None
    keyed: bool = False
    again_s: float | None = None


class Memory:
    """What was said of each peer since it last was well."""

    def __init__(self) -> None:
        self._peers: dict[str, _Past] = {}
        self._strangers: OrderedDict[str, IkeDown] = OrderedDict()

    def _past(self, peer: str) -> _Past:
        return self._peers.setdefault(peer, _Past())

    def came(self, event: IkeUp, now: float) -> None:
        """Of earlier warnings its own handshake's stay: it may have come without the child it asked for."""
        past = self._past(event.peer)
        recent = OrderedDict((text, at) for text, at in past.warnings.items() if at >= now - event.seconds)
        self._peers[event.peer] = _Past(ups={**past.ups, event.ike: event}, warnings=recent)

    def went(self, event: IkeDown) -> None:
        if event.peer:
            past = self._past(event.peer)
            past.ups.pop(event.ike, None)
            past.down = event
        elif event.remote:
            self._strangers[event.remote] = event
            self._strangers.move_to_end(event.remote)
            while len(self._strangers) > STRANGERS:
                self._strangers.popitem(last=False)

    def failed(self, event: ChildFailed) -> None:
        self._past(event.peer).children[event.index] = event

    def noted(self, event: Note, now: float) -> None:
        fields = dict(event.fields)
        peer = fields.pop("peer", "")
        if peer and event.level in ("warning", "error"):
            words = "; ".join(f"{key} {value}" if key != "why" else str(value) for key, value in fields.items())
            warnings = self._past(str(peer)).warnings
            text = f"{event.event}: {words}" if words else event.event
            warnings[text] = now
            warnings.move_to_end(text)
            if len(warnings) > WARNINGS:
                warnings.popitem(last=False)

    def opened(self, peer: str, index: int) -> None:
        self._past(peer).children.pop(index, None)

    # --- reading -------------------------------------------------------------------------------------------------

    def findings(
        self, config: Config, peer: Peer, ike: Ike, is_up: Callable[[int], bool], outlook: Outlook, now: float
    ) -> Iterator[Finding]:
        """The peer, its children, and what was said of them or of who may be it; the last have no name."""
        past = self._peers.get(peer.name, _Past())
        yield from self._of_peer(config, peer, ike, past, outlook)
        for child in peer.children:
            yield _of_child(config, child, past.children.get(child.index), is_up(child.index))
        for text, at in past.warnings.items():
            said = f"{now - at:.0f} s ago: {pasting.as_written(text)}"
            yield Finding("", bool(past.ups), said, fixes.of_warning(config, peer, ike, text))
        if not peer.remote:
            yield from self._of_guests(config, peer, ike)

    def _of_peer(self, config: Config, peer: Peer, ike: Ike, past: _Past, outlook: Outlook) -> Iterator[Finding]:
        """What we found out ourselves before what the peer, who says no more than that, refuses."""
        if past.ups:
            up = list(past.ups.values())[-1]
            yield Finding(peer.name, True, pasting.as_written(f"IKE SA with {up.path.remote}: {up.suite}"), "")
            if past.down and not past.down.established:  # a guest beside others, or a call of the peer
                yield Finding("", True, pasting.as_written(past.down.text), fixes.of_peer(config, peer, ike, past.down))
            return
        ends = [("when it called: ", self._strangers.get(peer.remote)), ("when we called: ", past.down)]
        downs = [(how, down) for how, down in ends if down is not None]
        if downs and downs[-1][1] is past.down and "the peer refuses" not in downs[-1][1].text:
            downs.reverse()
        for how, down in downs:
            text = f"{how if len(downs) > 1 else ''}{pasting.as_written(down.text)}"
            yield Finding(peer.name, False, text, fixes.of_peer(config, peer, ike, down))
        if outlook.calling_s is not None and (outlook.calling_s > PATIENCE or not downs):
            yield _calling(peer, outlook, bool(downs))
        elif outlook.again_s is not None and downs:
            yield Finding(peer.name, False, f"it is called again in {outlook.again_s:.0f} s", "")
        elif not downs:
            fix = f"`xdpsec up {peer.name}` calls it" if peer.remote else "it has no remote address: the peer must call"
            yield Finding(peer.name, False, "no IKE SA, and nothing was tried yet", fix)

    def _of_guests(self, config: Config, peer: Peer, ike: Ike) -> Iterator[Finding]:
        """Who may come from anywhere, and was refused before it said who it is."""
        named = {one.remote for one in config.peers}
        strange = (down for where, down in reversed(self._strangers.items()) if where not in named)
        for down in islice(strange, GUESTS):
            text = f"when {down.remote} called: {pasting.as_written(down.text)}"
            yield Finding("", False, text, fixes.of_peer(config, peer, ike, down))


def _calling(peer: Peer, outlook: Outlook, known: bool) -> Finding:
    """`known`: an end before this says better than silence what is wrong."""
    seconds = outlook.calling_s or 0.0
    if seconds <= PATIENCE:
        return Finding(peer.name, False, "it is being called", "")
    if outlook.keyed:
        text = f"it answered our first message, and nothing since; the call is {seconds:.0f} s old"
        return Finding(peer.name, False, text, fixes.reach(peer.remote, "4500"))
    text = f"no answer yet; the call is {seconds:.0f} s old"
    return Finding(peer.name, False, text, "" if known else fixes.reach(peer.remote))


def _of_child(config: Config, child: Child, failed: ChildFailed | None, up: bool) -> Finding:
    if up:
        return Finding(child.label, True, "SAs in both directions", "")
    if failed is None:
        start = child.negotiated.start if child.negotiated else ""
        wanted = {"on-traffic": "no packet has asked for it", "wait": "the peer is to ask for it"}.get(start, "")
        return Finding(child.label, False, f"no SAs yet{'; ' + wanted if wanted else ''}", "")
    return Finding(child.label, False, pasting.as_written(failed.text), fixes.of_child(config, child, failed))
