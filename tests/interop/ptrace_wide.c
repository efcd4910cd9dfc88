/* Lets user-mode-linux 6.1 run on processors with AMX, preloaded into it. Its record of a process's registers (2696
 * bytes) ends before the tiles, and the host's kernel sets registers from a whole record only (else EFAULT). Here each
 * record is completed with what the process has now; nobody inside the guest uses the tiles. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { WHOLE = 16384 }; /* more than any processor's XSAVE area */

typedef long (*ptrace_fn)(int request, ...);

/* One thread of user-mode-linux traces, on a stack too small for this. */
static char whole[WHOLE];

long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_fn real;
    if (!real)
        real = (ptrace_fn)dlsym(RTLD_NEXT, "ptrace");
    va_list more;
    va_start(more, request);
    int pid = va_arg(more, int);
    void *addr = va_arg(more, void *);
    void *data = va_arg(more, void *);
    va_end(more);
    if (request != PTRACE_SETREGSET || (unsigned long)addr != NT_X86_XSTATE)
        return real(request, pid, addr, data);
    struct iovec now = {whole, sizeof whole}, *given = data;
    long result = real(PTRACE_GETREGSET, pid, addr, &now);
    if (result < 0 || now.iov_len <= given->iov_len)
        return result < 0 ? result : real(request, pid, addr, data);
    memcpy(whole, given->iov_base, given->iov_len);
    return real(request, pid, addr, &now);
}
