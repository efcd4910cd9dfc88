/* The rings of an AF_XDP queue in memory of ours: what the kernel and all workers of the queue see. No kernel behind
 * them; the worker's port is the real one. Needs workers/src/port_xsk.c in the same file. */
#ifndef RINGS_HOST_H
#define RINGS_HOST_H

#include "path_lab.h"
#include "xsk_rings.h"

enum { COMPLETION = 256, FILL = 64, RING = 64 };

struct rings {
    uint32_t completed, reaped, filled, taken, rx[2], tx[2], flags;
    uint64_t completion[COMPLETION], fill[FILL];
    struct xdp_desc frames[2][RING];
};

static inline void map_rings(struct xsk_queue *q, struct rings *rings, uint8_t port)
{
    const uint64_t flags = offsetof(struct rings, flags);
    const struct xdp_ring_offset rx = {offsetof(struct rings, rx[0]), offsetof(struct rings, rx[1]),
                                       offsetof(struct rings, frames[0]), flags};
    const struct xdp_ring_offset tx = {offsetof(struct rings, tx[0]), offsetof(struct rings, tx[1]),
                                       offsetof(struct rings, frames[1]), flags};
    const struct xdp_ring_offset fill = {offsetof(struct rings, filled), offsetof(struct rings, taken),
                                         offsetof(struct rings, fill), flags};
    const struct xdp_ring_offset completion = {offsetof(struct rings, completed), offsetof(struct rings, reaped),
                                               offsetof(struct rings, completion), flags};
    *q = (struct xsk_queue){.fd = -1, .port = port};
    xs_ring_set_cons(&q->rx, (uint8_t *)rings, &rx, RING);
    xs_ring_set_prod(&q->tx, (uint8_t *)rings, &tx, RING);
    xs_ring_set_prod(&q->fill, (uint8_t *)rings, &fill, FILL);
    xs_ring_set_cons(&q->completion, (uint8_t *)rings, &completion, COMPLETION);
}

#endif
