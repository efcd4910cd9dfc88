"""The little DER of our own: against openssl asn1parse, and every way of not being DER refused."""

from __future__ import annotations

import openssl
import pytest

from xdpsec.crypto import der


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_both_ways(size: int) -> None:
    value = der.octets(b"x" * size)
    assert der.items(value) == [(der.OCTETS, b"x" * size)]
    assert der.only(value, der.OCTETS) == b"x" * size
    assert openssl.openssl("asn1parse", "-inform", "DER", stdin=value).stdout.count(b"OCTET STRING") == 1


@pytest.mark.parametrize("number", [0, 1, 127, 128, 255, 256, 1 << 20])
def test_integers(number: int) -> None:
    shown = openssl.openssl("asn1parse", "-inform", "DER", stdin=der.integer(number)).stdout
    assert int(shown.rpartition(b":")[2], 16) == number


@pytest.mark.parametrize(
    "dotted", ["1.2.840.113549.1.1.11", "2.16.840.1.101.3.4.2.1", "2.5.4.3", "2.999.1", "0.9.2342"]
)
def test_object_identifiers(dotted: str) -> None:
    value = der.oid(dotted)
    assert der.dotted(der.only(value, der.OID)) == dotted
    config = f"asn1 = OID:{dotted}\n".encode()
    made = openssl.openssl("asn1parse", "-genconf", "/dev/stdin", "-noout", "-out", "/dev/stdout", stdin=config).stdout
    assert made == value


@pytest.mark.parametrize(
    "data",
    ["30", "3001", "308000", "30810105", "3082000105", "30850000000001ff", "1f0100", "3003020101" + "30", "3084"],
)
def test_what_is_no_der(data: str) -> None:
    with pytest.raises(ValueError, match="no DER"):
        der.items(bytes.fromhex(data))


def test_one_value_of_one_kind() -> None:
    for data in (b"", der.null() * 2, der.octets(b"")):
        with pytest.raises(ValueError, match="no DER"):
            der.only(data, der.NULL)
    for body in (b"", b"\x80", b"\x2a\x80", b"\x01" * 33):
        with pytest.raises(ValueError, match="no object identifier"):
            der.dotted(body)
