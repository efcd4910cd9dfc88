/* The rings of an AF_XDP queue in our memory: where they are says the kernel (XDP_MMAP_OFFSETS), how large they are the
 * supervisor who made them. */
#include "xsk_rings.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

static void *map_ring(struct xsk_queue *q, int which, int fd, uint64_t pgoff, uint64_t desc_off, size_t entries)
{
    size_t size = desc_off + entries;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)pgoff);
    if (map == MAP_FAILED)
        return NULL;
    q->maps[which] = map;
    q->map_sizes[which] = size;
    return map;
}

void xs_ring_set_prod(struct xsk_ring_prod *r, uint8_t *map, const struct xdp_ring_offset *off, uint32_t size)
{
    r->size = size;
    r->mask = size - 1;
    r->producer = (uint32_t *)(map + off->producer);
    r->consumer = (uint32_t *)(map + off->consumer);
    r->flags = (uint32_t *)(map + off->flags);
    r->ring = map + off->desc;
    r->cached_prod = *r->producer;
    r->cached_cons = *r->consumer + size;
}

void xs_ring_set_cons(struct xsk_ring_cons *r, uint8_t *map, const struct xdp_ring_offset *off, uint32_t size)
{
    r->size = size;
    r->mask = size - 1;
    r->producer = (uint32_t *)(map + off->producer);
    r->consumer = (uint32_t *)(map + off->consumer);
    r->flags = (uint32_t *)(map + off->flags);
    r->ring = map + off->desc;
    r->cached_prod = *r->producer;
    r->cached_cons = *r->consumer;
}

int xs_rings_map(struct xsk_queue *q, const struct xs_queue_conf *c)
{
    struct xdp_mmap_offsets off;
    socklen_t len = sizeof off;
    if (getsockopt(c->own_fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
        return -errno;
    uint8_t *rx = map_ring(q, 0, c->own_fd, XDP_PGOFF_RX_RING, off.rx.desc, c->rx_size * sizeof(struct xdp_desc));
    uint8_t *tx = map_ring(q, 1, c->own_fd, XDP_PGOFF_TX_RING, off.tx.desc, c->tx_size * sizeof(struct xdp_desc));
    uint8_t *fill = map_ring(q, 2, c->queue_fd, XDP_UMEM_PGOFF_FILL_RING, off.fr.desc, c->fill_size * sizeof(uint64_t));
    uint8_t *comp =
        map_ring(q, 3, c->queue_fd, XDP_UMEM_PGOFF_COMPLETION_RING, off.cr.desc, c->completion_size * sizeof(uint64_t));
    if (!rx || !tx || !fill || !comp)
        return -errno;
    xs_ring_set_cons(&q->rx, rx, &off.rx, c->rx_size);
    xs_ring_set_prod(&q->tx, tx, &off.tx, c->tx_size);
    xs_ring_set_prod(&q->fill, fill, &off.fr, c->fill_size);
    xs_ring_set_cons(&q->completion, comp, &off.cr, c->completion_size);
    return 0;
}

void xs_rings_unmap(struct xsk_queue *q)
{
    for (uint32_t m = 0; m < 4; m++)
        if (q->maps[m])
            munmap(q->maps[m], q->map_sizes[m]);
}
