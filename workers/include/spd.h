/* The SPD of a worker: rows in order of priority behind a flow cache that a change invalidates by its epoch. */
#ifndef XS_SPD_H
#define XS_SPD_H

#include <stdbool.h>

#include "conf.h"

/* Two words, because that is how a packet's flow is made and compared; the fields are their bytes on a little-endian
 * machine. */
struct xs_flow {
    union {
        uint64_t words[2];
        struct {
            uint32_t src, dst;           /* network order */
            uint16_t src_port, dst_port; /* host order; 0 for protocols without ports */
            uint8_t protocol;
            uint8_t fragment; /* not the first: ports are unknown */
            uint16_t zero;
        };
    };
};
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the words of a flow");
enum { XS_FLOW_DST_PORT = 16, XS_FLOW_PROTOCOL = 32, XS_FLOW_FRAGMENT = 40 }; /* bits of words[1] */

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

static inline uint32_t xs_flow_hash(uint64_t addresses, uint64_t rest)
{
    uint64_t h = addresses * 0x9E3779B97F4A7C15ULL ^ rest * 0xC2B2AE3D27D4EB4FULL;
    return (uint32_t)(h >> 40) % XS_FLOWS;
}

static inline uint64_t xs_flow_rest(const struct xs_spd *spd, struct xs_flow flow)
{
    return spd->uses_ports ? flow.words[1] : flow.words[1] >> 32 << 32;
}

/* A lookup will follow soon. */
static inline void xs_spd_fetch(const struct xs_spd *spd, struct xs_flow flow)
{
    __builtin_prefetch(&spd->flows[xs_flow_hash(flow.words[0], xs_flow_rest(spd, flow))]);
}

/* result 0: child and owner name the row that protects the flow. XS_SPD_NONE: no row. XS_SPD_NEEDS_PORTS: a fragment
 * that only a row with ports could match. Valid until the next call. */
static inline const struct xs_flow_entry *xs_spd_lookup(struct xs_spd *spd, struct xs_flow flow)
{
    uint64_t addresses = flow.words[0], rest = xs_flow_rest(spd, flow);
    struct xs_flow_entry *e = &spd->flows[xs_flow_hash(addresses, rest)];
    bool known = e->epoch == spd->epoch && e->flow.words[0] == addresses && e->flow.words[1] == rest;
    if (__builtin_expect(!known, 0)) {
        struct xs_flow wanted = {.words = {addresses, rest}};
        xs_spd_scan(spd, &wanted, e);
    }
    return e;
}

#endif
