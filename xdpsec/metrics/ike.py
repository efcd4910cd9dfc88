"""IKE as Prometheus families: handshakes by outcome and duration, rekeys, retransmissions, what strangers send.

Values come from the view alone; labels are bounded (peers of the configuration, outcomes and reasons of closed sets).
"""

from __future__ import annotations

from prometheus_client.core import HistogramMetricFamily

from xdpsec.metrics.families import Family, Steps, counter, filled, gauge
from xdpsec.metrics.values import IkeView, View

#: Counters of the machines (their names) -> metric, help, label.
COUNTED = {
    "ike_retransmitted": ("ike_retransmissions", "Requests that were sent again", ""),
    "ike_repeated": ("ike_repeated_requests", "Requests of peers that came again and got the same answer", ""),
    "ike_refused": ("ike_refused_messages", "Messages that were refused, by the notify that answers", "notify"),
    "ike_ignored": ("ike_ignored_messages", "Messages that were not looked into", "reason"),
    "ike_rounds": ("ike_first_rounds", "First messages sent anew, by the notify that asked for it", "notify"),
    "ike_probed": ("ike_liveness_checks", "Quiet peers that were asked for a sign of life", ""),
    "ike_faults": ("ike_faults", "IKE SAs that ended by an error in xdpsec itself", ""),
    "dpd_failed": ("ike_dpd_failures", "Peers that gave no sign of life when asked", ""),
}


def families(view: View) -> Steps:
    """Nothing where no peer negotiates."""
    if view.ike is None:
        return
    ike = view.ike
    up = gauge("ike_peer_up", "1 while there is an IKE SA with the configured peer", ("peer",))
    yield from filled(up, (((peer.name,), peer.up) for peer in ike.peers))
    yield from filled(
        counter("ike_handshakes", "Handshakes by how they ended", ("outcome",)),
        (((outcome,), count) for outcome, count in ike.handshakes.items()),
    )
    yield _durations(ike)
    yield from filled(
        counter("ike_rekeys", "SAs that were replaced", ("kind",)),
        (((kind,), count) for kind, count in ike.rekeys.items()),
    )
    yield from filled(
        gauge("ike_half_open", "Conversations in which nobody proved anything yet"), [((), ike.half_open)]
    )
    yield from filled(
        counter("ike_gate", "Messages that led to no conversation, and cookies", ("event",)),
        (((name.replace(" ", "_"),), count) for name, count in ike.gate.items()),
    )
    yield from filled(
        counter("ike_datagrams_dropped", "Datagrams of the IKE sockets that were no IKE", ("reason",)),
        (((reason,), count) for reason, count in ike.datagrams.items()),
    )
    yield from filled(
        gauge(
            "ike_certificate_end_timestamp_seconds", "When a certificate of ours or an authority ends", ("file", "name")
        ),
        (((file, name), ends) for file, name, ends in ike.certificates),
    )
    yield from _counted(ike)


def _durations(ike: IkeView) -> Family:
    family = HistogramMetricFamily("xdpsec_ike_handshake_seconds", "Time from a first message to an established IKE SA")
    total, buckets = 0, []
    for bound, count in zip((*map(str, ike.bounds), "+Inf"), ike.durations, strict=True):
        total += count
        buckets.append((bound, total))
    family.add_metric([], buckets, ike.seconds)
    return family


def _counted(ike: IkeView) -> Steps:
    for name, (metric, text, label) in COUNTED.items():
        family = counter(metric, text, (label,) if label else ())
        rows = [((key,) if label else (), count) for (kind, key), count in ike.counted.items() if kind == name]
        yield from filled(family, rows or ([] if label else [((), 0)]))
