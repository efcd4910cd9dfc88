"""What a worker is told before it takes frames: everything, in an order in which nothing goes wrong, its own SAs only.
What it refuses is left out and says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from crew import Worker, hear_all, run

from xdpsec.channel import messages as words
from xdpsec.channel.framing import Wire
from xdpsec.channel.hub import Peer
from xdpsec.config.keys import SaKey
from xdpsec.config.suites import SUITES
from xdpsec.daemon.grants import Grants
from xdpsec.daemon.ledger import Place
from xdpsec.daemon.paths import Paths, Table
from xdpsec.daemon.seats import Seat, Seats
from xdpsec.daemon.snapshot import Snapshots
from xdpsec.policy.sa import Sa
from xdpsec.policy.sequence import Grant

REMOTE = "198.51.100.7"
POLICY = words.Policy(words.Selector("10.1.0.0/16", "10.2.0.0/16"), 0, 0)
ROUTE = words.Route("0.0.0.0/0", "192.0.2.254", 0)
HOP = words.NextHop(0, "192.0.2.254", b"\2" * 6)


def seat(slot: int, outbound: bool, owner: int = 0, durable: bool = True) -> Seat:
    sa = Sa(
        child=slot // 2, label=f"branch/c{slot // 2}", outbound=outbound, spi=0x1000 + slot,
        suite=SUITES["aes256-sha256"], key=SaKey(bytes([slot + 1]) * 32, b"i" * 32), key_file="/k" if durable else "",
        esn=True, replay_window=64, local="192.0.2.1", remote=REMOTE, encap=(0, 0), selectors=(), engine="auto",
    )  # fmt: skip
    return Seat(sa, slot, owner)


class Rig:
    """Control's side of two workers. `spare`: messages to workers outside a briefing."""

    def __init__(self, seats: Sequence[Seat], refuses: Sequence[int] = ()) -> None:
        no = lambda *_: None  # noqa: E731
        by_slot = {one.slot: one for one in seats}
        places = {one.sa.sa_id: Place(one.slot, Grant(1025 + one.slot, 0, 0.0)) for one in seats}
        self.paths = Paths(None, {0: 1500, 1: 1400}, [REMOTE], no, no, no, no)  # type: ignore[arg-type]
        self.paths.table, self.paths.hops = Table((ROUTE,)), (HOP,)
        self.seats = Seats(by_slot)
        grants = Grants(by_slot, places, None, None, no)  # type: ignore[arg-type]
        self.snapshots = Snapshots((POLICY,), self.seats, grants, self.paths, lambda child: f"peer{child}")
        self.refuses = frozenset(refuses)
        self.spare: list[tuple[int, words.Message]] = []

    async def brief(self, index: int = 0) -> list[words.Message]:
        """What worker `index` was told, in order."""
        ours, theirs = Wire.pair()
        worker = Worker(index, theirs, self.refuses)
        accepts = frozenset({words.Ready, words.Ack, words.SaEngines})
        peer = Peer(ours, accepts, hear_all([]), lambda reason: None)
        await self.snapshots.brief(index, peer)
        for end in (peer, worker.peer):
            end.close()
        return worker.heard

    def tell(self, worker: int, message: words.Message) -> None:
        self.spare.append((worker, message))

    def error(self, slot: int) -> str:
        return next(view.error for view in self.snapshots.views() if view.slot == slot)


def test_a_worker_is_told_everything_and_its_own_sas_only() -> None:
    """Tables before SAs, a block before an SA is used, an SA before it is used; what is inbound is not used."""
    mine, others = [seat(0, False), seat(1, True)], [seat(2, False, owner=1), seat(3, True, owner=1)]

    async def test() -> None:
        rig = Rig([*mine, *others])
        heard = await rig.brief()
        installs = [one.sa.install(one.slot, 1500) for one in mine]
        blocks = [words.SeqGrant(0, 1025), words.SeqGrant(1, 1026)]
        assert heard == [
            words.PolicyReplace((POLICY,)), words.RouteReplace((ROUTE,)), HOP, *installs, *blocks, words.SaUse(0, 1),
            words.SaQuery(),
        ]  # fmt: skip
        assert [one.sa.key.encryption for one in mine] == [b"\1" * 32, b"\2" * 32], "our own copies are not wiped"
        views = {view.slot: view for view in rig.snapshots.views()}
        assert {slot: view.engine for slot, view in views.items()} == {0: "openssl", 1: "openssl", 2: "", 3: ""}
        assert [view.slot for view in rig.snapshots.views()] == [0, 1, 2, 3]
        assert (views[1].peer, views[3].peer, views[1].outbound, views[1].worker) == ("peer0", "peer1", True, 0)
        assert not any(view.error for view in views.values())

    run(test)


def test_a_worker_is_told_of_guests_before_the_others_as_they_are_then() -> None:
    guest = words.Policy(words.Selector("10.1.0.0/16", "10.9.0.1/32"), 7, 0)

    async def test() -> None:
        rig = Rig([])
        rig.snapshots.guests = lambda: [guest]
        assert (await rig.brief())[0] == words.PolicyReplace((guest, POLICY))
        rig.snapshots.guests = list
        assert (await rig.brief())[0] == words.PolicyReplace((POLICY,))

    run(test)


def test_a_negotiated_sa_gets_no_block_and_is_used_only_when_it_is_in_use() -> None:
    new, old = seat(1, True, durable=False), seat(3, True, durable=False)
    old = dataclasses.replace(old, sa=dataclasses.replace(old.sa, child=0))

    async def test() -> None:
        rig = Rig([])
        for one in (old, new):
            rig.seats.add(one)
        rig.seats.use(old)
        rig.seats.use(new)
        heard = await rig.brief()
        assert [word for word in heard if isinstance(word, words.SeqGrant | words.SaUse)] == [words.SaUse(0, 1)]
        assert sum(isinstance(word, words.SaInstall) for word in heard) == 2

    run(test)


def test_a_refused_sa_is_left_out_and_says_why_until_it_is_taken() -> None:
    async def test() -> None:
        rig = Rig([seat(0, False), seat(1, True), seat(2, False), seat(3, True)], refuses=[0x1001])
        heard = await rig.brief()
        assert [word.slot for word in heard if isinstance(word, words.SeqGrant)] == [0, 2, 3]
        assert [word for word in heard if isinstance(word, words.SaUse)] == [words.SaUse(1, 3)]
        assert rig.error(1) == "worker 0 refused it: no room"
        assert not any(map(rig.error, (0, 2, 3)))
        rig.refuses = frozenset()
        assert words.SaUse(0, 1) in await rig.brief()
        assert rig.error(1) == ""

    run(test)


def test_a_path_mtu_reaches_those_that_send_and_only_when_it_changed() -> None:
    out, idle = seat(1, True), seat(3, True, durable=False)

    async def test() -> None:
        rig = Rig([seat(0, False), out])
        rig.seats.add(idle)
        await rig.brief()
        for mtu in (1500, 1400, 1400):
            rig.snapshots.resized(REMOTE, mtu, rig.tell)
        rig.snapshots.resized("203.0.113.9", 1300, rig.tell)
        assert rig.spare == [(0, words.PathMtu(0, 1400))]
        rig.snapshots.forget(out.slot)
        rig.snapshots.resized(REMOTE, 1500, rig.tell)
        assert len(rig.spare) == 1, "who is gone hears nothing"

    run(test)


def test_a_path_that_changed_since_the_installation_is_told_at_first_use() -> None:
    async def test() -> None:
        rig = Rig([])
        one = seat(1, True, durable=False)
        rig.seats.add(one)
        told: list[words.Message] = []
        rig.snapshots.used(one, 1400, told.append)
        assert told == [words.PathMtu(0, 1500)]

    run(test)


def test_used_up_numbers_are_an_error_of_manual_keys_alone() -> None:
    async def test() -> None:
        rig = Rig([seat(1, True)])
        rig.seats.add(seat(3, True, durable=False))
        for slot in (1, 3, 99):
            rig.snapshots.exhausted(slot)
        assert rig.error(1) == "its sequence numbers are used up; make new keys on both gateways"
        assert rig.error(3) == ""

    run(test)


def test_an_engine_is_asked_for_once_for_each_worker_and_suite() -> None:
    async def test() -> None:
        rig = Rig([seat(1, True), seat(3, True), seat(5, True, owner=1)])
        assert [rig.snapshots.unproven(one) for one in rig.seats] == [True, False, True]
        rig.snapshots.engines(words.SaEngines(1, ((1, "ipsec-mb"), (77, "openssl"))))
        assert [view.engine for view in rig.snapshots.views()] == ["ipsec-mb", "ipsec-mb", ""]

    run(test)
