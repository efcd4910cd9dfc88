/* Robust locks over futex(2) and set_robust_list(2). The kernel marks what a dead thread held, by a list of which only
 * the first link is read from our own memory; we never read a link back. */
#include "lock.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NESTED = 4, AGAIN_NS = 100000000 };

/* One thread's: what it holds, innermost last. */
static _Thread_local struct {
    struct robust_list_head head;
    struct robust_list *held[NESTED];
    uint32_t depth, tid;
} mine;

static void forget(void) /* a child of fork has no list, and another TID */
{
    mine.tid = 0;
}

__attribute__((constructor)) static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget);
}

void xs_lock_prepare(void)
{
    if (mine.tid)
        return;
    mine.depth = 0;
    mine.head.list.next = &mine.head.list;
    mine.head.list_op_pending = NULL;
    mine.head.futex_offset = (long)offsetof(struct xs_lock, word) - (long)offsetof(struct xs_lock, next);
    syscall(SYS_set_robust_list, &mine.head, sizeof mine.head);
    mine.tid = (uint32_t)gettid();
}

static struct robust_list *entry_of(struct xs_lock *lock)
{
    return (struct robust_list *)&lock->next;
}

/* The kernel reads our list only when we are dead: it is the order in the program that counts. */
static void pending(struct xs_lock *lock)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    mine.head.list_op_pending = lock ? entry_of(lock) : NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static enum xs_lock_taken take(struct xs_lock *lock, uint32_t waiters)
{
    uint32_t seen = 0;
    xs_lock_prepare();
    if (mine.depth == NESTED)
        return XS_LOCK_BUSY;
    pending(lock);
    bool taken =
        __atomic_compare_exchange_n(&lock->word, &seen, mine.tid | waiters, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    bool dead = !taken && seen & FUTEX_OWNER_DIED;
    if (dead)
        taken = __atomic_compare_exchange_n(&lock->word, &seen, mine.tid | waiters | (seen & FUTEX_WAITERS), false,
                                            __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
    if (taken) {
        lock->next = (uint64_t)(uintptr_t)mine.head.list.next;
        mine.held[mine.depth++] = mine.head.list.next = entry_of(lock);
    }
    pending(NULL);
    return taken ? (dead ? XS_LOCK_REPAIR : XS_LOCK_TAKEN) : XS_LOCK_BUSY;
}

enum xs_lock_taken xs_lock_try(struct xs_lock *lock)
{
    return take(lock, 0);
}

enum xs_lock_taken xs_lock_wait(struct xs_lock *lock)
{
    const struct timespec again = {.tv_nsec = AGAIN_NS}; /* who was to wake us may not have */
    uint32_t waiters = 0;
    for (;;) {
        enum xs_lock_taken taken = take(lock, waiters);
        if (taken != XS_LOCK_BUSY)
            return taken;
        uint32_t seen = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
        if (!seen || seen & FUTEX_OWNER_DIED)
            continue;
        if (!(seen & FUTEX_WAITERS) && !__atomic_compare_exchange_n(&lock->word, &seen, seen | FUTEX_WAITERS, false,
                                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        syscall(SYS_futex, &lock->word, FUTEX_WAIT, seen | FUTEX_WAITERS, &again, NULL, 0);
        waiters = FUTEX_WAITERS; /* others may wait with us: whoever leaves wakes one */
    }
}

void xs_lock_leave(struct xs_lock *lock)
{
    pending(lock);
    if (mine.depth)
        mine.depth--;
    mine.head.list.next = mine.depth ? mine.held[mine.depth - 1] : &mine.head.list;
    if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) & FUTEX_WAITERS)
        syscall(SYS_futex, &lock->word, FUTEX_WAKE, 1, NULL, NULL, 0);
    pending(NULL);
}
