/* The memory port: frames in and out without a kernel, for tests and benchmarks (house rule 14). */
#ifndef XS_MEMORY_H
#define XS_MEMORY_H

#include "shared.h"

struct xs_worker;

/* Puts a frame (from the Ethernet header) where the next burst of the port receives it. 0, -ENOMEM, -EINVAL. */
int xs_memory_put(struct xs_worker *w, uint8_t port, const uint8_t *bytes, uint32_t len);
/* The oldest frame that left by the port: its length, copied up to size bytes; 0 = none. */
uint32_t xs_memory_take(struct xs_worker *w, uint8_t port, uint8_t *bytes, uint32_t size);

#ifndef XS_CDEF
#include "frame.h"
/* The same without a copy: frames in chunks that the caller took from the worker's pool. Both say how many moved. */
uint32_t xs_memory_offer(struct xs_worker *w, uint8_t port, const struct xs_frame *frames, uint32_t count);
uint32_t xs_memory_collect(struct xs_worker *w, uint8_t port, struct xs_frame *frames, uint32_t max);
#endif

#endif
