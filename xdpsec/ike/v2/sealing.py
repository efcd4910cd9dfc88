"""Payloads into the datagrams of an IKE SA and back: SK for what fits, else SKF (RFC 7296 sec. 3.14, 7383).

Also the octets that AUTH takes from IKE_INTERMEDIATE (RFC 9242 sec. 3.3.2). Decides nothing about a payload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdpsec.errors import LocalError
from xdpsec.ike.v2.sa import IkeSa
from xdpsec.numbers import IKE_VERSION
from xdpsec.wire import fragments
from xdpsec.wire.fragments import Reassembly
from xdpsec.wire.header import LENGTH, Header
from xdpsec.wire.message import GENERIC, associated_data, build_sealed, encode_payloads, parse_envelope
from xdpsec.wire.payloads import Payload

_UDP = 8
_IP = {False: 20, True: 40}
_MARKER = 4  # RFC 3948 sec. 2.2: what tells IKE from ESP on port 4500


def header(sa: IkeSa, exchange: int, message_id: int, response: bool) -> Header:
    """Ours, for the next message of this SA."""
    return Header(sa.spi_i, sa.spi_r, 0, IKE_VERSION, exchange, sa.initiator, response, message_id)


def seal(
    sa: IkeSa, head: Header, payloads: Sequence[Payload], random: Callable[[int], bytes], largest: int
) -> tuple[tuple[bytes, ...], bytes]:
    """The datagrams, and what IntAuth takes of the message. `largest` bytes of IP datagram, 0 = never in fragments."""
    sealer = sa.sealer
    if sealer is None:
        raise LocalError("an IKE message is to be sealed before there are keys, or after they were dropped")
    first, plaintext = encode_payloads(payloads)

    def close(aad: bytes, text: bytes) -> bytes:
        return sealer.seal(aad, text, random)

    room = largest - _IP[":" in sa.path.remote] - _UDP - _MARKER
    if sa.fragments and largest and LENGTH + GENERIC.size + sealer.length(len(plaintext)) > room:
        datagrams = tuple(fragments.split(head, first, plaintext, close, sealer.length, room))
    else:
        datagrams = (build_sealed(head, first, plaintext, close, sealer.length),)
    return datagrams, intauth_octets(head, first, plaintext)


def unseal(sa: IkeSa, data: bytes) -> tuple[int, bytes, int] | None:
    """(first payload type, plaintext, fragment number or 0) of an authentic message; None while fragments are missing.
    PeerError as of parse_envelope and Sealer.open."""
    envelope = parse_envelope(data)
    if sa.opener is None:
        return None
    if not envelope.total:
        return envelope.first, sa.opener.open(envelope.aad, envelope.body), 0
    if not sa.fragments:
        return None
    if sa.reassembly is None:
        sa.reassembly = Reassembly()
    if not sa.reassembly.wants(envelope):
        return None
    part = sa.opener.open(envelope.aad, envelope.body)
    if envelope.number == 1 and not envelope.header.response:
        sa.fingerprint = hash(data)
    whole = sa.reassembly.add(envelope, part)
    if whole is None:
        return None
    sa.reassembly = None
    return *whole, envelope.total


def intauth_octets(head: Header, first: int, plaintext: bytes) -> bytes:
    """IntAuth_A | IntAuth_P: as if the message had been sent whole, without IV, padding and ICV."""
    return associated_data(head, first, len(plaintext)) + plaintext
