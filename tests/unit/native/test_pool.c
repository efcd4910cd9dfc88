/* The frame pool: chunks have one owner each, whatever dies where. Children die by SIGKILL inside the locks, over
 * shared memory that they left half written. */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "path_host.h"

enum { CHUNKS = 1000 };

static struct xs_pool *make(void)
{
    void *at = mmap(NULL, xs_pool_size(CHUNKS), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED && xs_pool_format(at, CHUNKS) == 0);
    return at;
}

/* Every chunk is on the stack or has an owner, none is in two places. */
static void check_whole(struct xs_pool *pool)
{
    uint8_t seen[CHUNKS] = {0};
    uint32_t freed, owned = 0;
    for (uint32_t w = 0; w < XS_MAX_WORKERS; w++)
        owned += xs_pool_count(pool, CHUNKS, xs_owner_of_worker(w), &freed);
    owned += xs_pool_count(pool, CHUNKS, XS_OWNER_KERNEL, &freed);
    CHECK(owned + freed == CHUNKS && pool->free_count == freed);
    for (uint32_t i = 0; i < pool->free_count; i++)
        CHECK(pool->stack[i] < CHUNKS && !seen[pool->stack[i]]++ && xs_pool_owners(pool, CHUNKS)[pool->stack[i]] == 0);
}

static void takes_and_gives(void)
{
    struct xs_pool *pool = make();
    static uint32_t held[4][CHUNKS];
    uint32_t count[4] = {0};
    srand(1);
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t w = (uint32_t)rand() % 4, n = (uint32_t)rand() % 200;
        if (rand() % 2) {
            uint32_t room = CHUNKS - count[w];
            uint32_t got = xs_pool_take(pool, CHUNKS, w, held[w] + count[w], n < room ? n : room);
            for (uint32_t k = 0; k < got; k++)
                CHECK(xs_pool_owners(pool, CHUNKS)[held[w][count[w] + k]] == xs_owner_of_worker(w));
            count[w] += got;
        } else {
            n = n < count[w] ? n : count[w];
            count[w] -= n;
            xs_pool_give(pool, CHUNKS, held[w] + count[w], n);
        }
        if (i % 500 == 0)
            check_whole(pool);
    }
    for (uint32_t w = 0; w < 4; w++)
        CHECK(xs_pool_sweep(pool, CHUNKS, w) == count[w]);
    check_whole(pool);
    CHECK(pool->free_count == CHUNKS);
    CHECK(xs_pool_take(pool, CHUNKS, 0, held[0], CHUNKS) == CHUNKS && xs_pool_take(pool, CHUNKS, 1, held[1], 1) == 0);
    munmap(pool, xs_pool_size(CHUNKS));
}

static void dies(void (*inside)(struct xs_pool *), struct xs_pool *pool)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        inside(pool);
        raise(SIGKILL);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void half_a_take(struct xs_pool *pool)
{
    xs_lock_wait(&pool->lock);
    for (uint32_t i = 0; i < 7; i++) /* owners set, the count not yet moved */
        xs_pool_owners(pool, CHUNKS)[pool->stack[pool->free_count - 1 - i]] = xs_owner_of_worker(3);
}

static void half_a_give(struct xs_pool *pool)
{
    uint32_t chunks[20];
    xs_pool_take(pool, CHUNKS, 3, chunks, 20);
    xs_lock_wait(&pool->lock);
    for (uint32_t i = 0; i < 9; i++)
        pool->stack[pool->free_count + i] = chunks[i];
    xs_pool_owners(pool, CHUNKS)[chunks[0]] = XS_OWNER_FREE;
}

static void half_a_rebuild(struct xs_pool *pool)
{
    xs_lock_wait(&pool->lock);
    memset(pool->stack, 0xff, CHUNKS / 2 * sizeof pool->stack[0]);
    pool->free_count = 12345;
}

static void a_holder_that_dies(void)
{
    static void (*const ways[])(struct xs_pool *) = {half_a_take, half_a_give, half_a_rebuild};
    for (uint32_t i = 0; i < 3; i++) {
        struct xs_pool *pool = make();
        uint32_t mine[50];
        CHECK(xs_pool_take(pool, CHUNKS, 0, mine, 50) == 50);
        dies(ways[i], pool);
        uint32_t more[10];
        CHECK(xs_pool_take(pool, CHUNKS, 1, more, 10) == 10); /* the next taker repairs */
        check_whole(pool);
        xs_pool_sweep(pool, CHUNKS, 3); /* its successor */
        check_whole(pool);
        CHECK(pool->free_count == CHUNKS - 60);
        munmap(pool, xs_pool_size(CHUNKS));
    }
}

static void inside_a_queue(struct xs_pool *pool)
{
    CHECK(xs_lock_try(xs_queue_lock(pool, 2, 5)) == XS_LOCK_TAKEN);
}

static void locks_of_queues(void)
{
    struct xs_pool *pool = make();
    dies(inside_a_queue, pool);
    CHECK(xs_lock_try(xs_queue_lock(pool, 2, 4)) == XS_LOCK_TAKEN); /* its neighbour knows nothing of it */
    CHECK(xs_lock_try(xs_queue_lock(pool, 2, 5)) == XS_LOCK_REPAIR);
    xs_lock_leave(xs_queue_lock(pool, 2, 5));
    CHECK(xs_lock_try(xs_queue_lock(pool, 2, 5)) == XS_LOCK_TAKEN); /* repaired once and for all */
    pid_t child = fork();
    if (!child)
        _exit(xs_lock_try(xs_queue_lock(pool, 2, 5)) == XS_LOCK_BUSY ? 0 : 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    dies(inside_a_queue, make());
    xs_lock_leave(xs_queue_lock(pool, 2, 5));
    CHECK(xs_lock_wait(xs_queue_lock(pool, XS_MAX_PORTS - 1, XS_MAX_QUEUES - 1)) == XS_LOCK_TAKEN);
    munmap(pool, xs_pool_size(CHUNKS));
}

enum { THREADS = 4, TURNS = 20000 };

static struct xs_pool *contended;
static volatile uint32_t turns;

static void *takes_turns(void *unused)
{
    for (uint32_t i = 0; i < TURNS; i++) {
        CHECK(xs_lock_wait(&contended->lock) == XS_LOCK_TAKEN);
        uint32_t before = turns; /* lost where two are inside */
        if (i % 64 == 0)
            sched_yield();
        turns = before + 1;
        xs_lock_leave(&contended->lock);
    }
    return unused;
}

/* One inside at a time; who waits sleeps until the holder leaves, or until it is dead. */
static void who_waits(void)
{
    pthread_t threads[THREADS];
    int status, ready[2];
    char byte;
    contended = make();
    for (uint32_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, takes_turns, NULL) == 0);
    for (uint32_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(turns == THREADS * TURNS && contended->lock.word == 0);
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (!child) {
        CHECK(xs_lock_try(&contended->lock) == XS_LOCK_TAKEN && write(ready[1], "", 1) == 1);
        while (!(__atomic_load_n(&contended->lock.word, __ATOMIC_RELAXED) & FUTEX_WAITERS))
            sched_yield();
        raise(SIGKILL);
    }
    CHECK(read(ready[0], &byte, 1) == 1 && xs_lock_try(&contended->lock) == XS_LOCK_BUSY);
    CHECK(xs_lock_wait(&contended->lock) == XS_LOCK_REPAIR);
    xs_lock_leave(&contended->lock);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    close(ready[0]), close(ready[1]);
    munmap(contended, xs_pool_size(CHUNKS));
}

/* A worker that died between "whose" and "where": its successor knows by the producer index which of both holds. */
static void death_in_transit(void)
{
    for (uint32_t moved = 0; moved < 2; moved++) {
        struct lab lab;
        lab_open(&lab, 0, 2, 1500);
        lab_policy(&lab, 0, 0, 1);
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
        struct xs_handoff_ring *ring = xs_handoff_ring(lab.conf.handoff, 2, 0, 1);
        struct xs_pool *pool = lab.conf.pool;
        uint32_t chunk = ring->entries[0].chunk;
        xs_transit_begin(&pool->transit[0], xs_transit_ring(XS_TRANSIT_HANDOFF, 0, 1), 0, 1);
        pool->transit[0].chunks[0] = chunk;
        ring->producer = moved;
        struct xs_worker *successor = xs_worker_new(&lab.conf);
        CHECK(successor && xs_worker_start(successor) == 0);
        CHECK(xs_pool_owners(pool, LAB_CHUNKS)[chunk] == (moved ? XS_OWNER_KERNEL : XS_OWNER_FREE) &&
              !pool->transit[0].count);
        uint32_t freed;
        CHECK(xs_pool_count(pool, LAB_CHUNKS, XS_OWNER_WORKER, &freed) == 0 && freed == LAB_CHUNKS - moved); /* swept */
        xs_worker_free(successor);
        lab_close(&lab);
    }
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"takes_and_gives", takes_and_gives},   {"a_holder_that_dies", a_holder_that_dies},
        {"locks_of_queues", locks_of_queues},   {"who_waits", who_waits},
        {"death_in_transit", death_in_transit},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
