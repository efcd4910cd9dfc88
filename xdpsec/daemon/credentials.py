"""From files to proofs: private keys unlocked, certificates that belong to them, authorities and what is revoked.

Bytes come in, values for the machines go out; each error names its file. Who reads the files is elsewhere. Peers with
the same authorities share one Trust, all share one Revocation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from xdpsec.config.values_ike import Auth
from xdpsec.crypto import claims, keyfile
from xdpsec.crypto.malformed import MALFORMED
from xdpsec.crypto.ocsp import Staple
from xdpsec.crypto.revocation import Revocation, load_crls
from xdpsec.crypto.schemes import preferred
from xdpsec.crypto.signing import PrivateKey, Signer, describe
from xdpsec.crypto.trust import Expiry, Trust, expiring, load_certificates
from xdpsec.errors import ConfigError, LocalError
from xdpsec.ike import identities
from xdpsec.ike.settings import Identity

#: How long ahead the end of a certificate is told.
_DER = Encoding.DER
AHEAD = 30 * 86400.0
_PEM_FIX = "name a file with certificates, PEM or one in DER"


def unlock(raw: bytes, file: str, passphrase: Callable[[], bytes]) -> PrivateKey:
    """The private key in `raw`. `passphrase` is asked only when it is encrypted; ConfigError names `file`."""
    try:
        return keyfile.load(raw, passphrase() if keyfile.encrypted(raw) else None)
    except LocalError as error:
        text, _, fix = str(error).partition("; ")
        raise ConfigError(file, 0, "", text, fix.replace("FILE", file)) from None


def certificates(raw: bytes, file: str) -> tuple[x509.Certificate, ...]:
    """ConfigError when `raw` holds none."""
    try:
        found = load_certificates(raw)
        for one in found:
            one.extensions  # noqa: B018 - read now, so that a broken one is found at start
        return found
    except MALFORMED:
        raise ConfigError(file, 0, "", "holds no certificate that we can read", _PEM_FIX) from None


def doubts(leaf: x509.Certificate, identity: Identity) -> str:
    """Why a peer by the book would refuse our own certificate for this identity of ours, empty when it would not."""
    if not claims.claims(leaf, identity.kind, identity.data):
        return f"it does not speak for local_id {identities.show(identity)} (RFC 4945 sec. 3.1)"
    return claims.unfit(leaf, any_purpose=False)


class Credentials:
    """All that the peers of one configuration name: file -> bytes in, Signer and Trust out, each made once."""

    def __init__(self, files: Mapping[str, bytes], passphrases: Mapping[str, bytes]) -> None:
        """`passphrases`: key file -> passphrase of those that are encrypted."""
        self._files, self._passphrases = files, passphrases
        self._signers: dict[tuple[str, str, str], Signer] = {}
        self._staples: dict[tuple[str, str], Staple] = {}
        self._trusts: dict[tuple[object, ...], Trust] = {}
        self._seen: dict[str, tuple[x509.Certificate, ...]] = {}
        self.known = Revocation()

    def load_crls(self, names: Iterable[str]) -> None:
        """The revocation lists of all peers."""
        self.renew_crls({file: self._files[file] for file in names})

    def renew_crls(self, files: Mapping[str, bytes]) -> None:
        """These lists instead of what the same files said before; ConfigError, and no change, when one is none."""
        found: dict[str, list[x509.CertificateRevocationList]] = {}
        for file, raw in files.items():
            try:
                found[file] = load_crls(raw)
            except MALFORMED:
                fix = "name a file with CRLs, PEM or one in DER"
                raise ConfigError(file, 0, "", "holds no revocation list that we can read", fix) from None
        self.known.put_files(found)

    def staple(self, auth: Auth) -> Staple | None:
        """What goes with our certificate where a peer asks, None where no file is named."""
        if not auth.ocsp or not auth.certificate:
            return None
        name = (auth.ocsp, auth.certificate)
        if name not in self._staples:
            self._staples[name] = Staple(self._certificates(auth.certificate)[0])
            self.renew_staples({auth.ocsp: self._files[auth.ocsp]})
        return self._staples[name]

    def renew_staples(self, files: Mapping[str, bytes]) -> None:
        """These instead of what the same files held before; ConfigError when one is of no use."""
        for (file, _), staple in self._staples.items():
            if file in files:
                try:
                    staple.put(files[file])
                except LocalError as error:
                    text, _, fix = str(error).partition("; ")
                    raise ConfigError(file, 0, "", text, fix) from None

    def signer(self, auth: Auth) -> Signer | None:
        """Our key with its certificates, None where none is named."""
        if not auth.certificate:
            return None
        name = (auth.key, auth.certificate, auth.signature)
        if name not in self._signers:
            self._signers[name] = self._make_signer(auth)
        return self._signers[name]

    def _make_signer(self, auth: Auth) -> Signer:
        key = unlock(self._files[auth.key], auth.key, lambda: self._passphrases.get(auth.key, b""))
        chain = self._certificates(auth.certificate)
        if chain[0].public_key() != key.public_key():
            text = f"its first certificate is not for the key in {auth.key}"
            raise ConfigError(auth.certificate, 0, "", text, "put our own certificate first, its authorities after it")
        signer = Signer(key, tuple(one.public_bytes(_DER) for one in chain), preferred(auth.signature))
        if not signer.prefers_well:
            text = f'the {describe(key)} key in it cannot sign by "{auth.signature}", the signature of auth'
            raise ConfigError(auth.key, 0, "", text, 'write signature = "auto"')
        return signer

    def inspect(self, auth: Auth) -> None:
        """ConfigError for what can be seen to be wrong without a passphrase."""
        self.trust(auth)
        if not auth.certificate:
            return
        self._certificates(auth.certificate)
        self.staple(auth)
        try:
            locked = keyfile.encrypted(self._files[auth.key])
        except LocalError as error:
            text, _, fix = str(error).partition("; ")
            raise ConfigError(auth.key, 0, "", text, fix) from None
        if not locked or auth.key in self._passphrases:
            self.signer(auth)
        elif not auth.passphrase:
            fix = 'add passphrase, such as "prompt" or "credential:NAME", to auth'
            raise ConfigError(auth.key, 0, "", "is encrypted, and no passphrase is named", fix)

    def leaf(self, auth: Auth) -> x509.Certificate | None:
        """Our own certificate, None where none is named."""
        return self._certificates(auth.certificate)[0] if auth.certificate else None

    def trust(self, auth: Auth) -> Trust | None:
        """Whom the peer's configuration believes, None where it names no authority."""
        if not auth.ca:
            return None
        name = (auth.ca, auth.revocation)
        if name not in self._trusts:
            anchors = [one for file in auth.ca for one in self._certificates(file)]
            self._trusts[name] = Trust(anchors, self.known, auth.revocation)
        return self._trusts[name]

    def _certificates(self, file: str) -> tuple[x509.Certificate, ...]:
        if file not in self._seen:
            self._seen[file] = certificates(self._files[file], file)
        return self._seen[file]

    def expiring(self, wall: float, ahead: float = AHEAD) -> Iterator[tuple[str, Expiry]]:
        """File and certificate of each that ends soon or has ended, ours and the authorities'."""
        for file, found in self._seen.items():
            for one in expiring(found, wall, ahead):
                yield file, one

    def ends(self) -> list[tuple[str, str, float]]:
        """File, name and end (seconds since 1970) of every one, for the metric."""
        return [(file, one.name, one.ends) for file, one in self.expiring(0.0, float("inf"))]

    def unencrypted(self) -> list[str]:
        """Key files whose keys lie open, for a warning."""
        return sorted({file for file, _, _ in self._signers if not keyfile.encrypted(self._files[file])})
