/* Routes, neighbours and the destination cache. Tables are small and change rarely; the cache makes a packet's lookup
 * one probe. IPv4 for now: the core takes other families when IPv6 payloads are carried. */
#include "fib.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct xs_fib_route {
    uint32_t prefix, mask, via; /* network order */
    uint8_t port, bits;
};

static uint32_t addr4(const struct xs_addr *addr)
{
    uint32_t value;
    memcpy(&value, addr->bytes, sizeof value);
    return value;
}

static bool same_addr(const struct xs_addr *a, const struct xs_addr *b)
{
    return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

struct xs_fib *xs_fib_new(void)
{
    struct xs_fib *fib = calloc(1, sizeof *fib);
    if (fib)
        fib->epoch = 1;
    return fib;
}

void xs_fib_free(struct xs_fib *fib)
{
    if (!fib)
        return;
    free(fib->routes);
    free(fib->neighbours);
    free(fib);
}

static int longest_first(const void *a, const void *b)
{
    return ((const struct xs_fib_route *)b)->bits - ((const struct xs_fib_route *)a)->bits;
}

int xs_route_replace(struct xs_worker *w, const struct xs_route *rows, uint32_t count)
{
    struct xs_fib_route *routes = calloc(count ? count : 1, sizeof *routes);
    if (!routes)
        return -ENOMEM;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].prefix.addr.family != 4 || rows[i].prefix.bits > 32)
            continue;
        struct xs_fib_route *r = &routes[kept++];
        r->bits = rows[i].prefix.bits;
        r->mask = r->bits ? htonl(~0U << (32 - r->bits)) : 0;
        r->prefix = addr4(&rows[i].prefix.addr) & r->mask;
        r->via = rows[i].via.family == 4 ? addr4(&rows[i].via) : 0;
        r->port = rows[i].port;
    }
    qsort(routes, kept, sizeof *routes, longest_first);
    free(w->fib->routes);
    w->fib->routes = routes;
    w->fib->route_count = kept;
    w->fib->epoch++;
    return 0;
}

static struct xs_neighbour *find(struct xs_fib *fib, uint8_t port, const struct xs_addr *addr)
{
    for (uint32_t i = 0; i < fib->neighbour_count; i++)
        if (fib->neighbours[i].port == port && same_addr(&fib->neighbours[i].addr, addr))
            return &fib->neighbours[i];
    return NULL;
}

int xs_neighbour_set(struct xs_worker *w, const struct xs_neighbour *n)
{
    struct xs_fib *fib = w->fib;
    struct xs_neighbour *known = find(fib, n->port, &n->addr);
    if (known && !memcmp(known->mac, n->mac, 6) && known->tagged == n->tagged && known->vlan == n->vlan)
        return 0;
    if (!known) {
        if (fib->neighbour_count == fib->neighbour_room) {
            uint32_t room = fib->neighbour_room ? fib->neighbour_room * 2 : 64;
            struct xs_neighbour *grown = realloc(fib->neighbours, room * sizeof *grown);
            if (!grown)
                return -ENOMEM;
            fib->neighbours = grown;
            fib->neighbour_room = room;
        }
        known = &fib->neighbours[fib->neighbour_count++];
    }
    *known = *n;
    fib->epoch++;
    xs_release_neighbour(w, n->port, &n->addr);
    return 0;
}

int xs_neighbour_remove(struct xs_worker *w, uint8_t port, const struct xs_addr *addr)
{
    struct xs_fib *fib = w->fib;
    struct xs_neighbour *known = find(fib, port, addr);
    if (!known)
        return -ENOENT;
    *known = fib->neighbours[--fib->neighbour_count];
    fib->epoch++;
    return 0;
}

static void write_l2(struct xs_hop *hop, const struct xs_neighbour *n, const struct xs_port *port)
{
    memcpy(hop->l2, n->mac, 6);
    memcpy(hop->l2 + 6, port->conf.mac, 6);
    uint8_t *type = hop->l2 + 12;
    hop->l2_len = n->tagged ? XS_HOP_VLAN : XS_HOP_ETH;
    if (n->tagged) {
        uint16_t tag[2] = {htons(0x8100), htons(n->vlan)};
        memcpy(type, tag, sizeof tag);
        type += sizeof tag;
    }
    type[0] = 0x08;
    type[1] = 0x00;
}

void xs_fib_resolve(struct xs_worker *w, uint32_t dst, struct xs_hop *hop)
{
    struct xs_fib *fib = w->fib;
    memset(hop, 0, sizeof *hop);
    hop->epoch = fib->epoch;
    for (uint32_t i = 0; i < fib->route_count; i++) {
        const struct xs_fib_route *r = &fib->routes[i];
        if ((dst & r->mask) != r->prefix || r->port >= XS_MAX_PORTS || !w->ports[r->port])
            continue;
        hop->routed = true;
        hop->port = r->port;
        hop->mtu = w->ports[r->port]->conf.mtu;
        hop->addr = r->via ? r->via : dst;
        struct xs_addr addr = {.family = 4};
        memcpy(addr.bytes, &hop->addr, 4);
        const struct xs_neighbour *n = find(fib, r->port, &addr);
        hop->resolved = n != NULL;
        if (n)
            write_l2(hop, n, w->ports[r->port]);
        return;
    }
}

void xs_hop_wait(struct xs_worker *w, struct xs_frame *f, const struct xs_hop *hop, uint32_t verdict, struct xs_sa *sa)
{
    if (!hop->routed) {
        xs_drop(w, f, XS_V_DROP_NO_ROUTE, sa);
        return;
    }
    struct xs_addr addr = {.family = 4};
    memcpy(addr.bytes, &hop->addr, 4);
    f->port = hop->port;
    xs_hold_for_neighbour(w, f, verdict, &addr);
}
