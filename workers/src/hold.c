/* Frames that wait a moment: for a neighbour's address or for an SA. Few, for a second, then a counted drop. */
#include <string.h>

#include "fib.h"
#include "loop.h"
#include "sad.h"

static bool same_key(const struct xs_held *h, const struct xs_addr *addr, uint8_t port, uint32_t child)
{
    if (!addr)
        return h->addr.family == 0 && h->child == child;
    return h->addr.family == addr->family && h->frame.port == port &&
           !memcmp(h->addr.bytes, addr->bytes, sizeof addr->bytes);
}

static struct xs_held take_out(struct xs_worker *w, uint32_t at)
{
    struct xs_loop *loop = w->loop;
    struct xs_held h = loop->held[at];
    w->counters->held = --loop->held_count;
    memmove(&loop->held[at], &loop->held[at + 1], (loop->held_count - at) * sizeof h); /* oldest stays first */
    return h;
}

static void give_up(struct xs_worker *w, uint32_t at)
{
    struct xs_held h = take_out(w, at);
    xs_drop(w, &h.frame, h.addr.family ? XS_V_DROP_NO_NEIGHBOUR : XS_V_DROP_NO_OUT_SA, NULL);
}

/* Room for one more of this key: the oldest of the same key makes place, or the oldest of all. Returns when its event
 * was raised last, 0 = not for any that still waits. */
static uint64_t make_room(struct xs_worker *w, const struct xs_addr *addr, uint8_t port, uint32_t child)
{
    struct xs_loop *loop = w->loop;
    uint32_t same = 0, oldest = 0;
    uint64_t asked_ns = 0;
    for (uint32_t i = loop->held_count; i-- > 0;) {
        if (same_key(&loop->held[i], addr, port, child)) {
            same++;
            oldest = i;
            asked_ns = loop->held[i].asked_ns > asked_ns ? loop->held[i].asked_ns : asked_ns;
        }
    }
    if (same >= XS_HELD_PER_KEY)
        give_up(w, oldest);
    else if (loop->held_count == XS_HELD_MAX)
        give_up(w, 0);
    return asked_ns;
}

/* Raises the event for the first of its key, and again each second that frames wait for it: an answer may be lost, and
 * a flow that goes on would wait for ever. */
static void keep(struct xs_worker *w, struct xs_held *h, const struct xs_event *event)
{
    struct xs_loop *loop = w->loop;
    if ((!h->asked_ns || w->now_ns - h->asked_ns > XS_HOLD_NS) && xs_event_push(w, event))
        h->asked_ns = w->now_ns;
    loop->held[loop->held_count++] = *h;
    w->counters->held = loop->held_count;
}

void xs_hold_for_neighbour(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict, const struct xs_addr *addr)
{
    struct xs_held h = {.frame = *f, .addr = *addr, .verdict = verdict, .since_ns = w->now_ns};
    const struct xs_event event = {.kind = XS_EVENT_RESOLVE, .port = f->port, .addr = *addr};
    h.asked_ns = make_room(w, addr, f->port, 0);
    keep(w, &h, &event);
}

void xs_hold_for_sa(struct xs_worker *w, const struct xs_frame *f, uint32_t child)
{
    struct xs_held h = {.frame = *f, .child = child, .since_ns = w->now_ns};
    const struct xs_event event = {.kind = XS_EVENT_ACQUIRE, .child = child};
    h.asked_ns = make_room(w, NULL, 0, child);
    keep(w, &h, &event);
}

void xs_release_neighbour(struct xs_worker *w, uint8_t port, const struct xs_addr *addr)
{
    struct xs_loop *loop = w->loop;
    uint32_t dst;
    memcpy(&dst, addr->bytes, sizeof dst);
    for (uint32_t i = 0; i < loop->held_count;) {
        if (!same_key(&loop->held[i], addr, port, 0)) {
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

void xs_release_child(struct xs_worker *w, uint32_t child)
{
    struct xs_loop *loop = w->loop;
    for (uint32_t i = 0; i < loop->held_count;) {
        if (!same_key(&loop->held[i], NULL, 0, child)) {
            i++;
            continue;
        }
        struct xs_held h = take_out(w, i);
        xs_outbound(w, &h.frame, 1);
        i = 0; /* it may wait again, for a neighbour, and have pushed others out: places have moved */
    }
    xs_ports_flush(w);
}

void xs_hold_expire(struct xs_worker *w)
{
    struct xs_loop *loop = w->loop;
    while (loop->held_count && w->now_ns - loop->held[0].since_ns > XS_HOLD_NS)
        give_up(w, 0);
}
