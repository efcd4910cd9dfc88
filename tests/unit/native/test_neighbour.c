/* A neighbour in a stranger's hands: another worker that writes what it likes into all that workers share. Packets may
 * be lost and numbers wrong; what must not happen is that this worker reads or writes outside the shared regions, which
 * here end at walls (and the address sanitizer watches its own memory), or that it takes a step that never ends. */
#include <pthread.h>

#include "inet.h"
#include "world_host.h"

enum { ROUNDS = 3000, LOOKS = 20000, SECONDS = 300 /* a guard: all of it takes a few */ };

/* --- one field at a time ------------------------------------------------------------------------------------------ */

static const uint64_t garbage[] = {0,
                                   1,
                                   XS_MAX_PORTS,
                                   CHUNKS - 1,
                                   CHUNKS,
                                   CHUNKS + 7,
                                   (uint64_t)CHUNKS *LAB_CHUNK - 1,
                                   (uint64_t)CHUNKS *LAB_CHUNK,
                                   0x10001,
                                   0x1ff00,
                                   0x20003,
                                   0x30004,
                                   0x7fffffff,
                                   0x80000000,
                                   UINT32_MAX,
                                   1ULL << 43,
                                   UINT64_MAX - 1,
                                   UINT64_MAX};
enum { GARBAGE = sizeof garbage / sizeof garbage[0] };

/* `count` values of `width` bytes, `stride` apart, all the same. */
struct field {
    void *at;
    size_t width, count, stride;
};

static void spoil(const struct field *f, uint64_t value)
{
    for (size_t i = 0; i < f->count; i++)
        memcpy((uint8_t *)f->at + i * f->stride, &value, f->width);
}

#define ONE(what) {&(what), sizeof(what), 1, 0}
#define ALL(first, n) {&(first), sizeof(first), n, sizeof(first)}
#define EACH(array, member, n) {&(array)[0].member, sizeof((array)[0].member), n, sizeof((array)[0])}

static uint32_t spoil_nth(const struct field *fields, size_t count, uint32_t which, uint64_t value)
{
    if (which < count)
        spoil(&fields[which], value);
    return (uint32_t)count;
}

static uint32_t spoil_pool(struct world *world, uint32_t which, uint64_t value)
{
    struct xs_pool *pool = world->conf.pool;
    struct xs_handoff_ring *from = xs_handoff_ring(world->conf.handoff, WORKERS, NEIGHBOUR, US);
    struct xs_handoff_ring *to = xs_handoff_ring(world->conf.handoff, WORKERS, US, NEIGHBOUR);
    const struct field fields[] = {ONE(pool->free_count),
                                   ALL(pool->stack[0], CHUNKS),
                                   ALL(pool->asleep[0], WORKERS),
                                   {xs_pool_owners(pool, CHUNKS), 1, CHUNKS, 1},
                                   EACH(pool->queue_locks, next, XS_MAX_PORTS * XS_MAX_QUEUES),
                                   EACH(pool->transit, count, WORKERS),
                                   EACH(pool->transit, ring, WORKERS),
                                   EACH(pool->transit, producer_before, WORKERS),
                                   ALL(pool->transit[US].chunks[0], XS_TRANSIT_MAX),
                                   ALL(pool->transit[NEIGHBOUR].chunks[0], XS_TRANSIT_MAX),
                                   ONE(from->producer),
                                   ONE(from->consumer),
                                   EACH(from->entries, chunk, XS_HANDOFF_SLOTS),
                                   EACH(from->entries, offset, XS_HANDOFF_SLOTS),
                                   EACH(from->entries, len, XS_HANDOFF_SLOTS),
                                   EACH(from->entries, port, XS_HANDOFF_SLOTS),
                                   EACH(from->entries, queue, XS_HANDOFF_SLOTS),
                                   EACH(from->entries, flags, XS_HANDOFF_SLOTS),
                                   ONE(to->producer),
                                   ONE(to->consumer)};
    return spoil_nth(fields, sizeof fields / sizeof fields[0], which, value);
}

static uint32_t spoil_rings(struct rings *r, uint32_t which, uint64_t value)
{
    const struct field fields[] = {ONE(r->completed),
                                   ONE(r->reaped),
                                   ONE(r->filled),
                                   ONE(r->taken),
                                   ONE(r->rx[0]),
                                   ONE(r->rx[1]),
                                   ONE(r->tx[0]),
                                   ONE(r->tx[1]),
                                   ONE(r->flags),
                                   ALL(r->completion[0], COMPLETION),
                                   ALL(r->fill[0], FILL),
                                   EACH(r->frames[0], addr, RING),
                                   EACH(r->frames[0], len, RING),
                                   EACH(r->frames[1], addr, RING)};
    return spoil_nth(fields, sizeof fields / sizeof fields[0], which, value);
}

static uint32_t spoil_state(struct xs_state_header *state, uint32_t which, uint64_t value)
{
    struct xs_sa_slot *slots = (struct xs_sa_slot *)(state + 1);
    const struct field fields[] = {
        ONE(state->slots),           ONE(state->slot_size),   ONE(state->window_bits),   EACH(slots, next_seq, SLOTS),
        EACH(slots, granted, SLOTS), EACH(slots, top, SLOTS), EACH(slots, floor, SLOTS), EACH(slots, packets, SLOTS),
        EACH(slots, bytes, SLOTS)};
    return spoil_nth(fields, sizeof fields / sizeof fields[0], which, value);
}

/* Field number `which` of the world; false: there are no more. A number below zero is beyond every list. */
static bool spoil_one(struct world *world, uint32_t which, uint64_t value)
{
    uint32_t count = spoil_pool(world, which, value);
    for (uint32_t p = 0; p < PORTS; p++)
        count += spoil_rings(world->rings[p], which - count, value);
    count += spoil_state(world->conf.state, which - count, value);
    return which < count;
}

static void one_at_a_time(void)
{
    for (uint32_t which = 0, more = 1; more; which++)
        for (uint32_t g = 0; g < GARBAGE && more; g++)
            for (uint32_t died = 0; died < 2 && more; died++) { /* we and the neighbour, in the midst of giving */
                struct world world;
                set_up(&world);
                for (uint32_t i = 0; i < 3; i++) {
                    traffic(&world, i);
                    xs_worker_breathe(world.w);
                }
                traffic(&world, 3);
                if (died) {
                    struct xs_pool *pool = world.conf.pool;
                    xs_transit_begin(&pool->transit[NEIGHBOUR], xs_transit_ring(XS_TRANSIT_FILL, LAB_OUTSIDE, 0),
                                     world.rings[LAB_OUTSIDE]->filled, 3);
                    xs_transit_begin(&pool->transit[US], xs_transit_ring(XS_TRANSIT_HANDOFF, 0, NEIGHBOUR), 0, 3);
                    open_locks(&world, FUTEX_OWNER_DIED);
                }
                more = spoil_one(&world, which, garbage[g]);
                live(&world, died ? 0 : 3);
                end(&world);
            }
}

/* All is well: else the tests above and below look at a worker that does nothing. */
static void nobody_lies(void)
{
    struct world world;
    set_up(&world);
    for (uint32_t i = 0; i < 3; i++) {
        traffic(&world, i);
        xs_worker_breathe(world.w);
    }
    CHECK(world.counters.verdicts[XS_V_DECRYPTED] && world.counters.verdicts[XS_V_ENCRYPTED]);
    CHECK(world.counters.verdicts[XS_V_ANSWERED] && world.counters.handoff_sent && world.counters.handoff_received);
    CHECK(world.counters.tx_completed[LAB_OUTSIDE] && !world.counters.verdicts[XS_V_DROP_MALFORMED]);
    live(&world, 3);
    end(&world);
}

/* --- at random ---------------------------------------------------------------------------------------------------- */

static uint64_t seed = 1;

static uint32_t chance(uint32_t below) /* xorshift: the same on every machine */
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (uint32_t)(seed >> 16) % below;
}

/* Some words anywhere in the shared regions; now and then a value that is nearly right. */
static void scribble(uint32_t words)
{
    for (uint32_t i = 0; i < words; i++) {
        const struct region *r = &regions[chance(region_count)];
        const uint64_t value = chance(2) ? garbage[chance(GARBAGE)] : seed;
        const size_t width = chance(2) ? 4 : 8;
        memcpy(r->at + chance((uint32_t)(r->size / 8)) * 8ULL, &value, width);
    }
}

static void at_random(void)
{
    struct world world;
    set_up(&world);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (i % 100 == 99) { /* all begins anew, else there is nothing left to take */
            end(&world);
            set_up(&world);
        }
        traffic(&world, i % 100);
        scribble(1 + chance(400));
        open_locks(&world, chance(8) ? 0 : FUTEX_OWNER_DIED);
        live(&world, 3);
    }
    end(&world);
}

/* --- while we look ------------------------------------------------------------------------------------------------ */

static struct world seen;
static bool over;

/* Between two values, one good and one bad, of what a worker looks at and then follows. */
static void *flip(void *unused)
{
    struct xs_pool *pool = seen.conf.pool;
    struct xs_handoff_ring *ring = xs_handoff_ring(seen.conf.handoff, WORKERS, NEIGHBOUR, US);
    for (uint32_t i = 0; !__atomic_load_n(&over, __ATOMIC_RELAXED); i++) {
        const uint32_t at = i / 2, chunk = i % 2 ? 5 : 0x7fffffff;
        __atomic_store_n(&pool->stack[at % CHUNKS], chunk, __ATOMIC_RELAXED);
        __atomic_store_n(&pool->free_count, i % 2 ? 100 : UINT32_MAX, __ATOMIC_RELAXED);
        __atomic_store_n(&pool->transit[US].chunks[at % XS_TRANSIT_MAX], chunk, __ATOMIC_RELAXED);
        __atomic_store_n(&ring->entries[at % XS_HANDOFF_SLOTS].chunk, chunk, __ATOMIC_RELAXED);
        __atomic_store_n(&ring->entries[at % XS_HANDOFF_SLOTS].offset, i % 2 ? 256 : 65535, __ATOMIC_RELAXED);
        for (uint32_t p = 0; p < PORTS; p++) {
            struct rings *r = seen.rings[p];
            __atomic_store_n(&r->frames[0][at % RING].addr, (uint64_t)chunk * LAB_CHUNK + 256, __ATOMIC_RELAXED);
            __atomic_store_n(&r->frames[0][at % RING].len, i % 2 ? 100 : UINT32_MAX, __ATOMIC_RELAXED);
            __atomic_store_n(&r->completion[at % COMPLETION], (uint64_t)chunk * LAB_CHUNK, __ATOMIC_RELAXED);
        }
    }
    return unused;
}

static void while_we_look(void)
{
    pthread_t neighbour;
    set_up(&seen);
    CHECK(pthread_create(&neighbour, NULL, flip, NULL) == 0);
    for (uint32_t i = 0; i < LOOKS; i++) {
        traffic(&seen, i % 100);
        xs_worker_breathe(seen.w);
    }
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    CHECK(pthread_join(neighbour, NULL) == 0);
    check_private(&seen);
    end(&seen);
}

/* --- what leads nowhere but would not end, or not be told --------------------------------------------------------- */

static void counts(void)
{
    struct world world;
    set_up(&world);
    struct xs_pool *pool = world.conf.pool;
    uint8_t *owners = xs_pool_owners(pool, CHUNKS);
    uint32_t chunks[4];
    pool->free_count = UINT32_MAX; /* a stack higher than its memory: what is given has no place, and is free */
    CHECK(xs_pool_take(pool, CHUNKS, US, chunks, 4) == 4 && pool->free_count == CHUNKS - 4);
    pool->free_count = UINT32_MAX;
    memset(owners, XS_OWNER_KERNEL, CHUNKS);
    xs_pool_give(pool, CHUNKS, chunks, 4);
    CHECK(pool->free_count == CHUNKS && owners[chunks[0]] == XS_OWNER_FREE);
    for (uint32_t i = 0; i < CHUNKS - 4; i++)
        CHECK(owners[i] == XS_OWNER_KERNEL);
    struct xsk_queue *q = &((struct xsk_port *)world.w->ports[LAB_OUTSIDE]->impl)->queues[0];
    const uint32_t filled = world.rings[LAB_OUTSIDE]->filled;
    world.rings[LAB_OUTSIDE]->taken = filled + 9 * FILL; /* taken more than was ever there: not all we have goes in */
    service(world.w, q);
    CHECK(world.rings[LAB_OUTSIDE]->filled - filled <= FILL);
    end(&world);
}

/* A header length is read again from the packet when it is answered: it may have grown since it was checked. */
static void a_header_that_grew(void)
{
    struct world world;
    set_up(&world);
    const uint32_t len = write_frame(&world, LAB_INSIDE, CHUNKS - 1, 1) - LAB_ETH;
    struct xs_frame f = {.len = len, .chunk = CHUNKS - 1};
    f.data = (uint8_t *)world.conf.umem + world.conf.umem_size - len; /* at the wall */
    memmove(f.data, (uint8_t *)world.conf.umem + (uint64_t)f.chunk * LAB_CHUNK + 256 + LAB_ETH, len);
    f.len = 24;
    f.data += len - f.len;
    memcpy(f.data, f.data - (len - f.len), f.len);
    CHECK(!xs_icmp_error(world.w, &f, 60, XS_ICMP_TIME_EXCEEDED, 0, 1) && f.len == 24);
    CHECK(xs_icmp_error(world.w, &f, 20, XS_ICMP_TIME_EXCEEDED, 0, 1));
    end(&world);
}

/* --- locks -------------------------------------------------------------------------------------------------------- */

static bool dead;

static void *dies_inside(void *unused)
{
    CHECK(xs_lock_try(unused) == XS_LOCK_TAKEN);
    __atomic_store_n(&((struct xs_lock *)unused)->next, (uint64_t)(uintptr_t)&dead, __ATOMIC_RELAXED);
    return unused;
}

/* The links in a lock are the kernel's, of one who is dead: who is alive writes nowhere that they point. */
static void links_of_locks(void)
{
    struct xs_lock *locks = walled(2 * sizeof *locks);
    uint64_t bait[4] = {1, 2, 3, 4};
    pthread_t other;
    for (uint32_t i = 0; i < 2; i++)
        CHECK(xs_lock_try(&locks[i]) == XS_LOCK_TAKEN && xs_lock_try(&locks[i]) == XS_LOCK_BUSY);
    for (uint32_t i = 0; i < 2; i++)
        locks[i].next = (uint64_t)(uintptr_t)bait;
    xs_lock_leave(&locks[1]);
    xs_lock_leave(&locks[0]);
    CHECK(bait[0] == 1 && bait[1] == 2 && bait[2] == 3 && bait[3] == 4);
    CHECK(pthread_create(&other, NULL, dies_inside, &locks[0]) == 0 && pthread_join(other, NULL) == 0);
    CHECK(!dead && xs_lock_wait(&locks[0]) == XS_LOCK_REPAIR);
    xs_lock_leave(&locks[0]);
    CHECK(xs_lock_wait(&locks[0]) == XS_LOCK_TAKEN);
    xs_lock_leave(&locks[0]);
    tear_down();
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"nobody_lies", nobody_lies},
        {"one_at_a_time", one_at_a_time},
        {"at_random", at_random},
        {"while_we_look", while_we_look},
        {"links_of_locks", links_of_locks},
        {"counts", counts},
        {"a_header_that_grew", a_header_that_grew},
    };
    alarm(SECONDS);
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
