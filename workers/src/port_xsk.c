/* AF_XDP ports: the worker's own socket on each queue, and the queue's fill and completion rings, which all workers of
 * the queue share under a lock that is taken per batch. Owner bytes follow every chunk (pool.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop.h"
#include "port.h"
#include "xsk_rings.h"

enum {
    HEADROOM = 256,  /* XDP_PACKET_HEADROOM: where the kernel puts the Ethernet header of what it receives */
    KICKS_MAX = 64,  /* system calls per flush; copy mode takes 32 descriptors or more with each */
    REAP_MIN = 32,   /* completions worth taking the lock for while busy */
    FILL_MIN = 2048, /* chunks missing in a fill ring worth the same; of a small ring, a quarter */
    SPARE = 128,     /* chunks kept back from the fill rings for frames we make or clone */
};

struct xsk_port {
    struct xsk_queue queues[XS_MAX_QUEUES];
    uint32_t send_on; /* the queue this worker transmits on */
};

static uint64_t shift_of(const struct xs_worker *w)
{
    return (uint64_t)__builtin_ctz(w->conf.chunk_size);
}

int xs_port_xsk_add_queue(struct xs_worker *w, struct xs_port *port, const struct xs_queue_conf *conf)
{
    struct xsk_port *impl = port->impl;
    if (port->queue_count == XS_MAX_QUEUES)
        return -ENOSPC;
    struct xsk_queue *q = &impl->queues[port->queue_count];
    q->port = conf->port;
    q->queue = conf->queue;
    q->fd = conf->own_fd;
    int error = xs_rings_map(q, conf);
    if (error)
        return error;
    port->queue_count++;
    impl->send_on = w->conf.index % port->queue_count;
    return 0;
}

/* --- locks and repair ----------------------------------------------------------------------------------------- */

/* Other workers move the shared rings: what we remember of them is old until we hold the lock. */
static void refresh(struct xsk_queue *q)
{
    q->fill.cached_prod = *q->fill.producer;
    q->fill.cached_cons = __atomic_load_n(q->fill.consumer, __ATOMIC_ACQUIRE) + q->fill.size;
    q->completion.cached_cons = *q->completion.consumer;
    q->completion.cached_prod = __atomic_load_n(q->completion.producer, __ATOMIC_ACQUIRE);
}

/* The holder of the lock died: chunks that it was about to put into the fill ring are still its own, if they did not
 * get in. (Its completions: whoever reaps next reads the same entries again and becomes their owner.) */
static void settle_fill(struct xs_worker *w, const struct xsk_queue *q)
{
    for (uint32_t i = 0; i < XS_MAX_WORKERS; i++) {
        struct xs_transit *t = &w->loop->pool->transit[i];
        uint32_t count = xs_transit_count(t);
        if (!count || t->ring != xs_transit_ring(XS_TRANSIT_FILL, q->port, q->queue))
            continue;
        for (uint32_t k = 0; *q->fill.producer == t->producer_before && k < count; k++)
            xs_transit_back(w->loop, t, k, xs_owner_of_worker(i));
        xs_transit_end(t);
    }
}

static bool lock(struct xs_worker *w, struct xsk_queue *q)
{
    enum xs_lock_taken taken = xs_lock_try(xs_queue_lock(w->loop->pool, q->port, q->queue));
    if (taken == XS_LOCK_BUSY)
        return false;
    refresh(q);
    if (taken == XS_LOCK_REPAIR)
        settle_fill(w, q);
    return true;
}

/* Where the chunk of a ring's entry begins, read once: others may write it. */
static uint64_t chunk_at(const struct xs_worker *w, const __u64 *address)
{
    return __atomic_load_n(address, __ATOMIC_RELAXED) >> shift_of(w);
}

/* As many entries as the indices say, and no more than there are. */
static uint32_t entries(uint32_t consumer, uint32_t producer, uint32_t size)
{
    return producer - consumer < size ? producer - consumer : size;
}

void xs_port_xsk_adopt(struct xs_worker *w, struct xs_port *port)
{
    struct xsk_port *impl = port->impl;
    for (uint32_t i = 0; i < port->queue_count; i++) {
        struct xsk_queue *q = &impl->queues[i];
        struct xs_lock *queue_lock = xs_queue_lock(w->loop->pool, q->port, q->queue);
        if (xs_lock_wait(queue_lock) == XS_LOCK_REPAIR)
            settle_fill(w, q);
        refresh(q);
        uint32_t at = q->completion.cached_cons, count = entries(at, q->completion.cached_prod, q->completion.size);
        for (uint32_t k = 0; k < count; k++)
            xs_chunk_in_ring(w->loop, chunk_at(w, xsk_ring_cons__comp_addr(&q->completion, at + k)));
        xs_lock_leave(queue_lock);
        at = *q->rx.consumer;
        count = entries(at, __atomic_load_n(q->rx.producer, __ATOMIC_ACQUIRE), q->rx.size);
        for (uint32_t k = 0; k < count; k++)
            xs_chunk_in_ring(w->loop, chunk_at(w, &xsk_ring_cons__rx_desc(&q->rx, at + k)->addr));
        q->dirty = *q->tx.producer != *q->tx.consumer;
    }
}

uint32_t xs_port_xsk_producer(const struct xs_port *port, uint32_t transit_kind, uint32_t queue)
{
    const struct xsk_port *impl = port->impl;
    for (uint32_t i = 0; i < port->queue_count; i++) {
        const struct xsk_queue *q = &impl->queues[i];
        if (q->queue == queue)
            return transit_kind == XS_TRANSIT_TX ? *q->tx.producer : *q->fill.producer;
    }
    return 0;
}

/* --- packets ------------------------------------------------------------------------------------------------------ */

static uint32_t receive(struct xs_worker *w, struct xs_port *port, uint32_t queue, struct xs_frame *frames,
                        uint32_t max)
{
    struct xsk_queue *q = &((struct xsk_port *)port->impl)->queues[queue];
    uint64_t shift = shift_of(w), in_chunk = w->conf.chunk_size - 1;
    uint32_t at, taken = 0, count = xsk_ring_cons__peek(&q->rx, max, &at);
    for (uint32_t i = 0; i < count; i++) {
        const struct xdp_desc *d = xsk_ring_cons__rx_desc(&q->rx, at + i);
        uint64_t addr = __atomic_load_n(&d->addr, __ATOMIC_RELAXED), chunk = addr >> shift;
        uint32_t len = __atomic_load_n(&d->len, __ATOMIC_RELAXED);
        if (__builtin_expect(chunk >= w->loop->chunks || (addr & in_chunk) + len > w->conf.chunk_size, 0)) {
            w->counters->verdicts[XS_V_DROP_MALFORMED]++; /* not from the kernel: there is no frame to give back */
            continue;
        }
        frames[taken++] = (struct xs_frame){
            .data = (uint8_t *)w->conf.umem + addr,
            .len = len,
            .chunk = (uint32_t)chunk,
            .port = port->conf.index,
            .queue = q->queue,
            .flags = XS_FRAME_COLD,
        };
        w->loop->owners[chunk] = w->loop->me;
    }
    if (count)
        xsk_ring_cons__release(&q->rx, count);
    return taken;
}

static uint32_t put(struct xs_worker *w, struct xsk_queue *q, const struct xs_frame *frames, uint32_t count)
{
    struct xs_loop *loop = w->loop;
    uint32_t at, room = xsk_prod_nb_free(&q->tx, count);
    count = count < room ? count : room;
    if (!count || !xsk_ring_prod__reserve(&q->tx, count, &at))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        loop->transit->chunks[i] = frames[i].chunk;
    xs_transit_begin(loop->transit, xs_transit_ring(XS_TRANSIT_TX, q->port, q->queue), *q->tx.producer, count);
    for (uint32_t i = 0; i < count; i++) {
        struct xdp_desc *d = xsk_ring_prod__tx_desc(&q->tx, at + i);
        d->addr = (uint64_t)(frames[i].data - (uint8_t *)w->conf.umem);
        d->len = frames[i].len;
        d->options = 0;
        loop->owners[frames[i].chunk] = XS_OWNER_KERNEL;
    }
    xsk_ring_prod__submit(&q->tx, count);
    xs_transit_end(loop->transit);
    q->dirty = true;
    return count;
}

/* The kernel sends in the context of this call: as long as it makes progress, ask again. */
static void kick(struct xsk_queue *q)
{
    uint32_t producer = *q->tx.producer;
    for (uint32_t i = 0; i < KICKS_MAX; i++) {
        uint32_t before = __atomic_load_n(q->tx.consumer, __ATOMIC_ACQUIRE);
        if (before == producer || !xsk_ring_prod__needs_wakeup(&q->tx))
            break;
        long sent = sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
        if (sent < 0 && __atomic_load_n(q->tx.consumer, __ATOMIC_ACQUIRE) == before)
            break; /* link down, or no buffers until somebody reaps */
    }
    q->dirty = __atomic_load_n(q->tx.consumer, __ATOMIC_ACQUIRE) != producer;
}

static void reap(struct xs_worker *w, struct xsk_queue *q)
{
    uint32_t chunks[XS_CACHE_BATCH], at, count = xsk_ring_cons__peek(&q->completion, XS_CACHE_BATCH, &at), taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t chunk = chunk_at(w, xsk_ring_cons__comp_addr(&q->completion, at + i));
        if (__builtin_expect(chunk >= w->loop->chunks, 0))
            continue; /* not from the kernel */
        chunks[taken++] = (uint32_t)chunk;
        w->loop->owners[chunk] = w->loop->me;
    }
    if (count) /* before others can get them from the pool: whoever reaps after our death must not find them here */
        xsk_ring_cons__release(&q->completion, count);
    for (uint32_t i = 0; i < taken; i++)
        xs_chunk_give(w, chunks[i]);
    w->counters->tx_completed[q->port] += taken;
}

static void refill(struct xs_worker *w, struct xsk_queue *q)
{
    struct xs_loop *loop = w->loop;
    uint32_t room = xsk_prod_nb_free(&q->fill, q->fill.size), at = 0;
    room = room < q->fill.size ? room : q->fill.size; /* whatever its indices say */
    while (room) {
        uint32_t batch = room < XS_TRANSIT_MAX ? room : XS_TRANSIT_MAX, have = xs_chunks_want(w, batch + SPARE);
        if (have <= SPARE)
            break;
        batch = have - SPARE < batch ? have - SPARE : batch;
        if (!xsk_ring_prod__reserve(&q->fill, batch, &at))
            break;
        const uint32_t *chunks = &loop->cache[loop->cached - batch];
        memcpy(loop->transit->chunks, chunks, batch * sizeof(uint32_t));
        xs_transit_begin(loop->transit, xs_transit_ring(XS_TRANSIT_FILL, q->port, q->queue), *q->fill.producer, batch);
        for (uint32_t i = 0; i < batch; i++) {
            *xsk_ring_prod__fill_addr(&q->fill, at + i) = (uint64_t)chunks[i] << shift_of(w);
            loop->owners[chunks[i]] = XS_OWNER_KERNEL;
        }
        loop->cached -= batch;
        xsk_ring_prod__submit(&q->fill, batch);
        xs_transit_end(loop->transit);
        room -= batch;
    }
    w->counters->ring_fill_missing = room;
}

/* Worth the lock? Indices of others may be read without it: at worst we come a breath early or late. */
static bool wants_service(const struct xs_worker *w, const struct xsk_queue *q)
{
    uint32_t done = __atomic_load_n(q->completion.producer, __ATOMIC_RELAXED) - *q->completion.consumer;
    uint32_t filled = *q->fill.producer - __atomic_load_n(q->fill.consumer, __ATOMIC_RELAXED);
    uint32_t lack = q->fill.size / 4 < FILL_MIN ? q->fill.size / 4 : FILL_MIN;
    return done >= REAP_MIN || (w->loop->idle && done) || filled < q->fill.size - lack;
}

static void service(struct xs_worker *w, struct xsk_queue *q)
{
    if (!lock(w, q))
        return;
    reap(w, q);
    refill(w, q);
    xs_lock_leave(xs_queue_lock(w->loop->pool, q->port, q->queue));
    if (xsk_ring_prod__needs_wakeup(&q->fill))
        recvfrom(q->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static uint32_t send_frames(struct xs_worker *w, struct xs_port *port, const struct xs_frame *frames, uint32_t count)
{
    struct xsk_port *impl = port->impl;
    struct xsk_queue *q = &impl->queues[impl->send_on];
    uint32_t sent = put(w, q, frames, count), more = count;
    while (more && sent < count) { /* full: let the kernel take some, as long as it does */
        kick(q);
        service(w, q);
        more = put(w, q, frames + sent, count - sent);
        sent += more;
    }
    return sent;
}

static void flush(struct xs_worker *w, struct xs_port *port)
{
    struct xsk_port *impl = port->impl;
    for (uint32_t i = 0; i < port->queue_count; i++) {
        struct xsk_queue *q = &impl->queues[i];
        if (q->dirty)
            kick(q);
        if (wants_service(w, q) || q->dirty)
            service(w, q);
        w->loop->unsent |= q->dirty;
    }
}

static void close_port(struct xs_worker *w, struct xs_port *port)
{
    struct xsk_port *impl = port->impl;
    (void)w;
    for (uint32_t i = 0; i < port->queue_count; i++)
        xs_rings_unmap(&impl->queues[i]);
    free(impl);
}

static const struct xs_port_ops ops = {receive, send_frames, flush, close_port};

int xs_port_xsk_open(struct xs_port *port)
{
    port->ops = &ops;
    port->impl = calloc(1, sizeof(struct xsk_port));
    return port->impl ? 0 : -ENOMEM;
}
