/* The worker seen from inside the core: what the packet stages (esp_in, esp_out, icmp) may ask of the loop (rings,
 * pool, events) and the other way round. Not visible to Python. */
#ifndef XS_INTERNAL_H
#define XS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "worker.h"

/* Frames whose headers are fetched while as many before them are worked on. Chunks are powers of two apart, so that all
 * headers fall into a few sets of the first cache: with more on their way, the first would be gone before their turn.
 */
enum { XS_GROUP = 6 };
enum { XS_BURST_MAX = 256, XS_ALL_WORKERS = XS_MAX_WORKERS };

struct xs_sad;
struct xs_spd;
struct xs_fib;
struct xs_port;

struct xs_worker {
    struct xs_worker_conf conf;
    uint32_t slots; /* of sa_state, by its size: what its header says others can write */
    struct xs_counters *counters;
    struct xs_sad *sad; /* SAs by SPI (inbound) and by child (outbound) */
    struct xs_spd *spd; /* policies and flow cache */
    struct xs_fib *fib; /* routes, neighbours */
    struct xs_port *ports[XS_MAX_PORTS];
    uint64_t now_ns;        /* CLOCK_MONOTONIC at the start of this breath */
    uint64_t icmp_since_ns; /* ICMP errors answered since then: icmp.c's limit */
    uint32_t icmp_count;
    struct xs_loop *loop; /* rings, pool cache, handoff, held frames, events: loop.c's own */
};

/* --- tables, made and freed with the worker; they fill w->sad, w->spd, w->fib --------------------------------- */
int xs_tables_new(struct xs_worker *w);
void xs_tables_free(struct xs_worker *w);

/* --- stages, called by the loop with frames of one role; every frame is emitted, held, handed over or dropped --- */
void xs_inbound(struct xs_worker *w, struct xs_frame *frames, uint32_t count); /* from an outside port */
void xs_outbound(struct xs_worker *w, struct xs_frame *frames,
                 uint32_t count); /* from an inside port or a peer worker */

/* --- the loop, called by the stages --------------------------------------------------------------------------- */
/* The one exit that counts a refusal: worker counter, slot counter if an SA is known, frame back to the pool. */
void xs_drop(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict, struct xs_sa *sa);
/* To the worker that owns the SA; a full ring is a counted drop. */
void xs_hand_over(struct xs_worker *w, const struct xs_frame *f, uint32_t worker);
/* Keeps the frame until addr on port has a neighbour (few, oldest dropped and counted); raises RESOLVE each second. */
void xs_hold_for_neighbour(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict, const struct xs_addr *addr);
/* Keeps the cleartext frame until its child has an SA (the first conf.hold of them); raises ACQUIRE each second. */
void xs_hold_for_sa(struct xs_worker *w, const struct xs_frame *f, uint32_t child);
void xs_release_neighbour(struct xs_worker *w, uint8_t port, const struct xs_addr *addr); /* it has an address now */
void xs_release_child(struct xs_worker *w, uint32_t child);                               /* it has an SA now */
void xs_release_all(struct xs_worker *w);                                                 /* policies changed */
bool xs_event_push(struct xs_worker *w, const struct xs_event *event); /* false: queue full, raise it again later */

/* --- ports -------------------------------------------------------------------------------------------------------- */
struct xs_port_ops {
    /* Up to max frames of one queue; fills data, len, chunk, port, queue. Never blocks. */
    uint32_t (*receive)(struct xs_worker *w, struct xs_port *port, uint32_t queue, struct xs_frame *frames,
                        uint32_t max);
    /* Takes frames in order, returns how many; the rest stay with the caller. */
    uint32_t (*send)(struct xs_worker *w, struct xs_port *port, const struct xs_frame *frames, uint32_t count);
    void (*flush)(struct xs_worker *w, struct xs_port *port); /* end of burst: kick the kernel, reap, refill */
    void (*close)(struct xs_worker *w, struct xs_port *port);
};

struct xs_port {
    struct xs_port_conf conf;
    const struct xs_port_ops *ops;
    uint32_t queue_count;
    struct xs_frame out[XS_BURST_MAX]; /* emitted during this burst */
    uint8_t out_verdict[XS_BURST_MAX];
    uint32_t out_count;
    void *impl;
};

/* No such port, or no more room in this burst. */
void xs_emit_slowly(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict);

/* Queues the frame on f->port for the end of the burst. verdict is counted when the ring took it, else DROP_TX_FULL. */
static inline void xs_emit(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict)
{
    struct xs_port *port = f->port < XS_MAX_PORTS ? w->ports[f->port] : NULL;
    if (__builtin_expect(!port || port->out_count == XS_BURST_MAX, 0)) {
        const struct xs_frame late = *f; /* a copy, so that the caller's own may live in registers */
        xs_emit_slowly(w, &late, verdict);
        return;
    }
    xs_frame_put(&port->out[port->out_count], f);
    port->out_verdict[port->out_count++] = (uint8_t)verdict;
}

/* What arrived lies in the cache of the core that received it. The lines that we write are fetched as our own: a store
 * to a line that is not there holds up all stores after it, and what is read first and written later crosses between
 * the cores twice. */
enum { XS_LINE = 64 };
static inline void xs_fetch_own(const uint8_t *line)
{
    __asm__ volatile("prefetchw %0" : : "m"(*line));
}

static inline void xs_fetch_starts(const struct xs_frame *frames, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < count && i < from + XS_GROUP; i++)
        xs_fetch_own(frames[i].data);
}

static inline uint8_t *xs_chunk_base(const struct xs_worker *w, uint32_t chunk)
{
    return (uint8_t *)w->conf.umem + (uint64_t)chunk * w->conf.chunk_size;
}

#endif
