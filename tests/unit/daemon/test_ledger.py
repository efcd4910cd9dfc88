"""Crashes at every point, reboots, clean stops, changed configurations and restored files, in any order: no outbound
number is ever used twice, no inbound number accepted twice, and an honest crash never makes a start refuse.

Hypothesis plays disk, workers and peers; ledger, rules and slots are ours. The replay check is RFC 4303 sec. 3.4.3
written anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from xdpsec.daemon import ledger, regions
from xdpsec.daemon.ledger import Ledger, Place
from xdpsec.daemon.slots import Slots
from xdpsec.policy.sequence import Numbers, Saved, UnsafeState, Want, next_grant
from xdpsec.workers.native import ffi

SLOTS = 12
WINDOWS = (64, 128, 256)
FILES = ("/keys/a", "/keys/b")


class Killed(BaseException):
    """Everything ended here."""


class Disk:
    """What survives a reboot. `steps`: so many steps of a write happen, then we are killed; None = none kills."""

    def __init__(self) -> None:
        self.state: dict[bytes, Saved] = {}
        self.markers: dict[str, dict[bytes, Saved]] = {file: {} for file in FILES}
        self.steps: int | None = None

    def step(self) -> None:
        if self.steps is not None:
            if self.steps == 0:
                raise Killed
            self.steps -= 1


class DiskState:
    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def read(self) -> dict[bytes, Saved]:
        return dict(self.disk.state)

    def write(self, rows: Mapping[bytes, Saved]) -> None:
        self.disk.step()
        self.disk.state = dict(rows)
        self.disk.step()


class DiskMarker:
    def __init__(self, disk: Disk, file: str) -> None:
        self.disk, self.file = disk, file

    def read(self, known: bool) -> dict[bytes, Saved]:
        return dict(self.disk.markers[self.file])

    def write(self, rows: Mapping[bytes, Saved], current: Collection[bytes]) -> None:
        self.disk.step()
        self.disk.markers[self.file] = dict(rows)
        self.disk.step()


class MortalSlots(Slots):
    """Each change of a slot is a step too."""

    def __init__(self, descriptor: int, size: int, disk: Disk) -> None:
        super().__init__(descriptor, size)
        self.disk = disk

    def set_numbers(self, slot: int, numbers: Numbers) -> None:
        self.disk.step()
        super().set_numbers(slot, numbers)
        self.disk.step()

    def clear(self, slot: int) -> None:
        self.disk.step()
        super().clear(slot)
        self.disk.step()

    def raw(self, slot: int) -> object:
        return self._slot(slot)


class Gateway(RuleBasedStateMachine):
    """Two key files, an outbound and an inbound SA each. `used` and `accepted` are what the world remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.memory = os.memfd_create("sa_state")
        self.keys = 0
        self.used: set[tuple[bytes, int]] = set()
        self.accepted: set[tuple[bytes, int]] = set()
        self.sent: dict[bytes, int] = {}
        self.old_states: list[dict[bytes, Saved]] = []
        self.tampered = False
        self.wants: list[Want] = []
        self.book: Ledger | None = None
        self.places: dict[bytes, Place] = {}
        self.slots: MortalSlots

    def teardown(self) -> None:
        os.close(self.memory)

    @initialize()
    def configure(self) -> None:
        self.format()
        for file in FILES:
            self.wants += [self.fresh(file, True), self.fresh(file, False)]

    def fresh(self, file: str, outbound: bool) -> Want:
        self.keys += 1
        return Want(self.keys.to_bytes(16, "big"), f"peer{file}", file, outbound, 0 if outbound else WINDOWS[0], True)

    def format(self) -> None:
        """sa_state as a boot finds it."""
        os.ftruncate(self.memory, 0)
        os.ftruncate(self.memory, regions.state_size(SLOTS))
        header = ffi.new("struct xs_state_header *", {"slots": SLOTS, "slot_size": regions.SLOT_SIZE})
        os.pwrite(self.memory, bytes(ffi.buffer(header)), 0)
        self.slots = MortalSlots(self.memory, regions.state_size(SLOTS), self.disk)

    @contextlib.contextmanager
    def mortal(self, steps: int | None) -> Iterator[None]:
        """What is done within may be cut off after `steps`; then no process of ours is left."""
        self.disk.steps = steps
        try:
            yield
        except Killed:
            self.book = None
        finally:
            self.disk.steps = None

    def up(self) -> bool:
        return self.book is not None

    # --- our processes -------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.up())
    @rule(steps=st.none() | st.integers(0, 60))
    def start(self, steps: int | None) -> None:
        self.old_states.append(dict(self.disk.state))
        with self.mortal(steps):
            try:
                markers = {want.key_file: DiskMarker(self.disk, want.key_file) for want in self.wants}
                book = Ledger(DiskState(self.disk), markers, self.wants)
                spis = {want.sa_id: 256 + i for i, want in enumerate(self.wants)}
                self.places = ledger.start(book, self.slots, self.wants, spis, 0.0)
                self.book = book
            except UnsafeState:
                assert self.tampered, "an honest crash must not make a start refuse"
                # what the sentence says: new keys for all of them
                self.wants = [replace(self.fresh(want.key_file, want.outbound)) for want in self.wants]

    @precondition(lambda self: self.up())
    @rule(steps=st.none() | st.integers(0, 12), which=st.data())
    def grant(self, steps: int | None, which: st.DataObject) -> None:
        want = which.draw(st.sampled_from(self.wants))
        place = self.places[want.sa_id]
        numbers = self.slots.numbers(place.slot)
        assert self.book is not None
        with self.mortal(steps):
            fresh = next_grant(want, numbers.used, self.slots.packets(place.slot), 1e9, place.grant)
            self.book.raise_to({want.sa_id: fresh.end})
            self.places[want.sa_id] = replace(place, grant=fresh)
            self.disk.step()
            self.slots.set_numbers(place.slot, replace(numbers, granted=max(numbers.granted, fresh.end)))

    @precondition(lambda self: self.up())
    @rule(steps=st.none() | st.integers(0, 30))
    def stop(self, steps: int | None) -> None:
        assert self.book is not None
        self.old_states.append(dict(self.disk.state))
        with self.mortal(steps):
            ledger.finish(self.book, self.slots, {sa_id: place.slot for sa_id, place in self.places.items()})
            self.book = None

    @rule()
    def kill(self) -> None:
        self.book = None

    @rule()
    def reboot(self) -> None:
        self.book = None
        self.format()

    # --- the operator --------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.up())
    @rule(window=st.sampled_from(WINDOWS))
    def change_window(self, window: int) -> None:
        self.wants = [want if want.outbound else replace(want, window=window) for want in self.wants]

    @precondition(lambda self: not self.up())
    @rule(which=st.data())
    def remove_or_restore_a_child(self, which: st.DataObject) -> None:
        file = which.draw(st.sampled_from(FILES))
        kept = [want for want in self.wants if want.key_file != file]
        if len(kept) == len(self.wants):
            self.wants = kept + self.removed
        elif kept:
            self.removed = [want for want in self.wants if want.key_file == file]
            self.wants = kept

    @precondition(lambda self: not self.up() and self.old_states)
    @rule(which=st.data())
    def put_an_old_state_file_back(self, which: st.DataObject) -> None:
        self.disk.state = dict(which.draw(st.sampled_from(self.old_states)))
        self.tampered = True

    # --- workers and peers ---------------------------------------------------------------------------------------

    @precondition(lambda self: self.up())
    @rule(which=st.data(), count=st.integers(1, 9000))
    def send(self, which: st.DataObject, count: int) -> None:
        want = which.draw(st.sampled_from([want for want in self.wants if want.outbound]))
        slot = self.places[want.sa_id].slot
        at = self.slots.raw(slot)
        for _ in range(count):
            if at.next_seq >= at.granted:  # type: ignore[attr-defined]
                break
            number = (want.sa_id, at.next_seq)  # type: ignore[attr-defined]
            at.next_seq += 1  # type: ignore[attr-defined]
            assert number not in self.used, "a nonce was used twice"
            self.used.add(number)

    @precondition(lambda self: self.up())
    @rule(which=st.data(), jump=st.sampled_from((1, 1, 1, 5, 70, 300, 5000)), back=st.integers(0, 300))
    def receive(self, which: st.DataObject, jump: int, back: int) -> None:
        """The peer goes on, or a frame of old comes again."""
        want = which.draw(st.sampled_from([want for want in self.wants if not want.outbound]))
        newest = self.sent[want.sa_id] = self.sent.get(want.sa_id, 0) + jump
        for number in (newest, newest, max(1, newest - back)):
            if self.accepts(self.slots.raw(self.places[want.sa_id].slot), number, want.window):
                assert (want.sa_id, number) not in self.accepted, "a packet was accepted twice"
                self.accepted.add((want.sa_id, number))

    @staticmethod
    def accepts(at: object, number: int, window: int) -> bool:
        slot: dict[str, int] = {name: getattr(at, name) for name in ("top", "floor", "granted")}
        bits = at.window  # type: ignore[attr-defined]
        if number <= slot["floor"] or number + window <= slot["top"]:
            return False
        if number > slot["top"]:
            if number >= slot["granted"]:
                return False
            at.top = number  # type: ignore[attr-defined]
            for entered in range(max(slot["top"] + 1, number - window + 1), number + 1):
                bits[entered % window // 64] &= ~(1 << entered % 64)
        seen = bits[number % window // 64] >> number % 64 & 1
        bits[number % window // 64] |= 1 << number % 64
        return not seen

    @invariant()
    def no_slot_holds_more_than_the_disk_knows(self) -> None:
        if self.tampered:
            return
        for slot, sa_id in enumerate(self.slots.sa_ids()):
            if any(sa_id):
                assert self.slots.numbers(slot).granted <= self.disk.state[sa_id].end

    removed: list[Want]


TestAnyOrder = Gateway.TestCase
TestAnyOrder.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    machine = Gateway()
    machine.configure()
    yield machine
    machine.teardown()


def test_a_retired_sa_is_saved_and_its_slot_is_free(gateway: Gateway) -> None:
    gateway.start(None)
    gone = gateway.wants[0]
    gateway.kill()
    gateway.wants = gateway.wants[1:]
    gateway.disk.state = {sa_id: row for sa_id, row in gateway.disk.state.items() if sa_id != gone.sa_id}
    gateway.start(None)
    assert gone.sa_id not in gateway.slots.sa_ids()
    assert gateway.disk.state[gone.sa_id].end == 4097
    gateway.kill()
    gateway.wants = [gone, *gateway.wants]
    gateway.start(None)
    assert gateway.slots.numbers(gateway.places[gone.sa_id].slot).next_seq == 4097


def test_ids_that_a_worker_made_up_fill_no_disk(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.start(None)
    gone = gateway.wants[0]
    gateway.kill()
    gateway.wants = gateway.wants[1:]
    known = len(gateway.disk.state)
    free = gateway.slots.free()
    monkeypatch.setattr(ledger, "MOST_ROWS", known + 3)
    for slot in free:
        gateway.slots.take(slot, bytes([0xEE] * 15 + [slot]), 1, Numbers(True, 5, 9, 0, 0))
    gateway.start(None)
    assert len(gateway.disk.state) == known + 3 < known + len(free)
    assert gone.sa_id in gateway.disk.state
    assert sorted(free) == sorted(set(gateway.slots.free()) & set(free)), "kept or not, none has a slot"


def test_a_retired_sa_keeps_the_direction_that_the_disk_knows(gateway: Gateway) -> None:
    gateway.start(None)
    gone = gateway.wants[0]
    slot = gateway.places[gone.sa_id].slot
    gateway.slots.take(slot, gone.sa_id, 1, Numbers(False, 0, 9, 0, 5))
    gateway.kill()
    gateway.wants = gateway.wants[1:]
    gateway.start(None)
    assert gateway.disk.state[gone.sa_id].outbound


def test_counters_go_on(gateway: Gateway) -> None:
    gateway.start(None)
    slot = gateway.places[gateway.wants[0].sa_id].slot
    at = gateway.slots.raw(slot)
    at.packets, at.bytes = 17, 1700  # type: ignore[attr-defined]
    gateway.stop(None)
    gateway.start(None)
    assert gateway.places[gateway.wants[0].sa_id].slot == slot
    assert (at.packets, at.bytes) == (17, 1700)  # type: ignore[attr-defined]


@pytest.mark.parametrize("steps", range(40))
@pytest.mark.parametrize("reboots", [False, True])
def test_killed_at_any_step_while_the_window_changes(gateway: Gateway, steps: int, reboots: bool) -> None:
    """The bits in the slot were laid out for the old window: read as the new one's they would let replays pass."""
    gateway.start(None)
    want = next(want for want in gateway.wants if not want.outbound)
    seen = [number for number in range(1, 400) if number % 3]
    for number in seen:
        assert gateway.accepts(gateway.slots.raw(gateway.places[want.sa_id].slot), number, want.window)
    gateway.kill()
    gateway.change_window(WINDOWS[2])
    gateway.start(steps)
    gateway.kill()
    if reboots:
        gateway.reboot()
    gateway.start(None)
    slot = gateway.slots.raw(gateway.places[want.sa_id].slot)
    assert not [number for number in seen if gateway.accepts(slot, number, WINDOWS[2])]
