"""The Configuration payload, both roles against each other and against peers that answer wrongly."""

from __future__ import annotations

import pytest

from xdpsec.errors import PeerError
from xdpsec.ike.settings import Pool
from xdpsec.ike.v2 import configuration
from xdpsec.numbers import ConfigAttribute as A
from xdpsec.numbers import ConfigType, NotifyType
from xdpsec.wire.payloads import Attribute, Configuration

POOL = Pool(("10.9.0.0/24",), ("10.1.0.53", "fd01::53"), ("corp.example", "lab.example"))


def test_what_is_asked_is_given() -> None:
    wanted = configuration.request((4, 6))
    assert configuration.asked(wanted) == (4, 6)
    reply = configuration.reply(POOL, wanted, ("10.9.0.1", "fd09::1"))
    found = configuration.granted((4, 6), reply)
    assert found == configuration.Granted(("10.9.0.1", "fd09::1"), POOL.dns, POOL.domains)
    assert Attribute(A.INTERNAL_IP4_ADDRESS, bytes((10, 9, 0, 1))) in reply.attributes
    assert Attribute(A.INTERNAL_IP6_DNS, bytes.fromhex("fd01" + "0" * 26 + "53")) in reply.attributes
    assert Attribute(A.INTERNAL_DNS_DOMAIN, b"corp.example") in reply.attributes


def test_nothing_is_given_that_was_not_asked_for() -> None:
    wanted = Configuration(ConfigType.REQUEST, (Attribute(A.INTERNAL_IP4_ADDRESS), Attribute(A.INTERNAL_DNS_DOMAIN)))
    reply = configuration.reply(POOL, wanted, ("10.9.0.1",))
    assert reply.attributes == (Attribute(A.INTERNAL_IP4_ADDRESS, bytes((10, 9, 0, 1))),)
    for other in (ConfigType.SET, ConfigType.REPLY, ConfigType.ACK):
        assert configuration.asked(Configuration(other, wanted.attributes)) == ()


V4 = Attribute(A.INTERNAL_IP4_ADDRESS, bytes((10, 9, 0, 1)))
SERVER = Attribute(A.INTERNAL_IP4_DNS, bytes((10, 1, 0, 53)))


def reply(*attributes: Attribute) -> Configuration:
    return Configuration(ConfigType.REPLY, attributes)


@pytest.mark.parametrize(
    ("answer", "notify"),
    [
        (None, NotifyType.FAILED_CP_REQUIRED),
        (Configuration(ConfigType.REQUEST, (V4,)), NotifyType.FAILED_CP_REQUIRED),
        (reply(), NotifyType.INTERNAL_ADDRESS_FAILURE),
        (reply(Attribute(A.INTERNAL_IP4_ADDRESS)), NotifyType.INTERNAL_ADDRESS_FAILURE),
        (reply(Attribute(A.INTERNAL_IP4_ADDRESS, bytes(5))), NotifyType.INVALID_SYNTAX),
        (reply(V4, Attribute(A.INTERNAL_IP4_DNS, bytes(3))), NotifyType.INVALID_SYNTAX),
    ],
)
def test_a_reply_without_a_good_address_is_refused(answer: Configuration | None, notify: int) -> None:
    with pytest.raises(PeerError) as refusal:
        configuration.granted((4,), answer)
    assert refusal.value.notify == notify


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        (b"example.com", "example.com"),
        (b"example.com.", "example.com"),
        (b"_tcp.example.com", "_tcp.example.com"),
        (b"", None),
        (b".", None),
        (b"-x.example", None),
        (b"a..example", None),
        (b"example.com\n", None),
        (b"example.com\nnameserver 192.0.2.1", None),
        (b"exa mple.com", None),
        (b"x\x00y", None),
        (b"\xff.example", None),
        (b"a" * 64 + b".example", None),
        (b".".join([b"a" * 63] * 4), None),
    ],
)
def test_a_domain_holds_nothing_that_a_resolver_could_misread(name: bytes, taken: str | None) -> None:
    found = configuration.granted((4,), reply(V4, SERVER, Attribute(A.INTERNAL_DNS_DOMAIN, name)))
    assert found.domains == ((taken,) if taken else ())


def test_domains_without_a_server_are_passed_over_and_lists_are_short() -> None:
    """RFC 8598 sec. 3.2."""
    assert configuration.granted((4,), reply(V4, Attribute(A.INTERNAL_DNS_DOMAIN, b"a.example"))).domains == ()
    long = [Attribute(A.INTERNAL_DNS_DOMAIN, b"a%d.example" % number) for number in range(99)]
    found = configuration.granted((4,), reply(V4, *[SERVER] * 99, *long))
    assert (len(found.domains), len(found.dns)) == (configuration.MOST, configuration.MOST)
