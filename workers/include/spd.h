/* The SPD of a worker: rows in order of priority behind a flow cache that a change invalidates by its epoch. */
#ifndef XS_SPD_H
#define XS_SPD_H

#include <stdbool.h>

#include "conf.h"

struct xs_flow {
    uint32_t src, dst;           /* network order */
    uint16_t src_port, dst_port; /* host order; 0 for protocols without ports */
    uint8_t protocol;
    uint8_t fragment; /* not the first: ports are unknown */
};

struct xs_flow_entry {
    struct xs_flow flow;
    uint32_t epoch, child, owner;
    int32_t result;
};

enum { XS_FLOWS = 8192 };

struct xs_policy_row;

struct xs_spd {
    uint32_t epoch; /* 0 is never valid */
    bool uses_ports;
    struct xs_policy_row *rows;
    uint32_t count;
    struct xs_flow_entry flows[XS_FLOWS];
};

enum { XS_SPD_NONE = -1, XS_SPD_NEEDS_PORTS = -2 };

struct xs_spd *xs_spd_new(void);
void xs_spd_free(struct xs_spd *spd);
void xs_spd_scan(const struct xs_spd *spd, const struct xs_flow *flow, struct xs_flow_entry *entry); /* fills entry */

static inline uint32_t xs_flow_hash(const struct xs_flow *f)
{
    uint64_t h = ((uint64_t)f->src << 32 | f->dst) * 0x9E3779B97F4A7C15ULL;
    h ^= ((uint64_t)f->src_port << 24 | (uint64_t)f->dst_port << 8 | f->protocol) * 0xC2B2AE3D27D4EB4FULL;
    return (uint32_t)(h >> 40) % XS_FLOWS;
}

static inline bool xs_flow_same(const struct xs_flow *a, const struct xs_flow *b)
{
    return a->src == b->src && a->dst == b->dst && a->src_port == b->src_port && a->dst_port == b->dst_port &&
           a->protocol == b->protocol && a->fragment == b->fragment;
}

/* result 0: child and owner name the row that protects the flow. XS_SPD_NONE: no row. XS_SPD_NEEDS_PORTS: a fragment
 * that only a row with ports could match. Valid until the next call. */
static inline const struct xs_flow_entry *xs_spd_lookup(struct xs_spd *spd, struct xs_flow flow)
{
    if (!spd->uses_ports)
        flow.src_port = flow.dst_port = 0;
    struct xs_flow_entry *e = &spd->flows[xs_flow_hash(&flow)];
    if (__builtin_expect(e->epoch != spd->epoch || !xs_flow_same(&e->flow, &flow), 0))
        xs_spd_scan(spd, &flow, e);
    return e;
}

#endif
