"""What workers hear of guests: as much as changed, however many there are."""

from __future__ import annotations

from xdpsec.channel.framing import encode
from xdpsec.channel.messages import PolicyFirst, Selector
from xdpsec.daemon.ike.guests import Guests, Key

FIRST = 7


def key(number: int) -> Key:
    return number, 0, (Selector("10.1.0.0/16", f"10.9.{number >> 8}.{number & 255}/32"),)


def told_of(count: int) -> list[PolicyFirst]:
    """Of so many guests that come, and of every second one that goes again."""
    told: list[PolicyFirst] = []
    guests = Guests(FIRST, told.append)
    for number in range(count):
        guests.admit(key(number), owner=0)
        guests.serve(key(number))
        guests.serve(key(number))
    for number in range(0, count, 2):
        guests.leave(key(number))
    return told


def test_a_guest_is_one_word_when_it_comes_and_one_when_it_goes() -> None:
    count = 1024
    told = told_of(count)
    come = [PolicyFirst(FIRST + number, 0, key(number)[2]) for number in range(count)]
    gone = [PolicyFirst(FIRST + number, 0, ()) for number in range(0, count, 2)]
    assert told == come + gone
    assert max(len(encode(word, seq)) for seq, word in enumerate(told)) < 64
