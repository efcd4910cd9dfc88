"""The operator's questions about peers and IKE, answered; wishes handed on. Keys are given away only to who asks.

Values in, values out; an answer that must wait is a future. Knows no socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import structlog

from xdpsec.channel import negotiation as words
from xdpsec.config import hints
from xdpsec.config.values import Config
from xdpsec.daemon.answers import pages
from xdpsec.daemon.ike.service import Ike
from xdpsec.daemon.lines import Lines

NS = 10**9
NOTHING = "is down, or is being rekeyed just now"
FEW = 8  # names that a sentence can hold
EVERY = "*"  # in the place of a child's name

log = structlog.get_logger()

Reply = words.Answer | asyncio.Future[words.Answer] | Iterator[words.Answer]


class Desk:
    """`ike` is None where no peer negotiates; `lines` the log."""

    def __init__(self, config: Config, ike: Ike | None, lines: Lines, clock: Callable[[], float]) -> None:
        self._config, self._ike, self._lines, self._clock = config, ike, lines, clock
        self._readers: set[object] = set()  # connections that asked for keys
        self._handlers: dict[type, Callable[[Any, int, object], Reply]] = {
            words.PeersQuery: self._peers,
            words.BringUp: self._bring_up,
            words.BringDown: self._bring_down,
            words.Rekey: self._rekey,
            words.ExplainQuery: self._explain,
            words.LogQuery: self._log,
            words.KeyLogQuery: self._keys,
        }

    def answer(self, question: words.Question, seq: int, connection: object) -> Reply:
        """`connection` is whoever asks, the same object as long as it lasts."""
        return self._handlers[type(question)](question, seq, connection)

    def gone(self, connection: object) -> None:
        """The connection ended; with the last that reads keys no more are given away."""
        if connection in self._readers:
            self._readers.discard(connection)
            log.warning("keys are given to an operator no more", readers=len(self._readers))
            if self._ike is not None and not self._readers:
                self._ike.give_keys(None)

    # --- one each ------------------------------------------------------------------------------------------------

    def _peers(self, _: words.PeersQuery, seq: int, __: object) -> Iterator[words.Peers]:
        rows: Iterable[words.PeerRow] = () if self._ike is None else self._rows(self._ike)
        return (words.Peers(seq, page, more) for page, more in pages(rows))

    def _rows(self, ike: Ike) -> Iterator[words.PeerRow]:
        now, is_up = self._clock(), ike.children.is_up
        for (peer, _), row in zip(self._config.ike_peers, ike.peers(), strict=True):
            yield words.PeerRow(
                name=row.name,
                remote=row.remote,
                up=row.up,
                address=row.address,
                local_id=row.local_id,
                remote_id=row.remote_id,
                suite=row.suite,
                hybrid=row.hybrid,
                ppk=row.ppk,
                initiator=row.initiator,
                children=row.children,
                children_up=sum(is_up(child.index) for child in peer.children),
                age_ns=int((now - row.since) * NS) if row.up else 0,
                leased=row.leased,
                servers=row.servers,
                domains=row.domains,
            )

    def _refusal(self, peer: str, child: str = "") -> str:
        """Why the configuration has no such peer or child that negotiates; "" = it has."""
        names = [one.name for one, _ in self._config.ike_peers]
        if peer not in names:
            return f"no peer {peer!r} negotiates its keys; {_there_is(peer, names)}"
        children = [one.name for one in self._config.children if one.peer == peer]
        if child and child not in (*children, EVERY):
            return f"peer {peer} has no child {child!r}; {_there_is(child, children)}"
        return ""

    def _bring_up(self, asked: words.BringUp, seq: int, _: object) -> words.Begun:
        child = "" if asked.child == EVERY else asked.child
        error = self._refusal(asked.peer, child)
        if error or self._ike is None:
            return words.Begun(seq, 0, error)
        return words.Begun(seq, self._ike.bring_up(asked.peer, child), "")

    def _bring_down(self, asked: words.BringDown, seq: int, _: object) -> words.Begun:
        whole = asked.peer.partition("/")[0]
        error = self._refusal(asked.peer)
        if asked.peer != whole and not self._refusal(whole):
            error = f"children are not closed alone; `xdpsec down {whole}` closes the peer with all of them"
        if error or self._ike is None:
            return words.Begun(seq, 0, error)
        return words.Begun(seq, self._ike.bring_down(asked.peer), "")

    def _rekey(self, asked: words.Rekey, seq: int, _: object) -> words.Begun:
        error = self._refusal(asked.peer, asked.child)
        if error or self._ike is None:
            return words.Begun(seq, 0, error)
        count = self._ike.rekey(asked.peer, asked.child)
        label = f"{asked.peer}/{asked.child}" if asked.child else asked.peer
        return words.Begun(seq, count, "" if count else f"{label} {NOTHING}: see `xdpsec explain {asked.peer}`")

    def _explain(self, asked: words.ExplainQuery, seq: int, _: object) -> words.Explanation:
        error = self._refusal(asked.peer)
        if error or self._ike is None:
            return words.Explanation(seq, (), error)
        peer, settings = next(pair for pair in self._config.ike_peers if pair[0].name == asked.peer)
        outlook = self._ike.outlook(peer.name)
        found = self._ike.memory.findings(
            self._config, peer, settings, self._ike.children.is_up, outlook, self._clock()
        )
        return words.Explanation(seq, tuple(found), "")

    # --- lines ---------------------------------------------------------------------------------------------------

    def _log(self, asked: words.LogQuery, seq: int, _: object) -> Reply:
        if asked.wait:
            return _later(self._lines, asked.after, seq)
        return words.Lines(seq, *self._lines.beyond(asked.after))

    def _keys(self, asked: words.KeyLogQuery, seq: int, connection: object) -> Reply:
        if self._ike is None:
            return words.Lines(seq, 0, ())
        if connection not in self._readers:
            self._readers.add(connection)
            log.warning("keys of new IKE SAs are given to an operator", readers=len(self._readers))
            if self._ike.keys is None:
                self._ike.give_keys(Lines())
        assert self._ike.keys is not None
        return _later(self._ike.keys, asked.after, seq)


def _there_is(word: str, names: Sequence[str]) -> str:
    """The nearest of many names, or all of a few."""
    if len(names) > FEW:
        return hints.meant(word, names, {}) or "`xdpsec list-peers` and the configuration name them"
    return f"there is {', '.join(names) or 'none'}"


def _later(lines: Lines, after: int, seq: int) -> asyncio.Future[words.Answer]:
    """The rows beyond number `after`, once there are some. Cancelled, it lets go of its place in the queue."""
    answer: asyncio.Future[words.Answer] = asyncio.get_running_loop().create_future()
    waiting = lines.more(after)

    def come(done: asyncio.Future[None]) -> None:
        if not answer.done() and not done.cancelled():
            answer.set_result(words.Lines(seq, *lines.beyond(after)))

    waiting.add_done_callback(come)
    answer.add_done_callback(lambda _: waiting.cancel())
    return answer
