"""A Source -> the operator's answers. Values in, values out; rates and shares are for whoever shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from xdpsec.channel import operator as words
from xdpsec.metrics.values import STAGES, ChildView, Counters, SaView, Source, WorkerView
from xdpsec.workers.native import door_verdict_names, verdict_names

NS = 10**9
#: Rows that are made and sent in one turn of control's loop: a millisecond or two, in which no peer is answered.
PAGE = 50

Row = TypeVar("Row")


def pages(rows: Iterable[Row]) -> Iterator[tuple[tuple[Row, ...], bool]]:
    """(rows, whether more come); one empty page where there are none. Each row is made when its page is."""
    left = iter(rows)
    page = list(islice(left, PAGE + 1))
    while len(page) > PAGE:
        following = page.pop()
        yield tuple(page), True
        page = [following, *islice(left, PAGE)]
    yield tuple(page), False


MOST = 2**64 - 1


def _counts(names: Iterable[str], values: Sequence[int]) -> tuple[words.Count, ...]:
    return tuple(words.Count(name, value) for name, value in zip(names, values, strict=True))


def _happened(values: Sequence[int]) -> tuple[words.Count, ...]:
    if not any(values):
        return ()
    return tuple(count for count in _counts(verdict_names(), values) if count.count)


def _sum(values: Iterable[int]) -> int:
    """What a word can carry, whatever a worker wrote."""
    return min(sum(values), MOST)


def status(source: Source, seq: int, now: float) -> Iterator[words.Status]:
    """In pages of children. `now` in seconds of CLOCK_MONOTONIC."""
    view = source.view()
    whole = words.Status(
        seq=seq,
        version=view.version,
        state=view.state,
        config=view.config_file,
        uptime_ns=int((now - view.started) * NS),
        ports=tuple(words.PortRow(p.index, p.interface, p.side, p.mode, p.bind, p.queues, p.mtu) for p in view.ports),
        workers=tuple(_worker(w, c, now) for w, c in zip(view.workers, source.counters(), strict=True)),
        children=(),
        metrics_address=view.metrics.address,
        metrics_port=view.metrics.port,
        metrics_error=view.metrics.error,
        troubles=tuple(f"the {barrier.name} is gone: {barrier.error}" for barrier in view.barriers if barrier.error),
        more=False,
    )
    for page, more in pages(map(_child, view.children)):
        yield replace(whole, children=page, more=more)


def _worker(worker: WorkerView, counters: Counters, now: float) -> words.WorkerRow:
    return words.WorkerRow(
        index=worker.index,
        core=worker.core,
        pid=worker.pid,
        state=worker.state,
        restarts=worker.restarts,
        packets_in=_sum(counters.rx_packets),
        packets_out=_sum(counters.tx_packets),
        handoff_sent=counters.handoff_sent,
        handoff_received=counters.handoff_received,
        cycles=_counts(STAGES, counters.cycles),
        idle_ns=counters.idle_ns,
        alive_ns=max(0, int(now * NS) - counters.started_ns) if counters.started_ns else 0,
    )


def _child(child: ChildView) -> words.ChildRow:
    return words.ChildRow(
        label=child.label,
        up=child.up,
        owner=child.owner,
        local=child.local,
        remote=child.remote,
        error=child.error,
    )


def sas(source: Source, seq: int, now: float) -> Iterator[words.Sas]:
    for page, more in pages(_sa(source, sa, now) for sa in source.view().sas):
        yield words.Sas(seq, page, more)


def _sa(source: Source, sa: SaView, now: float) -> words.SaRow:
    slot = source.slot(sa.slot)
    return words.SaRow(
        label=sa.label,
        direction=sa.direction,
        spi=sa.spi,
        worker=sa.worker,
        suite=sa.suite,
        engine=sa.engine,
        esn=sa.esn,
        replay_window=sa.replay_window,
        local=sa.local,
        remote=sa.remote,
        encap=sa.encap,
        number=slot.next_seq if sa.outbound else slot.top,
        granted=slot.granted,
        packets=slot.packets,
        bytes=slot.bytes,
        idle_ns=max(0, int(now * NS) - slot.last_seen_ns) if slot.last_seen_ns else -1,
        drops=_happened(slot.drops),
        error=sa.error,
    )


def drops(source: Source, seq: int) -> Iterator[words.Drops]:
    """In pages of SAs."""
    view, door = source.view(), source.door()
    names = {port.index: port.interface for port in view.ports}
    whole = words.Drops(
        seq=seq,
        door=tuple(words.PortDrops(p.interface, _counts(door_verdict_names(), door[p.index])) for p in view.ports),
        workers=tuple(
            words.WorkerDrops(worker, _counts(verdict_names(), counters.verdicts))
            for worker, counters in enumerate(source.counters())
        ),
        sockets=tuple(
            words.SocketDrops(
                names.get(s.port, str(s.port)), s.queue, s.worker, _counts(s.counts.keys(), tuple(s.counts.values()))
            )
            for s in source.sockets()
        ),
        sas=(),
        more=False,
    )
    rows = (words.SaDrops(sa.label, sa.direction, _happened(source.slot(sa.slot).drops)) for sa in view.sas)
    for page, more in pages(rows):
        yield replace(whole, sas=page, more=more)
