/* A worker's life: made from descriptors and memory that outlive it, told its ports, started, freed with keys wiped. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "port.h"

static struct xs_loop *loop_new(const struct xs_worker_conf *conf)
{
    struct xs_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return NULL;
    loop->pool = conf->pool;
    loop->chunks = (uint32_t)(conf->umem_size / conf->chunk_size);
    loop->owners = xs_pool_owners(loop->pool, loop->chunks);
    loop->me = xs_owner_of_worker(conf->index);
    loop->transit = &loop->pool->transit[conf->index];
    loop->watched[XS_WATCH_CHANNEL] = (struct pollfd){.fd = -1, .events = POLLIN};
    loop->watched[XS_WATCH_WAKE] = (struct pollfd){.fd = -1, .events = POLLIN};
    loop->watched_count = XS_WATCH_SOCKETS;
    return loop;
}

static bool power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

static bool regions_fit(const struct xs_worker_conf *conf)
{
    return power_of_two(conf->chunk_size) && conf->umem_size / conf->chunk_size <= UINT32_MAX &&
           conf->state_size >= sizeof(struct xs_state_header);
}

struct xs_worker *xs_worker_new(const struct xs_worker_conf *conf)
{
    if (conf->index >= conf->workers || conf->workers > XS_MAX_WORKERS || !conf->burst || conf->burst > XS_BURST_MAX ||
        conf->hold > XS_HELD_MAX)
        return NULL;
    struct xs_worker *w = regions_fit(conf) ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    w->conf = *conf;
    w->conf.hold = conf->hold ? conf->hold : XS_HOLD_DEFAULT;
    w->slots = (uint32_t)((conf->state_size - sizeof(struct xs_state_header)) / sizeof(struct xs_sa_slot));
    w->counters = conf->counters;
    xs_lock_prepare();
    w->loop = loop_new(conf);
    if (w->loop && xs_tables_new(w) == 0)
        return w;
    xs_worker_free(w);
    return NULL;
}

void xs_worker_free(struct xs_worker *w)
{
    if (!w)
        return;
    xs_tables_free(w);
    for (uint32_t p = 0; p < XS_MAX_PORTS; p++) {
        if (!w->ports[p])
            continue;
        w->ports[p]->ops->close(w, w->ports[p]);
        free(w->ports[p]);
    }
    free(w->loop);
    free(w);
}

int xs_worker_add_port(struct xs_worker *w, const struct xs_port_conf *conf)
{
    if (conf->index >= XS_MAX_PORTS || w->ports[conf->index])
        return -EINVAL;
    struct xs_port *port = calloc(1, sizeof *port);
    if (!port)
        return -ENOMEM;
    port->conf = *conf;
    int error = conf->kind == XS_PORT_XSK ? xs_port_xsk_open(port) : xs_port_memory_open(port);
    if (error) {
        free(port);
        return error;
    }
    w->ports[conf->index] = port;
    return 0;
}

int xs_worker_add_queue(struct xs_worker *w, const struct xs_queue_conf *conf)
{
    if (conf->port >= XS_MAX_PORTS || !w->ports[conf->port] || w->ports[conf->port]->conf.kind != XS_PORT_XSK)
        return -EINVAL;
    int error = xs_port_xsk_add_queue(w, w->ports[conf->port], conf);
    if (error)
        return error;
    return xs_watch_socket(w->loop, conf->own_fd);
}

/* Whether the index of the ring moved. A transit record may say anything: a ring that is not ours has moved. */
static bool moved(struct xs_worker *w, uint32_t which, uint32_t before)
{
    const uint32_t kind = which >> 16, port = which >> 8 & 0xff, queue = which & 0xff;
    if (kind == XS_TRANSIT_HANDOFF)
        return !w->conf.handoff || queue >= w->conf.workers ||
               xs_handoff_ring(w->conf.handoff, w->conf.workers, w->conf.index, queue)->producer != before;
    return port >= XS_MAX_PORTS || !w->ports[port] || w->ports[port]->conf.kind != XS_PORT_XSK ||
           xs_port_xsk_producer(w->ports[port], kind, queue) != before;
}

/* What a predecessor was about to give away is ours again unless the producer index had moved. */
static void settle_transit(struct xs_worker *w)
{
    struct xs_transit *t = w->loop->transit;
    const uint32_t count = xs_transit_count(t);
    if (!count)
        return;
    if (!moved(w, __atomic_load_n(&t->ring, __ATOMIC_RELAXED), t->producer_before))
        for (uint32_t i = 0; i < count; i++)
            xs_transit_back(w->loop, t, i, w->loop->me);
    xs_transit_end(t);
}

int xs_worker_start(struct xs_worker *w)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    w->counters->started_ns = (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
    w->counters->idle_ns = 0;
    for (uint32_t p = 0; p < XS_MAX_PORTS; p++)
        if (w->ports[p] && w->ports[p]->conf.kind == XS_PORT_XSK)
            xs_port_xsk_adopt(w, w->ports[p]);
    settle_transit(w);
    xs_handoff_adopt(w);
    xs_pool_sweep(w->loop->pool, w->loop->chunks, w->conf.index);
    if (w->conf.wake_fds)
        w->loop->watched[XS_WATCH_WAKE].fd = w->conf.wake_fds[w->conf.index];
    w->loop->started = true;
    xs_ports_flush(w); /* fills the fill rings, kicks what stood in the transmit rings */
    return 0;
}
