/* The memory port: frames in and out without a kernel, for tests and benchmarks (house rule 14). */
#ifndef XS_MEMORY_H
#define XS_MEMORY_H

#include "shared.h"

struct xs_worker;

/* Puts a frame (from the Ethernet header) where the next burst of the port receives it. 0, -ENOMEM, -EINVAL. */
int xs_memory_put(struct xs_worker *w, uint8_t port, const uint8_t *bytes, uint32_t len);
/* The oldest frame that left by the port: its length, copied up to size bytes; 0 = none. */
uint32_t xs_memory_take(struct xs_worker *w, uint8_t port, uint8_t *bytes, uint32_t size);

#endif
