/* Frames that wait: for a neighbour's address a moment, for an SA as long as a key exchange takes. Bounded, in order of
 * arrival, then a counted drop. Two rooms, so that hosts that do not answer push out nothing that waits for a key. */
#include <string.h>

#include "fib.h"
#include "loop.h"
#include "sad.h"

enum { RELEASED_AT_ONCE = 64 };

static void count_held(struct xs_worker *w)
{
    w->counters->held = xs_held_count(w->loop);
}

static void give_up(struct xs_worker *w, const struct xs_held *h)
{
    xs_drop(w, &h->frame, h->addr.family ? XS_V_DROP_NO_NEIGHBOUR : XS_V_DROP_NO_OUT_SA, NULL);
}

/* Whether to ask now: for the first that waits, and again each second that others do. An answer may be lost, and a flow
 * that goes on would wait for ever. */
static uint64_t ask(struct xs_worker *w, uint64_t asked_ns, const struct xs_event *event)
{
    bool due = !asked_ns || w->now_ns - asked_ns > XS_ASK_NS;
    return due && xs_event_push(w, event) ? w->now_ns : asked_ns;
}

/* --- for an SA: the first ones stay, what comes when there is no room is dropped ------------------------------------
 */

void xs_hold_for_sa(struct xs_worker *w, const struct xs_frame *f, uint32_t child)
{
    struct xs_loop *loop = w->loop;
    const struct xs_event event = {.kind = XS_EVENT_ACQUIRE, .child = child};
    struct xs_held h = {.frame = *f, .child = child, .since_ns = w->now_ns};
    if (child >= XS_CHILDREN_MAX) {
        give_up(w, &h);
        return;
    }
    struct xs_wait *wait = &loop->waits[child];
    wait->asked_ns = ask(w, wait->asked_ns, &event);
    if (wait->count >= w->conf.hold || loop->for_sa_count == XS_HELD_MAX) {
        give_up(w, &h);
        return;
    }
    wait->count++;
    loop->for_sa[loop->for_sa_count++] = h;
    count_held(w);
}

static void leave(struct xs_loop *loop, uint32_t child)
{
    struct xs_wait *wait = &loop->waits[child];
    if (--wait->count == 0)
        wait->asked_ns = 0;
}

/* The first frames of the child, at most `max`; all others close up. */
static uint32_t take_of_child(struct xs_loop *loop, uint32_t child, struct xs_frame *frames, uint32_t max)
{
    uint32_t taken = 0, kept = 0;
    for (uint32_t i = 0; i < loop->for_sa_count; i++) {
        if (taken < max && loop->for_sa[i].child == child) {
            frames[taken++] = loop->for_sa[i].frame;
            leave(loop, child);
        } else if (kept++ != i) {
            loop->for_sa[kept - 1] = loop->for_sa[i];
        }
    }
    loop->for_sa_count = kept;
    return taken;
}

void xs_release_child(struct xs_worker *w, uint32_t child)
{
    struct xs_frame frames[RELEASED_AT_ONCE];
    /* as many as wait now: one that must wait again, its SA being gone already, is not taken twice */
    uint32_t left = child < XS_CHILDREN_MAX ? w->loop->waits[child].count : 0;
    if (!left)
        return;
    for (uint32_t count; left; left -= count) {
        count = take_of_child(w->loop, child, frames, left < RELEASED_AT_ONCE ? left : RELEASED_AT_ONCE);
        if (!count)
            break;
        xs_outbound(w, frames, count);
        xs_ports_flush(w);
    }
    count_held(w);
}

/* Policies are others now, and what waits may be another child's: each is looked up again, its time goes on. */
void xs_release_all(struct xs_worker *w)
{
    static struct xs_held again[XS_HELD_MAX];
    struct xs_loop *loop = w->loop;
    uint32_t count = loop->for_sa_count;
    memcpy(again, loop->for_sa, count * sizeof again[0]);
    loop->for_sa_count = 0;
    for (uint32_t i = 0; i < count; i++)
        loop->waits[again[i].child].count--;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = loop->for_sa_count;
        xs_outbound(w, &again[i].frame, 1);
        if (loop->for_sa_count > before)
            loop->for_sa[before].since_ns = again[i].since_ns;
        if (i % RELEASED_AT_ONCE == RELEASED_AT_ONCE - 1)
            xs_ports_flush(w);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!loop->waits[again[i].child].count)
            loop->waits[again[i].child].asked_ns = 0;
    if (count)
        xs_ports_flush(w);
    count_held(w);
}

/* --- for a neighbour: the last ones stay
 * ------------------------------------------------------------------------------ */

static bool same_hop(const struct xs_held *h, const struct xs_addr *addr, uint8_t port)
{
    return h->addr.family == addr->family && h->frame.port == port &&
           !memcmp(h->addr.bytes, addr->bytes, sizeof addr->bytes);
}

static struct xs_held take_out(struct xs_worker *w, uint32_t at)
{
    struct xs_loop *loop = w->loop;
    struct xs_held h = loop->for_hop[at];
    loop->for_hop_count--;
    memmove(&loop->for_hop[at], &loop->for_hop[at + 1], (loop->for_hop_count - at) * sizeof h); /* oldest stays first */
    count_held(w);
    return h;
}

/* Room for one more of this key: the oldest of the same key makes place, or the oldest of all. Returns when its event
 * was raised last, 0 = not for any that still waits. */
static uint64_t make_room(struct xs_worker *w, const struct xs_addr *addr, uint8_t port)
{
    struct xs_loop *loop = w->loop;
    uint32_t same = 0, oldest = 0;
    uint64_t asked_ns = 0;
    for (uint32_t i = loop->for_hop_count; i-- > 0;) {
        if (same_hop(&loop->for_hop[i], addr, port)) {
            same++;
            oldest = i;
            asked_ns = loop->for_hop[i].asked_ns > asked_ns ? loop->for_hop[i].asked_ns : asked_ns;
        }
    }
    if (same < XS_HELD_PER_HOP && loop->for_hop_count < XS_HELD_FOR_HOPS)
        return asked_ns;
    const struct xs_held h = take_out(w, same >= XS_HELD_PER_HOP ? oldest : 0);
    give_up(w, &h);
    return asked_ns;
}

/* What is not asked for now is with its next frame, or the one that is sent again. */
static uint64_t ask_for_hop(struct xs_worker *w, uint64_t asked_ns, const struct xs_event *event)
{
    struct xs_loop *loop = w->loop;
    if (w->now_ns - loop->resolves_since_ns > XS_ASK_NS) {
        loop->resolves_since_ns = w->now_ns;
        loop->resolves = 0;
    }
    if (loop->resolves == XS_RESOLVES)
        return asked_ns;
    uint64_t asked_now_ns = ask(w, asked_ns, event);
    loop->resolves += asked_now_ns != asked_ns;
    return asked_now_ns;
}

void xs_hold_for_neighbour(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict, const struct xs_addr *addr)
{
    struct xs_held h = {.frame = *f, .addr = *addr, .verdict = verdict, .since_ns = w->now_ns};
    const struct xs_event event = {.kind = XS_EVENT_RESOLVE, .port = f->port, .addr = *addr};
    h.asked_ns = ask_for_hop(w, make_room(w, addr, f->port), &event);
    w->loop->for_hop[w->loop->for_hop_count++] = h;
    count_held(w);
}

void xs_release_neighbour(struct xs_worker *w, uint8_t port, const struct xs_addr *addr)
{
    struct xs_loop *loop = w->loop;
    uint32_t dst;
    memcpy(&dst, addr->bytes, sizeof dst);
    for (uint32_t i = 0; i < loop->for_hop_count;) {
        if (!same_hop(&loop->for_hop[i], addr, port)) {
            i++;
            continue;
        }
        struct xs_held h = take_out(w, i);
        struct xs_hop hop = *xs_fib_lookup(w, dst); /* the neighbour itself is on a connected route */
        hop.port = port;
        if (hop.resolved)
            xs_hop_emit(w, &h.frame, &hop, h.verdict, NULL);
        else
            xs_drop(w, &h.frame, XS_V_DROP_NO_NEIGHBOUR, NULL);
    }
    xs_ports_flush(w);
}

/* --- the end of patience
 * ----------------------------------------------------------------------------------------------- */

/* How many at the front have waited longer than that; each is dropped. */
static uint32_t expired(struct xs_worker *w, const struct xs_held *held, uint32_t count, uint64_t ns)
{
    uint32_t gone = 0;
    while (gone < count && w->now_ns - held[gone].since_ns > ns)
        give_up(w, &held[gone++]);
    return gone;
}

void xs_hold_expire(struct xs_worker *w)
{
    struct xs_loop *loop = w->loop;
    uint32_t gone = expired(w, loop->for_sa, loop->for_sa_count, XS_HOLD_SA_NS);
    for (uint32_t i = 0; i < gone; i++)
        leave(loop, loop->for_sa[i].child);
    loop->for_sa_count -= gone;
    if (gone)
        memmove(loop->for_sa, loop->for_sa + gone, loop->for_sa_count * sizeof loop->for_sa[0]);
    gone = expired(w, loop->for_hop, loop->for_hop_count, XS_HOLD_HOP_NS);
    loop->for_hop_count -= gone;
    if (gone)
        memmove(loop->for_hop, loop->for_hop + gone, loop->for_hop_count * sizeof loop->for_hop[0]);
    count_held(w);
}
