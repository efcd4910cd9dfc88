/* The frame pool in shared memory: free chunks, owner bytes, the locks of the rings that workers share. */
#include "pool.h"

#include <errno.h>
#include <string.h>

static int make_lock(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    int error = pthread_mutexattr_init(&attr);
    if (error)
        return -error;
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    error = pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
    return -error;
}

uint64_t xs_pool_size(uint32_t chunks)
{
    return sizeof(struct xs_pool) + (uint64_t)chunks * (sizeof(uint32_t) + 1);
}

int xs_pool_format(void *memory, uint32_t chunks)
{
    struct xs_pool *pool = memory;
    memset(pool, 0, xs_pool_size(chunks));
    pool->chunks = chunks;
    pool->free_count = chunks;
    for (uint32_t i = 0; i < chunks; i++)
        pool->stack[i] = chunks - 1 - i; /* low chunks first: they stay in cache */
    int error = make_lock(&pool->lock);
    for (uint32_t i = 0; !error && i < XS_MAX_PORTS * XS_MAX_QUEUES; i++)
        error = make_lock(&pool->queue_locks[i]);
    return error;
}

/* The stack may be half written when its holder died: the owner bytes say what is free. */
static void rebuild(struct xs_pool *pool)
{
    const uint8_t *owners = xs_pool_owners(pool);
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->chunks; i++)
        if (owners[i] == XS_OWNER_FREE)
            pool->stack[count++] = i;
    pool->free_count = count;
}

static void pool_lock(struct xs_pool *pool)
{
    if (pthread_mutex_lock(&pool->lock) == EOWNERDEAD) {
        rebuild(pool);
        pthread_mutex_consistent(&pool->lock);
    }
}

uint32_t xs_pool_take(struct xs_pool *pool, uint32_t worker, uint32_t *chunks, uint32_t max)
{
    uint8_t *owners = xs_pool_owners(pool);
    pool_lock(pool);
    uint32_t count = pool->free_count < max ? pool->free_count : max;
    for (uint32_t i = 0; i < count; i++) {
        chunks[i] = pool->stack[pool->free_count - 1 - i];
        owners[chunks[i]] = xs_owner_of_worker(worker);
    }
    pool->free_count -= count;
    pthread_mutex_unlock(&pool->lock);
    return count;
}

void xs_pool_give(struct xs_pool *pool, const uint32_t *chunks, uint32_t count)
{
    uint8_t *owners = xs_pool_owners(pool);
    pool_lock(pool);
    for (uint32_t i = 0; i < count; i++) {
        pool->stack[pool->free_count + i] = chunks[i];
        owners[chunks[i]] = XS_OWNER_FREE;
    }
    pool->free_count += count;
    pthread_mutex_unlock(&pool->lock);
}

uint32_t xs_pool_sweep(struct xs_pool *pool, uint32_t worker)
{
    uint8_t *owners = xs_pool_owners(pool);
    uint32_t swept = 0;
    pool_lock(pool);
    for (uint32_t i = 0; i < pool->chunks; i++) {
        if (owners[i] == xs_owner_of_worker(worker)) {
            owners[i] = XS_OWNER_FREE;
            swept++;
        }
    }
    rebuild(pool);
    pthread_mutex_unlock(&pool->lock);
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

static pthread_mutex_t *queue_lock_of(struct xs_pool *pool, uint32_t port, uint32_t queue)
{
    return &pool->queue_locks[port * XS_MAX_QUEUES + queue];
}

static enum xs_lock taken(pthread_mutex_t *lock, int error)
{
    if (error == EOWNERDEAD) {
        pthread_mutex_consistent(lock);
        return XS_LOCK_REPAIR;
    }
    return error ? XS_LOCK_BUSY : XS_LOCK_TAKEN;
}

enum xs_lock xs_queue_trylock(struct xs_pool *pool, uint32_t port, uint32_t queue)
{
    pthread_mutex_t *lock = queue_lock_of(pool, port, queue);
    return taken(lock, pthread_mutex_trylock(lock));
}

enum xs_lock xs_queue_lock(struct xs_pool *pool, uint32_t port, uint32_t queue)
{
    pthread_mutex_t *lock = queue_lock_of(pool, port, queue);
    return taken(lock, pthread_mutex_lock(lock));
}

void xs_queue_unlock(struct xs_pool *pool, uint32_t port, uint32_t queue)
{
    pthread_mutex_unlock(queue_lock_of(pool, port, queue));
}
