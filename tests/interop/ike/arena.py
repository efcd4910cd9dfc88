"""Both sides of one peer's rows, started once; each case is set up in it and cleared away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from interop.ike.cases import Case
from interop.ike.ground import OUTSIDE, Ground, ground
from interop.ike.iked import Iked
from interop.ike.ours import Ours
from interop.ike.sides import Side
from interop.ike.stage import Stage
from interop.ike.strongswan import GuestCharon, NamespaceCharon
from interop.uml import Guest

#: The side under test: ours, or a strongSwan by which the rows are proved.
LEFTS: dict[str, Callable[[Ground, Sequence[Case]], Side]] = {
    "ours": Ours,
    "strongswan": lambda where, cases: NamespaceCharon(where.lab, where.left),
    "strongswan-kernel": lambda where, cases: GuestCharon(Guest(where.lab, where.left, OUTSIDE)),
}


def _guest(where: Ground) -> Guest:
    return Guest(where.lab, where.right, OUTSIDE)


RIGHTS: dict[str, Callable[[Ground], Side]] = {
    "user": lambda where: NamespaceCharon(where.lab, where.right),
    "kernel": lambda where: GuestCharon(_guest(where)),
    "iked": lambda where: Iked(_guest(where)),
}


@dataclass(frozen=True, slots=True)
class Arena:
    """The daemons run; no case is loaded."""

    ground: Ground
    left: Side
    right: Side

    @classmethod
    @contextmanager
    def open(cls, left: str, right: str, cases: Sequence[Case]) -> Iterator[Arena]:
        with ground() as where:
            yield cls(where, LEFTS[left](where, cases), RIGHTS[right](where))

    @contextmanager
    def case(self, case: Case) -> Iterator[Stage]:
        """Loaded at both sides; whatever happens, nothing of it stays."""
        with self.ground.translated(case), contextlib.ExitStack() as after:
            # left last, so that it is unloaded first: a deletion finds somebody who answers
            for side, left in ((self.right, False), (self.left, True)):
                after.callback(side.unload, case)
                side.load(case, left)
            yield Stage(self.ground, case, self.left, self.right)
