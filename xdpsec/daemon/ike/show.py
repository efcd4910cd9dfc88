"""IKE as it is seen from outside: a view for operators and metrics, of values alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from xdpsec.config.values import Config
from xdpsec.daemon.ike.children import Children
from xdpsec.daemon.ike.journal import BOUNDS, Journal
from xdpsec.ike import identities
from xdpsec.ike.events import AddressLeased, IkeUp
from xdpsec.metrics.values import IkeView, PeerView


def peers(
    config: Config,
    newest: Callable[[str], IkeUp | None],
    since: Mapping[int, float],
    leased: Mapping[int, AddressLeased],
) -> Iterator[PeerView]:
    """In the order of the file; each is looked at when its turn comes. `newest`: of a peer's IKE SAs."""
    for peer, _ in config.ike_peers:
        yield _peer(peer.name, peer.remote, len(peer.children), newest(peer.name), since, leased)


def view(
    rows: Iterator[PeerView],
    journal: Journal,
    children: Children,
    half_open: int,
    gate: Mapping[str, int],
    datagrams: Mapping[str, int],
    certificates: Sequence[tuple[str, str, float]],
) -> IkeView:
    return IkeView(
        peers=rows,
        handshakes=dict(journal.handshakes),
        bounds=BOUNDS,
        durations=tuple(journal.durations),
        seconds=journal.seconds,
        rekeys={"ike": journal.ike_rekeys, "child": children.rekeys},
        half_open=half_open,
        counted=dict(journal.counted),
        gate=dict(gate),
        datagrams=dict(datagrams),
        certificates=tuple(certificates),
    )


def _peer(
    name: str,
    remote: str,
    children: int,
    event: IkeUp | None,
    since: Mapping[int, float],
    leased: Mapping[int, AddressLeased],
) -> PeerView:
    if event is None:
        return PeerView(name, remote, children, False)
    given = leased.get(event.ike)
    return PeerView(
        name=name,
        remote=remote,
        children=children,
        up=True,
        address=event.path.remote,
        local_id=identities.show(event.local_id),
        remote_id=identities.show(event.remote_id),
        suite=event.suite,
        hybrid=event.hybrid,
        ppk=event.ppk,
        initiator=event.initiator,
        since=since.get(event.ike, 0.0),
        leased=given.addresses if given else (),
        servers=given.dns if given else (),
        domains=given.domains if given else (),
    )
