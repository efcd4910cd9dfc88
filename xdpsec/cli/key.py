"""`xdpsec key FILE`: make a private key."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xdpsec.config import passphrase
from xdpsec.crypto import keyfile
from xdpsec.errors import LocalError


class Kind(StrEnum):
    """keyfile.KINDS, as typer wants it."""

    ED25519 = "ed25519"
    ED448 = "ed448"
    P256 = "p256"
    P384 = "p384"
    P521 = "p521"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"


NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="file to write; it must not exist", dir_okay=False)]
KindOption = Annotated[Kind, typer.Option("--kind", "-k", help="kind of key")]
SourceOption = Annotated[
    str,
    typer.Option(
        "--passphrase", metavar="SOURCE", help="where the passphrase is: prompt, fd:N, credential:NAME or a file"
    ),
]
OpenOption = Annotated[bool, typer.Option("--unencrypted", help="no passphrase: mode 0600 alone guards the key")]


def key(
    file: NewFile, kind: KindOption = Kind.P256, source: SourceOption = "prompt", unencrypted: OpenOption = False
) -> None:
    """Make a private key.

    PKCS#8, encrypted under a passphrase by scrypt, mode 0600."""
    if file.exists():  # before somebody thinks of a passphrase for it
        raise LocalError(f"{file} exists; remove it or name another file")
    secret = b"" if unencrypted else passphrase.invent(source, str(file), os.environ)
    passphrase.write_private(str(file), keyfile.store(keyfile.KINDS[kind.value](), secret, os.urandom))
    print(f"{file}: {kind.value}, {'not encrypted: who reads it has the key' if unencrypted else 'encrypted'}")
