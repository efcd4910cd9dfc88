/* The four rings of an AF_XDP queue as a worker has them mapped. Indices and entries are in memory that others can
 * write: the worker's neighbours those of fill and completion, and those of whose socket came first all four. */
#ifndef XS_XSK_RINGS_H
#define XS_XSK_RINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <xdp/xsk.h>

#include "conf.h"

struct xsk_queue {
    uint8_t port, queue;
    int fd;
    struct xsk_ring_cons rx, completion;
    struct xsk_ring_prod tx, fill;
    bool dirty; /* tx holds what the kernel did not take yet */
    void *maps[4];
    size_t map_sizes[4];
};

int xs_rings_map(struct xsk_queue *q, const struct xs_queue_conf *conf); /* 0 or negative errno */
void xs_rings_unmap(struct xsk_queue *q);
/* A ring of so many entries in the memory at map. */
void xs_ring_set_prod(struct xsk_ring_prod *r, uint8_t *map, const struct xdp_ring_offset *off, uint32_t size);
void xs_ring_set_cons(struct xsk_ring_cons *r, uint8_t *map, const struct xdp_ring_offset *off, uint32_t size);

#endif
