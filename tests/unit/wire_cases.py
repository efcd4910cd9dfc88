"""The payloads of IKEv2, one row each: the value, its bytes written down by hand from the RFC's drawings, where it may
be cut, and what tshark reads in it. Each test of the codec walks these rows.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from xdpsec.numbers import ExchangeType as X
from xdpsec.numbers import PayloadType as P
from xdpsec.wire.header import Header
from xdpsec.wire.payloads import (
    Attribute,
    Auth,
    Certificate,
    CertificateRequest,
    Configuration,
    Delete,
    Eap,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    Proposal,
    SecurityAssociation,
    Selector,
    Transform,
    TsInitiator,
    TsResponder,
    Unknown,
    VendorId,
)


@dataclass(frozen=True)
class Case:
    """`body` is the payload without its generic header. `cuts`: shorter lengths of the body that are payloads too;
    `open_ended`: a byte more belongs to it. `shown`: what tshark must read: `field=value;value` of isakmp.
    """

    name: str
    kind: int
    exchange: int
    value: Payload
    body: str
    cuts: Container[int] = ()
    open_ended: bool = False
    shown: str = ""

    @property
    def octets(self) -> bytes:
        return bytes.fromhex(self.body)


class AtLeast:
    """All lengths from `least`."""

    def __init__(self, least: int) -> None:
        self.least = least

    def __contains__(self, length: object) -> bool:
        return isinstance(length, int) and length >= self.least


ADDRESSES = ("c0000200", "c00002ff", "20010db8000000000000000000000000", "20010db800000000ffffffffffffffff")
V4, V4_LAST, V6, V6_LAST = (bytes.fromhex(text) for text in ADDRESSES)
NO_PORTS = (0, 65535)

CASES = (
    Case(
        "SA of IKE_SA_INIT with a hybrid",
        P.SA,
        X.IKE_SA_INIT,
        SecurityAssociation(
            (Proposal(1, 1, b"", (Transform(1, 20, 256), Transform(2, 5), Transform(4, 31), Transform(6, 36))),)
        ),
        # RFC 7296 sec. 3.3.1: last, reserved, length, number, protocol, SPI size, transforms; 3.3.2, 3.3.5; 9370
        "00 00 002c 01 01 00 04"
        "03 00 000c 01 00 0014 800e 0100"
        "03 00 0008 02 00 0005"
        "03 00 0008 04 00 001f"
        "00 00 0008 06 00 0024",
        shown=(
            "prop.number=1 prop.protoid=1 prop.transforms=4 tf.type=1;2;4;6 tf.id.encr=20 tf.id.prf=5 "
            "tf.id.dh=31 tf.id=36 ike2.attr.type=14 ike2.attr.value=0100"
        ),
    ),
    Case(
        "SA of two proposals for ESP",
        P.SA,
        X.CREATE_CHILD_SA,
        SecurityAssociation(
            (
                Proposal(1, 3, b"\xc0\0\1\2", (Transform(1, 12, 128), Transform(3, 12), Transform(5, 1))),
                Proposal(2, 3, b"\xc0\0\1\2", (Transform(1, 28), Transform(5, 0))),
            )
        ),
        "02 00 0028 01 03 04 03 c0000102"
        "03 00 000c 01 00 000c 800e 0080"
        "03 00 0008 03 00 000c"
        "00 00 0008 05 00 0001"
        "00 00 001c 02 03 04 02 c0000102"
        "03 00 0008 01 00 001c"
        "00 00 0008 05 00 0000",
        shown=(
            "prop.number=1;2 prop.protoid=3;3 spi=c0000102;c0000102 tf.type=1;3;5;1;5 tf.id.encr=12;28 "
            "tf.id.integ=12 tf.id.esn=1;0 ike2.attr.value=0080"
        ),
    ),
    Case(
        "SA of an IKE rekey",
        P.SA,
        X.CREATE_CHILD_SA,
        SecurityAssociation((Proposal(1, 1, b"SPIofIKE", (Transform(4, 19),)),)),
        "00 00 0018 01 01 08 01 5350496f66494b45 00 00 0008 04 00 0013",
        shown="prop.protoid=1 spisize=8 spi=5350496f66494b45 tf.type=4 tf.id.dh=19",
    ),
    Case(
        "SA of what we do not know",
        P.SA,
        X.IKE_AUTH,
        SecurityAssociation(
            (
                Proposal(
                    *(7, 200, b"abcde"),
                    (
                        Transform(241, 1025, 0, bytes.fromhex("000f 0003 616263")),
                        Transform(1, 65535, 192, bytes.fromhex("8010 0001")),
                    ),
                ),
            )
        ),
        "00 00 002c 07 c8 05 02 6162636465"
        "03 00 000f f1 00 0401 000f 0003 616263"
        "00 00 0010 01 00 ffff 800e 00c0 8010 0001",
        shown=(
            "prop.number=7 prop.protoid=200 spi=6162636465 tf.type=241;1 tf.id=1025 tf.id.encr=65535 "
            "ike2.attr.type=15;14;16 ike2.attr.value=616263;00c0;0001"
        ),
    ),
    Case(
        "KE",
        P.KE,
        X.IKE_SA_INIT,
        KeyExchange(31, b"\x01\x02\x03"),
        "001f 0000 010203",
        AtLeast(5),
        True,
        shown="key_exchange.dh_group=31 key_exchange.data=010203",
    ),
    Case(
        "KE of a group we do not know",
        P.KE,
        X.CREATE_CHILD_SA,
        KeyExchange(1031, b"\x07"),
        "0407 0000 07",
        (),
        True,
        shown="key_exchange.dh_group=1031 key_exchange.data=07",
    ),
    Case(
        "IDi",
        P.IDI,
        X.IKE_AUTH,
        IdInitiator(2, b"gw.example"),
        "02 000000 67772e6578616d706c65",
        AtLeast(4),
        True,
        shown="typepayload=35 id.type=2 id.data.fqdn=gw.example",
    ),
    Case(
        "IDr",
        P.IDR,
        X.IKE_AUTH,
        IdResponder(1, V4),
        "01 000000 c0000200",
        AtLeast(4),
        True,
        shown="typepayload=36 id.type=1 id.data.ipv4_addr=192.0.2.0",
    ),
    Case(
        "CERT",
        P.CERT,
        X.IKE_AUTH,
        Certificate(12, bytes(20) + b"u"),
        "0c" + "00" * 20 + "75",
        AtLeast(2),
        True,
        shown="cert.encoding=12",
    ),
    Case(
        "CERTREQ",
        P.CERTREQ,
        X.IKE_SA_INIT,
        CertificateRequest(4, bytes(20)),
        "04" + "00" * 20,
        AtLeast(1),
        True,
        shown="certreq.type=4 ike.certreq.authority=0000000000000000000000000000000000000000",
    ),
    Case(
        "AUTH",
        P.AUTH,
        X.IKE_AUTH,
        Auth(14, b"\xaa\xbb\xcc"),
        "0e 000000 aabbcc",
        AtLeast(5),
        True,
        shown="auth.method=14 auth.data=aabbcc",
    ),
    Case(
        "nonce",
        P.NONCE,
        X.IKE_SA_INIT,
        Nonce(bytes(range(32))),
        bytes(range(32)).hex(),
        AtLeast(16),
        True,
        shown="nonce=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ),
    Case(
        "the shortest nonce",
        P.NONCE,
        X.CREATE_CHILD_SA,
        Nonce(b"n" * 16),
        "6e" * 16,
        (),
        True,
        shown="nonce=6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e",
    ),
    Case(
        "the longest nonce",
        P.NONCE,
        X.CREATE_CHILD_SA,
        Nonce(b"n" * 256),
        "6e" * 256,
        AtLeast(16),
        False,
        shown="nonce=6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e",
    ),
    Case(
        "notify without SPI",
        *(P.NOTIFY, X.IKE_SA_INIT, Notify(16431, bytes.fromhex("000200030004")), "00 00 402f 0002 0003 0004"),
        *(AtLeast(4), True),
        shown="notify.protoid=0 spisize=0 notify.msgtype=16431 notify.data=000200030004",
    ),
    Case(
        "notify of a child",
        *(P.NOTIFY, X.CREATE_CHILD_SA, Notify(16393, b"", 3, b"\xc0\0\1\2"), "03 04 4009 c0000102"),
        *((), True),
        shown="notify.protoid=3 spi=c0000102 notify.msgtype=16393",
    ),
    Case(
        "notify we do not know",
        P.NOTIFY,
        X.INFORMATIONAL,
        Notify(60000, b"x"),
        "00 00 ea60 78",
        AtLeast(4),
        True,
        shown="notify.msgtype=60000 notify.data=78",
    ),
    Case(
        "delete of the IKE SA",
        P.DELETE,
        X.INFORMATIONAL,
        Delete(1),
        "01 00 0000",
        shown="delete.protoid=1 spisize=0 spinum=0",
    ),
    Case(
        "delete of children",
        *(P.DELETE, X.INFORMATIONAL, Delete(3, (b"\xc0\0\1\2", b"\xc0\0\1\3")), "03 04 0002 c0000102 c0000103"),
        shown="delete.protoid=3 spisize=4 spinum=2 delete.spi=c0000102;c0000103",
    ),
    Case(
        "vendor ID",
        P.VENDOR_ID,
        X.IKE_SA_INIT,
        VendorId(b"a vendor"),
        "612076656e646f72",
        AtLeast(0),
        True,
        shown="vid_bytes=612076656e646f72",
    ),
    Case(
        "TSi, IPv4 and IPv6",
        P.TSI,
        X.IKE_AUTH,
        TsInitiator((Selector(7, 0, *NO_PORTS, V4, V4_LAST), Selector(8, 6, 443, 443, V6, V6_LAST))),
        "02 000000"
        "07 00 0010 0000 ffff c0000200 c00002ff"
        "08 06 0028 01bb 01bb 20010db8000000000000000000000000 20010db800000000ffffffffffffffff",
        shown=(
            "typepayload=44 ts.number=2 ts.type=7;8 ts.protoid=0;6 ts.start_port=0;443 ts.end_port=65535;443 "
            "ts.start_ipv4=192.0.2.0 ts.end_ipv4=192.0.2.255 ts.start_ipv6=2001:db8:: "
            "ts.end_ipv6=2001:db8::ffff:ffff:ffff:ffff"
        ),
    ),
    Case(
        "TSr with opaque ports",
        P.TSR,
        X.CREATE_CHILD_SA,
        TsResponder((Selector(7, 17, 65535, 0, V4, V4),)),
        "01 000000 07 11 0010 ffff 0000 c0000200 c0000200",
        shown=(
            "typepayload=45 ts.number=1 ts.type=7 ts.protoid=17 ts.start_port=65535 ts.end_port=0 "
            "ts.start_ipv4=192.0.2.0"
        ),
    ),
    Case(
        "TSr of a type we do not know",
        P.TSR,
        X.CREATE_CHILD_SA,
        TsResponder((Selector(10, 0, 0, 0, b"label", b""),)),
        "01 000000 0a 00 0009 6c6162656c",
        shown="typepayload=45 ts.number=1 ts.type=10",
    ),
    Case(
        "CP request",
        P.CP,
        X.IKE_AUTH,
        Configuration(1, (Attribute(1), Attribute(3, b"\x0a\0\0\1"), Attribute(31000, b"?"))),
        "01 000000 0001 0000 0003 0004 0a000001 7918 0001 3f",
        (4, 8, 16),
        shown="cfg.type=1 cfg.attr.type=1;3;31000 cfg.attr.length=0;4;1 cfg.attr.value=0a000001;3f",
    ),
    Case(
        "EAP",
        P.EAP,
        X.IKE_AUTH,
        Eap(b"\x02\x01\x00\x05\x01"),
        "02 01 0005 01",
        AtLeast(1),
        True,
        shown="typepayload=48",
    ),
    Case(
        "unknown",
        200,
        X.INFORMATIONAL,
        Unknown(200, False, b"new"),
        "6e6577",
        AtLeast(0),
        True,
        shown="typepayload=200 datapayload=6e6577",
    ),
)


def header(exchange: int, response: bool = False, message_id: int = 0) -> Header:
    """Of a message of the original initiator; IKE_SA_INIT has no responder's SPI yet."""
    theirs = bytes(8) if exchange == X.IKE_SA_INIT and not response else b"RESPONSE"
    return Header(b"INITIATE", theirs, 0, 0x20, exchange, True, response, message_id)
