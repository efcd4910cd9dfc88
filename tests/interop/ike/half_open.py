"""Begins a conversation and leaves it there: one IKE_SA_INIT from SOURCE to TARGET, `half_open.py SOURCE TARGET`.

Ends when the answer has come. The proposal is one that the rows' default has: aes128-sha256-x25519.
"""

from __future__ import annotations

import os
import socket
import sys

from xdpsec.crypto import exchange
from xdpsec.numbers import Encr, ExchangeType, Integ, Ke, Prf, Protocol, TransformType
from xdpsec.wire.header import NO_SPI, Header
from xdpsec.wire.message import build_clear
from xdpsec.wire.payloads import KeyExchange, Nonce, Proposal, SecurityAssociation, Transform

IKE = 500
SECONDS = 60.0


def message() -> bytes:
    transforms = (
        Transform(TransformType.ENCR, Encr.AES_CBC, 128),
        Transform(TransformType.PRF, Prf.HMAC_SHA2_256),
        Transform(TransformType.INTEG, Integ.HMAC_SHA2_256_128),
        Transform(TransformType.KE, Ke.X25519),
    )
    public = exchange.start(Ke.X25519, os.urandom).public
    payloads = (
        SecurityAssociation((Proposal(1, Protocol.IKE, b"", transforms),)),
        KeyExchange(Ke.X25519, public),
        Nonce(os.urandom(32)),
    )
    header = Header(os.urandom(8), NO_SPI, 0, 0x20, ExchangeType.IKE_SA_INIT, True, False, 0, 0)
    return build_clear(header, payloads)


def main(source: str, target: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        sender.settimeout(SECONDS)
        sender.sendto(message(), (target, IKE))
        sender.recv(65536)


if __name__ == "__main__":
    main(*sys.argv[1:])
