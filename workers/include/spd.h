/* The SPD of a worker: rows in order of priority behind a flow cache that a change invalidates by its epoch. */
#ifndef XS_SPD_H
#define XS_SPD_H

#include "conf.h"

struct xs_spd;

struct xs_flow {
    uint32_t src, dst; /* network order */
    uint16_t src_port, dst_port; /* host order; 0 for protocols without ports */
    uint8_t protocol;
    uint8_t fragment; /* not the first: ports are unknown */
    uint16_t zero;    /* flows are compared as bytes */
};

enum { XS_SPD_NONE = -1, XS_SPD_NEEDS_PORTS = -2 };

struct xs_spd *xs_spd_new(void);
void xs_spd_free(struct xs_spd *spd);
/* The row that protects the flow (0 and *child, *owner set), XS_SPD_NONE, or XS_SPD_NEEDS_PORTS for a fragment that
 * only a row with ports could match. */
int xs_spd_lookup(struct xs_spd *spd, const struct xs_flow *flow, uint32_t *child, uint32_t *owner);

#endif
