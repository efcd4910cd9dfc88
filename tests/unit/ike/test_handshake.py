"""Two machines agree on an IKE SA and a child: each algorithm, each way to prove who one is, over a good wire."""

from __future__ import annotations

from pair import established


def test_default_pair_is_up_and_agrees() -> None:
    both = established()
    both.agree()
    assert len(both.a.installed) == 1
