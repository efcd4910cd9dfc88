/* Descriptor rings between workers: one single-producer single-consumer ring per ordered pair. Frames stay where they
 * are in the UMEM; a descriptor says where. Whoever holds the descriptor owns the frame (pool.h). */
#ifndef XS_HANDOFF_H
#define XS_HANDOFF_H

#include "shared.h"

uint64_t xs_handoff_size(uint32_t workers); /* bytes of the whole region, zeroed memory is empty rings */

#ifndef XS_CDEF
#include "frame.h"

enum { XS_HANDOFF_SLOTS = 1024 };

struct xs_handoff_entry {
    uint32_t chunk;
    uint16_t offset; /* of the Ethernet header in the chunk */
    uint16_t len;
    uint8_t port, queue, flags;
    uint8_t unused[5];
};

struct xs_handoff_ring {
    _Alignas(64) uint32_t producer;
    _Alignas(64) uint32_t consumer;
    _Alignas(64) struct xs_handoff_entry entries[XS_HANDOFF_SLOTS];
};

static inline struct xs_handoff_ring *xs_handoff_ring(void *region, uint32_t workers, uint32_t from, uint32_t to)
{
    return (struct xs_handoff_ring *)region + (uint64_t)from * workers + to;
}
#endif
#endif
