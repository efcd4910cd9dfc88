/* Next hops: longest prefix match over the routes, neighbours by address, and a destination cache in front of both.
 * Filled by control from rtnetlink; a worker asks nobody else. */
#ifndef XS_FIB_H
#define XS_FIB_H

#include <stdbool.h>
#include <string.h>

#include "internal.h"

enum { XS_HOP_ETH = 14, XS_HOP_VLAN = 18, XS_FIB_CACHE_BITS = 12 };

/* How to reach one destination; valid while its epoch is the table's. */
struct xs_hop {
    uint32_t epoch;
    uint32_t addr; /* the next hop itself, network order */
    bool routed;   /* a route exists */
    bool resolved; /* l2 is complete */
    uint8_t port;
    uint8_t l2_len;
    uint8_t l2[XS_HOP_VLAN];
    uint32_t mtu;
};

struct xs_fib_route;

struct xs_fib_cached {
    uint32_t dst;
    struct xs_hop hop;
};

struct xs_fib {
    uint32_t epoch; /* moves with every change; 0 is never valid */
    struct xs_fib_route *routes;
    uint32_t route_count;
    struct xs_neighbour *neighbours;
    uint32_t neighbour_count, neighbour_room;
    struct xs_fib_cached cache[1 << XS_FIB_CACHE_BITS];
};

struct xs_fib *xs_fib_new(void);
void xs_fib_free(struct xs_fib *fib);
void xs_fib_resolve(struct xs_worker *w, uint32_t dst, struct xs_hop *hop); /* past the cache */
/* A frame whose hop is not ready, f->data at the IP header: counted without a route, held without a neighbour. */
void xs_hop_wait(struct xs_worker *w, struct xs_frame *f, const struct xs_hop *hop, uint32_t verdict, struct xs_sa *sa);

/* Never NULL; see routed and resolved. */
static inline const struct xs_hop *xs_fib_lookup(struct xs_worker *w, uint32_t dst)
{
    struct xs_fib_cached *c = &w->fib->cache[(dst * 2654435761U) >> (32 - XS_FIB_CACHE_BITS)];
    if (__builtin_expect(c->dst != dst || c->hop.epoch != w->fib->epoch, 0)) {
        xs_fib_resolve(w, dst, &c->hop);
        c->dst = dst;
    }
    return &c->hop;
}

/* The link-layer header of a resolved hop in front of the IP header at f->data. */
static inline void xs_hop_write(struct xs_frame *f, const struct xs_hop *hop)
{
    f->port = hop->port;
    f->data -= hop->l2_len;
    f->len += hop->l2_len;
    if (hop->l2_len == XS_HOP_ETH) /* lengths the compiler knows: no call for 14 bytes */
        memcpy(f->data, hop->l2, XS_HOP_ETH);
    else
        memcpy(f->data, hop->l2, XS_HOP_VLAN);
}

/* The last step of every packet: link-layer header in front of f->data (which stands at the IP header), then out. */
static inline void xs_hop_emit(struct xs_worker *w, struct xs_frame *f, const struct xs_hop *hop, uint32_t verdict,
                               struct xs_sa *sa)
{
    if (__builtin_expect(!hop->resolved, 0)) {
        struct xs_frame waiting = *f; /* a copy, so that the caller's own may live in registers */
        xs_hop_wait(w, &waiting, hop, verdict, sa);
        return;
    }
    xs_hop_write(f, hop);
    xs_emit(w, f, verdict);
}

#endif
