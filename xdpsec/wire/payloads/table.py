"""Every payload of IKEv2 in one table: its class, its pair of functions, and where it may stand.

A payload where no row lets it stand is refused: AUTH in the clear, a Delete in IKE_AUTH, two nonces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xdpsec.numbers import ExchangeType as X
from xdpsec.numbers import PayloadType as P
from xdpsec.wire import limits
from xdpsec.wire.payloads.configuration import Configuration, build_cp, parse_cp
from xdpsec.wire.payloads.notices import Delete, Notify, build_delete, build_notify, parse_delete, parse_notify
from xdpsec.wire.payloads.plain import (
    Auth,
    Certificate,
    CertificateRequest,
    Eap,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    VendorId,
    build_auth,
    build_cert,
    build_certreq,
    build_data,
    build_id,
    build_ke,
    parse_auth,
    parse_cert,
    parse_certreq,
    parse_eap,
    parse_idi,
    parse_idr,
    parse_ke,
    parse_nonce,
    parse_vendor,
)
from xdpsec.wire.payloads.proposals import SecurityAssociation, build_sa, parse_sa
from xdpsec.wire.payloads.selectors import TsInitiator, TsResponder, build_ts, parse_tsi, parse_tsr
from xdpsec.wire.reader import Reader

#: RFC 7296 appendix C, and what RFC 9242 and 9370 add to it.
ANY = frozenset(X)
INIT, AUTH, CHILD = frozenset({X.IKE_SA_INIT}), frozenset({X.IKE_AUTH}), frozenset({X.CREATE_CHILD_SA})
INFORM, MORE_KE = frozenset({X.INFORMATIONAL}), frozenset({X.IKE_INTERMEDIATE, X.IKE_FOLLOWUP_KE})
MANY = limits.PAYLOADS
SEALED, EITHER = True, False


@dataclass(frozen=True, slots=True)
class Row:
    """`sealed_only`: never in the clear. `most`: how many of it one message may have."""

    kind: int
    name: str
    holds: type[Any]
    parse: Callable[[Reader], Any]
    build: Callable[[Any], bytes]
    sealed_only: bool
    exchanges: frozenset[X]
    most: int


# fmt: off
ROWS = (
    Row(P.SA, "SA payload", SecurityAssociation, parse_sa, build_sa, EITHER, INIT | AUTH | CHILD, 1),
    Row(P.KE, "KE payload", KeyExchange, parse_ke, build_ke, EITHER, INIT | CHILD | MORE_KE, 1),
    Row(P.IDI, "IDi payload", IdInitiator, parse_idi, build_id, SEALED, AUTH, 1),
    Row(P.IDR, "IDr payload", IdResponder, parse_idr, build_id, SEALED, AUTH, 1),
    Row(P.CERT, "CERT payload", Certificate, parse_cert, build_cert, SEALED, AUTH, limits.CERTIFICATES),
    Row(P.CERTREQ, "CERTREQ payload", CertificateRequest, parse_certreq, build_certreq, EITHER, INIT | AUTH,
        limits.REQUESTS),
    Row(P.AUTH, "AUTH payload", Auth, parse_auth, build_auth, SEALED, AUTH, 1),
    Row(P.NONCE, "nonce payload", Nonce, parse_nonce, build_data, EITHER, INIT | CHILD, 1),
    Row(P.NOTIFY, "notify payload", Notify, parse_notify, build_notify, EITHER, ANY, MANY),
    Row(P.DELETE, "delete payload", Delete, parse_delete, build_delete, SEALED, INFORM, limits.DELETES),
    Row(P.VENDOR_ID, "vendor ID payload", VendorId, parse_vendor, build_data, EITHER, ANY, MANY),
    Row(P.TSI, "TSi payload", TsInitiator, parse_tsi, build_ts, SEALED, AUTH | CHILD, 1),
    Row(P.TSR, "TSr payload", TsResponder, parse_tsr, build_ts, SEALED, AUTH | CHILD, 1),
    Row(P.CP, "CP payload", Configuration, parse_cp, build_cp, SEALED, AUTH | CHILD | INFORM, 1),
    Row(P.EAP, "EAP payload", Eap, parse_eap, build_data, SEALED, AUTH, 1),
)
# fmt: on

BY_KIND = {int(row.kind): row for row in ROWS}
BY_CLASS = {row.holds: row for row in ROWS}


def _may_stand(row: Row, exchange: int, sealed: bool) -> bool:
    """In the clear are only IKE_SA_INIT and hints to a peer that has lost us (RFC 7296 sec. 1.5, 2.21.4)."""
    if row.exchanges is ANY:
        return True
    return exchange in row.exchanges and (sealed or (exchange == X.IKE_SA_INIT and not row.sealed_only))


def _standing(exchange: int, sealed: bool) -> dict[int, Row]:
    return {kind: row for kind, row in BY_KIND.items() if _may_stand(row, exchange, sealed)}


#: The same by exchange and whether the message is sealed: one look per payload on the hot path. An exchange that we do
#: not know may have what may stand anywhere.
STANDING = {(int(exchange), sealed): _standing(exchange, sealed) for exchange in X for sealed in (False, True)}
STANDING_ANYWHERE = _standing(0, False)
