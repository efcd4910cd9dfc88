"""Key files: every suite's lengths, each refusal, and that no sentence or repr gives a key away."""

from __future__ import annotations

import codecs
import hashlib
import os
import secrets
import stat
from pathlib import Path

import pytest

from xdpsec.config.keys import KeyPair, SaKey, check_distinct, check_owner, parse_keys, read_keys
from xdpsec.config.suites import SUITES
from xdpsec.errors import ConfigError

#: Bytes of key (with salt or nonce) and integrity key: RFC 4106 sec. 8.1, RFC 4543 sec. 5.4, RFC 4309 sec. 7.1, RFC
#: 7634 sec. 2, RFC 3686 sec. 5.1, RFC 3602, RFC 2451; RFC 2404, RFC 4868 sec. 2.1.1, RFC 3566, RFC 4494.
MACS = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "aesxcbc": 16, "aescmac": 16}
LENGTHS = {
    **{f"aes{bits}gcm{icv}": (size + 4, 0) for bits, size in ((128, 16), (192, 24), (256, 32)) for icv in (8, 12, 16)},
    **{f"aes{bits}ccm{icv}": (size + 3, 0) for bits, size in ((128, 16), (192, 24), (256, 32)) for icv in (8, 12, 16)},
    **{f"aes{bits}gmac": (size + 4, 0) for bits, size in ((128, 16), (192, 24), (256, 32))},
    "chacha20poly1305": (36, 0),
    **{
        f"{cipher}-{mac}": (size, auth)
        for cipher, size in (
            *(("aes128", 16), ("aes192", 24), ("aes256", 32), ("aes128ctr", 20), ("aes192ctr", 28), ("aes256ctr", 36)),
            *(("null", 0), ("3des", 24)),
        )
        for mac, auth in MACS.items()
    },
}
CBC = SUITES["aes256-sha256"]
IN, IN_AUTH, OUT, OUT_AUTH = (f"{n:x}" * 64 for n in (10, 11, 12, 13))
GOOD = f"""inbound = {{ encryption = "{IN}", integrity = "{IN_AUTH}" }}
outbound = {{ encryption = "{OUT}", integrity = "{OUT_AUTH}" }}
"""


def refused(text: str | bytes, suite: str = "aes256-sha256") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_keys(text if isinstance(text, bytes) else text.encode(), "lab.keys", SUITES[suite])
    for digits in (IN, IN_AUTH, OUT, OUT_AUTH):
        assert digits[:8] not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_every_suite_is_listed() -> None:
    assert set(SUITES) == set(LENGTHS)


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("wrong", [-1, 0, 1])
def test_lengths(name: str, wrong: int) -> None:
    key, auth = LENGTHS[name]
    spoilt = "encryption" if key else "integrity"
    rows = [secrets.token_hex(size) for size in (key, auth, key, auth)]
    rows[not key] = secrets.token_hex((key or auth) + wrong)
    fields = [
        f'{field} = "{row}"' * bool(row) for field, row in zip(["encryption", "integrity"] * 2, rows, strict=True)
    ]
    text = "\n".join(
        f"{direction} = {{ {', '.join(filter(None, fields[at : at + 2]))} }}"
        for direction, at in (("inbound", 0), ("outbound", 2))
    )
    if wrong:
        assert refused(text, name).key == f"inbound.{spoilt}"
        return
    pair = parse_keys(text.encode(), "lab.keys", SUITES[name])
    assert [k.hex() for k in (pair.inbound.encryption, pair.inbound.integrity)] == rows[:2]
    assert [k.hex() for k in (pair.outbound.encryption, pair.outbound.integrity)] == rows[2:]


def test_tables_and_0x_read_the_same() -> None:
    tables = f'[inbound]\nencryption = "0x{IN}"\nintegrity = "{IN_AUTH}"\n[outbound]\nencryption = "{OUT}"\n'
    assert parse_keys((tables + f'integrity = "{OUT_AUTH}"\n').encode(), "f", CBC) == parse_keys(
        GOOD.encode(), "f", CBC
    )


#: (replaced, by, line, key, word)
ROWS = [
    (f'encryption = "{IN}"', 'encryption = "zz"', 1, "inbound.encryption", "hexadecimal"),
    (f'encryption = "{IN}"', 'encryption = "abc"', 1, "inbound.encryption", "hexadecimal"),
    (f'encryption = "{IN}"', "encryption = 5", 1, "inbound.encryption", "64 hexadecimal digits"),
    (f'encryption = "{IN}", ', "", 1, "inbound.encryption", "is missing"),
    (f', integrity = "{OUT_AUTH}"', "", 2, "outbound.integrity", "is missing"),
    (f'integrity = "{OUT_AUTH}"', f'integrity = "{OUT_AUTH[2:]}"', 2, "outbound.integrity", "has 31 bytes"),
    ("outbound =", "outbuond =", 2, "a name there", "neither inbound nor outbound"),
    ("integrity =", f"{IN_AUTH} =", 1, "inbound.a name there", "not known"),
    ("inbound = {", "inbound = [{", 2, "", "not TOML"),
    (OUT, IN, 0, "outbound.encryption", "same key as inbound.encryption"),
    (OUT_AUTH, IN_AUTH, 0, "outbound.integrity", "same key as inbound.integrity"),
    (IN_AUTH, IN, 0, "inbound.integrity", "same key as inbound.encryption"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "word"), ROWS, ids=[str(n) for n in range(len(ROWS))])
def test_refusals(old: str, new: str, line: int, key: str, word: str) -> None:
    assert old in GOOD
    error = refused(GOOD.replace(old, new, 1))
    assert (error.line, error.key) == (line, key)
    assert word in str(error)


def test_more_refusals() -> None:
    assert "is missing" in str(refused(""))
    assert "UTF-8" in str(refused(b"\xff" + IN.encode()))
    assert "64 KiB" in str(refused(b"#" * 65537))
    assert "no table" in str(refused(f'inbound = "{IN}"\n'))
    assert "not TOML" in str(refused(f"inbound = {IN}"))
    assert "no place" in str(refused(GOOD.replace(IN, IN + "0" * 8), "aes256gcm16"))
    assert "encryption: has no place: null-sha256 encrypts nothing" in str(refused(GOOD, "null-sha256"))
    assert 'add inbound = { integrity = "hex" }' in str(refused("", "null-sha256"))
    assert "32 of the key and 4 of the nonce" in str(refused(GOOD, "aes256ctr-sha256"))


def test_one_key_in_two_files_is_refused_but_for_another_salt() -> None:
    key, salt = bytes(range(32)), b"salt"
    first = KeyPair(SaKey(key + salt, b""), SaKey(bytes(36), b""))
    check_distinct({"a": first, "b": KeyPair(SaKey(key + b"tlas", b""), SaKey(b"x" * 36, b""))})
    with pytest.raises(ConfigError, match=r"^b: outbound.encryption: is the same key as inbound.encryption of a; "):
        check_distinct({"a": first, "b": KeyPair(SaKey(b"y" * 36, b""), SaKey(key + salt, b""))})


def test_names_of_keys_reveal_nothing() -> None:
    key = SaKey(b"k" * 32, b"i" * 32)
    assert key.sa_id == hashlib.sha256(b"k" * 32 + b"i" * 32).digest()[:16]
    assert "kk" not in repr(KeyPair(key, key))


def status(mode: int, uid: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, 0, 10, 0, 0, 0))


def test_owner_and_mode() -> None:
    for mode in (0o600, 0o400):
        check_owner(status(stat.S_IFREG | mode), "lab.keys")
    for mode in (0o640, 0o604, 0o644, 0o620, 0o700, 0o666):
        with pytest.raises(ConfigError, match=rf"mode {mode:04o}, open to others; run chmod 0600 lab\.keys"):
            check_owner(status(stat.S_IFREG | mode), "lab.keys")
    with pytest.raises(ConfigError, match=r"chown root lab\.keys"):
        check_owner(status(stat.S_IFREG | 0o600, 1000), "lab.keys")
    with pytest.raises(ConfigError, match="not a regular file"):
        check_owner(status(stat.S_IFIFO | 0o600), "lab.keys")


def test_reading_from_a_descriptor_starts_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "lab.keys"
    path.write_text(GOOD)
    with path.open("rb") as file:
        for _ in range(2):
            assert read_keys(file.fileno(), "lab.keys", CBC).inbound.encryption.hex() == IN


def test_a_byte_order_mark_before_the_text_is_no_part_of_it() -> None:
    assert parse_keys(codecs.BOM_UTF8 + GOOD.encode(), "k", CBC) == parse_keys(GOOD.encode(), "k", CBC)
