/* A worker on two AF_XDP ports, and all that it shares with a neighbour, in memory of ours that ends at walls. Kernel
 * and neighbour put there what they would when all is well. */
#ifndef WORLD_HOST_H
#define WORLD_HOST_H

#include <linux/futex.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../../workers/src/port_xsk.c"
#include "path_host.h"
#include "rings_host.h"

enum { US, NEIGHBOUR, WORKERS, CHUNKS = 2048, SLOTS = 4, PORTS = 2, FRAMES = 16 };

/* Everything that the neighbour can write. */
struct world {
    struct xs_worker_conf conf;
    struct xs_counters counters;
    struct rings *rings[PORTS];
    struct xs_worker *w;
    uint32_t last; /* the chunk at the wall, in the neighbour's hand until its fourth round */
};

static struct region {
    uint8_t *at;
    size_t size;
} regions[8];
static uint32_t region_count;

/* Memory whose end is followed by a page that nobody may touch; another lies in front. */
static void *walled(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
    uint8_t *map = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(map != MAP_FAILED && mprotect(map + page, room, PROT_READ | PROT_WRITE) == 0);
    regions[region_count++] = (struct region){map + page + room - size, size};
    return map + page + room - size;
}

static void tear_down(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    while (region_count) {
        struct region *r = &regions[--region_count];
        size_t room = (r->size + page - 1) / page * page;
        CHECK(munmap(r->at + r->size - room - page, room + 2 * page) == 0);
    }
}

/* --- the worker --------------------------------------------------------------------------------------------------- */

static void add_port(struct world *world, uint8_t index, uint8_t role)
{
    struct xs_port_conf port = {.index = index, .role = role, .kind = XS_PORT_XSK, .mtu = 1500};
    port.addr4 = lab_addr(role == XS_ROLE_OUTSIDE ? "10.9.0.1" : "10.1.0.1");
    CHECK(xs_worker_add_port(world->w, &port) == 0);
    map_rings(&((struct xsk_port *)world->w->ports[index]->impl)->queues[0], world->rings[index], index);
    world->w->ports[index]->queue_count = 1;
}

/* A worker on the world as it stands, told all it needs, not started. */
static void brief(struct world *world)
{
    struct xs_selector any = lab_selector(0, 0);
    struct xs_route rows[] = {{.prefix = {lab_addr("10.9.0.0"), 24}, .port = LAB_OUTSIDE},
                              {.prefix = {lab_addr("10.1.0.0"), 16}, .port = LAB_INSIDE}};
    struct xs_neighbour peer = {.addr = lab_addr("10.9.0.2"), .port = LAB_OUTSIDE, .mac = {2}};
    struct xs_neighbour host = {.addr = lab_addr("10.1.0.5"), .port = LAB_INSIDE, .mac = {2}};
    struct xs_policy policies[] = {{.selector = lab_selector(17, 7), .child = 1, .owner = NEIGHBOUR},
                                   {.selector = any, .child = 0, .owner = US}};
    CHECK((world->w = xs_worker_new(&world->conf)));
    add_port(world, LAB_OUTSIDE, XS_ROLE_OUTSIDE);
    add_port(world, LAB_INSIDE, XS_ROLE_INSIDE);
    CHECK(xs_route_replace(world->w, rows, 2) == 0);
    CHECK(xs_neighbour_set(world->w, &peer) == 0 && xs_neighbour_set(world->w, &host) == 0);
    CHECK(xs_policy_replace(world->w, policies, 2) == 0);
    for (uint8_t direction = XS_INBOUND; direction <= XS_OUTBOUND; direction++) {
        struct xs_sa_conf sa = lab_sa(direction, false, true);
        sa.selectors = &any;
        sa.selector_count = 1;
        CHECK(xs_sa_install(world->w, &sa) == 0);
    }
    CHECK(xs_sa_use(world->w, 0, LAB_SLOT_OUT) == 0);
}

static void set_up(struct world *world)
{
    memset(world, 0, sizeof *world);
    struct xs_worker_conf *c = &world->conf;
    *c = (struct xs_worker_conf){.index = US, .workers = WORKERS, .chunk_size = LAB_CHUNK, .burst = 64};
    c->umem_size = (uint64_t)CHUNKS * LAB_CHUNK;
    c->umem = walled(c->umem_size);
    c->pool = walled(xs_pool_size(CHUNKS));
    struct xs_pool *pool = c->pool;
    CHECK(xs_pool_format(pool, CHUNKS) == 0);
    for (uint32_t i = 0; i < CHUNKS; i++)
        pool->stack[i] = i; /* the last ones first: those are near the wall */
    CHECK(xs_pool_take(pool, CHUNKS, NEIGHBOUR, &world->last, 1) == 1 && world->last == CHUNKS - 1);
    c->state_size = sizeof(struct xs_state_header) + SLOTS * sizeof(struct xs_sa_slot);
    c->state = walled(c->state_size);
    c->handoff = walled(xs_handoff_size(WORKERS));
    c->counters = &world->counters;
    for (uint32_t p = 0; p < PORTS; p++)
        world->rings[p] = walled(sizeof(struct rings));
    struct xs_sa_slot *slots = (struct xs_sa_slot *)((uint8_t *)c->state + sizeof(struct xs_state_header));
    for (uint32_t i = 0; i < SLOTS; i++)
        slots[i].granted = 1ULL << 40;
    brief(world);
    CHECK(xs_worker_start(world->w) == 0);
}

/* --- traffic: what kernel and neighbour would put there when all is well ------------------------------------------ */

static uint32_t write_frame(struct world *world, uint8_t port, uint32_t chunk, uint32_t number)
{
    uint8_t packet[LAB_FRAME], *frame = (uint8_t *)world->conf.umem + (uint64_t)chunk * LAB_CHUNK + 256;
    struct lab_ip ip = PLAIN;
    if (port == LAB_INSIDE) {
        ip.dport = number % 4 ? 2000 : 7; /* some are the neighbour's */
        ip.ttl = number % 5 ? 64 : 1;     /* and some are answered */
        return lab_frame(frame, packet, lab_ip_packet(packet, &ip), 0);
    }
    const struct xs_sa_conf sa = lab_sa(XS_INBOUND, false, true);
    ip.src = PLAIN.dst, ip.dst = PLAIN.src;
    return lab_sealed(frame, &sa, number, packet, lab_ip_packet(packet, &ip), 0);
}

static void from_kernel(struct world *world, uint8_t port, uint32_t number)
{
    struct rings *r = world->rings[port];
    for (uint32_t i = 0; i < FRAMES && r->taken != r->filled; i++) {
        uint32_t chunk = (uint32_t)(r->fill[r->taken++ % FILL] / LAB_CHUNK) % CHUNKS;
        r->frames[0][r->rx[0]++ % RING] = (struct xdp_desc){
            .addr = (uint64_t)chunk * LAB_CHUNK + 256,
            .len = write_frame(world, port, chunk, number * FRAMES + i + 1),
        };
    }
    for (uint32_t i = 0; i < RING && r->tx[1] != r->tx[0]; i++)
        r->completion[r->completed++ % COMPLETION] = r->frames[1][r->tx[1]++ % RING].addr;
}

static void from_neighbour(struct world *world, uint32_t number)
{
    struct xs_pool *pool = world->conf.pool;
    struct xs_handoff_ring *to = xs_handoff_ring(world->conf.handoff, WORKERS, NEIGHBOUR, US);
    struct xs_handoff_ring *from = xs_handoff_ring(world->conf.handoff, WORKERS, US, NEIGHBOUR);
    uint32_t chunks[FRAMES], count = xs_pool_take(pool, CHUNKS, NEIGHBOUR, chunks, FRAMES);
    if (number == 3 && count) {
        xs_pool_give(pool, CHUNKS, &chunks[0], 1);
        chunks[0] = world->last;
    }
    for (uint32_t i = 0; i < count; i++) {
        xs_pool_owners(pool, CHUNKS)[chunks[i]] = XS_OWNER_KERNEL;
        to->entries[to->producer++ % XS_HANDOFF_SLOTS] = (struct xs_handoff_entry){
            .chunk = chunks[i],
            .offset = 256,
            .len = (uint16_t)write_frame(world, LAB_INSIDE, chunks[i], i),
            .port = LAB_INSIDE,
        };
    }
    for (uint32_t i = 0; i < FRAMES && from->consumer != from->producer; i++) {
        uint32_t chunk = from->entries[from->consumer++ % XS_HANDOFF_SLOTS].chunk % CHUNKS;
        xs_pool_give(pool, CHUNKS, &chunk, 1);
    }
}

static void traffic(struct world *world, uint32_t number)
{
    for (uint8_t p = 0; p < PORTS; p++)
        from_kernel(world, p, number);
    from_neighbour(world, number);
}

/* --- what happens to the worker ----------------------------------------------------------------------------------- */

/* No lock of ours is one that never opens: that neighbours can do, and it is no way to our memory. */
static void open_locks(struct world *world, uint32_t word)
{
    struct xs_pool *pool = world->conf.pool;
    pool->lock.word = word;
    for (uint32_t i = 0; i < PORTS; i++)
        xs_queue_lock(pool, i, 0)->word = word;
}

static void check_private(const struct world *world)
{
    const struct xs_loop *loop = world->w->loop;
    CHECK(loop->cached <= XS_CACHE_MAX && loop->for_sa_count <= XS_HELD_MAX);
    for (uint32_t i = 0; i < loop->cached; i++)
        CHECK(loop->cache[i] < CHUNKS);
}

/* It lives on so long, then it dies and its successor takes over what there is. */
static void live(struct world *world, uint32_t breaths)
{
    for (uint32_t i = 0; i < breaths; i++)
        xs_worker_breathe(world->w);
    check_private(world);
    xs_worker_free(world->w);
    brief(world);
    CHECK(xs_worker_start(world->w) == 0);
    xs_worker_breathe(world->w);
    check_private(world);
}

static void end(struct world *world)
{
    xs_worker_free(world->w);
    tear_down();
}

#endif
