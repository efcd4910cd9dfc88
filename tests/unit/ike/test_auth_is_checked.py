"""A peer whose AUTH payload is off by one bit is nobody, whatever else is right; `make mutants` breaks these checks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from authority import LEAF, NOW, Authority, der
from openssl import key
from pair import PSK, Pair, downs, mirrored, pair, peer, ups

from xdpsec.crypto.signing import Signer
from xdpsec.crypto.trust import Trust
from xdpsec.ike.settings import LocalAuth, PeerSettings, RemoteAuth
from xdpsec.ike.v2 import authenticate
from xdpsec.ike.v2.flow import Steps
from xdpsec.ike.v2.sa import IkeSa
from xdpsec.numbers import NotifyType


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Calling it with a side's name flips one bit of the proof that this side gives from then on."""
    prove = authenticate.prove

    def of(identity: str) -> None:
        def forged(settings: PeerSettings, sa: IkeSa, octets: bytes) -> Steps[tuple[int, bytes]]:
            method, data = yield from prove(settings, sa, octets)
            if settings.local_id.data == identity.encode():
                data = data[:-1] + bytes((data[-1] ^ 1,))
            return method, data

        monkeypatch.setattr(authenticate, "prove", forged)

    return of


def refused(both: Pair, by: str) -> None:
    both.connect()
    both.run(10.0)
    side = both.side(by)
    assert not ups(side)
    assert not side.installed
    assert [notify for _, notify in downs(side)] == [NotifyType.AUTHENTICATION_FAILED]


def by_secret() -> Pair:
    return pair(peer(local_auth=LocalAuth(psk=PSK), remote_auth=RemoteAuth(psk=PSK)))


def by_signature(folder: Path) -> Pair:
    root = Authority(folder, "/CN=root")
    leaves = {name: root.issue(f"/C=DE/CN={name}", f"{LEAF}subjectAltName=DNS:{name}\n", "p256") for name in "ab"}
    signers = {name: LocalAuth(signer=Signer(key("p256"), (der(leaf),))) for name, leaf in leaves.items()}
    ours = peer(local_auth=signers["a"], remote_auth=RemoteAuth(trust=Trust([root.certificate])))
    both = pair(ours, mirrored(ours, local_auth=signers["b"]))
    both.a.clock = both.b.clock = NOW
    return both


@pytest.mark.parametrize(("liar", "judge"), [("a", "b"), ("b", "a")])
def test_one_wrong_bit_of_a_secret_s_proof(forge: Callable[[str], None], liar: str, judge: str) -> None:
    forge(liar)
    refused(by_secret(), judge)


@pytest.mark.parametrize(("liar", "judge"), [("a", "b"), ("b", "a")])
def test_one_wrong_bit_of_a_signature(tmp_path: Path, forge: Callable[[str], None], liar: str, judge: str) -> None:
    forge(liar)
    refused(by_signature(tmp_path), judge)


def test_without_a_wrong_bit_both_come_up(tmp_path: Path) -> None:
    for both in (by_secret(), by_signature(tmp_path)):
        both.connect()
        both.run(10.0)
        both.agree()
        assert both.up()
