"""Two of our gateways over IKEv2, as operators run them: up, through rekeys and deaths, never without proof."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from netns.rig import books
from netns.rig.gateways import Gateway, kill
from netns.rig.ike_sites import Wishes, ike_pair
from netns.rig.patience import until
from netns.rig.sites import Pair, leaked, open_tap
from netns.rig.tap import Tap
from xdpsec.demo.lab import LabError
from xdpsec.demo.topology import OUTSIDE

RATE = 100


def total(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    found = [sample for sample in books.metrics(gateway) if sample.name == name]
    return sum(sample.value for sample in found if labels.items() <= sample.labels.items())


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[Pair, Tap]]:
    """Two gateways that call each other, started, and what crosses the wan."""
    with ike_pair(Wishes(peer='dpd = "2s"')) as pair, open_tap(pair) as tap:
        pair.start()
        yield pair, tap


@pytest.fixture(scope="module")
def called() -> Iterator[Pair]:
    """One child; A calls B, which waits: one call, not two that cross."""
    with ike_pair(Wishes(count=1)) as pair:
        pair.b.config.write_text(pair.b.config.read_text() + 'start = "wait"\n')
        pair.start()
        yield pair


def test_up_by_itself_and_both_ways(watched: tuple[Pair, Tap]) -> None:
    pair, tap = watched
    with pair.flows(RATE) as flows:
        flows.wait()
        assert leaked(tap.frames(), flows) == []
    for gateway in pair.gateways:
        status = gateway.ask("status")
        assert [child["up"] for child in status["children"]] == [True] * len(pair.children)
        assert total(gateway, "xdpsec_ike_handshakes_total", outcome="established") >= 1
        assert total(gateway, "xdpsec_ike_peer_up") == 1
        # of two calls that cross one gives way, and hangs half open at the called side until its time is up
        assert total(gateway, "xdpsec_ike_half_open") <= 1


def test_the_first_packet_is_held_until_there_is_an_sa() -> None:
    """on-traffic: nothing is negotiated before; one ping is enough, and it is answered."""
    with ike_pair(Wishes(child='start = "on-traffic"')) as pair:
        pair.start()
        assert total(pair.a, "xdpsec_ike_handshakes_total") == 0
        pair.ping(pair.where.a, 0)
        assert total(pair.a, "xdpsec_ike_handshakes_total", outcome="established") == 1
        assert [child["up"] for child in pair.a.ask("status")["children"]] == [True, False]
        pair.ping(pair.where.b, 1)
        assert total(pair.b, "xdpsec_ike_handshakes_total") == 1  # the second child goes over the first one's IKE SA


def rekeyed(gateway: Gateway, children: int, ike: int) -> bool:
    """So often at least."""
    found = [total(gateway, "xdpsec_ike_rekeys_total", kind=kind) for kind in ("child", "ike")]
    return found[0] >= children and found[1] >= ike


def test_rekeys_of_ike_and_children_lose_nothing() -> None:
    with ike_pair(Wishes(peer='rekey_time = "4s"', child='rekey_time = "2s"')) as pair:
        pair.start()
        with pair.flows(RATE) as flows:
            flows.wait()
            since = time.monotonic()
            until(
                lambda: all(rekeyed(gateway, 10, 3) for gateway in pair.gateways),
                "ten rekeys of children, three of IKE",
            )
            flows.pause()
            flows.settle(since)
            assert [record.twice for record in flows.records] == [0] * len(flows.records)
        for gateway in pair.gateways:
            page = books.read(gateway)
            assert page.verdicts["DROP_NO_SA"] == 0
            carried = total(gateway, "xdpsec_child_packets_total", direction="out")
            assert carried == page.verdicts["ENCRYPTED"]  # those of SAs that are gone too


def test_a_soft_limit_is_a_rekey() -> None:
    """Workers count, and tell when an SA is nearly used up: one child's by packets, the other's by bytes."""
    limits = {"lan1": "rekey_packets = 300", "lan2": "rekey_bytes = 100000"}
    with ike_pair(Wishes(child="LIMIT")) as pair:
        for gateway, more in zip(pair.gateways, ("", '\nstart = "wait"'), strict=True):
            text = gateway.config.read_text()
            for limit in limits.values():
                text = text.replace("LIMIT", limit + more, 1)
            gateway.config.write_text(text)
        pair.start()
        with pair.flows(RATE) as flows:
            flows.wait()
            since, seen = time.monotonic(), {name: spis(pair.a, name) for name in limits}
            until(lambda: twice_replaced(pair.a, seen), lambda: f"SPIs of the children: {seen}")
            flows.pause()
            flows.settle(since)
        for gateway in pair.gateways:
            assert rekeyed(gateway, 4, 0)
            until(lambda ask=gateway.ask: len(ask("list-sas")) <= 4, "what was replaced goes")  # type: ignore[misc]


def twice_replaced(gateway: Gateway, seen: dict[str, set[int]]) -> bool:
    """Has every child had three pairs of SAs, of which each replaced the one before? `seen`: their SPIs so far."""
    for name, found in seen.items():
        found |= spis(gateway, name)
    return all(len(found) >= 6 for found in seen.values())


def spis(gateway: Gateway, child: str) -> set[int]:
    """Of the child's SAs now, either way."""
    return {sa["spi"] for sa in gateway.ask("list-sas") if sa["label"].endswith(f"/{child}")}


def test_behind_a_nat() -> None:
    """Gateway A's address is translated on the way: ESP goes in UDP, and B answers to where it comes from."""
    with ike_pair(Wishes(count=1)) as pair:
        wan, a, b = pair.where.wan, pair.where.a, pair.where.b
        rule = f'ip saddr {a.outer} oifname "{b.wan_port}" masquerade'
        chain = f"type nat hook postrouting priority srcnat;\n{rule}\n"
        rules = f"table ip nat {{\nchain post {{\n{chain}}}\n}}\n"
        pair.lab.inside(wan, "nft", "-f", "-", text_input=rules)
        text = pair.b.config.read_text().replace(f'remote = "{a.outer}"', 'remote = "any"')
        pair.b.config.write_text(text + 'start = "wait"\n')
        pair.start()
        with pair.flows(RATE) as flows:
            flows.wait()
        for gateway, seen in ((pair.a, b.outer), (pair.b, b.router)):
            sas = gateway.ask("list-sas")
            assert {sa["remote"] for sa in sas} == {seen}
            assert all(sa["encap"] and sa["packets"] for sa in sas)


def everything(pair: Pair) -> None:
    pair.a.kill()
    pair.a.start()


def control(pair: Pair) -> None:
    kill([pair.a.control()])


def both(pair: Pair) -> None:
    for gateway in pair.gateways:
        gateway.kill()
    pair.start()


def stopped(pair: Pair) -> None:
    assert pair.a.stop() == 0
    pair.a.start()


@pytest.mark.parametrize("event", [everything, control, both, stopped], ids=lambda event: event.__name__)
def test_up_again_and_never_in_the_clear(watched: tuple[Pair, Tap], event: Callable[[Pair], None]) -> None:
    pair, tap = watched
    with pair.flows(RATE) as flows:
        flows.wait()
        event(pair)
        flows.wait()
        assert leaked(tap.frames(), flows) == []


def test_a_replaced_worker_goes_on_with_the_same_sas(called: Pair) -> None:
    with called.flows(RATE) as flows:
        flows.wait()
        before = total(called.a, "xdpsec_ike_handshakes_total")
        kill([called.a.workers()[0]])
        flows.wait()
    assert total(called.a, "xdpsec_ike_handshakes_total") == before


def test_each_worker_has_its_own_sas_of_one_child() -> None:
    """RFC 9611: flows of one child run on both cores, each over the SA of its worker, and none crosses."""
    with ike_pair(Wishes(count=4, joined=True, child="per_worker = true")) as pair:
        pair.start()
        with pair.flows(RATE) as flows:
            flows.wait()
            until(lambda: all(senders(gateway) == {0, 1} for gateway in pair.gateways), "packets over all workers' SAs")
            before = [handed_over(gateway) for gateway in pair.gateways]  # these came before their worker had its SA
            since = time.monotonic()
            until(lambda: flows.sent_since(since) > RATE, "packets with every SA there")
            flows.pause()
            flows.settle(since)
        assert [handed_over(gateway) for gateway in pair.gateways] == before
        for gateway in pair.gateways:
            ends = {(sa["worker"], sa["direction"]) for sa in gateway.ask("list-sas")}
            assert ends == {(worker, way) for worker in (0, 1) for way in ("in", "out")}


def handed_over(gateway: Gateway) -> int:
    """Frames that crossed from one worker to another."""
    return sum(worker["handoff_sent"] for worker in gateway.ask("status")["workers"])


def senders(gateway: Gateway) -> set[int]:
    """Workers with an SA that something went out over."""
    return {sa["worker"] for sa in gateway.ask("list-sas") if sa["direction"] == "out" and sa["packets"]}


@pytest.mark.parametrize("who", ["initiator", "responder"])
def test_our_address_changes_under_traffic(called: Pair, who: str) -> None:
    """MOBIKE: a gateway gets another outer address and loses the one it had; SAs move, nothing is negotiated anew."""
    site = called.where.a if who == "initiator" else called.where.b
    new, lab = site.outer.rpartition(".")[0] + ".7", called.lab
    with called.flows(RATE) as flows:
        flows.wait()
        before = total(called.a, "xdpsec_ike_handshakes_total")
        lab.ip(site.gateway, "address", "add", f"{new}/24", "dev", OUTSIDE)
        lab.ip(site.gateway, "route", "replace", "default", "via", site.router, "src", new)
        lab.ip(site.gateway, "address", "del", f"{site.outer}/24", "dev", OUTSIDE)
        # the subnet's address was the primary one, and the route went with it
        lab.ip(site.gateway, "address", "replace", f"{new}/24", "dev", OUTSIDE)
        lab.ip(site.gateway, "route", "replace", "default", "via", site.router)
        # until then neighbours' caches may let packets cross by the old address
        of_a = site is called.where.a
        until(lambda: ends(called, of_a) == {new}, lambda: ends(called, of_a))
        flows.wait()
    assert total(called.a, "xdpsec_ike_handshakes_total") == before


def ends(pair: Pair, of_a: bool) -> set[str]:
    """Outer addresses of one gateway, as both gateways' SAs have them."""
    one, other = (pair.a, pair.b) if of_a else (pair.b, pair.a)
    return {sa["local"] for sa in one.ask("list-sas")} | {sa["remote"] for sa in other.ask("list-sas")}


def test_a_peer_from_anywhere() -> None:
    """Gateway A does not know where B is; B's address is not in its configuration."""
    with ike_pair(Wishes(count=1)) as pair:
        text = pair.a.config.read_text().replace(f'remote = "{pair.where.b.outer}"', 'remote = "any"')
        pair.a.config.write_text(text.replace("gw-b.example.net", "*.example.net") + 'start = "wait"\n')
        pair.start()
        with pair.flows(RATE) as flows:
            flows.wait()
        assert [row["address"] for row in pair.a.ask("list-peers")] == [pair.where.b.outer]
        assert [child["up"] for child in pair.a.ask("status")["children"]] == [True]


def test_another_secret_is_refused_and_said() -> None:
    with ike_pair(Wishes(secrets=("the one secret of a", "the other one of b"))) as pair, open_tap(pair) as tap:
        pair.start()
        with pair.flows(RATE) as flows:
            until(lambda: all(map(refuses, pair.gateways)), lambda: [gateway.tail(5) for gateway in pair.gateways])
            since = time.monotonic()
            until(lambda: flows.sent_since(since) > RATE, "packets that could cross after it")
            flows.pause()
            assert [record.arrived for record in flows.records] == [{}] * len(flows.records)
            assert leaked(tap.frames(), flows) == []
        assert [child["up"] for child in pair.a.ask("status")["children"]] == [False, False]
        for gateway in pair.gateways:
            assert total(gateway, "xdpsec_ike_handshakes_total", outcome="established") == 0
        with pytest.raises(LabError):
            pair.ping(pair.where.a, 0, "-W1")


def refuses(gateway: Gateway) -> bool:
    """Does its log say that the peer has another secret?"""
    said = gateway.log.read_text()
    return "does not prove" in said or "AUTHENTICATION_FAILED" in said
