/* The anti-replay window of RFC 4303 sec. 3.4.3 and the ESN reconstruction of its appendix A2.2, on the slot that
 * outlives the worker. check changes nothing; mark is for packets that were authenticated. NO_GRANT says that the
 * number is new but past the saved mark: whether to ask for a grant is decided after authentication. */
#ifndef XS_REPLAY_H
#define XS_REPLAY_H

#include "sad.h"

static inline uint64_t xs_replay_full_seq(const struct xs_sa *sa, uint32_t low)
{
    if (!sa->esn)
        return low;
    uint64_t top = sa->slot->top;
    uint32_t top_low = (uint32_t)top, top_high = (uint32_t)(top >> 32), window = sa->window;
    uint32_t high = top_high;
    if (top_low >= window - 1) {
        high += low < top_low - (window - 1); /* behind the left edge: the next cycle */
    } else if (low >= (uint32_t)(top_low - (window - 1))) {
        if (high == 0)
            return 0; /* before the first packet: a number that no check lets pass */
        high -= 1;    /* the window reaches back into the cycle before */
    }
    return (uint64_t)high << 32 | low;
}

static inline uint32_t xs_replay_check(const struct xs_sa *sa, uint64_t seq)
{
    const struct xs_sa_slot *slot = sa->slot;
    if (seq == 0 || seq <= slot->floor)
        return XS_V_DROP_REPLAY;
    if (seq > slot->top)
        return seq < slot->granted ? XS_V_COUNT : XS_V_DROP_NO_GRANT;
    if (slot->top - seq >= sa->window)
        return XS_V_DROP_REPLAY;
    uint32_t bit = (uint32_t)seq & sa->ring_mask;
    return slot->window[bit / 64] >> (bit % 64) & 1 ? XS_V_DROP_REPLAY : XS_V_COUNT;
}

void xs_replay_advance(struct xs_sa *sa, uint64_t seq);

static inline void xs_replay_mark(struct xs_sa *sa, uint64_t seq)
{
#ifdef XS_MUTANT_REPLAY
    (void)sa, (void)seq;
#else
    struct xs_sa_slot *slot = sa->slot;
    uint32_t bit = (uint32_t)seq & sa->ring_mask;
    if (seq == slot->top + 1) /* in order: nothing enters the window but this number */
        __atomic_store_n(&slot->top, seq, __ATOMIC_RELEASE);
    else if (seq > slot->top)
        xs_replay_advance(sa, seq);
    slot->window[bit / 64] |= 1ULL << (bit % 64);
#endif
}

#endif
