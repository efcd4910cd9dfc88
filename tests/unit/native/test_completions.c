/* A worker that dies in the midst of reaping or refilling, at each step of it: afterwards every chunk is in one place
 * and no more. The rings are memory of ours, the port is the real one; who dies is a thread that ends with the queue's
 * lock in its hands. Its work is taken up by the queue's other worker and by its own successor, in either order. */
#include <pthread.h>
#include <xdp/xsk.h>

#include "loop.h"
#include "path_lab.h"
#include "port.h"

static int steps = -1; /* that are still survived; below zero: nobody dies */

static void step(void)
{
    if (steps >= 0 && steps-- == 0)
        pthread_exit(NULL);
}

#define xsk_ring_cons__release(...) (step(), (xsk_ring_cons__release)(__VA_ARGS__), step())
#define xs_chunk_give(...) (step(), (xs_chunk_give)(__VA_ARGS__))
#define xsk_ring_prod__reserve(...) (step(), (xsk_ring_prod__reserve)(__VA_ARGS__))
#define xsk_ring_prod__submit(...) (step(), (xsk_ring_prod__submit)(__VA_ARGS__), step())
#include "../../../workers/src/port_xsk.c"
#include "rings_host.h"

enum { DYING, OTHER, WORKERS, IDLE = WORKERS, SENT = 100 };

static struct rings rings;
static struct lab lab;
static struct xs_counters counters[WORKERS + 1];

/* A worker of the queue, not started: what its predecessor left is still there. */
static struct xs_worker *worker(uint32_t index)
{
    struct xs_worker_conf conf = lab.conf;
    conf.index = index;
    conf.counters = &counters[index];
    struct xs_worker *w = xs_worker_new(&conf);
    struct xs_port_conf port = {.index = LAB_OUTSIDE, .role = XS_ROLE_OUTSIDE, .kind = XS_PORT_XSK, .mtu = 1500};
    CHECK(w && xs_worker_add_port(w, &port) == 0);
    struct xsk_port *impl = w->ports[LAB_OUTSIDE]->impl;
    map_rings(&impl->queues[0], &rings, LAB_OUTSIDE);
    w->ports[LAB_OUTSIDE]->queue_count = 1;
    return w;
}

static void *live(void *argument)
{
    struct xs_worker *w = argument;
    service(w, &((struct xsk_port *)w->ports[LAB_OUTSIDE]->impl)->queues[0]);
    return argument;
}

/* Does it end by itself? Else it died. */
static bool survives(struct xs_worker *w)
{
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, live, w) == 0 && pthread_join(thread, &result) == 0);
    return result == w;
}

static void put_chunk(uint8_t *seen, uint64_t chunk, uint8_t owner)
{
    CHECK(chunk < LAB_CHUNKS && !seen[chunk]);
    seen[chunk] = 1;
    CHECK(xs_pool_owners(lab.conf.pool, LAB_CHUNKS)[chunk] == owner);
}

static void check_each_in_one_place(struct xs_worker *const *workers, uint32_t count)
{
    uint8_t seen[LAB_CHUNKS] = {0};
    struct xs_pool *pool = lab.conf.pool;
    for (uint32_t i = 0; i < pool->free_count; i++)
        put_chunk(seen, pool->stack[i], XS_OWNER_FREE);
    for (uint32_t i = rings.reaped; i != rings.completed; i++)
        put_chunk(seen, rings.completion[i % COMPLETION] / LAB_CHUNK, XS_OWNER_KERNEL);
    for (uint32_t i = rings.taken; i != rings.filled; i++)
        put_chunk(seen, rings.fill[i % FILL] / LAB_CHUNK, XS_OWNER_KERNEL);
    for (uint32_t w = 0; w < count; w++)
        for (uint32_t i = 0; i < workers[w]->loop->cached; i++)
            put_chunk(seen, workers[w]->loop->cache[i], workers[w]->loop->me);
    CHECK(!memchr(seen, 0, sizeof seen));
}

/* One death after `survived` steps; false once there are not so many. */
static bool dies(int survived, bool successor_first)
{
    lab_open(&lab, IDLE, WORKERS + 1, 1500);
    memset(&rings, 0, sizeof rings);
    struct xs_worker *dying = worker(DYING), *workers[3] = {lab.w, worker(OTHER)};
    for (uint32_t i = 0; i < SENT; i++) { /* sent, and the kernel is done with them */
        uint32_t chunk;
        CHECK(xs_chunk_take(dying, &chunk));
        dying->loop->owners[chunk] = XS_OWNER_KERNEL;
        rings.completion[rings.completed++] = (uint64_t)chunk * LAB_CHUNK;
    }
    steps = survived;
    bool died = !survives(dying);
    steps = -1;
    if (died) {
        if (!successor_first)
            live(workers[1]);
        workers[2] = worker(DYING);
        CHECK(xs_worker_start(workers[2]) == 0);
        live(workers[1]);
        live(workers[2]);
        check_each_in_one_place(workers, 3);
        CHECK(rings.reaped == rings.completed && rings.filled - rings.taken == FILL);
        xs_worker_free(workers[2]);
    }
    xs_worker_free(dying);
    xs_worker_free(workers[1]);
    lab_close(&lab);
    return died;
}

int main(void)
{
    for (int order = 0; order < 2; order++) {
        int survived = 0;
        while (dies(survived, order))
            survived++;
        CHECK(survived > SENT); /* each chunk given is a step */
    }
    return 0;
}
