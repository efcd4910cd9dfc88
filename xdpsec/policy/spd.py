"""The SPD in order, as rows for the workers (RFC 4301 sec. 4.4.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xdpsec.channel.messages import Policy, Selector
from xdpsec.config.values import Child


def selectors(child: Child) -> tuple[Selector, ...]:
    """Each pair of a local and a remote prefix, in the order of the file."""
    return tuple(
        Selector(local, remote, child.protocol, child.local_ports, child.remote_ports)
        for local in child.local
        for remote in child.remote
    )


def policies(children: Iterable[Child], owners: Mapping[int, int]) -> tuple[Policy, ...]:
    """The SPD. `owners`: child index -> the worker with its outbound SA. Children do not overlap, so any order is
    right; theirs is kept."""
    return tuple(
        Policy(selector, child.index, owners[child.index]) for child in children for selector in selectors(child)
    )
