"""Who the station's peers are to its machines: the book, made from station.json. Knows no socket.

The plan has `sides` (name -> the gateway's address) and `groups` of people: first, count, papers (their directory) and
kind, ike and child offers in IANA's numbers, dpd in seconds.
"""

from __future__ import annotations

from pathlib import Path as File
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from ike_people import GATEWAY_ID, LOCAL, Person

from xdpsec.crypto.signing import Signer
from xdpsec.crypto.trust import Trust
from xdpsec.ike import events, identities, settings

#: Nothing is replaced by age while it is measured.
DAY = settings.Lifetime(86400.0, 86400.0 * 1.1)
Plan = dict[str, Any]


class Group:
    """People who offer and prove the same way."""

    def __init__(self, plan: Plan) -> None:
        self.people = range(plan["first"], plan["first"] + plan["count"])
        self.directory, self.kind = File(plan["papers"]), plan["kind"]
        self.offers = tuple(map(_ike_offer, plan["ike"]))
        self.child_offers = tuple(map(_esp_offer, plan["child"]))
        self.dpd = float(plan["dpd"])
        self.trust: Any = None
        if self.kind != "psk":
            self.trust = Trust([x509.load_pem_x509_certificate((self.directory / "ca.pem").read_bytes())])

    def settings(self, name: str, gateway: str, person: Person) -> settings.PeerSettings:
        signer = self._signer(person) if self.trust else None
        psk = b"" if signer else person.psk.encode()
        child = settings.ChildSettings(
            "net", person.number, (person.prefix,), (LOCAL,), offers=self.child_offers, lifetime=DAY
        )
        return settings.PeerSettings(
            name=name,
            remote=gateway,
            local=person.address,
            local_id=identities.parse_identity(person.identity),
            remote_id=identities.parse_rule(GATEWAY_ID),
            local_auth=settings.LocalAuth(psk=psk, signer=signer),
            remote_auth=settings.RemoteAuth(psk=psk, trust=self.trust),
            ike_offers=self.offers,
            children=(child,),
            lifetime=DAY,
            dpd=self.dpd,
            mobike=False,
            uniqueness="off",
        )

    def _signer(self, person: Person) -> Signer:
        certificate = x509.load_pem_x509_certificate((self.directory / f"{person.name}.pem").read_bytes())
        pem = (self.directory / f"{person.name}.key").read_bytes()
        # The bench made it. Half a second for the primes of each would be the station's own stall, amid what is timed.
        key: Any = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        return Signer(key, (certificate.public_bytes(Encoding.DER),))


class Peers:
    """ike.settings.PeerBook, by names like "ours/p7": a person is found by the address that was called."""

    def __init__(self, plan: Plan) -> None:
        self._sides: dict[str, str] = plan["sides"]
        self._groups = [Group(one) for one in plan["groups"]]
        self._made: dict[str, settings.PeerSettings] = {}
        self._at = {
            (Person(number).address, gateway): f"{side}/p{number}"
            for side, gateway in self._sides.items()
            for group in self._groups
            for number in group.people
        }

    def by_name(self, name: str) -> settings.PeerSettings | None:
        found = self._made.get(name)
        if found is None:
            side, _, who = name.partition("/")
            person = Person(int(who[1:]))
            group = next(group for group in self._groups if person.number in group.people)
            found = self._made[name] = group.settings(name, self._sides[side], person)
        return found

    def by_address(self, path: events.Path) -> tuple[settings.PeerSettings, ...]:
        name = self._at.get((path.local, path.remote))
        found = self.by_name(name) if name else None
        return (found,) if found else ()

    def by_identity(
        self,
        idi: settings.Identity,
        idr: settings.Identity | None,
        candidates: tuple[settings.PeerSettings, ...],
    ) -> tuple[settings.PeerSettings, ...]:
        return tuple(peer for peer in candidates if peer.remote_id.matches(idi))


def _ike_offer(words: Plan) -> settings.IkeOffer:
    encr = tuple(settings.Algorithm(*one) for one in words["encr"])
    return settings.IkeOffer(encr, tuple(words["prf"]), tuple(words.get("integ", ())), tuple(words["ke"]))


def _esp_offer(words: Plan) -> settings.EspOffer:
    encr = tuple(settings.Algorithm(*one) for one in words["encr"])
    esn = tuple(bool(one) for one in words.get("esn", (0,)))
    return settings.EspOffer(3, encr, tuple(words.get("integ", ())), tuple(words.get("ke", ())), (), esn)
