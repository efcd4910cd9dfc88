"""Which key of a configuration names a file: what is wrong with the file is told with the line that leads to it."""

from __future__ import annotations

from collections.abc import Iterator

from xdpsec.config.lines import Path
from xdpsec.config.refusals import dotted
from xdpsec.config.values import Config
from xdpsec.config.values_ike import Ike


def placed(config: Config, sentence: str) -> str:
    """The sentence, and where the configuration names the file that it begins with, if it does."""
    for file, path in _named(config):
        if sentence.startswith((f"{file}: ", f"{file} ")):
            return f"{sentence} ({config.file}:{config.line(path)}: {dotted(path)} names it)"
    return sentence


def _named(config: Config) -> Iterator[tuple[str, Path]]:
    for child, manual in config.manual:
        yield manual.key_file, ("peers", child.peer, "children", child.name, "manual", "key_file")
    for peer, ike in config.ike_peers:
        for file, keys in _of_peer(ike):
            if file:
                yield file, ("peers", peer.name, *keys)


def _of_peer(ike: Ike) -> Iterator[tuple[str, Path]]:
    auth = ike.auth
    for key in ("psk_file", "certificate", "key", "passphrase", "ocsp"):
        yield getattr(auth, key), ("auth", key)
    for key, files in (("ca", auth.ca), ("crl", auth.crl)):
        for number, file in enumerate(files):
            yield file, ("auth", key, number)
    if ike.ppk is not None:
        yield ike.ppk.file, ("ppk", "file")
