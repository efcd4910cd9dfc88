"""What somebody meant who wrote a word that we do not know: strongSwan's name of it, or the nearest words.

Words in, the second half of a refusal out ("did you mean ...?"). Never lists all: a reference does.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Keys of swanctl.conf -> ours, where the name alone would lead astray.
KEYS = {
    "connections": "peers",
    "remote_addrs": "remote",
    "local_addrs": "local",
    "local_ts": "local",
    "remote_ts": "remote",
    "leftsubnet": "local",
    "rightsubnet": "remote",
    "leftid": "local_id",
    "rightid": "remote_id",
    "proposals": "ike",
    "esp_proposals": "esp",
    "ah_proposals": "ah",
    "start_action": "start",
    "auto": "start",
    "psk": "psk_file",
    "secret": "psk_file",
    "certs": "certificate",
    "cert": "certificate",
    "cacerts": "ca",
    "send_cert": "send_certificate",
    "dpd_delay": "dpd",
    "encap": "force_encap",
    "over_time": "rekey_time",
    "life_time": "rekey_time",
    "remote_port": "port",
    "vips": "ask_address",
    "pools": "pool",
    "addrs": "addresses",
}
_CIPHERS = {
    f"aes{bits}{mode}{theirs}": f"aes{bits}{mode}{ours}"
    for bits in (128, 192, 256)
    for mode in ("gcm", "ccm")
    for theirs, ours in (("", 16), ("64", 8), ("96", 12), ("128", 16))
}
#: Words of proposals elsewhere -> ours.
WORDS = {
    **_CIPHERS,
    "aes": "aes128",
    "sha": "sha1",
    "sha2": "sha256",
    "sha2_256": "sha256",
    "sha2_384": "sha384",
    "sha2_512": "sha512",
    "chacha20poly1305compat": "chacha20poly1305",
    "dh14": "modp2048",
    "dh15": "modp3072",
    "dh16": "modp4096",
    "dh19": "ecp256",
    "dh20": "ecp384",
    "dh21": "ecp521",
    "dh31": "x25519",
}
#: Below this a word resembles nothing.
ALIKE = 0.6
MOST = 3


def any_of(words: Iterable[str]) -> str:
    """a, b or c."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def meant(word: str, known: Iterable[str], elsewhere: dict[str, str]) -> str:
    """ "did you mean ...?" with three words at most of `known`, "" where none is near."""
    known = tuple(known)
    low = word.lower().rstrip("!")
    if elsewhere.get(low) in known:
        return f"did you mean {elsewhere[low]}?"
    near = [low] if low in known else difflib.get_close_matches(low, known, MOST, ALIKE)
    return f"did you mean {any_of(near)}?" if near else ""
