"""Two of our gateways over IKEv2, as operators run them: up, through rekeys and deaths, never without proof."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from netns.rig import books
from netns.rig.gateways import Gateway, kill
from netns.rig.ike_sites import Wishes, ike_pair
from netns.rig.sites import Pair, leaked, open_tap
from xdpsec.demo.lab import LabError
from xdpsec.demo.topology import OUTSIDE

#: From the start of both gateways until packets cross. A handshake takes milliseconds; one that met a gateway still
#: starting is repeated after half a second and then a little more.
UP_SECONDS = 10.0
#: A gateway whose peer lost its state, or was replaced, is back within a retransmission or two.
AGAIN_SECONDS = 15.0
RATE = 100


def total(gateway: Gateway, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    found = [sample for sample in books.metrics(gateway) if sample.name == name]
    return sum(sample.value for sample in found if labels.items() <= sample.labels.items())


def start(pair: Pair) -> None:
    for gateway in pair.gateways:
        gateway.start()


def test_up_by_itself_and_both_ways() -> None:
    with ike_pair() as pair, open_tap(pair) as tap:
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
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
        start(pair)
        assert total(pair.a, "xdpsec_ike_handshakes_total") == 0
        pair.ping(pair.where.a, 0)
        assert total(pair.a, "xdpsec_ike_handshakes_total", outcome="established") == 1
        assert [child["up"] for child in pair.a.ask("status")["children"]] == [True, False]
        pair.ping(pair.where.b, 1)
        assert total(pair.b, "xdpsec_ike_handshakes_total") == 1  # the second child goes over the first one's IKE SA


def test_rekeys_of_ike_and_children_lose_nothing() -> None:
    with ike_pair(Wishes(peer='rekey_time = "4s"', child='rekey_time = "2s"')) as pair:
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
            since = time.monotonic()
            time.sleep(20)
            flows.pause()
            time.sleep(0.5)
            assert flows.lost(since, time.monotonic()) == {}
            assert [record.twice for record in flows.records] == [0] * len(flows.records)
        for gateway in pair.gateways:
            assert total(gateway, "xdpsec_ike_rekeys_total", kind="child") >= 10
            assert total(gateway, "xdpsec_ike_rekeys_total", kind="ike") >= 3
            page = books.read(gateway)
            assert page.verdicts["DROP_NO_SA"] == 0
            carried = total(gateway, "xdpsec_child_packets_total", direction="out")
            assert carried == page.verdicts["ENCRYPTED"]  # those of SAs that are gone too


@pytest.mark.parametrize("limit", ["rekey_packets = 300", "rekey_bytes = 100000"])
def test_a_soft_limit_is_a_rekey(limit: str) -> None:
    """Workers count, and tell when an SA is nearly used up; ten seconds are some hundred packets each way."""
    with ike_pair(Wishes(count=1, child=limit)) as pair:
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
            since = time.monotonic()
            time.sleep(10)
            flows.pause()
            time.sleep(0.5)
            assert flows.lost(since, time.monotonic()) == {}
        for gateway in pair.gateways:
            assert total(gateway, "xdpsec_ike_rekeys_total", kind="child") >= 2
            assert len(gateway.ask("list-sas")) <= 8  # what was replaced goes


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
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
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
    start(pair)


def stopped(pair: Pair) -> None:
    assert pair.a.stop() == 0
    pair.a.start()


@pytest.mark.parametrize("event", [everything, control, both, stopped], ids=lambda event: event.__name__)
def test_up_again_and_never_in_the_clear(event: Callable[[Pair], None]) -> None:
    with ike_pair(Wishes(peer='dpd = "2s"')) as pair, open_tap(pair) as tap:
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
            event(pair)
            flows.wait(time.monotonic(), AGAIN_SECONDS)
            assert leaked(tap.frames(), flows) == []


def test_a_replaced_worker_goes_on_with_the_same_sas() -> None:
    with ike_pair(Wishes(count=1)) as pair:
        pair.b.config.write_text(pair.b.config.read_text() + 'start = "wait"\n')  # one call, not two that cross
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
            before = total(pair.a, "xdpsec_ike_handshakes_total")
            kill([pair.a.workers()[0]])
            flows.wait(time.monotonic(), AGAIN_SECONDS)
        assert total(pair.a, "xdpsec_ike_handshakes_total") == before


def test_each_worker_has_its_own_sas_of_one_child() -> None:
    """RFC 9611: flows of one child run on both cores, each over the SA of its worker, and none crosses."""
    with ike_pair(Wishes(count=4, joined=True, child="per_worker = true")) as pair:
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
            time.sleep(2)
            flows.pause()
        for gateway in pair.gateways:
            sas = gateway.ask("list-sas")
            assert {(sa["worker"], sa["direction"]) for sa in sas} == {
                (w, way) for w in (0, 1) for way in ("in", "out")
            }
            busy = {(sa["worker"], sa["direction"]) for sa in sas if sa["packets"]}
            assert {worker for worker, way in busy if way == "out"} == {0, 1}
            sent = [worker["handoff_sent"] for worker in gateway.ask("status")["workers"]]
            assert sum(sent) <= 64  # frames that came before their worker had its SA


@pytest.mark.parametrize("who", ["initiator", "responder"])
def test_our_address_changes_under_traffic(who: str) -> None:
    """MOBIKE: a gateway gets another outer address and loses the one it had; SAs move, nothing is negotiated anew."""
    # B waits, so that A is the one that began and may move
    with ike_pair(Wishes(count=1)) as pair:
        pair.b.config.write_text(pair.b.config.read_text() + 'start = "wait"\n')
        start(pair)
        site = pair.where.a if who == "initiator" else pair.where.b
        new = site.outer.rpartition(".")[0] + ".7"
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
            before = total(pair.a, "xdpsec_ike_handshakes_total")
            pair.lab.ip(site.gateway, "address", "add", f"{new}/24", "dev", OUTSIDE)
            pair.lab.ip(site.gateway, "route", "replace", "default", "via", site.router, "src", new)
            pair.lab.ip(site.gateway, "address", "del", f"{site.outer}/24", "dev", OUTSIDE)
            # the subnet's address was the primary one, and the route went with it
            pair.lab.ip(site.gateway, "address", "replace", f"{new}/24", "dev", OUTSIDE)
            pair.lab.ip(site.gateway, "route", "replace", "default", "via", site.router)
            # until then neighbours' caches may let packets cross by the old address
            until = time.monotonic() + AGAIN_SECONDS
            while ends(pair, site is pair.where.a) != {new}:
                assert time.monotonic() < until, ends(pair, site is pair.where.a)
                time.sleep(0.1)
            flows.wait(time.monotonic(), AGAIN_SECONDS)
        assert total(pair.a, "xdpsec_ike_handshakes_total") == before


def ends(pair: Pair, of_a: bool) -> set[str]:
    """Outer addresses of one gateway, as both gateways' SAs have them."""
    one, other = (pair.a, pair.b) if of_a else (pair.b, pair.a)
    return {sa["local"] for sa in one.ask("list-sas")} | {sa["remote"] for sa in other.ask("list-sas")}


def test_a_peer_from_anywhere() -> None:
    """Gateway A does not know where B is; B's address is not in its configuration."""
    with ike_pair(Wishes(count=1)) as pair:
        text = pair.a.config.read_text().replace(f'remote = "{pair.where.b.outer}"', 'remote = "any"')
        pair.a.config.write_text(text.replace("gw-b.example.net", "*.example.net") + 'start = "wait"\n')
        start(pair)
        with pair.flows(RATE) as flows:
            flows.wait(time.monotonic(), UP_SECONDS)
        assert [row["address"] for row in pair.a.ask("list-peers")] == [pair.where.b.outer]
        assert [child["up"] for child in pair.a.ask("status")["children"]] == [True]


def test_another_secret_is_refused_and_said() -> None:
    with ike_pair(Wishes(secrets=("the one secret of a", "the other one of b"))) as pair, open_tap(pair) as tap:
        start(pair)
        with pair.flows(RATE) as flows:
            with pytest.raises(TimeoutError):
                flows.wait(time.monotonic(), 3)
            assert leaked(tap.frames(), flows) == []
        assert [child["up"] for child in pair.a.ask("status")["children"]] == [False, False]
        for gateway in pair.gateways:
            assert total(gateway, "xdpsec_ike_handshakes_total", outcome="established") == 0
            assert "does not prove" in gateway.log.read_text() or "AUTHENTICATION_FAILED" in gateway.log.read_text()
        with pytest.raises(LabError):
            pair.ping(pair.where.a, 0)
