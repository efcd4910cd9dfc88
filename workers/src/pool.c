/* The frame pool in shared memory: free chunks, owner bytes, the locks of the rings that workers share. */
#include "pool.h"

#include <string.h>

uint64_t xs_pool_size(uint32_t chunks)
{
    return sizeof(struct xs_pool) + (uint64_t)chunks * (sizeof(uint32_t) + 1);
}

int xs_pool_format(void *memory, uint32_t chunks)
{
    struct xs_pool *pool = memory;
    memset(pool, 0, xs_pool_size(chunks));
    pool->free_count = chunks;
    for (uint32_t i = 0; i < chunks; i++)
        pool->stack[i] = chunks - 1 - i; /* low chunks first: they stay in cache */
    return 0;
}

/* The stack may be half written when its holder died: the owner bytes say what is free. */
static void rebuild(struct xs_pool *pool, uint32_t chunks)
{
    const uint8_t *owners = xs_pool_owners(pool, chunks);
    uint32_t count = 0;
    for (uint32_t i = 0; i < chunks; i++)
        if (owners[i] == XS_OWNER_FREE)
            pool->stack[count++] = i;
    pool->free_count = count;
}

static void enter(struct xs_pool *pool, uint32_t chunks)
{
    if (xs_lock_wait(&pool->lock) == XS_LOCK_REPAIR)
        rebuild(pool, chunks);
}

/* How many the stack holds, by what it says: never more than it has room for. */
static uint32_t free_now(const struct xs_pool *pool, uint32_t chunks)
{
    uint32_t count = __atomic_load_n(&pool->free_count, __ATOMIC_RELAXED);
    return count < chunks ? count : chunks;
}

uint32_t xs_pool_take(struct xs_pool *pool, uint32_t chunks, uint32_t worker, uint32_t *taken, uint32_t max)
{
    uint8_t *owners = xs_pool_owners(pool, chunks);
    enter(pool, chunks);
    uint32_t left = free_now(pool, chunks), count = 0;
    while (left && count < max) {
        uint32_t chunk = __atomic_load_n(&pool->stack[--left], __ATOMIC_RELAXED);
        if (__builtin_expect(chunk >= chunks, 0))
            continue;
        owners[chunk] = xs_owner_of_worker(worker);
        taken[count++] = chunk;
    }
    pool->free_count = left;
    xs_lock_leave(&pool->lock);
    return count;
}

void xs_pool_give(struct xs_pool *pool, uint32_t chunks, const uint32_t *given, uint32_t count)
{
    uint8_t *owners = xs_pool_owners(pool, chunks);
    enter(pool, chunks);
    uint32_t there = free_now(pool, chunks);
    for (uint32_t i = 0; i < count; i++) {
        if (there < chunks) /* else the stack was lied about: the next repair finds what is free */
            pool->stack[there++] = given[i];
        owners[given[i]] = XS_OWNER_FREE;
    }
    pool->free_count = there;
    xs_lock_leave(&pool->lock);
}

uint32_t xs_pool_sweep(struct xs_pool *pool, uint32_t chunks, uint32_t worker)
{
    uint8_t *owners = xs_pool_owners(pool, chunks);
    uint32_t swept = 0;
    enter(pool, chunks);
    for (uint32_t i = 0; i < chunks; i++) {
        if (owners[i] == xs_owner_of_worker(worker)) {
            owners[i] = XS_OWNER_FREE;
            swept++;
        }
    }
    rebuild(pool, chunks);
    xs_lock_leave(&pool->lock);
    return swept;
}

uint32_t xs_pool_count(const void *memory, uint32_t chunks, uint32_t owner, uint32_t *free)
{
    const struct xs_pool *pool = memory;
    const uint8_t *owners = (const uint8_t *)(pool->stack + chunks);
    uint32_t count = 0;
    *free = 0;
    for (uint32_t i = 0; i < chunks; i++) {
        count += owners[i] == owner;
        *free += owners[i] == XS_OWNER_FREE;
    }
    return count;
}
