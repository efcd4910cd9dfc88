"""MOBIKE over a wire with addresses: who may move what, what a NAT does, and that nothing moves by itself: RFC 4555."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from attacker import Attacker
from pair import A, B, Pair, Side, downs, established, mirrored, only_child, pair, peer

from xdpsec.errors import PeerError
from xdpsec.ike.events import Note, Path, PathChanged
from xdpsec.ike.v2 import addresses, mobike
from xdpsec.numbers import ExchangeType, NotifyType, Protocol
from xdpsec.wire.payloads import Delete, Notify

ELSEWHERE = "198.51.100.7"
HERE = Path(A, 4500, B, 4500)


def move(both: Pair, path: Path) -> None:
    both.a.machine.move(path, both.now)
    both.settle()


def paths(side: Side) -> list[tuple[Path, bool]]:
    return [(event.path, event.encap) for event in side.told(PathChanged)]


@pytest.fixture
def both() -> Iterator[Pair]:
    """Up, and so long that the answers of IKE_AUTH are known to have come."""
    yield (up := established())
    up.run(50.0)
    up.agree()


def test_both_sides_follow_the_initiator(both: Pair) -> None:
    there = replace(HERE, local=ELSEWHERE)
    move(both, there)
    both.run(5.0)
    assert paths(both.a) == [(there, False)]
    assert paths(both.b) == [(Path(B, 4500, ELSEWHERE, 4500), False)]
    both.b.machine.rekey_child(only_child(both.b), both.now)
    both.settle()
    both.run(30.0)
    assert both.up()
    assert both.a.sa.path == there


def test_the_children_of_the_responder_wait_until_the_new_address_is_proved(both: Pair) -> None:
    """RFC 4555 sec. 3.7: COOKIE2 comes back first."""
    silent = [False]
    both.wire.fate = lambda number, sender, data: () if sender == "a" and silent[0] else (0.01,)
    move(both, replace(HERE, local=ELSEWHERE))
    silent[0] = True
    both.run(1.0)
    assert both.b.sa.path.remote == ELSEWHERE  # IKE answers there
    assert paths(both.b) == []
    silent[0] = False
    both.run(10.0)
    assert len(paths(both.b)) == 1


def test_what_was_under_way_goes_out_again_from_the_new_address(both: Pair) -> None:
    both.run(10.0)
    dead = [True]
    both.wire.fate = lambda number, sender, data: () if dead[0] else (0.01,)
    both.a.machine.rekey_child(only_child(both.a), both.now)
    both.settle()
    both.run(60.0)
    dead[0] = False
    before = len(both.wire.log)
    move(both, replace(HERE, local=ELSEWHERE))
    both.run(0.005)
    assert [path.local for _, _, path in both.wire.log[before:]] == [ELSEWHERE]
    both.run(1.0)
    assert len(both.a.installed) == 1
    assert paths(both.b) == [(Path(B, 4500, ELSEWHERE, 4500), False)]


def test_moving_behind_a_nat_puts_esp_into_udp_and_back(both: Pair) -> None:
    inside = Path("10.0.0.5", 4500, B, 4500)

    def translate(sender: str, path: Path) -> Path:
        if sender == "a" and path.local == inside.local:
            return replace(path, local=ELSEWHERE, local_port=61_000)
        if sender == "b" and path.remote == ELSEWHERE:
            return replace(path, remote=inside.local, remote_port=4500)
        return path

    both.translate = translate
    move(both, inside)
    both.run(5.0)
    assert paths(both.a) == [(inside, True)]
    assert paths(both.b) == [(Path(B, 4500, ELSEWHERE, 61_000), True)]
    assert (both.a.sa.nat_here, both.b.sa.nat_there) == (True, True)
    move(both, HERE)
    both.run(5.0)
    assert paths(both.a)[-1] == (HERE, False)
    assert paths(both.b)[-1] == (Path(B, 4500, A, 4500), False)


def test_with_mobike_nothing_moves_by_itself(both: Pair) -> None:
    """RFC 4555 sec. 3.8: authentic messages from elsewhere are answered there and move nothing."""
    both.translate = lambda sender, path: replace(path, local=ELSEWHERE) if sender == "a" else path
    both.a.machine.rekey_child(only_child(both.a), both.now)
    both.settle()
    both.run(1.0)
    assert both.b.sa.path.remote == A
    assert paths(both.b) == []
    both.translate = lambda sender, path: path


def test_a_nat_that_changes_its_mind_is_noticed_by_the_next_probe() -> None:
    port = [61_000]

    def translate(sender: str, path: Path) -> Path:
        if sender == "a":
            return replace(path, local=ELSEWHERE, local_port=port[0])
        return replace(path, remote=A, remote_port=4500 if path.local_port == 4500 else 500)

    ours = peer()
    both = pair(replace(ours, dpd=30.0), mirrored(replace(ours, dpd=30.0), remote=""))
    both.translate = translate
    both.connect()
    both.run(70.0)
    assert both.up()
    port[0] = 62_000
    both.run(70.0)
    assert paths(both.b) == [(Path(B, 4500, ELSEWHERE, 62_000), True)]
    assert both.b.sa.path.remote_port == 62_000
    both.run(100.0)
    assert len(paths(both.b)) == 1


def test_the_responder_may_not_move_and_the_initiator_keeps_its_part_over_rekeys(both: Pair) -> None:
    both.run(10.0)
    both.b.machine.move(Path(ELSEWHERE, 4500, A, 4500), both.now)
    both.settle()
    assert both.b.sa.path.local == B
    both.b.machine.rekey_ike(both.now)
    both.settle()
    both.run(5.0)
    assert not both.a.sa.initiator  # of this IKE SA it is the responder
    move(both, replace(HERE, local=ELSEWHERE))
    both.run(5.0)
    assert len(paths(both.b)) == 1


@pytest.mark.parametrize("who", ["a", "b"])
def test_mobike_needs_both(who: str) -> None:
    ours, theirs = peer(mobike=who != "a"), peer(mobike=who != "b")
    both = established(ours, mirrored(theirs))
    assert not both.a.sa.mobike
    assert not both.b.sa.mobike
    move(both, replace(HERE, local=ELSEWHERE))
    both.run(5.0)
    assert paths(both.a) == []


class Liar(mobike.Move):
    """Says something else than it should."""

    def __init__(self, path: Path, *extra: Notify) -> None:
        super().__init__(path)
        self.extra = extra

    def build(self, m, sa):  # type: ignore[no-untyped-def]
        ask = yield from super().build(m, sa)
        assert ask
        return replace(ask, payloads=(*ask.payloads, *self.extra))


def test_no_nats_allowed_is_held_against_the_headers(both: Pair) -> None:
    right = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + (4500).to_bytes(2, "big") * 2
    for data, refused in ((right, False), (right[:-1] + b"\0", True), (b"", True)):
        before = len(both.a.told(Note))
        both.a.machine.ask(both.a.sa, Liar(both.a.sa.path, Notify(NotifyType.NO_NATS_ALLOWED, data)))
        both.run(200.0)
        said = [note.event for note in both.a.told(Note)[before:]]
        assert ("the peer does not accept our new address" in said) == refused
    assert not downs(both.a)


@pytest.mark.parametrize("mobike", [True, False])
@pytest.mark.parametrize(("port", "true"), [(4500, True), (4501, False)])
def test_no_nats_allowed_holds_in_ike_auth_too(mobike: bool, port: int, true: bool) -> None:
    """RFC 4555 sec. 3.9: the first IKE_AUTH request carries it, and the responder MUST verify it; only where both know
    MOBIKE."""
    bad = Attacker(peer(), mirrored(peer(mobike=mobike))).keyed()
    bad.path = replace(bad.path, local_port=4500, remote_port=4500)
    data = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + port.to_bytes(2, "big") + (4500).to_bytes(2, "big")
    answer = bad.ask(ExchangeType.IKE_AUTH, (*bad.auth(), Notify(NotifyType.NO_NATS_ALLOWED, data)))
    if true or not mobike:
        assert bad.machine.stands
    else:
        assert answer == (Notify(NotifyType.UNEXPECTED_NAT_DETECTED),)
        assert not bad.machine.stands
        assert not bad.b.installed
        assert "a NAT is on the path" in bad.downs()[-1].text


def test_what_is_refused_for_a_nat_does_nothing_else() -> None:
    bad = Attacker().established()
    (child,) = bad.machine.sa.children.values()
    said = (
        Delete(Protocol.ESP, (child.spi_out.to_bytes(4, "big"),)),
        Notify(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes((198, 51, 100, 9))),
        Notify(NotifyType.NO_NATS_ALLOWED, b"elsewhere"),
    )
    before = bad.machine.peer_addresses
    assert bad.ask(ExchangeType.INFORMATIONAL, said) == (Notify(NotifyType.UNEXPECTED_NAT_DETECTED),)
    assert list(bad.machine.sa.children) == [child.spi_in]
    assert bad.machine.peer_addresses == before


def test_a_peer_that_names_ever_other_addresses_leaves_one_move_waiting() -> None:
    """RFC 4555 sec. 3.6: each list replaces the one before. It never answers what we ask then."""
    bad = Attacker().trusted()
    for data in bad.held:
        bad.send(data)
    bad.next_id = 0
    assert bad.machine.stands
    start = bad.path
    for number in range(20):
        bad.path = replace(start, remote=f"198.51.100.{number}")
        said = Notify(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes((203, 0, 113, number)))
        assert bad.ask(ExchangeType.INFORMATIONAL, (said,)) == ()
    (waiting,) = bad.machine.sa.tasks
    assert isinstance(waiting, mobike.Move)
    assert waiting.path == bad.machine.sa.path
    assert waiting.path.remote == bad.path.remote


def test_a_cookie_that_comes_back_changed_ends_the_ike_sa(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 4555 sec. 3.7."""
    both = established()
    real = mobike.answer

    def forged(m, sa, received):  # type: ignore[no-untyped-def]
        reply = real(m, sa, received)
        return tuple(Notify(one.kind, b"wrong" * 3) if isinstance(one, Notify) else one for one in reply)

    monkeypatch.setattr(mobike, "answer", forged)
    move(both, replace(HERE, local=ELSEWHERE))
    both.run(5.0)
    assert [reason for reason, _ in downs(both.b)] == ["refused"]
    assert not both.b.installed


def test_other_addresses_of_the_peer_are_remembered(both: Pair) -> None:
    def said(*notifies: Notify) -> tuple[str, ...]:
        addresses.learn(both.a.machine, notifies)
        return both.a.machine.peer_addresses

    v4 = Notify(NotifyType.ADDITIONAL_IP4_ADDRESS, bytes((192, 0, 2, 9)))
    v6 = Notify(NotifyType.ADDITIONAL_IP6_ADDRESS, bytes(15) + b"\1")
    assert said(v4, v6) == ("192.0.2.9", "::1")
    assert said() == ("192.0.2.9", "::1")  # nothing said, nothing changed
    assert said(v6, replace(v4, data=b"123")) == ("::1",)
    assert len(said(*[v4] * 99)) == addresses.MOST
    assert said(Notify(NotifyType.NO_ADDITIONAL_ADDRESSES)) == ()


def test_a_responder_refuses_to_be_moved_by_the_wrong_side(both: Pair) -> None:
    received = type("R", (), {"payloads": (Notify(NotifyType.UPDATE_SA_ADDRESSES),), "path": HERE})()
    with pytest.raises(PeerError) as refusal:
        mobike.answer(both.a.machine, both.a.sa, received)
    assert refusal.value.notify == NotifyType.UNACCEPTABLE_ADDRESSES


@pytest.mark.parametrize("slow", [0.015, 0.05, 0.5])
def test_a_move_that_meets_a_rekey_of_the_ike_sa_moves_all_the_same(both: Pair, slow: float) -> None:
    """The update arrives on the IKE SA that was just replaced, or its proof is under way there when it goes."""
    there = replace(HERE, local=ELSEWHERE)
    first = [True]

    def fate(number: int, sender: str, data: bytes) -> tuple[float, ...]:
        if sender == "a" and first[0]:
            first[0] = False
            return (slow,)
        return (0.01,)

    both.wire.fate = fate
    move(both, there)
    both.b.machine.rekey_ike(both.now)
    both.settle()
    both.run(100.0)
    assert both.up()
    assert both.a.sa.path == there
    assert both.b.sa.path == Path(B, 4500, ELSEWHERE, 4500)
    assert {path for path, _ in paths(both.b)} == {both.b.sa.path}
