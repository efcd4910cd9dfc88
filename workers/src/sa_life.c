/* The life of an SA: what is told about it on the way (grant wanted, first use, a soft limit) and what ends it
 * (sequence numbers used up, a hard limit; RFC 4301 sec. 4.4.2.1). Counts are those of the slot, so that they go on
 * when a worker is replaced; its successor tells again what a predecessor may have told. */
#include <string.h>

#include "loop.h"
#include "sad.h"

static bool raise(struct xs_worker *w, const struct xs_sa *sa, uint32_t kind, uint64_t number)
{
    struct xs_event event = {.kind = kind, .slot = sa->slot_index, .child = sa->child, .number = number};
    return xs_event_push(w, &event);
}

static uint64_t or_none(uint64_t limit)
{
    return limit ? limit : UINT64_MAX;
}

static uint64_t sequence_end(const struct xs_sa *sa)
{
    return sa->esn ? UINT64_MAX - 1 : UINT32_MAX;
}

static bool reached(const struct xs_sa_slot *slot, uint64_t packets, uint64_t bytes)
{
    return slot->packets >= packets || slot->bytes >= bytes;
}

/* The next counts that matter. What could not be told yet, the queue being full, matters at once. */
static void set_look(struct xs_sa *sa)
{
    bool stopped = !sa->last_number;
    sa->look_packets = sa->told_use ? (stopped ? UINT64_MAX : sa->hard_packets) : 1;
    sa->look_bytes = stopped ? UINT64_MAX : sa->hard_bytes;
    if (!sa->told_soft) {
        sa->look_packets = sa->soft_packets < sa->look_packets ? sa->soft_packets : sa->look_packets;
        sa->look_bytes = sa->soft_bytes < sa->look_bytes ? sa->soft_bytes : sa->look_bytes;
    }
}

static void stop_at_limit(struct xs_sa *sa)
{
    if (!reached(sa->slot, sa->hard_packets, sa->hard_bytes))
        return;
    sa->last_number = 0;
    sa->takes = 0;
}

void xs_sa_begin(struct xs_sa *sa, const struct xs_sa_conf *conf)
{
    sa->soft_packets = or_none(conf->soft_packets);
    sa->soft_bytes = or_none(conf->soft_bytes);
    sa->hard_packets = or_none(conf->hard_packets);
    sa->hard_bytes = or_none(conf->hard_bytes);
    sa->last_number = sequence_end(sa) < sa->hard_packets ? sequence_end(sa) : sa->hard_packets;
    sa->told_use = !conf->tell_use || sa->direction == XS_OUTBOUND || sa->slot->packets;
    stop_at_limit(sa);
    set_look(sa);
}

void xs_sa_look(struct xs_worker *w, struct xs_sa *sa)
{
    sa->told_use = sa->told_use || raise(w, sa, XS_EVENT_FIRST_USE, 0);
    if (!sa->told_soft && reached(sa->slot, sa->soft_packets, sa->soft_bytes))
        sa->told_soft = raise(w, sa, XS_EVENT_SOFT, 0);
    stop_at_limit(sa);
    if (!sa->last_number)
        sa->told_end = sa->told_end || raise(w, sa, XS_EVENT_EXHAUSTED, 0);
    set_look(sa);
}

void xs_sa_seen(struct xs_worker *w, struct xs_sa *sa)
{
    sa->slot->last_seen_ns = w->now_ns;
    if (!sa->told_use)
        xs_sa_look(w, sa);
}

void xs_sa_elsewhere(struct xs_worker *w, struct xs_sa *sa, uint32_t src, uint16_t port)
{
    struct xs_event event = {.kind = XS_EVENT_ELSEWHERE, .slot = sa->slot_index, .child = sa->child, .port = port};
    if (sa->told_elsewhere_ns && w->now_ns - sa->told_elsewhere_ns <= XS_ASK_NS)
        return;
    event.addr.family = 4;
    memcpy(event.addr.bytes, &src, sizeof src);
    if (xs_event_push(w, &event))
        sa->told_elsewhere_ns = w->now_ns;
}

void xs_sa_ask(struct xs_worker *w, struct xs_sa *sa, uint64_t number)
{
    sa->asked = sa->asked || raise(w, sa, XS_EVENT_GRANT_WANTED, number);
}

uint32_t xs_sa_past_end(struct xs_worker *w, struct xs_sa *sa, uint64_t number)
{
    sa->told_end = sa->told_end || raise(w, sa, XS_EVENT_EXHAUSTED, 0);
    return number > sequence_end(sa) ? XS_V_DROP_SEQ_EXHAUSTED : XS_V_DROP_LIFETIME;
}
