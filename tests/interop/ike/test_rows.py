"""The data files themselves: each algorithm in a row for either role, no row twice, numbers as IANA has them."""

from __future__ import annotations

from collections import Counter

import pytest

from interop.ike.cases import DEFAULT, PEERS, ROLES, matrix
from interop.ike.plays import PLAYS
from interop.ike.words import ALGORITHMS, ENCR, ESN, INTEG, KE, PRF, Algorithm, expected
from xdpsec import numbers

REGISTRIES = {ENCR: numbers.Encr, PRF: numbers.Prf, INTEG: numbers.Integ, KE: numbers.Ke, ESN: numbers.Esn}
CASES = matrix()
#: Proofs of identity that ike.md names and Debian's peers have.
AUTHS = ("psk", "rsa", "rsa-sha256", "rsa-sha384", "rsa-sha512", "rsa/pss-sha256", "rsa/pss-sha384", "rsa/pss-sha512",
         "ecdsa256", "ecdsa384", "ecdsa521", "ecdsa256-sha256", "ecdsa384-sha384", "ecdsa521-sha512", "ed25519",
         "ed448")  # fmt: skip
#: What `make test` plays must show at least.
CORE = 8


def _used(protocol: str, role: str) -> set[str]:
    """What the peer is seen to agree on; a child's key exchange shows where it is rekeyed or made afterwards."""
    found: set[str] = set()
    for case in CASES:
        if case.role == role:
            found |= expected(case.ike if protocol == "ike" else case.esp, protocol)
    return found


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=lambda one: one.word)
def test_each_transform_has_a_row_for_either_role(algorithm: Algorithm, role: str) -> None:
    for protocol in algorithm.use:
        assert algorithm.word in _used(protocol, role) or algorithm.word == "noesn"


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=lambda one: one.word)
def test_numbers_are_those_of_the_registry(algorithm: Algorithm) -> None:
    name = REGISTRIES[algorithm.type](algorithm.id).name
    if algorithm.strongswan and algorithm.type in (ENCR, INTEG):
        assert name in (algorithm.strongswan, {"3DES_CBC": "TRIPLE_DES"}.get(algorithm.strongswan))


@pytest.mark.parametrize("role", ROLES)
def test_each_proof_has_a_row_for_either_role(role: str) -> None:
    assert {case.auth for case in CASES if case.role == role} >= set(AUTHS)


def test_no_row_is_there_twice() -> None:
    assert [title for title, count in Counter(case.title for case in CASES).items() if count > 1] == []


def test_rows_say_what_can_be_done() -> None:
    for case in CASES:
        assert case.peer in PEERS, case
        assert case.role in ROLES, case
        assert case.scenario in PLAYS, case
        assert expected(case.ike, "ike") or case.ike == DEFAULT, case
        assert expected(case.esp, "esp") or case.esp == DEFAULT, case


def test_the_core_covers_what_it_must() -> None:
    core = [case for case in CASES if case.core]
    assert len(core) == CORE
    assert {case.role for case in core} == set(ROLES)
    assert {case.scenario for case in core} >= {"tunnel", "rekey-child", "rekey-ike"}
    assert {case.auth.split("-")[0] for case in core} >= {"psk", "rsa", "ecdsa256"}
    assert {case.peer for case in core} >= {"user", "kernel"}
    assert any(case.option("nat") for case in core)
