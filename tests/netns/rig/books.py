"""The books of a gateway: every frame that came in at a port went out at one, or is in a drop counter.

In: the door's verdicts, per CPU, summed. Out: completions. Between: what the redirect refused, what the sockets lost
(XDP_STATISTICS), what the workers' verdicts say. All from `xdpsec drops --json` and the metrics endpoint; the cable's
own counters at the far ends say whether the books are true.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from netns.rig.gateways import Gateway
from netns.rig.patience import HANG_SECONDS, until
from netns.rig.spaces import inside
from xdpsec.demo.lab import Lab

URL = "http://127.0.0.1:9310/metrics"
TO_WORKER = ("ESP_TO_WORKER", "AH_TO_WORKER", "UDP_ESP_TO_WORKER", "INSIDE_TO_WORKER")
#: Of XDP_STATISTICS, what counts frames; the fill ring's being empty is counted there and in rx_dropped.
LOST = ("rx_dropped", "rx_ring_full")
SENT = ("DECRYPTED", "ENCRYPTED", "ANSWERED")


@dataclass
class Page:
    """By port: `came` to the door, `redirected` by it, `lost` in sockets, `taken` by workers, `given` to the kernel by
    workers, `completed`. `verdicts` of all workers, `held` frames wait."""

    came: dict[str, int] = field(default_factory=dict)
    redirected: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    taken: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    given: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    completed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    verdicts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: int = 0


def read(gateway: Gateway) -> Page:
    """The page as it stands now."""
    page, drops = Page(), gateway.ask("drops")
    for port, counts in drops["door"].items():
        page.came[port] = sum(counts.values())
        page.redirected[port] = sum(counts.get(name, 0) for name in TO_WORKER)
    for sample in metrics(gateway):
        labels, value = sample.labels, int(sample.value)
        match sample.name:
            case "xdpsec_socket_drops_total" if labels["reason"] in LOST:
                page.lost[labels["port"]] += value
            case "xdpsec_worker_packets_total":
                side = page.taken if labels["direction"] == "in" else page.given
                side[labels["port"]] += value
            case "xdpsec_worker_completions_total":
                page.completed[labels["port"]] += value
            case "xdpsec_worker_verdicts_total":
                page.verdicts[labels["verdict"]] += value
            case "xdpsec_worker_held_frames":
                page.held += value
    return page


def metrics(gateway: Gateway) -> list[Sample]:
    """Every sample of the metrics endpoint."""
    return [sample for family in text_string_to_metric_families(scrape(gateway)) for sample in family.samples]


def scrape(gateway: Gateway) -> str:
    """What the metrics endpoint says, asked in the gateway's namespace."""
    return inside(gateway.namespace, lambda: str(urllib.request.urlopen(URL, timeout=HANG_SECONDS).read().decode()))


def cable(lab: Lab, namespace: str, interface: str) -> tuple[int, int]:
    """Frames that the far end of a cable sent and received."""
    row = json.loads(lab.ip(namespace, "-j", "-s", "link", "show", interface))[0]["stats64"]
    return int(row["tx"]["packets"]), int(row["rx"]["packets"])


def rest(gateways: Sequence[Gateway]) -> None:
    """Until all books balance, and stand as they stood a look before. AssertionError says what does not balance."""
    pages: list[Page] = []

    def still() -> bool:
        before, pages[:] = list(pages), [read(gateway) for gateway in gateways]
        with contextlib.suppress(AssertionError):
            for page in pages:
                check(page)
            return pages == before
        return False

    try:
        until(still, "the gateways do not come to rest")
    finally:
        for page in pages:
            check(page)


def check(page: Page) -> None:
    """At rest the books balance, exactly, port by port."""
    for port in page.came:
        assert page.redirected[port] == page.taken[port] + page.lost[port], f"{port}: between door and workers"
        assert page.given[port] == page.completed[port], f"{port}: between workers and kernel"
    assert sum(page.taken.values()) == sum(page.verdicts.values()) + page.held, "inside the workers"
    sent = sum(page.verdicts[name] for name in SENT)
    assert sum(page.given.values()) == sent, "what workers say they sent and what they gave to the kernel"
