"""Children between machines and workers: nothing is answered before both SAs are there, nothing lost on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hurry import hurry
from ike_rig import Desk, desk, negotiated

from xdpsec.channel import messages as words
from xdpsec.crypto.suites import esp_suite
from xdpsec.daemon.ike import children as module
from xdpsec.daemon.ike import esp, sas
from xdpsec.daemon.ike.children import Pair
from xdpsec.ike import selectors
from xdpsec.ike.events import InstallInbound, NegotiatedChild, RetireChild
from xdpsec.ike.events import Path as Ends
from xdpsec.numbers import Encr, Protocol
from xdpsec.policy.slots import FREE

SA_WORDS = (words.SaInstall, words.SaUse, words.SaRemove)


def test_ranges_of_many_prefixes_are_refused_before_they_are_multiplied(tmp_path: Path) -> None:
    """From one odd address to another it is some thirty prefixes: 64 such on either side made 800,000 pairs."""

    async def test() -> None:
        async with desk(tmp_path) as d:
            here, there = (
                tuple(selectors.selector(f"10.{net}.{n}.1-10.{net}.{n}.254") for n in range(64)) for net in (1, 2)
            )
            made = negotiated(d.config, 0x10000000, local=here, remote=there)
            assert len(esp.rows(made)) == esp.MAX_SELECTORS + 1
            d.children.install(InstallInbound(7, 1, made))
            assert d.answers == [(7, 1, "more than 16 pairs of prefixes")]

    hurry(test)


def test_both_sas_are_at_the_childs_worker_before_the_answer(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            child = await d.install(index=1)
            assert d.answers == [(7, 1, "")]
            inbound, outbound = d.heard(1, *SA_WORDS)
            assert isinstance(inbound, words.SaInstall)
            assert isinstance(outbound, words.SaInstall)
            assert (inbound.spi, inbound.outbound, outbound.spi, outbound.outbound) == (
                *(child.spi_in, False, child.spi_out),
                True,
            )
            assert (inbound.key, outbound.key) == (child.keys_in.key, child.keys_out.key)
            assert (outbound.cipher, outbound.icv_len, outbound.esn) == ("aes-gcm", 16, True)
            assert outbound.selectors == (words.Selector("10.1.0.0/16", "10.3.0.0/16"),)
            assert (outbound.local, outbound.remote, outbound.encap_local) == ("198.51.100.1", "203.0.113.7", 0)
            assert d.heard(0, *SA_WORDS) == []
            assert d.slots.numbers(inbound.slot).granted == (1 << 64) - 1
            assert d.slots.numbers(outbound.slot).next_seq == 1

    hurry(test)


def test_behind_a_nat_esp_goes_in_udp(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            await d.install(encap=True, path=Ends("198.51.100.1", 4500, "203.0.113.7", 1024))
            word = d.heard(0, words.SaInstall)[1]
            assert isinstance(word, words.SaInstall)
            assert (word.encap_local, word.encap_remote) == (4500, 1024)

    hurry(test)


def test_gmac_is_carried_and_what_workers_lack_is_parked(tmp_path: Path) -> None:
    """Wireshark has no word for GMAC, so its keys are in no row of it (RFC 4543); nobody here has implicit IVs."""

    async def test() -> None:
        async with desk(tmp_path) as d:
            child = await d.install(1, suite=esp_suite(Encr.NULL_AES_GMAC, 256))
            word = d.heard(0, words.SaInstall)[0]
            assert isinstance(word, words.SaInstall)
            assert (word.cipher, word.auth, word.icv_len) == ("aes-gmac", "", 16)
            assert [esp.key_row(sa) for sa in esp.pair(child, d.config.gateway, "lan")] == ["", ""]
            await d.install(2, suite=esp_suite(Encr.AES_GCM_16_IIV, 128))
            assert d.answers[-1] == (7, 2, "")
            assert [pair.parked for pair in d.children.pairs.values()] == ["", "aes128gcm16iiv is not carried yet"]
            assert len(d.heard(0, words.SaInstall)) == 2

    hurry(test)


def test_a_worker_that_refuses_is_told_to_the_machine(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            spi = d.children.new_spi(0, None)
            d.boss.workers[0].refuses = frozenset({spi})
            await d.install(spi_in=spi)
            assert d.answers == [(7, 1, "no room")]

    hurry(test)


def test_a_slot_whose_id_a_worker_wrote_over_is_not_given_twice(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            await d.install()
            free = d.slots.free()
            for seat in d.seats:
                numbers = d.slots.numbers(seat.slot)
                d.slots.take(seat.slot, FREE, seat.sa.spi, numbers)
            assert len(d.slots.free()) == len(free) + 2
            assert sas.Sas(d.seats, d.slots, d.fleet, d.snapshots).free == len(free)

    hurry(test)


def test_a_peer_with_all_its_slots_takes_none_of_another_s(tmp_path: Path) -> None:
    """Of 16 slots two children may have 12; a guest gets in all the same, and when something goes there is room."""

    async def test() -> None:
        async with desk(tmp_path) as d:
            made = [await d.install(ticket) for ticket in range(1, 8)]
            assert [answer[2] for answer in d.answers[:-1]] == [""] * 6
            assert "branch has all slots of sa_state that it may have" in str(d.answers[-1][2])
            await d.install(8, index=2)
            await d.install(9, index=2)
            assert [answer[2] for answer in d.answers[-2:]] == ["", ""]
            d.retire(made[0], "deleted")
            await d.until(lambda: len(d.slots.free()) == 2)
            await d.install(10)
            assert d.answers[-1][2] == ""

    hurry(test)


def test_who_rekeys_without_end_does_it_at_his_own_cost(tmp_path: Path) -> None:
    """Each replaced pair would keep its slots for the whole grace; what was replaced before the last one does not."""

    async def test() -> None:
        async with desk(tmp_path) as d:
            old = await d.install(1)
            for ticket in range(2, 60):
                new = await d.install(ticket, replaces=old.spi_in)
                d.use(new)
                d.retire(old, "rekeyed")
                assert old.spi_in in d.children.pairs  # this one still takes what is on its way
                await asyncio.sleep(0.01)  # a round trip
                old = new
            assert {answer[2] for answer in d.answers} == {""}
            await d.install(60, index=2)
            assert d.answers[-1][2] == ""

    hurry(test)


def test_rekey_install_switch_retire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's first packet on the new SA moves ours; the old pair goes after its grace, and its slots are free."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)

    async def test() -> None:
        async with desk(tmp_path) as d:
            old = await d.install(1)
            d.use(old)
            free = len(d.slots.free())
            new = await d.install(2, replaces=old.spi_in)
            slots = [word.slot for word in d.heard(0, words.SaInstall) if isinstance(word, words.SaInstall)]
            await d.until(lambda: d.heard(0, words.SaUse))
            assert d.heard(0, words.SaUse) == [words.SaUse(0, slots[1])]
            d.children.first_use(slots[2])
            d.children.first_use(slots[2])  # twice changes nothing
            d.retire(old, "rekeyed")
            await d.until(lambda: len(d.heard(0, words.SaRemove)) == 2)
            assert d.heard(0, words.SaUse) == [words.SaUse(0, slots[1]), words.SaUse(0, slots[3])]
            assert d.heard(0, *SA_WORDS)[-1:] != [words.SaUse(0, slots[3])]
            await d.until(lambda: len(d.slots.free()) == free)
            assert set(d.children.pairs) == {new.spi_in}
            assert d.children.is_up(0)

    hurry(test)


def test_a_peer_that_asked_is_given_time_for_our_answer(tmp_path: Path) -> None:
    """Packets that go out with the answer would meet a peer that has no SA for them."""

    async def test() -> None:
        async with desk(tmp_path) as d:
            asked = await d.install(1, initiator=False)
            d.use(asked)
            assert not d.children.is_up(0)
            pair = d.children.pairs[asked.spi_in]
            d.children.first_use(pair.slot_out)
            assert d.proved == []
            d.children.first_use(pair.slot_in)
            assert d.proved == [(pair.ike, asked.spi_in)]
            assert d.children.is_up(0)
            quiet = await d.install(2, 1, initiator=False)
            began = asyncio.get_running_loop().time()
            d.use(quiet)
            await d.until(lambda: d.children.is_up(1))
            assert asyncio.get_running_loop().time() - began >= module.PATIENCE_SECONDS

    hurry(test)


def test_two_pairs_of_one_child_the_other_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)

    async def test() -> None:
        async with desk(tmp_path) as d:
            one, other = await d.install(1), await d.install(2)
            d.use(one)
            d.use(other)
            slots = [d.children.pairs[child.spi_in].slot_out for child in (one, other)]
            d.retire(other, "down")
            await d.until(lambda: len(d.heard(0, words.SaRemove)) == 2)
            assert d.heard(0, words.SaUse) == [words.SaUse(0, slot) for slot in (slots[0], slots[1], slots[0])]
            assert d.children.is_up(0)

    hurry(test)


def test_children_follow_their_peer(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            await d.install(1)
            d.children.moved(8, Ends("198.51.100.9", 500, "203.0.113.9", 500), False)  # another machine's
            d.children.moved(7, Ends("198.51.100.1", 4500, "203.0.113.9", 1024), True)
            slots = [word.slot for word in d.heard(0, words.SaInstall) if isinstance(word, words.SaInstall)]
            await d.until(lambda: len(d.heard(0, words.SaMove)) == 2)
            expected = [words.SaMove(slot, "198.51.100.1", "203.0.113.9", 4500, 1024) for slot in slots]
            assert d.heard(0, words.SaMove) == expected
            d.boss.kill(0)
            await d.boss.serve(1)  # its successor finds them where they are now
            assert {(w.remote, w.encap_remote) for w in d.heard(0, words.SaInstall)} == {("203.0.113.9", 1024)}  # type: ignore[union-attr]

    hurry(test)


def test_where_packets_come_from_is_said_to_their_machine(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            child = await d.install(1, encap=True)
            inbound, outbound = d.heard(0, words.SaInstall)
            assert isinstance(inbound, words.SaInstall)
            assert isinstance(outbound, words.SaInstall)
            for slot in (outbound.slot, 15, inbound.slot):
                d.children.elsewhere(slot, "203.0.113.9", 61000)
            assert d.seen == [(7, child.spi_in, "203.0.113.9", 61000)]

    hurry(test)


def test_guests_of_one_child_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a number and policies of its own, the newest first; a rekey keeps them, the end takes them away."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)

    async def guest(d: Desk, ticket: int, address: str, **more: object) -> NegotiatedChild:
        remote = (selectors.selector(f"{address}/32"),)
        child = await d.install(ticket, 2, peer="road", name="net", remote=remote, initiator=False, **more)
        d.children.first_use(d.children.pairs[child.spi_in].slot_in)
        return child

    def rows(d: Desk) -> list[tuple[str, int]]:
        return [(row.selector.remote, row.child) for row in d.policies[-1]]

    async def test() -> None:
        async with desk(tmp_path) as d:
            one = await guest(d, 1, "10.9.0.1")
            other = await guest(d, 2, "10.9.0.2")
            assert rows(d) == [("10.9.0.2/32", 4), ("10.9.0.1/32", 3)]
            installs = d.heard(0, words.SaInstall)
            assert [word.child for word in installs if isinstance(word, words.SaInstall)] == [3, 3, 4, 4]
            await d.until(lambda: len(d.heard(0, words.SaUse)) == 2)
            assert {view.child for view in d.snapshots.views()} == {2}  # for people it is the configured one
            told = len(d.policies)
            again = await guest(d, 3, "10.9.0.1", replaces=one.spi_in)
            d.retire(one, "failed")
            assert d.children.pairs[again.spi_in].number == 3
            assert len(d.policies) == told
            d.retire(again, "down")
            await d.until(lambda: len(d.policies) > told)
            assert rows(d) == [("10.9.0.2/32", 4)]
            d.retire(other, "down")
            assert rows(d) == []

    hurry(test)


def test_a_guest_that_goes_looks_at_none_of_the_others(tmp_path: Path) -> None:
    """There may be ten thousand of one child."""
    looked = [0]

    class Other(Pair):
        __slots__ = ()

        def __getattribute__(self, name: str) -> object:
            looked[0] += 1
            return super().__getattribute__(name)

    async def test() -> None:
        async with desk(tmp_path) as d:
            for ike in range(4):
                remote = (selectors.selector(f"10.9.0.{ike + 1}/32"),)
                spi = d.children.new_spi(2, None)
                made = negotiated(d.config, spi, 2, peer="road", name="net", remote=remote, initiator=False)
                d.children.install(InstallInbound(ike, ike, made))
                await d.until(lambda ike=ike: d.answers and d.answers[-1][1] == ike)
                d.children.first_use(d.children.pairs[spi].slot_in)
            first, *others = d.children.pairs.values()
            for other in others:
                other.__class__ = Other
            d.children.retire(RetireChild(first.ike, first.spi_in, first.spi_out, 2, "down"))
            assert first.spi_in not in d.children.pairs
            assert looked == [0]

    hurry(test)


@pytest.mark.parametrize("more", ["", 'protocol = "udp"\nremote_ports = [53, 53]', 'protocol = "icmp"'])
def test_what_is_as_configured_has_no_policies_of_its_own(tmp_path: Path, more: str) -> None:
    async def test() -> None:
        async with desk(tmp_path, more) as d:
            child = d.config.children[0]
            local = tuple(selectors.selector(text, child.protocol, child.local_ports) for text in child.local)
            remote = tuple(selectors.selector(text, child.protocol, child.remote_ports) for text in child.remote)
            d.use(await d.install(1, local=local, remote=remote))
            assert [word.child for word in d.heard(0, words.SaInstall)] == [0, 0]  # type: ignore[union-attr]
            assert d.policies == [[]]

    hurry(test)


def test_what_a_peer_narrowed_is_not_sent_beyond_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7296 sec. 2.9: a fixed peer takes a part, then another part too. Each part has its SAs, the rest has none."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.05)

    async def test() -> None:
        async with desk(tmp_path) as d:

            async def part(ticket: int, remote: str, replaces: int = 0) -> NegotiatedChild:
                child = await d.install(ticket, remote=(selectors.selector(remote),), replaces=replaces)
                d.use(child)
                return child

            def rows() -> list[tuple[str, int]]:
                return [(row.selector.remote, row.child) for row in d.policies[-1]]

            one = await part(1, "10.2.1.0/24")
            inbound, outbound = d.heard(0, words.SaInstall)
            assert isinstance(inbound, words.SaInstall)
            assert isinstance(outbound, words.SaInstall)
            assert inbound.selectors == (words.Selector("10.1.0.0/16", "10.2.1.0/24"),)  # else DROP_SELECTOR
            assert (inbound.child, outbound.child) == (3, 3)
            await d.until(lambda: d.heard(0, words.SaUse))
            assert d.heard(0, words.SaUse) == [words.SaUse(3, outbound.slot)]
            assert rows() == [("10.2.1.0/24", 3)]  # before those of the configuration, whose child has no SA
            assert d.children.is_up(0)
            other = await part(2, "10.2.2.0/24")
            assert rows() == [("10.2.2.0/24", 4), ("10.2.1.0/24", 3)]
            again = await part(3, "10.2.1.0/24", replaces=one.spi_in)
            d.retire(one, "rekeyed")
            assert rows() == [("10.2.2.0/24", 4), ("10.2.1.0/24", 3)]
            whole = await d.install(4, replaces=again.spi_in)
            d.use(whole)
            d.retire(again, "rekeyed")  # the peer has forgotten it: at once, not after its grace
            assert rows() == [("10.2.2.0/24", 4)]
            d.retire(other, "deleted")
            assert rows() == []
            await d.until(lambda: len(d.children.pairs) == 1)

    hurry(test)


def test_an_outbound_sas_number_proves_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            await d.install()
            outbound = d.heard(0, words.SaInstall)[1]
            assert isinstance(outbound, words.SaInstall)
            d.children.first_use(outbound.slot)
            assert not d.children.is_up(0)

    hurry(test)


@pytest.mark.parametrize("reason", ["deleted", "closed", "failed", "down"])
def test_other_ends_are_at_once(tmp_path: Path, reason: str) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            child = await d.install()
            d.use(child)
            keys = child.keys_in.key, child.keys_out.key
            d.retire(child, reason)
            assert not d.children.pairs
            assert keys == (bytes(20), bytes(20))  # wiped
            await d.until(lambda: len(d.slots.free()) == d.slots.count)
            assert d.changes == [(0, True), (0, False)]
            assert not d.children.is_up(0)

    hurry(test)


def test_what_was_carried_is_kept(tmp_path: Path) -> None:
    """Counters of a child never fall back when its SAs go."""

    async def test() -> None:
        async with desk(tmp_path) as d:
            for ticket, packets in ((1, 10), (2, 5)):
                child = await d.install(ticket)
                slot = d.children.pairs[child.spi_in].slot_out
                d.slots._slot(slot).packets = packets
                d.slots._slot(slot).bytes = packets * 100
                d.retire(child, "deleted")
                await d.until(lambda: len(d.slots.free()) == d.slots.count)
            assert d.sas.sums[0, True][:2] == (15, 1500)

    hurry(test)


def test_a_replaced_worker_finds_its_sas_in_its_snapshot(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            old = await d.install(1)
            d.use(old)
            new = await d.install(2, replaces=old.spi_in)
            before = [word for word in d.heard(0, words.SaInstall) if isinstance(word, words.SaInstall)]
            d.boss.kill(0)
            await d.boss.serve(1)
            after = [word for word in d.heard(0, words.SaInstall) if isinstance(word, words.SaInstall)]
            assert [(w.spi, w.slot, w.key) for w in after] == [(w.spi, w.slot, w.key) for w in before]
            assert [w.spi for w in after] == [old.spi_in, old.spi_out, new.spi_in, new.spi_out]
            assert d.heard(0, words.SaUse) == [words.SaUse(0, after[1].slot)]
            assert d.heard(0, words.SeqGrant) == []  # granted to the end already

    hurry(test)


def test_while_a_worker_is_down_nothing_is_answered_with_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sas, "REST_SECONDS", 0.01)

    async def test() -> None:
        async with desk(tmp_path) as d:
            d.fleet.members[0].told = False
            child = await d.install()
            assert d.answers == [(7, 1, "worker 0 is not up")]
            d.retire(child, "failed")
            await d.until(lambda: len(d.slots.free()) == d.slots.count)

    hurry(test)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"protocol": Protocol.AH}, "AH"),
        ({"mode": "transport"}, "transport mode"),
        ({"local": (selectors.selector("fd00::/64"),), "remote": (selectors.selector("fd01::/64"),)}, "IPv6"),
    ],
)
def test_what_no_worker_carries_is_negotiated_all_the_same(
    tmp_path: Path, changed: dict[str, object], why: str
) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            child = await d.install(**changed)  # type: ignore[arg-type]
            d.use(child)
            assert d.answers == [(7, 1, "")]
            assert why in d.children.pairs[child.spi_in].parked
            assert d.heard(0, *SA_WORDS) == []
            d.retire(child, "deleted")
            assert not d.children.pairs

    hurry(test)


def test_limits_ask_for_a_rekey_and_then_for_the_end(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            child = await d.install()
            slot = d.children.pairs[child.spi_in].slot_out
            d.children.worn(slot)
            d.children.spent(slot)
            d.children.worn(slot + 5)  # nobody's
            assert d.asked == [("rekey", 7, child.spi_in), ("close", 7, child.spi_in)]

    hurry(test)


def test_spis_are_placed_at_the_worker_that_is_wanted(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            spis = [d.children.new_spi(child, None) for child in (0, 1) for _ in range(200)]
            assert [d.spis.owner(spi) for spi in spis] == [0] * 200 + [1] * 200
            assert len(set(spis)) == 400
            assert min(spis) > 255
            assert d.spis.owner(d.children.new_spi(0, 1)) == 1  # RFC 9611: the worker that is asked for

    hurry(test)


def test_silence_is_measured_over_inbound_sas(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            child = await d.install()
            assert d.children.silent_for((child.spi_in,), 100.0) is None
            d.slots._slot(d.children.pairs[child.spi_in].slot_in).last_seen_ns = 90 * 10**9
            assert d.children.silent_for((child.spi_in, 5), 100.0) == 10.0

    hurry(test)


def test_which_engine_serves_a_suite_is_asked_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with desk(tmp_path) as d:
            before = len(d.heard(0, words.SaQuery))
            await d.install(1)
            await d.install(2)
            await d.until(lambda: all(row.engine for row in d.snapshots.views()))
            assert len(d.heard(0, words.SaQuery)) == before + 1

    hurry(test)
