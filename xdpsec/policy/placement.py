"""Which worker serves which SPI: 256 buckets dealt over the workers, as RSS deals its indirection table.

Manual SPIs are given, so the buckets in use are dealt; negotiated ones are chosen to fit. The hash is handed in
(xs_bucket of bpf/shared.h has it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

BUCKETS = 256  # XS_BUCKETS of bpf/shared.h
BucketOf = Callable[[int], int]


def deal(spis: Iterable[int], workers: int, bucket_of: BucketOf) -> tuple[int, ...]:
    """The worker of each of the 256 buckets. Buckets in use go, the fullest first, to the worker with the fewest
    SPIs; the others are dealt in turn. The same SPIs give the same table, whatever their order."""
    load = [0] * workers
    table = [bucket % workers for bucket in range(BUCKETS)]
    used = Counter(bucket_of(spi) for spi in set(spis))
    for bucket, count in sorted(used.items(), key=lambda row: (-row[1], row[0])):
        worker = load.index(min(load))
        table[bucket] = worker
        load[worker] += count
    return tuple(table)


def owner_of(spi: int, table: Sequence[int], bucket_of: BucketOf) -> int:
    """The worker that an inbound SPI is steered to. A child's outbound SA lives there too."""
    return table[bucket_of(spi)]


def homes(owners: Mapping[int, int], children: Iterable[int], workers: int) -> dict[int, int]:
    """The worker of every child: `owners` have theirs by their manual SPIs, the others (their SPIs will be chosen to
    fit) go in turn to the worker with the fewest."""
    load = [0] * workers
    for owner in owners.values():
        load[owner] += 1
    found = dict(owners)
    for child in children:
        if child not in found:
            found[child] = load.index(min(load))
            load[found[child]] += 1
    return found
