"""The payloads of IKEv2 as values, one record each; every one is built and parsed by a row of table.py."""

from __future__ import annotations

from xdpsec.wire.payloads.configuration import Attribute, Configuration
from xdpsec.wire.payloads.notices import Delete, Notify, answer_for
from xdpsec.wire.payloads.plain import (
    Auth,
    Certificate,
    CertificateRequest,
    Eap,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    Unknown,
    VendorId,
    build_id,
)
from xdpsec.wire.payloads.proposals import Proposal, SecurityAssociation, Transform
from xdpsec.wire.payloads.selectors import Selector, TsInitiator, TsResponder

Payload = (
    SecurityAssociation
    | KeyExchange
    | IdInitiator
    | IdResponder
    | Certificate
    | CertificateRequest
    | Auth
    | Nonce
    | Notify
    | Delete
    | VendorId
    | TsInitiator
    | TsResponder
    | Configuration
    | Eap
    | Unknown
)

__all__ = [
    "Attribute",
    "Auth",
    "Certificate",
    "CertificateRequest",
    "Configuration",
    "Delete",
    "Eap",
    "IdInitiator",
    "IdResponder",
    "KeyExchange",
    "Nonce",
    "Notify",
    "Payload",
    "Proposal",
    "SecurityAssociation",
    "Selector",
    "Transform",
    "TsInitiator",
    "TsResponder",
    "Unknown",
    "VendorId",
    "answer_for",
    "build_id",
]
