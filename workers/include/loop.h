/* What the loop keeps for itself: chunks in hand, frames that wait, events for Python, the sleeping place. */
#ifndef XS_LOOP_H
#define XS_LOOP_H

#include <poll.h>

#include "handoff.h"
#include "internal.h"
#include "pool.h"

enum {
    XS_CACHE_MAX = 2048,  /* chunks a worker keeps at hand */
    XS_CACHE_BATCH = 512, /* moved from or to the pool at once */
    XS_EVENTS = 64,
    XS_HELD_FOR_HOPS = 256, /* frames that wait for neighbours in one worker */
    XS_HELD_PER_HOP = 64,   /* for one of them: as many as a child may get back from its wait for an SA */
    XS_RESOLVES = 256       /* next hops that are asked for in a second: whoever scans a subnet busies nobody else */
};

/* A frame waits for a neighbour as long as a sender that gets nothing waits before it tries again; for an SA as long as
 * a key exchange takes in which a message or two are lost (retransmissions after 0.5 and 0.9 s) or a key is slow. */
#define XS_HOLD_HOP_NS 1000000000ULL
#define XS_HOLD_SA_NS 3000000000ULL
#define XS_ASK_NS 1000000000ULL

enum xs_watch { XS_WATCH_CHANNEL, XS_WATCH_WAKE, XS_WATCH_SOCKETS }; /* places in what is watched */

struct xs_held {
    struct xs_frame frame;
    struct xs_addr addr; /* family 0: waits for an SA of child */
    uint32_t child, verdict;
    uint64_t since_ns;
    uint64_t asked_ns; /* for a neighbour: when its event was raised last, 0 = not yet */
};

struct xs_wait { /* of one child */
    uint32_t count;
    uint64_t asked_ns; /* as above */
};

struct xs_loop {
    struct xs_pool *pool;
    uint8_t *owners; /* of so many chunks: an index from shared memory is less, or it is not followed */
    uint32_t chunks;
    uint8_t me; /* owner byte of this worker */
    struct xs_transit *transit;
    uint32_t cache[XS_CACHE_MAX];
    uint32_t cached;
    struct xs_event events[XS_EVENTS];
    uint32_t event_head, event_count;
    struct xs_held for_sa[XS_HELD_MAX], for_hop[XS_HELD_FOR_HOPS]; /* in order of arrival */
    uint32_t for_sa_count, for_hop_count;
    uint64_t resolves_since_ns; /* XS_EVENT_RESOLVE since then: XS_RESOLVES */
    uint32_t resolves;
    struct xs_wait waits[XS_CHILDREN_MAX];
    bool started; /* until then the rings and what we would own hold a predecessor's leavings: nothing may move */
    bool wake[XS_MAX_WORKERS]; /* given a frame in this breath */
    bool unsent;               /* a transmit ring still holds what the kernel did not take */
    bool idle;                 /* the last breath moved nothing: time for what is not urgent */
    /* What ends a sleep. By poll, which leaves nothing behind: a socket that stays in an epoll set wakes it for every
     * frame that the kernel has sent. */
    struct pollfd watched[XS_WATCH_SOCKETS + XS_MAX_PORTS * XS_MAX_QUEUES];
    uint32_t watched_count;
};

static inline uint32_t xs_held_count(const struct xs_loop *loop)
{
    return loop->for_sa_count + loop->for_hop_count;
}

int xs_watch_socket(struct xs_loop *loop, int fd); /* 0 or -ENOSPC */

bool xs_chunk_take(struct xs_worker *w, uint32_t *chunk);
void xs_chunk_give(struct xs_worker *w, uint32_t chunk);
uint32_t xs_chunks_want(struct xs_worker *w, uint32_t count); /* fills the cache towards count; how many are there */

/* Giving chunks away: begin before owners are changed, end after the producer index moved. */
enum xs_transit_kind { XS_TRANSIT_TX = 1, XS_TRANSIT_FILL = 2, XS_TRANSIT_HANDOFF = 3 };
static inline uint32_t xs_transit_ring(enum xs_transit_kind kind, uint32_t port, uint32_t queue)
{
    return (uint32_t)kind << 16 | port << 8 | queue;
}
static inline void xs_transit_begin(struct xs_transit *t, uint32_t ring, uint32_t producer, uint32_t count)
{
    t->ring = ring;
    t->producer_before = producer;
    __atomic_store_n(&t->count, count, __ATOMIC_RELEASE);
}
static inline void xs_transit_end(struct xs_transit *t)
{
    __atomic_store_n(&t->count, 0, __ATOMIC_RELEASE);
}

/* How many chunks a record of another process names, and one of them back to the owner who had it. */
static inline uint32_t xs_transit_count(const struct xs_transit *t)
{
    uint32_t count = __atomic_load_n(&t->count, __ATOMIC_ACQUIRE);
    return count < XS_TRANSIT_MAX ? count : XS_TRANSIT_MAX;
}
static inline void xs_transit_back(struct xs_loop *loop, const struct xs_transit *t, uint32_t at, uint8_t owner)
{
    uint32_t chunk = __atomic_load_n(&t->chunks[at], __ATOMIC_RELAXED);
    if (chunk < loop->chunks)
        loop->owners[chunk] = owner;
}

/* A chunk that stands in a ring is in nobody's hand; what others may have written can be any number. */
static inline void xs_chunk_in_ring(struct xs_loop *loop, uint64_t chunk)
{
    if (chunk < loop->chunks)
        loop->owners[chunk] = XS_OWNER_KERNEL;
}

/* Sends what the ports have queued and lets them reap, refill and kick. */
void xs_ports_flush(struct xs_worker *w);

void xs_hold_expire(struct xs_worker *w);
uint32_t xs_handoff_receive(struct xs_worker *w, uint32_t from, struct xs_frame *frames, uint32_t max);
void xs_handoff_adopt(struct xs_worker *w); /* what waits in our rings is not in hand: a sweep must not take it */

#endif
