"""The Security Association payload: proposals of transforms (RFC 7296 sec. 3.3). Judges no number in it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from xdpsec.numbers import KEY_LENGTH, Encr, Esn, Integ, Ke, Prf, Protocol, TransformType
from xdpsec.wire import limits
from xdpsec.wire.reader import Malformed, Reader
from xdpsec.wire.record import new, record

PROPOSAL = Struct("!BxHBBBB")  # last, length, number, protocol, SPI size, transforms
TRANSFORM = Struct("!BxHBxH")  # last, length, type, id
UNMARKED = Struct("!HBxH")  # the same behind the mark of the last
ATTRIBUTE = Struct("!HH")  # type, then the value (top bit of the type set) or the value's length
#: Taken once: on the hot path Struct.size costs as much as a comparison.
PROPOSAL_SIZE, TRANSFORM_SIZE, ATTRIBUTE_SIZE = PROPOSAL.size, TRANSFORM.size, ATTRIBUTE.size
SHORT = 0x8000
BITS = SHORT | KEY_LENGTH
MOST_ATTRIBUTES = range(limits.TRANSFORM_ATTRIBUTES)
MORE_PROPOSALS, MORE_TRANSFORMS = 2, 3
MORE, LAST = bytes((MORE_TRANSFORMS, 0)), bytes(2)  # before a transform
#: RFC 7296 sec. 3.3.1; IKE has none in IKE_SA_INIT, where the header carries it. Unknown protocols may have any.
SPI_SIZES: dict[int, tuple[int, ...]] = {Protocol.IKE: (0, 8), Protocol.AH: (4,), Protocol.ESP: (4,)}


class Transform(NamedTuple):
    """`bits` is the key length, 0 = none given. `others` holds attributes we do not know, as they came: such a
    transform must not be chosen (RFC 7296 sec. 3.3.6).

    A tuple, as a stranger has them built by the hundred: it takes half the time of a dataclass.
    """

    type: int
    id: int
    bits: int = 0
    others: bytes = b""


@record
class Proposal:
    """`spi` has 0, 4 or 8 bytes for the protocols we know."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]


@record
class SecurityAssociation:
    """Proposals in the order of preference: one in an answer."""

    proposals: tuple[Proposal, ...]


def parse_sa(reader: Reader) -> SecurityAssociation:
    data = reader.rest()
    return SecurityAssociation(tuple([_parse_proposal(data, at, end) for at, end in _spans(data)]))


def build_sa(value: SecurityAssociation) -> bytes:
    last = len(value.proposals) - 1
    return b"".join(
        [_build_proposal(proposal, index == last) for index, proposal in enumerate(value.proposals)],
    )


def _spans(data: bytes) -> list[tuple[int, int]]:
    """Where each proposal begins and ends. Counts all there is before anything is built."""
    spans: list[tuple[int, int]] = []
    at, transforms = 0, 0
    while at < len(data) or not spans:
        if at + PROPOSAL_SIZE > len(data):
            raise Malformed("SA payload: a proposal is cut short")
        last, length, _, _, _, count = PROPOSAL.unpack_from(data, at)
        end = at + length
        transforms += count
        if length < PROPOSAL_SIZE or end > len(data):
            raise Malformed(f"SA payload: a proposal claims {length} bytes of {len(data) - at}")
        if last != (MORE_PROPOSALS if end < len(data) else 0):
            raise Malformed("SA payload: the mark of the last proposal is not on the last one")
        if len(spans) == limits.PROPOSALS or transforms > limits.TRANSFORMS:
            raise Malformed(f"SA payload: more than {limits.PROPOSALS} proposals or {limits.TRANSFORMS} transforms")
        spans.append((at, end))
        at = end
    return spans


def _parse_proposal(data: bytes, at: int, end: int) -> Proposal:
    _, _, number, protocol, size, count = PROPOSAL.unpack_from(data, at)
    if size not in SPI_SIZES.get(protocol, (size,)):
        raise Malformed(f"SA payload: an SPI of {size} bytes for protocol {protocol}")
    spi = data[at + PROPOSAL_SIZE : at + PROPOSAL_SIZE + size]
    at += PROPOSAL_SIZE + size
    transforms: list[Transform] = []
    for more in range(count - 1, -1, -1):
        if at + TRANSFORM_SIZE > end:
            raise Malformed("SA payload: a transform is cut short")
        length = data[at + 2] << 8 | data[at + 3]
        stop = at + length
        if length < TRANSFORM_SIZE or stop > end:
            raise Malformed(f"SA payload: a transform claims {length} bytes of {end - at}")
        if data[at] != (MORE_TRANSFORMS if more else 0):
            raise Malformed("SA payload: the mark of the last transform is not on the last one")
        common = COMMON.get(data[at + 2 : stop]) if length <= LONGEST else None
        transforms.append(common or _parse_transform(data, at, stop))
        at = stop
    if at != end:
        raise Malformed(f"SA payload: a proposal of {count} transforms and {end - at} bytes that are none")
    return Proposal(number, protocol, spi, tuple(transforms))


def _build_proposal(value: Proposal, last: bool) -> bytes:
    encoded = [ENCODED.get(each) or _encode(each) for each in value.transforms]
    transforms = MORE.join([b"", *encoded[:-1]]) + LAST + encoded[-1] if encoded else b""
    length = PROPOSAL_SIZE + len(value.spi) + len(transforms)
    mark = 0 if last else MORE_PROPOSALS
    fixed = PROPOSAL.pack(mark, length, value.number, value.protocol, len(value.spi), len(value.transforms))
    return fixed + value.spi + transforms


def _parse_transform(data: bytes, at: int, stop: int) -> Transform:
    _, _, kind, number = TRANSFORM.unpack_from(data, at)
    start = at = at + TRANSFORM_SIZE
    bits, others = 0, data[start:stop]
    for _ in MOST_ATTRIBUTES:
        if at == stop:
            break
        if at + ATTRIBUTE_SIZE > stop:
            raise Malformed("SA payload: an attribute of a transform is cut short")
        attribute, value = ATTRIBUTE.unpack_from(data, at)
        end = at + ATTRIBUTE_SIZE
        if attribute < SHORT:
            end += value
            if end > stop:
                raise Malformed(f"SA payload: an attribute of a transform is {end - stop} bytes too short")
        elif attribute == BITS and value and not bits:
            bits, others = value, data[start:at] + data[end:stop]
        at = end
    if at != stop:
        raise Malformed(f"SA payload: a transform has more than {limits.TRANSFORM_ATTRIBUTES} attributes")
    return new(Transform, (kind, number, bits, others))


def _encode(value: Transform) -> bytes:
    """The transform behind its mark."""
    attributes = (ATTRIBUTE.pack(BITS, value.bits) if value.bits else b"") + value.others
    return UNMARKED.pack(TRANSFORM_SIZE + len(attributes), value.type, value.id) + attributes


def _common() -> Iterable[tuple[bytes, Transform]]:
    """The transforms that peers send, under their bytes behind the mark: found, not built, on the hot path."""
    registries: dict[int, type[IntEnum]] = {
        TransformType.ENCR: Encr,
        TransformType.PRF: Prf,
        TransformType.INTEG: Integ,
        TransformType.ESN: Esn,
        TransformType.KE: Ke,
        **dict.fromkeys(range(TransformType.ADDKE1, TransformType.ADDKE7 + 1), Ke),
    }
    for kind, registry in registries.items():
        for number in registry:
            for bits in (0, 128, 192, 256) if kind == TransformType.ENCR else (0,):
                value = Transform(int(kind), int(number), bits)
                yield _encode(value), value


COMMON = dict(_common())
LONGEST = TRANSFORM_SIZE + ATTRIBUTE_SIZE  # of them
ENCODED = {value: octets for octets, value in COMMON.items()}
