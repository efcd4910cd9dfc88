/* Next hops: longest prefix match over the routes, neighbours by address, and a destination cache in front of both.
 * Filled by control from rtnetlink; a worker asks nobody else. */
#ifndef XS_FIB_H
#define XS_FIB_H

#include <stdbool.h>

#include "conf.h"
#include "frame.h"

struct xs_worker;

/* How to reach one destination; valid while its epoch is the table's. */
struct xs_hop {
    uint32_t epoch;
    uint32_t addr; /* the next hop itself, network order */
    bool routed;   /* a route exists */
    bool resolved; /* l2 is complete */
    uint8_t port;
    uint8_t l2_len;
    uint8_t l2[18];
    uint32_t mtu;
};

struct xs_fib;

struct xs_fib *xs_fib_new(void);
void xs_fib_free(struct xs_fib *fib);
const struct xs_hop *xs_fib_lookup(struct xs_worker *w, uint32_t dst); /* never NULL; see routed and resolved */
uint32_t xs_fib_epoch(const struct xs_fib *fib);

/* The last step of every packet: link-layer header in front of f->data (which stands at the IP header), then out.
 * No route, no neighbour: counted or held. */
void xs_hop_emit(struct xs_worker *w, struct xs_frame *f, const struct xs_hop *hop, uint32_t verdict, struct xs_sa *sa);

#endif
