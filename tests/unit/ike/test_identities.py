"""Identities: text to octets, which say the same, what a pattern lets through, and that a peer's text is literal."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdpsec.crypto import names
from xdpsec.ike.identities import key, of_address, of_subject, parse_identity, parse_rule, same, show
from xdpsec.ike.settings import Identity
from xdpsec.numbers import IdType

FORMS = [
    ("203.0.113.7", IdType.IPV4_ADDR, bytes([203, 0, 113, 7])),
    ("2001:db8::1", IdType.IPV6_ADDR, ip_address("2001:db8::1").packed),
    ("ip:2001:db8::1", IdType.IPV6_ADDR, ip_address("2001:db8::1").packed),
    ("gw.example.org", IdType.FQDN, b"gw.example.org"),
    ("fqdn:203", IdType.FQDN, b"203"),
    ("user@example.org", IdType.RFC822_ADDR, b"user@example.org"),
    ("email:a=b@example.org", IdType.RFC822_ADDR, b"a=b@example.org"),
    ("keyid:office 7", IdType.KEY_ID, b"office 7"),
    ("keyid:0xdeadbeef", IdType.KEY_ID, b"\xde\xad\xbe\xef"),
    ("C=DE, CN=gw", IdType.DER_ASN1_DN, bytes.fromhex("301a310b3009060355040613024445310b300906035504030c026777")),
]
NONE = (
    *("", "ip:gw", "fqdn:", "a b", "-a.example", "a..b", "x" * 64 + ".org", "gw.example.org.", "user@", "@example.org"),
    *("a*@example.org", "a@b@ c", "*", "*.example.org", "10.0.0.0/8", "keyid:", "keyid:0x0", "keyid:0xzz", "dn:gw"),
    *("=x", "dn:C=DEU=", "Q=x", "gw.exämple.org", "keyid:" + "x" * 1025),
)


@pytest.mark.parametrize(("text", "kind", "data"), FORMS)
def test_from_text(text: str, kind: int, data: bytes) -> None:
    identity = parse_identity(text)
    assert identity == Identity(kind, data)
    assert same(parse_identity(show(identity) if ":" not in text else text), identity)


@pytest.mark.parametrize("text", NONE)
def test_no_identity(text: str) -> None:
    with pytest.raises(ValueError, match=r"write"):
        parse_identity(text)


@pytest.mark.parametrize(
    "text", ["C=DE, O=Firm\\, Inc, CN=gw", "DC=org, DC=example, CN=gw", "CN=a+OU=b", "O=Größe, CN=x, E=a@b.org"]
)
def test_names_are_openssl_s(text: str) -> None:
    """The order of RDNs and what each says, by what the openssl command prints of our DER."""
    der = parse_identity(f"dn:{text}").data
    tree = subprocess.run(["openssl", "asn1parse", "-inform", "DER"], input=der, capture_output=True, check=True)
    leaves = [line.split(b":")[-1] for line in tree.stdout.splitlines() if b"prim" in line]
    values = [value.strip().decode("utf-8", "replace") for value in leaves]
    wanted = [
        part.split("=")[1].replace("\\", "") for part in text.replace("+", ", ").replace("\\, ", "\0 ").split(", ")
    ]
    plain = [value.replace("\0", ",") for value in wanted]
    assert sorted(values[1::2]) == sorted(plain) if "+" in text else values[1::2] == plain
    assert parse_identity(f"dn:{show(of_subject(der))}").data == der


def test_names_compare_by_what_they_say() -> None:
    one, other = parse_identity("C=DE, O=Some  Firm, CN=GW"), parse_identity("C=de, O=some firm , CN=gw")
    assert one.data != other.data
    assert same(one, other)
    printable = one.data.replace(b"\x0c\x02GW", b"\x13\x02GW")
    assert printable != one.data
    assert same(one, of_subject(printable))
    for text in (
        "O=Some Firm, C=DE, CN=gw",
        "C=DE, O=Some Firm",
        "C=DE, O=Some Firm, CN=gw2",
        "C=DE, O=Some Firm, OU=gw",
    ):
        assert not same(one, parse_identity(text))


def test_each_kind_compares_as_it_should() -> None:
    assert same(Identity(2, b"GW.example.org"), Identity(2, b"gw.EXAMPLE.org"))
    assert not same(Identity(2, b"gw.example.org"), Identity(11, b"gw.example.org"))
    assert same(Identity(3, b"me@Example.org"), Identity(3, b"me@example.org"))
    assert not same(Identity(3, b"Me@example.org"), Identity(3, b"me@example.org"))
    assert not same(Identity(11, b"a"), Identity(11, b"A"))
    assert same(of_address("2001:DB8:0::1"), parse_identity("2001:db8::1"))


RULES = [
    ("gw.example.org", ["GW.example.org"], ["a.gw.example.org", "keyid:gw.example.org", "*"]),
    ("*.example.org", ["a.example.org", "A.b.Example.org"], ["example.org", "fqdn:xexample.org", "a@example.org"]),
    ("*@example.org", ["a@example.org", "b.c@EXAMPLE.org"], ["a@sub.example.org", "example.org", "a.example.org"]),
    ("10.1.0.0/16", ["10.1.255.1"], ["10.2.0.1", "::1", "a.example.org"]),
    ("2001:db8::/32", ["2001:db8:1::1"], ["2001:db9::1", "10.1.0.1"]),
    ("C=DE, O=Firm, CN=*", ["C=DE, O=firm, CN=x"], ["C=DE, O=Firm", "C=DE, O=Other, CN=x", "C=DE, O=Firm, OU=x"]),
    ("CN=*+OU=b", ["CN=a+OU=b"], ["CN=a+OU=c", "CN=a", "OU=b", "CN=a+CN=c"]),
    ("*", ["a.example.org", "10.0.0.1", "C=DE", "keyid:x", "a@b"], []),
    ("keyid:office", ["keyid:office"], ["keyid:Office", "office"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "inside", "outside"), RULES)
def test_rules(text: str, inside: list[str], outside: list[str]) -> None:
    rule = parse_rule(text)
    assert str(rule) == text
    assert [one for one in inside if not rule.matches(parse_identity(one))] == []
    assert [one for one in outside if one != "*" and rule.matches(parse_identity(one))] == []


BAD_RULES = (
    *(
        "a*.example.org",
        "*a.org",
        "**.org",
        "*.",
        "*@",
        "*.*.org",
        "a@*.org",
        "CN=a*",
        "keyid:*",
        "*.example.org, CN=x",
    ),
    *("10.0.0.1/8", "10.0.0.0/33", "::/129", "2001:db8::1/32"),
)


@pytest.mark.parametrize("text", BAD_RULES)
def test_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no (pattern of identities|identity); "):
        parse_rule(text)


LITERAL = (
    *(b"*", b"*.example.org", b"gw.example.org\0.evil.org", b".example.org", b"\xff.example.org"),
    *(b"a..example.org", b"a b.example.org", b"", b"@example.org"),
)


@pytest.mark.parametrize("sent", LITERAL)
def test_what_a_peer_sends_is_literal(sent: bytes) -> None:
    for text in ("gw.example.org", "*.example.org", "*@example.org"):
        for kind in (IdType.FQDN, IdType.RFC822_ADDR):
            assert not parse_rule(text).matches(Identity(kind, sent))
    wild = Identity(IdType.DER_ASN1_DN, names.build("C=DE, CN=*"))
    assert not parse_rule("C=DE, CN=gw").matches(wild)
    assert not parse_rule("*").matches(Identity(IdType.NULL, b""))


@given(kind=st.integers(0, 255), data=st.binary(max_size=300))
def test_any_octets_are_compared_and_shown(kind: int, data: bytes) -> None:
    sent = Identity(kind, data)
    assert show(sent).isprintable()
    assert same(sent, sent)
    for text, _, _ in RULES[:-2]:
        assert parse_rule(text).matches(sent) in (True, False)


@given(data=st.binary(max_size=60), cut=st.integers(0, 60))
def test_broken_names_are_equal_to_nothing_else(data: bytes, cut: int) -> None:
    whole = names.build("C=DE, O=Firm, CN=gw")
    broken = whole[:cut] + data
    if broken != whole and len(broken) < 30:
        assert show(of_subject(broken)).isprintable()
        assert names.same(broken, whole) is (names.key(broken) == names.key(whole) if _is_name(broken) else False)


def _is_name(data: bytes) -> bool:
    try:
        names.key(data)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gw.example.org", "GW.Example.org"),
        ("user@example.org", "user@EXAMPLE.org"),
        ("C=DE, O=Firm, CN=gw", "C=de, O=firm, CN=GW"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_the_same_identities_have_one_key(one: str, other: str) -> None:
    a, b = parse_identity(one), parse_identity(other)
    assert same(a, b)
    assert key(a) == key(b)


def test_others_have_others() -> None:
    texts = (
        "gw.example.org",
        "user@example.org",
        "User@example.org",
        "keyid:gw",
        "keyid:GW",
        "CN=gw",
        "O=gw",
        "10.0.0.1",
    )
    assert len({key(parse_identity(text)) for text in texts}) == len(texts)
    assert key(Identity(IdType.DER_ASN1_DN, b"no name")) == b"\x09no name"
