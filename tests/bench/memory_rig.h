/* One worker on memory ports with one SA pair, and the frames that both sides of the comparison work on. Port 0 is
 * outside, port 1 inside. The sealed frames are made by the library's own call, not by the worker. */
#ifndef MEMORY_RIG_H
#define MEMORY_RIG_H

#include <intel-ipsec-mb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "frame.h"
#include "internal.h"

enum { BURST = 64, FRAMES = 256, CHUNK = 2048, HEADROOM = 256, OUTSIDE = 0, INSIDE = 1 };
enum { ETH = 14, IP = 20, UDP = 8, ESP = 8, IV = 8, ICV = 16, AAD = 12, NONCE = 12, SALT = 4, KEY = 16 };
enum { PLAIN_HEADERS = ETH + IP + UDP }; /* what sealing overwrites and a refill puts back */

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "bench-memory: %s:%d: not so: %s\n", __FILE__, __LINE__, #what);                           \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A frame's place, what it is refilled from, and the arguments of the bare call on it. */
struct item {
    uint8_t *data;         /* where the frame stands */
    const uint8_t *master; /* the frame as it arrives */
    uint8_t *text, *icv;
    uint8_t aad[AAD], nonce[NONCE];
};

struct rig {
    bool decrypt;
    uint32_t size, text_len, refill; /* inner packet; text under the cipher; bytes copied before each use */
    uint8_t in, out;                 /* ports */
    struct xs_worker *w;
    struct xs_counters *counters;
    struct xs_sa_slot *slot;
    IMB_MGR *mgr;
    struct gcm_key_data *key;
    struct item items[FRAMES];
    struct xs_frame frames[FRAMES]; /* the same, as a port gives them */
};

/* Memory that the workers share, before they fork. */
struct shared {
    void *umem, *pool, *state, *handoff;
    uint64_t state_size;
    struct xs_counters *counters;
    uint32_t workers;
};

struct shared shared_new(uint32_t workers);
void *shared_region(uint64_t size);
void rig_open(struct rig *rig, const struct shared *shared, uint32_t index, bool decrypt, uint32_t size);

#endif
