/* Locks in shared memory that outlive their holder. Nothing in them is followed: whoever writes there what he likes can
 * hold others up or let two in at once, not lead them to other memory. (A robust mutex of libpthread keeps pointers of
 * its holder's list in the mutex, and writes where they point.) */
#ifndef XS_LOCK_H
#define XS_LOCK_H

#include <stdint.h>

struct xs_lock {     /* zeroed memory is free */
    uint64_t next;   /* the kernel's alone, when the holder is dead: get_robust_list(2) */
    uint32_t word;   /* TID of the holder and FUTEX_WAITERS; FUTEX_OWNER_DIED; 0 */
    uint32_t unused; /* the size is a multiple of the alignment */
};

/* BUSY: somebody is inside, come back at the next breath. REPAIR: taken, but the last holder died inside. */
enum xs_lock_taken { XS_LOCK_BUSY, XS_LOCK_TAKEN, XS_LOCK_REPAIR };

/* Before the system call filter: tells the kernel where this thread's locks are. Others do it at their first lock. */
void xs_lock_prepare(void);
enum xs_lock_taken xs_lock_try(struct xs_lock *lock);
enum xs_lock_taken xs_lock_wait(struct xs_lock *lock); /* never BUSY */
void xs_lock_leave(struct xs_lock *lock);              /* the one that was taken last is left first */

#endif
