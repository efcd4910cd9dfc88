/* A frame in flight: where it stands in the UMEM and on which port. Ownership moves with the struct: whoever holds it
 * sends it, hands it on or gives it back to the pool, exactly once. */
#ifndef XS_FRAME_H
#define XS_FRAME_H

#include "shared.h"

struct xs_sa;

struct xs_frame {
    uint8_t *data;  /* first byte of the Ethernet header */
    uint32_t len;   /* bytes from data */
    uint32_t chunk; /* index of the chunk in the UMEM; chunk base + chunk_size bounds head- and tailroom */
    uint8_t port;   /* where it arrived; rewritten to where it leaves */
    uint8_t queue;
    uint8_t l2_len; /* 14, or 18 with an 802.1Q tag */
    uint8_t flags;
    uint16_t vlan; /* TCI when tagged */
    uint16_t aux;  /* free for the pass at work */
};

/* Field by field: a copy in wider steps than the fields were written in waits for its own stores to reach the cache. */
static inline void xs_frame_put(struct xs_frame *to, const struct xs_frame *f)
{
    to->data = f->data;
    to->len = f->len;
    to->chunk = f->chunk;
    to->port = f->port;
    to->queue = f->queue;
    to->l2_len = f->l2_len;
    to->flags = f->flags;
    to->vlan = f->vlan;
}

/* INNER: came out of a tunnel, so its Ethernet header is ours and names nobody to answer. COLD: its bytes lie where
 * another core or a device has put them, not in our cache. */
enum xs_frame_flag { XS_FRAME_HANDED = 1, XS_FRAME_TAGGED = 2, XS_FRAME_INNER = 4, XS_FRAME_COLD = 8 };

#endif
