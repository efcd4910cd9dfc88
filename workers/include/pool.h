/* The frame pool: who owns each chunk of the UMEM, in shared memory. The owner byte of a chunk is the truth; the stack
 * of free chunks, the workers' caches and the rings are views of it that are rebuilt after a crash. */
#ifndef XS_POOL_H
#define XS_POOL_H

#include "shared.h"

/* KERNEL: in nobody's hand but in a ring, the kernel's or one between workers, so that no sweep takes it. */
enum xs_owner { XS_OWNER_FREE = 0, XS_OWNER_KERNEL = 1, XS_OWNER_WORKER = 2 /* + index of the worker */ };

/* Floor for Python: the supervisor makes the region before any worker runs. */
uint64_t xs_pool_size(uint32_t chunks);          /* bytes */
int xs_pool_format(void *pool, uint32_t chunks); /* 0 or negative errno */
/* Chunks of an owner, and free ones. */
uint32_t xs_pool_count(const void *pool, uint32_t chunks, uint32_t owner, uint32_t *free);

#ifndef XS_CDEF
#include <stdbool.h>

#include "lock.h"

enum { XS_TRANSIT_MAX = 256 };

/* Chunks that a worker is about to give away by moving a producer index. Whether the move happened shows from the
 * index itself, so a successor knows whether these chunks are still its own. */
struct xs_transit {
    uint32_t count; /* 0 = none under way; written last, cleared after the move */
    uint32_t producer_before;
    uint32_t ring; /* XS_TRANSIT_*: which ring, see xs_transit_ring */
    uint32_t chunks[XS_TRANSIT_MAX];
};

/* Any worker can write here whatever it likes. Each reads a value once and looks whether it is in bounds before it
 * follows it; how many chunks there are it knows from its configuration. */
struct xs_pool {
    uint32_t free_count;
    struct xs_lock lock;                                      /* free_count and the stack */
    struct xs_lock queue_locks[XS_MAX_PORTS * XS_MAX_QUEUES]; /* fill and completion ring of a queue */
    struct xs_transit transit[XS_MAX_WORKERS];
    uint32_t asleep[XS_MAX_WORKERS]; /* 1: wake it by its eventfd after a handoff */
    uint32_t stack[];                /* free chunks; then chunks owner bytes */
};

static inline uint8_t *xs_pool_owners(struct xs_pool *pool, uint32_t chunks)
{
    return (uint8_t *)(pool->stack + chunks);
}

static inline uint8_t xs_owner_of_worker(uint32_t worker)
{
    return (uint8_t)(XS_OWNER_WORKER + worker);
}

/* Of the pool's `chunks`: up to `max` into `taken`; how many. */
uint32_t xs_pool_take(struct xs_pool *pool, uint32_t chunks, uint32_t worker, uint32_t *taken, uint32_t max);
void xs_pool_give(struct xs_pool *pool, uint32_t chunks, const uint32_t *given, uint32_t count);
/* Every chunk that the dead owner left; how many. */
uint32_t xs_pool_sweep(struct xs_pool *pool, uint32_t chunks, uint32_t worker);

/* Of the rings that the workers of a queue share. */
static inline struct xs_lock *xs_queue_lock(struct xs_pool *pool, uint32_t port, uint32_t queue)
{
    return &pool->queue_locks[port * XS_MAX_QUEUES + queue];
}
#endif
#endif
