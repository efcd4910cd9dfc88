"""`xdpsec pki`: a small authority: its certificate, requests, and what it signs. Prints PEM."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from xdpsec.cli.key import SourceOption
from xdpsec.config import passphrase
from xdpsec.crypto import pki
from xdpsec.crypto.signing import PrivateKey
from xdpsec.daemon.credentials import certificates, unlock

KeyOption = Annotated[Path, typer.Option("--key", "-k", metavar="FILE", help="private key, PKCS#8", dir_okay=False)]
SubjectOption = Annotated[
    str, typer.Option("--subject", "-s", metavar="NAME", help='name, such as "C=DE, O=Firm, CN=gw"')
]
NamesOption = Annotated[
    list[str],
    typer.Option("--name", "-n", metavar="NAME", help="identity that it shall speak for: name, address or mailbox"),
]
CertificateOption = Annotated[
    Path, typer.Option("--authority", "-a", metavar="FILE", help="certificate that signs", dir_okay=False)
]
RequestArgument = Annotated[Path, typer.Argument(metavar="REQUEST", help="request to sign", dir_okay=False)]
DaysOption = Annotated[int, typer.Option("--days", metavar="DAYS", help="lifetime in days")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def _key(file: Path, source: str) -> PrivateKey:
    raw = passphrase.read_private(str(file))
    return unlock(raw, str(file), lambda: passphrase.obtain(source, str(file), os.environ))


@app.command()
def authority(key: KeyOption, subject: SubjectOption, days: DaysOption = 3650, source: SourceOption = "prompt") -> None:
    """Print a certificate that may sign others, signed by its own key."""
    print(pki.authority(_key(key, source), subject, days, time.time()).decode(), end="")


@app.command()
def request(key: KeyOption, subject: SubjectOption, name: NamesOption, source: SourceOption = "prompt") -> None:
    """Print a request for an authority to sign."""
    print(pki.request(_key(key, source), subject, name).decode(), end="")


@app.command()
def sign(
    request: RequestArgument,
    authority: CertificateOption,
    key: KeyOption,
    days: DaysOption = 365,
    source: SourceOption = "prompt",
) -> None:
    """Print the certificate for a request.

    Look at the request first (openssl req -text): what it names is signed."""
    (by, *_) = certificates(authority.read_bytes(), str(authority))
    print(pki.sign(request.read_bytes(), by, _key(key, source), days, time.time()).decode(), end="")
