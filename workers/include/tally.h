/* Packets and bytes of an SA, gathered in locals over a burst and written when the SA changes; then its limits are
 * looked at. Cycles per stage. */
#ifndef XS_TALLY_H
#define XS_TALLY_H

#include <x86intrin.h>

#include "sad.h"

struct xs_tally {
    struct xs_worker *w;
    struct xs_sa *sa;
    uint64_t packets, bytes;
};

static inline void xs_tally_write(struct xs_tally *t)
{
    if (!t->sa)
        return;
    struct xs_sa_slot *slot = t->sa->slot;
    slot->packets += t->packets;
    slot->bytes += t->bytes;
    slot->last_seen_ns = t->w->now_ns;
    t->packets = t->bytes = 0;
    if (__builtin_expect(slot->packets >= t->sa->look_packets || slot->bytes >= t->sa->look_bytes, 0))
        xs_sa_look(t->w, t->sa);
}

static inline void xs_tally_add(struct xs_tally *t, struct xs_sa *sa, uint32_t bytes)
{
    if (t->sa != sa) {
        xs_tally_write(t);
        t->sa = sa;
    }
    t->packets++;
    t->bytes += bytes;
}

/* Adds the cycles since *since to the stage and starts the next one. */
static inline void xs_stage_end(struct xs_worker *w, enum xs_stage stage, uint64_t *since)
{
    uint64_t now = __rdtsc();
    w->counters->cycles[stage] += now - *since;
    *since = now;
}

#endif
