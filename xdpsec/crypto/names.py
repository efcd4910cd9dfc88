"""Distinguished names (X.501) as they stand in ID payloads and certificates: from text, compared, shown.

Compared by RFC 5280 sec. 7.1: case, runs of white space and the kind of string do not count. The order of the text is
that of the encoding, country first, as `openssl x509 -subject` prints it (RFC 4514 has it the other way round).
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

from xdpsec.crypto import der

MAX_SIZE = 4096  # octets of a name; a certificate of ours takes 16 KiB
MAX_PARTS = 32
ANY = "*"

#: Short names that people write; any other attribute by its dotted number. The first of an attribute is shown.
_SHORT = {
    "CN": NameOID.COMMON_NAME,
    "C": NameOID.COUNTRY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "L": NameOID.LOCALITY_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "STREET": NameOID.STREET_ADDRESS,
    "E": NameOID.EMAIL_ADDRESS,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "T": NameOID.TITLE,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
_SHOWN = {der.oid(oid.dotted_string)[2:]: name for name, oid in reversed(_SHORT.items())}
_ENCODINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii", 0x14: "latin-1", 0x1E: "utf-16-be", 0x1C: "utf-32-be"}
_COMMA = re.compile(r"(?<!\\)((?:\\\\)*)\s*,\s*")

#: One attribute: its type (DER of the object identifier) and its value in the form that is compared.
Attribute = tuple[bytes, str | bytes]
#: A name to compare: one frozenset per RDN, in order.
Key = tuple[frozenset[Attribute], ...]


def build(text: str) -> bytes:
    """DER of the name that `text` writes: "C=DE, O=Firm, CN=gw". ValueError when it is none."""
    return parse(text).public_bytes()


def parse(text: str) -> x509.Name:
    """The same as pyca's value."""
    joined = _COMMA.sub(r"\1,", text.strip())
    try:
        name = x509.Name.from_rfc4514_string(joined, _SHORT)
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{text!r} is no distinguished name; write one like C=DE, O=Firm, CN=gw") from None
    return x509.Name(reversed(name.rdns))


def key(name: bytes) -> Key:
    """The name for comparison; ValueError when `name` is not the DER of one."""
    if len(name) > MAX_SIZE:
        raise ValueError("a name of more than 4096 octets")
    rdns = list(der.items(der.only(name, der.SEQUENCE)))
    if len(rdns) > MAX_PARTS:
        raise ValueError("a name of more than 32 parts")
    return tuple(frozenset(map(_attribute, der.items(der.body(rdn, der.SET)))) for rdn in rdns)


def _attribute(item: der.Item) -> Attribute:
    kind, (tag, raw) = der.items(der.body(item, der.SEQUENCE))
    encoding = _ENCODINGS.get(tag)
    return der.body(kind, der.OID), " ".join(raw.decode(encoding).casefold().split()) if encoding else raw


def same(one: bytes, other: bytes) -> bool:
    """Whether two encoded names are the same name. What is no name is equal to nothing but itself."""
    if one == other:
        return True
    try:
        return key(one) == key(other)
    except ValueError:
        return False


def fits(pattern: Key, name: bytes) -> bool:
    """Whether `name` is as `pattern` says, whose values "*" stand for any one value."""
    try:
        found = key(name)
    except ValueError:
        return False
    return len(found) == len(pattern) and all(map(_fits, pattern, found))


def _fits(pattern: frozenset[Attribute], found: frozenset[Attribute]) -> bool:
    fixed = frozenset(attribute for attribute in pattern if attribute[1] != ANY)
    wild = sorted(kind for kind, _ in pattern - fixed)
    return fixed <= found and sorted(kind for kind, _ in found - fixed) == wild


def show(name: bytes) -> str:
    """The name as `build` reads it; for anything else its octets in hexadecimal."""
    try:
        key(name)
        rdns = [der.items(der.body(rdn, der.SET)) for rdn in der.items(der.only(name, der.SEQUENCE))]
        return ", ".join("+".join(map(_show, rdn)) for rdn in rdns)
    except ValueError:
        return f"#{name[:64].hex()}"


def _show(item: der.Item) -> str:
    kind, (tag, raw) = der.items(der.body(item, der.SEQUENCE))
    number = der.body(kind, der.OID)
    encoding = _ENCODINGS.get(tag)
    value = _escaped(raw.decode(encoding)) if encoding else f"#{raw.hex()}"
    return f"{_SHOWN.get(number) or der.dotted(number)}={value}"


def _escaped(text: str) -> str:
    """Safe for a log line and for `build`."""
    shown = "".join(char if char.isprintable() else f"\\{char.encode('utf-8', 'replace').hex()}" for char in text)
    return re.sub(r'([,+"<>;=])', r"\\\1", shown)
