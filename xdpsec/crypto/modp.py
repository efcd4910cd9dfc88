"""Diffie-Hellman modulo a prime: the groups of RFC 2409 and 3526, and the one place that asks pyca for them.

The primes follow from the formulas that those RFCs give. pyca has announced the end of its finite fields: `generate`
and `agree` are all that another library would have to offer.
"""

from __future__ import annotations

import warnings
from functools import cache

from cryptography.utils import CryptographyDeprecationWarning

from xdpsec.numbers import Ke

with warnings.catch_warnings():  # known: the requirements pin pyca below the version that drops them
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    from cryptography.hazmat.primitives.asymmetric.dh import (
        DHParameterNumbers,
        DHParameters,
        DHPrivateNumbers,
        DHPublicNumbers,
    )

#: Group -> bits of its prime, and the number in its formula.
_FORMULAS = {
    Ke.MODP_1024: (1024, 129093),
    Ke.MODP_1536: (1536, 741804),
    Ke.MODP_2048: (2048, 124476),
    Ke.MODP_3072: (3072, 1690314),
    Ke.MODP_4096: (4096, 240904),
    Ke.MODP_6144: (6144, 929484),
    Ke.MODP_8192: (8192, 4743158),
}
GROUPS = frozenset(_FORMULAS)
_GENERATOR = 2
_GUARD = 64  # bits of pi that are computed beyond those used: each term of the series is cut


def size(group: int) -> int:
    """Bytes of the prime, and so of public values and secrets."""
    return _FORMULAS[Ke(group)][0] // 8


@cache
def prime(group: int) -> int:
    """2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + k) (RFC 3526). Up to a tenth of a second, once."""
    bits, offset = _FORMULAS[Ke(group)]
    return (1 << bits) - (1 << bits - 64) - 1 + ((_pi(bits - 130) + offset) << 64)


def _pi(bits: int) -> int:
    """[2^bits pi], by Machin's formula."""
    scaled = bits + _GUARD
    return 4 * (4 * _arctan_of_inverse(5, scaled) - _arctan_of_inverse(239, scaled)) >> _GUARD


def _arctan_of_inverse(number: int, bits: int) -> int:
    term = (1 << bits) // number
    total, odd, sign = term, 3, -1
    while term:
        term //= number * number
        total += sign * (term // odd)
        odd, sign = odd + 2, -sign
    return total


@cache
def _parameters(group: int) -> DHParameters:
    return DHParameterNumbers(prime(group), _GENERATOR).parameters()


def generate(group: int) -> tuple[int, int]:
    """A fresh (private, public) pair of numbers."""
    numbers = _parameters(group).generate_private_key().private_numbers()
    return numbers.x, numbers.public_numbers.y


def agree(group: int, private: int, public: int, peer: int) -> bytes:
    """The secret that `private` (whose public value is `public`) and the peer's public value make, as long as the
    prime. The caller has checked `peer`."""
    numbers = DHParameterNumbers(prime(group), _GENERATOR)
    key = DHPrivateNumbers(private, DHPublicNumbers(public, numbers)).private_key()
    secret = key.exchange(DHPublicNumbers(peer, numbers).public_key())
    return secret.rjust(size(group), b"\0")
