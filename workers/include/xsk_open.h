/* Making AF_XDP sockets, which needs privilege; workers only map and use them. One UMEM per gateway, one pair of fill
 * and completion rings per queue, one socket per queue and worker. */
#ifndef XS_XSK_OPEN_H
#define XS_XSK_OPEN_H

#include "shared.h"

enum xs_bind { XS_BIND_AUTO, XS_BIND_ZERO_COPY, XS_BIND_COPY };

struct xs_xsk_conf {
    int ifindex;
    uint32_t queue;
    void *umem; /* set on the gateway's first socket only, which registers it */
    uint64_t umem_size;
    uint32_t chunk_size;
    int share_fd; /* -1 on the first socket; the UMEM's owner for a queue's first, the queue's first for all others */
    int queue_first; /* has the queue's fill and completion rings */
    int bind;        /* enum xs_bind, of the first socket */
    uint32_t rx_size, tx_size, fill_size, completion_size;
};

int xs_xsk_open(const struct xs_xsk_conf *conf); /* descriptor or negative errno */
/* Receive queues that an interface of this namespace uses now, or negative errno. */
int xs_xsk_queues(const char *interface);
int xs_xsk_zero_copy(int fd); /* 1, 0 or negative errno */
/* XDP_STATISTICS: rx_dropped, rx_invalid_descs, tx_invalid_descs, rx_ring_full, rx_fill_ring_empty, tx_ring_empty */
int xs_xsk_statistics(int fd, uint64_t out[6]);

#endif
