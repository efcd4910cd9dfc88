/* Moving the right edge of the replay window: every number that enters it starts unseen. */
#include "replay.h"

#include <string.h>

void xs_replay_advance(struct xs_sa *sa, uint64_t seq)
{
    struct xs_sa_slot *slot = sa->slot;
    uint64_t old = slot->top, step = seq - old;
    /* The edge moves first: whoever dies here leaves unseen numbers marked as seen, never the other way round. */
    __atomic_store_n(&slot->top, seq, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_RELEASE); /* no clearing is moved in front of it */
    if (step > sa->ring_mask) {
        memset(slot->window, 0, (sa->ring_mask + 1) / 8);
    } else {
        for (uint64_t n = old + 1; n <= seq; n++) {
            uint32_t bit = (uint32_t)n & sa->ring_mask;
            if (bit % 64 == 0 && n + 63 <= seq) {
                slot->window[bit / 64] = 0;
                n += 63;
            } else {
                slot->window[bit / 64] &= ~(1ULL << (bit % 64));
            }
        }
    }
}
