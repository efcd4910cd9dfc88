"""Frames there and back, cut at every length, with every field of the wrong type; packets; descriptors."""

from __future__ import annotations

import dataclasses
import os
import typing

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpsec.channel import framing, messages, operator
from xdpsec.channel.framing import ChannelClosed, FramingError, Joiner, Wire
from xdpsec.numbers import Encr

SELECTOR = messages.Selector("10.1.0.0/16", "10.2.0.0/16", 6, (1, 2), (3, 4))


def strategy(kind: object) -> st.SearchStrategy[typing.Any]:
    """Values of any annotation that the vocabulary uses."""
    plain: dict[object, st.SearchStrategy[typing.Any]] = {
        int: st.integers(-(2**63), 2**64 - 1),
        str: st.text(max_size=20),
        bytes: st.binary(max_size=40),
        bool: st.booleans(),
    }
    if kind in plain:
        return plain[kind]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{field.name: strategy(hints[field.name]) for field in dataclasses.fields(kind)})
    kinds = typing.get_args(kind)
    if kinds[-1] is Ellipsis:
        return st.lists(strategy(kinds[0]), max_size=4).map(tuple)
    return st.tuples(*[strategy(inner) for inner in kinds])


any_message = st.sampled_from(sorted(messages.TABLE)).flatmap(lambda number: strategy(messages.TABLE[number]))


@given(any_message, st.integers(1, 2**63))
def test_every_word_comes_back_as_it_went(message: messages.Message, seq: int) -> None:
    assert framing.decode(framing.encode(message, seq)) == (seq, message)


@given(any_message)
def test_a_frame_cut_anywhere_or_with_something_left_over_is_refused(message: messages.Message) -> None:
    frame = framing.encode(message, 1)
    for length in range(len(frame)):
        with pytest.raises(FramingError):
            framing.decode(frame[:length])
    with pytest.raises(FramingError):
        framing.decode(frame + b"\x00")


@pytest.mark.parametrize(
    "parts",
    [
        (9, 1, [1]),  # Go has no fields
        (4, 1, [1]),  # SeqGrant has two
        (4, 1, [1, True]),  # a bool is not a number
        (4, 1, [1, "2"]),
        (4, 1, [1, 2.0]),
        (4, 1, [1, None]),
        (4, 1, {"slot": 1, "mark": 2}),
        (7, 1, [[["10.0.0.0/8", "", 0, 9]]]),  # a route with a field too many
        (7, 1, ["rows"]),
        (6, 1, [[[["a", "b", 0, [1], [3, 4]], 0, 0]]]),  # a port range of one
        (5000, 1, []),
        ("9", 1, []),
        (9, None, []),
        (9, 1),
    ],
)
def test_what_the_table_does_not_say_is_refused(parts: object) -> None:
    with pytest.raises(FramingError):
        framing.decode(msgpack.packb(parts))


def test_a_wrong_value_is_refused_by_its_sender() -> None:
    with pytest.raises(FramingError, match=r"SeqGrant\.mark"):
        framing.encode(messages.SeqGrant(slot=1, mark=typing.cast(int, "2")), 1)


@dataclasses.dataclass(frozen=True)
class Pretender:
    """The fields of a Count."""

    name: str = "a"
    count: int = 1


@pytest.mark.parametrize(
    "rows",
    [
        ((1, "ipsec-mb"), (True, "openssl")),
        ((1, "ipsec-mb", 2),),
        ((1,),),
        ("1a",),
        (1, "a"),
        [(1, "ipsec-mb")],
        None,
    ],
)
def test_a_wrong_value_deep_in_a_word_is_refused_by_its_sender(rows: typing.Any) -> None:
    with pytest.raises(FramingError):
        framing.encode(messages.SaEngines(1, rows), 1)


def test_a_value_of_another_class_is_refused_by_its_sender_whatever_its_shape() -> None:
    rows: list[typing.Any] = [Pretender(), ("a", 1), ["a", 1], operator.Count("a", Encr.AES_CBC)]
    for row in rows:
        port = operator.PortDrops("eth0", (row,))
        with pytest.raises(FramingError):
            framing.encode(operator.Drops(1, (port,), (), (), (), False), 1)


def test_ids_of_the_table_name_each_message_once() -> None:
    assert set(messages.TABLE.values()) == set(typing.get_args(messages.Message))
    assert len(set(messages.TABLE.values())) == len(messages.TABLE)


def test_a_table_larger_than_a_packet_and_than_the_socket_buffer_crosses() -> None:
    left, right = Wire.pair()
    rows = tuple(messages.Policy(SELECTOR, child, 0) for child in range(20_000))
    message = messages.PolicyReplace(rows)
    packets = list(framing.split(framing.encode(message, 1)))
    assert sum(map(len, packets)) > 2 * 212_992
    joiner, got = Joiner(), []
    for packet in packets:
        assert len(packet) <= framing.PACKET_SIZE + 1
        assert left.send_packet(packet)
        got.append(joiner.add(right.socket.recv(framing.PACKET_SIZE + 1)))
    assert got[:-1] == [None] * (len(packets) - 1)
    assert framing.decode(got[-1] or b"") == (1, message)
    left.close()
    right.close()


@pytest.mark.parametrize("packet", [b"", b"\x01", b"\x00", b"\x02x", b"\x00x"])
def test_a_packet_without_flag_or_whole_piece_is_refused(packet: bytes) -> None:
    """One that others follow is full: else a frame could be millions of packets, and its reader never be done."""
    with pytest.raises(FramingError):
        Joiner().add(packet)


def test_descriptors_ride_beside_their_message_and_are_close_on_exec() -> None:
    left, right = Wire.pair()
    reader, writer = os.pipe()
    seq = left.send(messages.Done(seq=7), [writer, reader])
    received = right.receive()
    assert received is not None
    assert (received.seq, received.message) == (seq, messages.Done(7))
    copy, _ = received.descriptors
    assert not os.get_inheritable(copy)
    os.write(copy, b"word")
    assert os.read(reader, 10) == b"word"
    assert right.receive() is None
    framing.close_all([reader, writer, *received.descriptors])
    left.close()
    with pytest.raises(ChannelClosed):
        right.receive()
    with pytest.raises(ChannelClosed):
        right.send(messages.Go())
    right.close()


def test_descriptors_beside_garbage_do_not_leak() -> None:
    left, right = Wire.pair()
    reader, writer = os.pipe()
    left.send_packet(b"\x01garbage", [writer])
    os.close(writer)
    with pytest.raises(FramingError):
        right.receive()
    assert os.read(reader, 1) == b""  # end of file: the copy that travelled is closed
    os.close(reader)
    left.close()
    right.close()
