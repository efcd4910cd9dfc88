/* What a process gives up before it meets the network. Each call is one step; their order is the caller's (a change of
 * ids clears the death signal and the dumpable flag). All return 0 or a negative errno. */
#ifndef XS_GUARD_H
#define XS_GUARD_H

#include "shared.h"

/* No core files, and no page of ours in swap. -ENOMEM when RLIMIT_MEMLOCK is finite: nothing is locked then, since
 * a later allocation would fail at the limit. */
int xs_guard_memory(void);
/* No groups, ids for good, no capability in any set, no way back (no_new_privs). -EINVAL for root, -EBUSY when other
 * threads run: capabilities belong to a thread. */
int xs_guard_drop(uint32_t uid, uint32_t gid);
/* SIGKILL when the parent's thread that started us ends; -ESRCH when the parent is not `parent` any more. */
int xs_guard_parent(int parent);
/* No ptrace and no /proc/PID/mem for others of the same user. */
int xs_guard_undumpable(void);
/* What a running worker may ask of the kernel. Everything else is EPERM, and death where no bug of ours leads. */
int xs_guard_seccomp(void);

#endif
