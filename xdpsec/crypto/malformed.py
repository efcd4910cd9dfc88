"""What pyca raises at bytes that are not what they should be: caught together wherever a stranger's bytes are read."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from xdpsec.errors import PeerError

#: PeerError among them: a key that usable() refuses is as bad as none.
MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
    PeerError,
)
