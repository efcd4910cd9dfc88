"""Messages from control into calls of the core, and the core's events into messages. One handler per word.

Every word that wants an Ack gets one: empty when the core took it, else one sentence. A word without a handler is our
own bug and ends the worker. Knows which slots have an SA, and nothing else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Received, Wire, close_all
from xdpsec.workers import native
from xdpsec.workers.native import ffi, lib

ACKED = (
    words.SaInstall, words.SaRemove, words.SaUse, words.SaMove, words.PolicyReplace, words.PolicyFirst,
    words.RouteReplace, words.Go,
)  # fmt: skip


class Applier:
    """State of one worker's channel: `running` after Go, `stopped` after Stop."""

    def __init__(self, wire: Wire, worker: native.Worker) -> None:
        self.running = False
        self.stopped = False
        self._wire = wire
        self._worker = worker
        self._slots: set[int] = set()
        self._handlers: dict[type, Callable[[Any], None]] = {
            words.SaInstall: self._install,
            words.SaRemove: self._remove,
            words.SaUse: lambda m: worker.sa_use(m.child, m.slot),
            words.SaMove: lambda m: worker.sa_move(m.slot, m.local, m.remote, (m.encap_local, m.encap_remote)),
            words.SeqGrant: lambda m: _unless_gone(worker.sa_grant, m.slot, m.mark),
            words.PathMtu: lambda m: _unless_gone(worker.sa_path_mtu, m.child, m.mtu),
            words.PolicyReplace: self._policies,
            words.PolicyFirst: self._policies_first,
            words.RouteReplace: lambda m: worker.route_replace([(r.prefix, r.via, r.port) for r in m.rows]),
            words.NextHop: self._next_hop,
            words.Go: self._go,
            words.Stop: self._stop,
        }

    def apply(self, received: Received) -> None:
        message = received.message
        close_all(received.descriptors)
        if isinstance(message, words.SaQuery):
            self._wire.send(words.SaEngines(received.seq, self._engines()))
            return
        error = ""
        try:
            self._handlers[type(message)](message)
        except (native.NativeError, ValueError) as refusal:
            if not isinstance(message, ACKED):
                raise
            error = str(refusal)
        if isinstance(message, ACKED):
            self._wire.send(words.Ack(received.seq, error))

    def _install(self, m: words.SaInstall) -> None:
        try:
            conf, keep = sa_conf(m)
            self._worker.sa_install(conf)
            del keep
        finally:
            native.wipe(m.key)
            native.wipe(m.auth_key)
        self._slots.add(m.slot)

    def _remove(self, m: words.SaRemove) -> None:
        self._worker.sa_remove(m.slot)
        self._slots.discard(m.slot)

    def _policies(self, m: words.PolicyReplace) -> None:
        self._worker.policy_replace([(_selector(row.selector), row.child, row.owner) for row in m.rows])

    def _policies_first(self, m: words.PolicyFirst) -> None:
        self._worker.policy_first(m.child, [(_selector(one), m.child, m.owner) for one in m.selectors])

    def _next_hop(self, m: words.NextHop) -> None:
        if m.mac:
            self._worker.neighbour_set(m.port, m.addr, m.mac, m.vlan)
        else:
            self._worker.neighbour_remove(m.port, m.addr)

    def _go(self, _: words.Go) -> None:
        if not self.running:
            self._worker.start()
        self.running = True

    def _stop(self, _: words.Stop) -> None:
        self.stopped = True

    def _engines(self) -> tuple[tuple[int, str], ...]:
        return tuple((slot, self._worker.sa_engine(slot)) for slot in sorted(self._slots))


def _unless_gone(call: Callable[[int, int], None], *what: int) -> None:
    """Said of an SA that control has had removed meanwhile, or that a child has not yet: nothing to do."""
    try:
        call(*what)
    except native.NativeError as error:
        if error.errno != errno.ENOENT:
            raise


def _selector(s: words.Selector) -> native.Selector:
    return native.Selector(s.local, s.remote, s.protocol, s.local_ports, s.remote_ports)


def sa_conf(m: words.SaInstall) -> tuple[Any, Any]:
    """struct xs_sa_conf and the selectors that it points to. ValueError for what conf.h cannot hold."""
    unknown = [name for name, table in ((m.cipher, native.CIPHERS), (m.auth, native.AUTHS)) if name not in table]
    if unknown or m.engine not in native.ENGINES or m.df not in native.DF:
        raise ValueError(f"SA {m.spi:#x}: unknown algorithm, engine or DF rule")
    conf = ffi.new(
        "struct xs_sa_conf *",
        {
            "spi": m.spi,
            "direction": lib.XS_OUTBOUND if m.outbound else lib.XS_INBOUND,
            "engine": native.ENGINES[m.engine],
            "cipher": native.CIPHERS[m.cipher],
            "auth": native.AUTHS[m.auth],
            "icv_len": m.icv_len,
            "esn": m.esn,
            "df": native.DF[m.df],
            "copy_dscp": m.copy_dscp,
            "dscp": m.dscp,
            "child": m.child,
            "slot": m.slot,
            "replay_window": m.replay_window,
            "path_mtu": m.path_mtu,
            "encap_local": m.encap_local,
            "encap_remote": m.encap_remote,
            "soft_bytes": m.soft_bytes,
            "soft_packets": m.soft_packets,
            "hard_bytes": m.hard_bytes,
            "hard_packets": m.hard_packets,
            "tell_use": m.tell_use,
            "any_encap": m.any_encap,
        },
    )
    if len(m.key) > len(conf.key) or len(m.auth_key) > len(conf.auth_key):
        raise ValueError(f"SA {m.spi:#x}: key too long")
    ffi.memmove(conf.key, m.key, len(m.key))
    ffi.memmove(conf.auth_key, m.auth_key, len(m.auth_key))
    ffi.memmove(conf.iv_key, os.urandom(len(conf.iv_key)), len(conf.iv_key))
    conf.key_len, conf.auth_key_len = len(m.key), len(m.auth_key)
    native.set_address(conf.local, m.local)
    native.set_address(conf.remote, m.remote)
    selectors = ffi.new("struct xs_selector[]", max(len(m.selectors), 1))
    for target, selector in zip(selectors, m.selectors, strict=False):
        native.set_selector(target, _selector(selector))
    conf.selectors, conf.selector_count = selectors, len(m.selectors)
    return conf, selectors


def report(wire: Wire, worker: native.Worker) -> None:
    """Everything the core wants control to know."""
    while (event := worker.event()) is not None:
        wire.send(_word(event))


def _word(event: native.Event) -> words.Message:
    if event.kind == lib.XS_EVENT_GRANT_WANTED:
        return words.GrantWanted(event.slot, event.number)
    if event.kind == lib.XS_EVENT_RESOLVE:
        return words.ResolveWanted(event.port, event.addr)
    if event.kind == lib.XS_EVENT_ACQUIRE:
        return words.Acquire(event.child)
    if event.kind == lib.XS_EVENT_EXHAUSTED:
        return words.Exhausted(event.slot)
    if event.kind == lib.XS_EVENT_FIRST_USE:
        return words.SaFirstUse(event.slot)
    if event.kind == lib.XS_EVENT_SOFT:
        return words.SaSoft(event.slot)
    if event.kind == lib.XS_EVENT_ELSEWHERE:
        return words.SaElsewhere(event.slot, event.addr, event.port)
    raise ValueError(f"the core raised an event of unknown kind {event.kind}")
