"""What strongSwan sent, byte for byte: opened, parsed to the payloads that its own log names, built again the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from xdpsec.crypto.sealed import Sealer
from xdpsec.crypto.suites import ike_suite
from xdpsec.errors import PeerError
from xdpsec.numbers import Encr, NotifyType, Prf
from xdpsec.wire import payloads as wire
from xdpsec.wire.fragments import Reassembly
from xdpsec.wire.message import Envelope, build_clear, encode_payloads, parse_clear, parse_envelope, parse_payloads

RECORDED = Path(__file__).parent / "data" / "ike" / "strongswan.txt"
SUITE = ike_suite(Encr.AES_GCM_16, 128, Prf.HMAC_SHA2_256)
#: What strongSwan calls them in its log.
CLASSES: dict[str, type[wire.Payload]] = {
    "SA": wire.SecurityAssociation,
    "KE": wire.KeyExchange,
    "No": wire.Nonce,
    "IDi": wire.IdInitiator,
    "IDr": wire.IdResponder,
    "AUTH": wire.Auth,
    "D": wire.Delete,
    "TSi": wire.TsInitiator,
    "TSr": wire.TsResponder,
}
NOTIFIES = {
    "NATD_S_IP": NotifyType.NAT_DETECTION_SOURCE_IP,
    "NATD_D_IP": NotifyType.NAT_DETECTION_DESTINATION_IP,
    "FRAG_SUP": NotifyType.IKEV2_FRAGMENTATION_SUPPORTED,
    "HASH_ALG": NotifyType.SIGNATURE_HASH_ALGORITHMS,
    "REDIR_SUP": NotifyType.REDIRECT_SUPPORTED,
    "CHDLESS_SUP": NotifyType.CHILDLESS_IKEV2_SUPPORTED,
    "MULT_AUTH": NotifyType.MULTIPLE_AUTH_SUPPORTED,
    "INIT_CONTACT": NotifyType.INITIAL_CONTACT,
    "MOBIKE_SUP": NotifyType.MOBIKE_SUPPORTED,
    "NO_ADD_ADDR": NotifyType.NO_ADDITIONAL_ADDRESSES,
    "EAP_ONLY": NotifyType.EAP_ONLY_AUTHENTICATION,
    "MSG_ID_SYN_SUP": NotifyType.IKEV2_MESSAGE_ID_SYNC_SUPPORTED,
    "REKEY_SA": NotifyType.REKEY_SA,
}
ATTRIBUTES = {"ADDR": 1, "DNS": 3}


def cases() -> list[dict[str, str]]:
    blocks = RECORDED.read_text().split("\n\n")[1:]
    return [dict(line.partition(" = ")[::2] for line in block.splitlines()) for block in blocks]


CASES = cases()


def names(payloads: tuple[wire.Payload, ...]) -> list[str]:
    """The payloads as strongSwan's log would name them."""
    classes = {kind: name for name, kind in CLASSES.items()}
    notifies = {int(number): name for name, number in NOTIFIES.items()}
    attributes = {number: name for name, number in ATTRIBUTES.items()}
    found = []
    for value in payloads:
        if isinstance(value, wire.Notify):
            found.append(f"N({notifies[value.kind]})")
        elif isinstance(value, wire.Configuration):
            inner = " ".join(attributes[each.kind] for each in value.attributes)
            found.append(f"CP{'RQ' if value.kind == 1 else 'RP'}({inner})")
        else:
            found.append(classes[type(value)])
    return found


def opened(case: dict[str, str]) -> tuple[Envelope, bytes]:
    """With the key of its direction: the original initiator's flag says whose it is."""
    envelope = parse_envelope(bytes.fromhex(case["message"]))
    key = case["sk_ei" if envelope.header.initiator else "sk_er"]
    return envelope, Sealer(SUITE, bytes.fromhex(key), b"").open(envelope.aad, envelope.body)


def test_every_exchange_was_recorded() -> None:
    assert {case["exchange"] for case in CASES} == {"IKE_SA_INIT", "IKE_AUTH", "CREATE_CHILD_SA", "INFORMATIONAL"}


@pytest.mark.parametrize("case", [case for case in CASES if "sk_ei" not in case], ids=lambda case: case["kind"])
def test_in_the_clear(case: dict[str, str]) -> None:
    data = bytes.fromhex(case["message"])
    message = parse_clear(data)
    assert " ".join(names(message.payloads)) == case["payloads"]
    assert message.header.response == (case["kind"] == "response")
    assert build_clear(message.header, message.payloads) == data


def test_sealed_whole_and_in_fragments() -> None:
    collected, whole = Reassembly(), 0
    for case in (case for case in CASES if "sk_ei" in case):
        envelope, plaintext = opened(case)
        first, expected = envelope.first, case["payloads"]
        if envelope.total:
            if envelope.number == 1:
                title, expected_whole = expected.split(" ", 1)
                assert title == f"EF(1/{envelope.total})"
            found = collected.add(envelope, plaintext)
            if found is None:
                continue
            (first, plaintext), expected = found, expected_whole
        payloads = parse_payloads(first, plaintext, envelope.header.exchange)
        assert " ".join(names(payloads)) == expected
        assert encode_payloads(payloads) == (first, plaintext)
        assert envelope.header.response == (case["kind"] == "response")
        whole += 1
    assert whole == 14


def test_one_bit_of_the_covered_header_is_seen() -> None:
    case = next(case for case in CASES if case["exchange"] == "INFORMATIONAL")
    data = bytearray.fromhex(case["message"])
    data[23] ^= 1  # the message ID
    with pytest.raises(PeerError, match="not authentic"):
        opened({**case, "message": data.hex()})
