"""Identities (RFC 7296 sec. 3.5): from the words of a configuration, compared with what a peer says, shown.

Only a rule can hold a wildcard, and only since the configuration wrote it there: what a peer sends is always literal.
Which certificate may claim an identity is crypto/claims.py's business.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from xdpsec.crypto import names
from xdpsec.ike.settings import Identity
from xdpsec.numbers import IdType

MAX_SIZE = 1024  # octets of an identity that a configuration writes
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_FQDN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_MAILBOX = re.compile(r"[^\s@*\x00-\x1f\x7f-\xff]+")
_FORMS = "an address, gw.example.org, user@example.org, C=DE, CN=gw, or with its kind before it like keyid:office"
#: Kinds that can be written before a colon, for text that would be taken for something else.
_PREFIXES = ("ip", "fqdn", "email", "dn", "keyid")


def parse_identity(text: str) -> Identity:
    """The identity that `text` writes, its kind by its form or by a prefix "ip:", "fqdn:", "email:", "dn:", "keyid:".
    ValueError, a sentence, when it is none. A key id is text or, after 0x, hexadecimal digits."""
    prefix, _, rest = text.partition(":")
    kind = prefix if prefix in _PREFIXES else _guess(text)
    identity = _build(kind, rest.strip() if prefix in _PREFIXES else text.strip())
    if identity is None or not 0 < len(identity.data) <= MAX_SIZE:
        raise ValueError(f"{text!r} is no identity; write {_FORMS}")
    return identity


def _guess(text: str) -> str:
    try:
        ipaddress.ip_address(text.strip())
    except ValueError:
        return "dn" if "=" in text else "email" if "@" in text else "fqdn"
    return "ip"


def _build(kind: str, text: str) -> Identity | None:
    if kind == "ip":
        try:
            return of_address(text)
        except ValueError:
            return None
    if kind == "fqdn":
        return Identity(IdType.FQDN, text.encode()) if _FQDN.fullmatch(text) and len(text) < 254 else None
    if kind == "email":
        mailbox, _, domain = text.rpartition("@")
        whole = _MAILBOX.fullmatch(mailbox) and _FQDN.fullmatch(domain)
        return Identity(IdType.RFC822_ADDR, text.encode()) if whole else None
    if kind == "dn":
        return Identity(IdType.DER_ASN1_DN, names.build(text))
    if text.startswith("0x"):
        return Identity(IdType.KEY_ID, bytes.fromhex(text[2:])) if re.fullmatch(_HEX, text[2:]) else None
    return Identity(IdType.KEY_ID, text.encode())


def of_address(address: str) -> Identity:
    """The identity of a machine that is known by its address; ValueError when it is none."""
    parsed = ipaddress.ip_address(address)
    return Identity(IdType.IPV4_ADDR if parsed.version == 4 else IdType.IPV6_ADDR, parsed.packed)


def of_subject(name: bytes) -> Identity:
    """The identity of a certificate's owner: its subject (DER)."""
    return Identity(IdType.DER_ASN1_DN, name)


# --- comparing --


def same(one: Identity, other: Identity) -> bool:
    """Whether two identities are the same one: names without regard to case, all else octet by octet."""
    if one.kind != other.kind:
        return False
    match one.kind:
        case IdType.FQDN:
            return one.data.lower() == other.data.lower()
        case IdType.RFC822_ADDR:
            return _mail(one.data) == _mail(other.data)
        case IdType.DER_ASN1_DN:
            return names.same(one.data, other.data)
    return one.data == other.data


def key(identity: Identity) -> bytes:
    """To file it under: equal for identities that are the same one. A peer may write its name in a thousand ways."""
    data = identity.data
    match identity.kind:
        case IdType.FQDN:
            data = data.lower()
        case IdType.RFC822_ADDR:
            data = b"@".join(_mail(data))
        case IdType.DER_ASN1_DN:
            with suppress(ValueError):
                parts = [sorted(map(repr, part)) for part in names.key(data)]
                data = sha256(repr(parts).encode()).digest()
    return bytes((identity.kind,)) + data


def _mail(data: bytes) -> tuple[bytes, bytes]:
    """Mailbox and domain; only the domain has no case (RFC 5280 sec. 7.5)."""
    mailbox, _, domain = data.rpartition(b"@")
    return mailbox, domain.lower()


@dataclass(frozen=True, slots=True)
class Rule:
    """Which identities may be the peer's: `exact`, or when that is None, those that the pattern in `text` allows, with
    the DN or the prefix that it writes."""

    text: str
    exact: Identity | None = None
    name: names.Key | None = None
    prefix: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None

    def matches(self, identity: Identity) -> bool:
        if self.exact is not None:
            return same(self.exact, identity)
        return _matches(self, identity)

    def __str__(self) -> str:
        return self.text


def parse_rule(text: str) -> Rule:
    """An identity as `parse_identity` reads it, or one of the wildcards: "*" any identity, "*.example.org" a name below
    that domain, "*@example.org" any mailbox there, "10.0.0.0/8" an address within, "C=DE, O=Firm, CN=*" any value in
    that place. ValueError, a sentence, when it is neither."""
    text = text.strip()
    if "*" not in text and not _prefix(text):
        return Rule(text, parse_identity(text))
    domain = re.fullmatch(r"\*[.@](.+)", text)
    rule = Rule(text, None, _dn_pattern(text), _prefix(text))
    if not (text == "*" or rule.name or rule.prefix or (domain and _FQDN.fullmatch(domain[1]))):
        fix = "*, *.example.org, *@example.org, 10.0.0.0/8 and C=DE, CN=* are the wildcards that there are"
        raise ValueError(f"{text!r} is no pattern of identities; {fix}")
    return rule


def _prefix(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text) if "/" in text else None
    except ValueError:
        return None


def _dn_pattern(text: str) -> names.Key | None:
    """The pattern when every "*" in it is a whole value."""
    if "=" not in text:
        return None
    try:
        pattern = names.key(names.build(text.removeprefix("dn:")))
    except ValueError:
        return None
    values = [value for rdn in pattern for _, value in rdn]
    return pattern if all(value == "*" or "*" not in str(value) for value in values) else None


def _matches(rule: Rule, identity: Identity) -> bool:
    text = rule.text
    if text == "*":
        return identity.kind != IdType.NULL
    match identity.kind:
        case IdType.FQDN:
            return text.startswith("*.") and _below(identity.data, text[1:].lower().encode())
        case IdType.RFC822_ADDR:
            mailbox, domain = _mail(identity.data)
            return text.startswith("*@") and bool(mailbox) and domain == text[2:].lower().encode()
        case IdType.DER_ASN1_DN:
            return rule.name is not None and names.fits(rule.name, identity.data)
        case IdType.IPV4_ADDR | IdType.IPV6_ADDR:
            if rule.prefix is None or len(identity.data) != rule.prefix.max_prefixlen // 8:
                return False
            return ipaddress.ip_address(identity.data) in rule.prefix
    return False


def _below(name: bytes, suffix: bytes) -> bool:
    """Whether `name` is whole labels before `suffix`."""
    try:
        text = name.decode("ascii").lower()
    except UnicodeDecodeError:
        return False
    return text.endswith(suffix.decode()) and bool(_FQDN.fullmatch(text.removesuffix(suffix.decode())))


# --- showing --


def show(identity: Identity) -> str:
    """The identity for people and logs, on one line, whatever a peer wrote into it."""
    data = identity.data
    match identity.kind:
        case IdType.IPV4_ADDR | IdType.IPV6_ADDR if len(data) in (4, 16):
            return str(ipaddress.ip_address(data))
        case IdType.FQDN | IdType.RFC822_ADDR:
            return _printable(data)
        case IdType.DER_ASN1_DN:
            return names.show(data)
        case IdType.KEY_ID:
            return f"keyid:{_printable(data)}"
        case IdType.NULL:
            return "no identity"
    return f"type {int(identity.kind)} 0x{data[:64].hex()}"


def _printable(data: bytes) -> str:
    """Text when all of it can be printed, else hexadecimal; never longer than a line."""
    text = data[:256].decode("ascii", "replace")
    return text if text.isprintable() and text.isascii() else f"0x{data[:128].hex()}"
