/* A worker that takes over: whatever it is told before its start moves no chunk, so that the sweep of what its
 * predecessor left finds nothing of its own. A chunk in two places would be received into while it waits to be sent: an
 * inner packet in the clear under an outer header. */
#include "loop.h"
#include "path_host.h"

static uint32_t flushed;

static uint32_t receive(struct xs_worker *w, struct xs_port *port, uint32_t queue, struct xs_frame *frames,
                        uint32_t max)
{
    (void)w, (void)port, (void)queue, (void)frames, (void)max;
    return 0;
}

static uint32_t send(struct xs_worker *w, struct xs_port *port, const struct xs_frame *frames, uint32_t count)
{
    (void)w, (void)port, (void)frames;
    return count;
}

/* As a port does that fills its rings: more than it needs just now stays at hand. */
static void flush(struct xs_worker *w, struct xs_port *port)
{
    (void)port;
    flushed++;
    xs_chunks_want(w, 100);
}

static void end(struct xs_worker *w, struct xs_port *port)
{
    (void)w, (void)port;
}

static const struct xs_port_ops filling = {receive, send, flush, end};

/* Told everything in the order of a snapshot, routes and neighbours first. */
static void brief(struct xs_worker *w)
{
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    struct xs_route route = {.prefix = {lab_addr("10.9.0.0"), 24}, .port = LAB_OUTSIDE};
    struct xs_neighbour peer = {.addr = lab_addr("10.9.0.2"), .port = LAB_OUTSIDE, .mac = {2, 0, 0, 0, 9, 0}};
    CHECK(xs_route_replace(w, &route, 1) == 0 && xs_neighbour_set(w, &peer) == 0);
    CHECK(xs_sa_install(w, &conf) == 0 && xs_sa_use(w, 0, LAB_SLOT_OUT) == 0);
}

static void check_apart(struct xs_worker *w)
{
    struct xs_pool *pool = w->loop->pool;
    for (uint32_t i = 0; i < w->loop->cached; i++) {
        CHECK(w->loop->owners[w->loop->cache[i]] == w->loop->me);
        for (uint32_t k = 0; k < pool->free_count; k++)
            CHECK(pool->stack[k] != w->loop->cache[i]);
    }
}

int main(void)
{
    struct lab lab;
    lab_open(&lab, 1, 2, 1500);
    struct xs_worker_conf conf = lab.conf;
    struct xs_counters counters = {0};
    conf.index = 0;
    conf.counters = &counters;
    struct xs_worker *w = xs_worker_new(&conf);
    struct xs_port_conf port = {.index = LAB_OUTSIDE, .role = XS_ROLE_OUTSIDE, .kind = XS_PORT_MEMORY, .mtu = 1500};
    CHECK(w && xs_worker_add_port(w, &port) == 0);
    w->ports[LAB_OUTSIDE]->ops->close(w, w->ports[LAB_OUTSIDE]);
    w->ports[LAB_OUTSIDE]->ops = &filling;
    brief(w);
    CHECK(flushed == 0 && w->loop->cached == 0);
    CHECK(xs_worker_start(w) == 0 && flushed == 1 && w->loop->cached >= 100);
    check_apart(w);
    struct xs_neighbour other = {.addr = lab_addr("10.9.0.3"), .port = LAB_OUTSIDE, .mac = {2, 0, 0, 0, 9, 9}};
    CHECK(xs_neighbour_set(w, &other) == 0 && flushed == 2); /* from here on held frames leave at once */
    check_apart(w);
    xs_worker_free(w);
    lab_close(&lab);
    return 0;
}
