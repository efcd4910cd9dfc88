"""Answers of the gateway as what `--json` prints: plain dicts with units in their names. The keys are documented and
only grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from xdpsec.channel import negotiation
from xdpsec.channel import operator as words

NS = 1e9
#: A negotiated SA is granted all numbers that there are; no manual SA comes so far.
ENDLESS = 2**64 - 1
Json = dict[str, Any]


def counts(rows: Iterable[words.Count]) -> dict[str, int]:
    return {row.name: row.count for row in rows}


def status(answer: words.Status) -> Json:
    return {
        "version": answer.version,
        "state": answer.state,
        "config": answer.config,
        "uptime_s": round(answer.uptime_ns / NS, 3),
        "ports": [_port(row) for row in answer.ports],
        "workers": [_worker(row) for row in answer.workers],
        "children": [_child(row) for row in answer.children],
        "metrics": {"address": answer.metrics_address, "port": answer.metrics_port, "error": answer.metrics_error},
        "troubles": list(answer.troubles),
    }


def _port(row: words.PortRow) -> Json:
    return {
        "index": row.index,
        "interface": row.interface,
        "side": row.side,
        "mode": row.mode,
        "bind": row.bind,
        "queues": row.queues,
        "mtu": row.mtu,
    }


def _worker(row: words.WorkerRow) -> Json:
    return {
        "index": row.index,
        "core": row.core,
        "pid": row.pid,
        "state": row.state,
        "restarts": row.restarts,
        "packets_in": row.packets_in,
        "packets_out": row.packets_out,
        "handoff_sent": row.handoff_sent,
        "handoff_received": row.handoff_received,
        "cycles": counts(row.cycles),
        "idle_share": round(min(1.0, row.idle_ns / row.alive_ns), 4) if row.alive_ns else 0.0,
    }


def _child(row: words.ChildRow) -> Json:
    return {
        "label": row.label,
        "up": row.up,
        "owner": row.owner,
        "local": list(row.local),
        "remote": list(row.remote),
        "error": row.error,
    }


def sas(answer: words.Sas) -> list[Json]:
    return [_sa(row) for row in answer.rows]


def _sa(row: words.SaRow) -> Json:
    return {
        "label": row.label,
        "direction": row.direction,
        "spi": row.spi,
        "worker": row.worker,
        "suite": row.suite,
        "engine": row.engine,
        "esn": row.esn,
        "replay_window": row.replay_window,
        "local": row.local,
        "remote": row.remote,
        "encap": list(row.encap) if any(row.encap) else None,
        "next_seq" if row.direction == "out" else "top": row.number,
        "granted": None if row.granted >= (ENDLESS if row.esn else ENDLESS >> 32) else row.granted,
        "packets": row.packets,
        "bytes": row.bytes,
        "last_seen_s": round(row.idle_ns / NS, 3) if row.idle_ns >= 0 else None,
        "drops": counts(row.drops),
        "error": row.error,
    }


def drops(answer: words.Drops) -> Json:
    """Verdicts by port and by worker, sockets by port, queue and worker, SAs by child and direction."""
    sockets: dict[str, dict[str, dict[str, dict[str, int]]]] = {}
    for socket in answer.sockets:
        sockets.setdefault(socket.interface, {}).setdefault(str(socket.queue), {})[str(socket.worker)] = counts(
            socket.counts
        )
    sas: dict[str, dict[str, Counter[str]]] = {}
    for sa in answer.sas:
        sas.setdefault(sa.label, {}).setdefault(sa.direction, Counter()).update(counts(sa.drops))
    return {
        "door": {row.interface: counts(row.verdicts) for row in answer.door},
        "workers": {str(row.worker): counts(row.verdicts) for row in answer.workers},
        "sockets": sockets,
        "sas": sas,
    }


def peers(answer: negotiation.Peers) -> list[Json]:
    return [_peer(row) for row in answer.rows]


def _peer(row: negotiation.PeerRow) -> Json:
    return {
        "name": row.name,
        "remote": row.remote,
        "up": row.up,
        "address": row.address,
        "local_id": row.local_id,
        "remote_id": row.remote_id,
        "suite": row.suite,
        "hybrid": row.hybrid,
        "ppk": row.ppk,
        "initiator": row.initiator,
        "children": row.children,
        "children_up": row.children_up,
        "age_s": round(row.age_ns / NS, 3),
        "leased": list(row.leased),
        "servers": list(row.servers),
        "domains": list(row.domains),
    }


def explanation(answer: negotiation.Explanation) -> list[Json]:
    return [{"what": row.what, "up": row.up, "text": row.text, "fix": row.fix} for row in answer.rows]
