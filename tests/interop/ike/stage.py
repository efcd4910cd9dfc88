"""A case on its stage: two sides that know nothing of each other, and what every play does with them.

Algorithms are read from the peer, and from the left side too; packets go both ways and the peer must have counted them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from interop.ike import words
from interop.ike.cases import Case
from interop.ike.ground import Ground
from interop.ike.sides import Child, Sa, Side, only, settled, until

PINGS = 4
#: Traffic under which keys change: 50 packets a second each way.
PING_INTERVAL = 0.02
#: How strongSwan's log calls a proof of the matrix.
AUTH_NAMES = {
    "psk": "pre-shared key", "rsa": "RSA signature", "rsa-sha256": "RSA_EMSA_PKCS1_SHA2_256",
    "rsa-sha384": "RSA_EMSA_PKCS1_SHA2_384", "rsa-sha512": "RSA_EMSA_PKCS1_SHA2_512",
    "rsa4096-sha256": "RSA_EMSA_PKCS1_SHA2_256",
    "rsa/pss-sha256": "RSA_EMSA_PSS_SHA2_256_SALT_32", "rsa/pss-sha384": "RSA_EMSA_PSS_SHA2_384_SALT_48",
    "rsa/pss-sha512": "RSA_EMSA_PSS_SHA2_512_SALT_64", "ecdsa256": "ECDSA-256 signature",
    "ecdsa384": "ECDSA-384 signature", "ecdsa521": "ECDSA-521 signature",
    "ecdsa256-sha256": "ECDSA_WITH_SHA256_DER", "ecdsa384-sha384": "ECDSA_WITH_SHA384_DER",
    "ecdsa521-sha512": "ECDSA_WITH_SHA512_DER", "ed25519": "ED25519", "ed448": "ED448",
}  # fmt: skip


class Proving(Protocol):
    """A peer that says by which methods both sides proved themselves."""

    def proofs(self) -> tuple[str, str]: ...


@dataclass(frozen=True, slots=True)
class Both:
    """The same SA as the two sides tell of it."""

    peer: Sa
    left: Sa


@dataclass(frozen=True, slots=True)
class Stage:
    """A case, set up and not begun."""

    ground: Ground
    case: Case
    left: Side
    right: Side

    @property
    def initiator(self) -> Side:
        return self.left if self.case.role == "initiator" else self.right

    def by(self) -> Side:
        """Who acts, where either may: the option `by`, else who began."""
        return {"left": self.left, "right": self.right, "": self.initiator}[self.case.option("by")]

    def begin(self, first: bool = True) -> Both:
        """Up, agreed on at both ends, proved. `first`: the child came with IKE_AUTH."""
        self.initiator.up(self.case)
        both = Both(settled(self.right, self.case), settled(self.left, self.case))
        self._agree(both, first)
        self._proved()
        return both

    def _agree(self, both: Both, first: bool) -> None:
        self.agreed(both.peer, "peer", first)
        self.agreed(both.left, "left", first)

    def agreed(self, sa: Sa, who: str, first: bool) -> None:
        case, child = self.case, sa.children[0]
        ike, esp = words.expected(case.ike, "ike"), words.expected(case.esp, "esp")
        # IKE_AUTH carries no key exchange: the first child has none of its own
        side = self.right if who == "peer" else self.left
        without = set() if side.tells_exchange and not first else {words.KE}
        exact = {word for word in esp if word != "noesn" and words.ALGORITHMS[word].type not in without}
        assert sa.words == ike, f"{who}: IKE with {sorted(sa.words)} instead of {sorted(ike)}"
        found = {
            word for word in child.words if word not in words.ALGORITHMS or words.ALGORITHMS[word].type not in without
        }
        assert found == exact, f"{who}: child with {sorted(child.words)} instead of {sorted(exact)}"
        assert child.protocol == case.option("protocol", "esp"), child
        assert child.mode == case.option("mode", "tunnel"), child
        if case.option("nat"):
            assert child.encapsulated, f"{who}: there is NAT, and ESP goes without UDP"
            assert who != "peer" or sa.remote.startswith(f"{case.left_seen}:"), sa.remote

    def again(self, before: Both, ike: bool, first: bool = False) -> Both:
        """After a rekey: both have another SA, or another child in the same, agreed on as before. Our side may keep the
        old one for a while, in which late packets are taken."""
        known = before.left.ident if ike else {child.ident for child in before.left.children}
        after: list[Sa] = []

        def changed() -> bool:
            after[:] = self.left.sas(self.case)
            if ike:
                return any(sa.ident != known for sa in after)
            return any(child.ident not in known for sa in after for child in sa.children)

        until(changed, "the left side has new keys")
        both = Both(settled(self.right, self.case, newer_than(before.peer, ike)), after[-1])
        self.agreed(both.peer, "peer", first)
        return both

    def _proved(self) -> None:
        wanted = AUTH_NAMES.get(self.case.auth, self.case.auth)
        if hasattr(self.right, "proofs"):
            mine, theirs = self.right.proofs()
            assert (mine, theirs) == (wanted, wanted), f"the peer proved itself by {mine} and believed {theirs}"

    def carry(self) -> Child:
        """Packets both ways, which the peer counted; what it says of its child now."""
        case = self.case
        before, counted = only(self.right, case).children[0].packets, self.left.counted()
        for side, source, destination in (
            (self.left, case.left_host, case.right_host),
            (self.right, case.right_host, case.left_host),
        ):
            got = side.ping(source, destination, PINGS)
            assert got.received == PINGS, (
                f"{got.received} of {PINGS} pings from {source} were answered; {self._grown(before, counted)}"
            )
        child = only(self.right, case).children[0]
        grown = [now - then for now, then in zip(child.packets, before, strict=True)]
        assert min(grown) >= 2 * PINGS, f"the peer counts {grown} packets in and out"
        return child

    def _grown(self, before: tuple[int, int], counted: dict[str, int]) -> str:
        """Where packets ended meanwhile."""
        now = self.left.counted()
        ours = {name: count - counted.get(name, 0) for name, count in now.items() if count != counted.get(name, 0)}
        peers = [sa.children[0].packets for sa in self.right.sas(self.case) if sa.children]
        return f"the peer counted {before} before and {peers} now, we meanwhile {ours}"

    def end(self) -> None:
        """One side deletes, the other has nothing left of it; but where we were told to be up, we call again."""
        before = {sa.ident for sa in self.right.sas(self.case)}
        if self.case.option("down") == "right":
            self.right.down(self.case)
            until(lambda: not before & {sa.ident for sa in self.right.sas(self.case)}, "the peer has let go")
        self.left.down(self.case)
        until(lambda: not self.left.sas(self.case), "the left side has let go")
        until(lambda: not self.right.sas(self.case), "the peer has let go")


def newer_than(before: Sa, ike: bool) -> Callable[[Sa], bool]:
    def newer(sa: Sa) -> bool:
        return sa.ident != before.ident if ike else sa.children[0].ident != before.children[0].ident

    return newer


def summary(both: Both, child: Child) -> str:
    sa = both.peer
    esp = "-".join(sorted(child.words, key=_order))
    way = " in UDP" if child.encapsulated else ""
    return (
        f"{'-'.join(sorted(sa.words, key=_order))}, {child.protocol} {esp}{way}, {child.packets[0]}/{child.packets[1]}"
    )


def _order(word: str) -> int:
    return words.ALGORITHMS[word].type if word in words.ALGORITHMS else 0
