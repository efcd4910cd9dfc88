/* Frames from worker to worker: descriptors through a ring, ownership with them. */
#include "handoff.h"

#include <unistd.h>

#include "loop.h"

uint64_t xs_handoff_size(uint32_t workers)
{
    return (uint64_t)workers * workers * sizeof(struct xs_handoff_ring);
}

void xs_hand_over(struct xs_worker *w, const struct xs_frame *f, uint32_t worker)
{
    struct xs_loop *loop = w->loop;
    if (worker >= w->conf.workers || !w->conf.handoff) {
        xs_drop(w, f, XS_V_DROP_HANDOFF_FULL, NULL);
        return;
    }
    struct xs_handoff_ring *ring = xs_handoff_ring(w->conf.handoff, w->conf.workers, w->conf.index, worker);
    uint32_t at = __atomic_load_n(&ring->producer, __ATOMIC_RELAXED);
    if (at - __atomic_load_n(&ring->consumer, __ATOMIC_ACQUIRE) >= XS_HANDOFF_SLOTS) {
        xs_drop(w, f, XS_V_DROP_HANDOFF_FULL, NULL);
        return;
    }
    ring->entries[at % XS_HANDOFF_SLOTS] = (struct xs_handoff_entry){
        .chunk = f->chunk,
        .offset = (uint16_t)(f->data - xs_chunk_base(w, f->chunk)),
        .len = (uint16_t)f->len,
        .port = f->port,
        .queue = f->queue,
        .flags = f->flags,
    };
    loop->transit->chunks[0] = f->chunk;
    xs_transit_begin(loop->transit, xs_transit_ring(XS_TRANSIT_HANDOFF, 0, worker), at, 1);
    loop->owners[f->chunk] = XS_OWNER_KERNEL; /* not the target's: its successor may be sweeping at this moment */
    __atomic_store_n(&ring->producer, at + 1, __ATOMIC_RELEASE);
    xs_transit_end(loop->transit);
    loop->wake[worker] = true;
    w->counters->handoff_sent++;
}

/* Another process wrote it, which may have died over it or be hostile: a frame must lie inside a chunk that is in a
 * ring and in nobody's hand. */
static bool believable(const struct xs_worker *w, const struct xs_handoff_entry *e)
{
    return e->chunk < w->loop->chunks && e->offset + (uint32_t)e->len <= w->conf.chunk_size && e->port < XS_MAX_PORTS &&
           w->loop->owners[e->chunk] == XS_OWNER_KERNEL;
}

/* Read once: what is looked at is what is used, whoever writes meanwhile. */
static struct xs_handoff_entry read_entry(const struct xs_handoff_ring *ring, uint32_t at)
{
    struct xs_handoff_entry e = ring->entries[at % XS_HANDOFF_SLOTS];
    __asm__ volatile("" : "+m"(e));
    return e;
}

uint32_t xs_handoff_receive(struct xs_worker *w, uint32_t from, struct xs_frame *frames, uint32_t max)
{
    struct xs_handoff_ring *ring = xs_handoff_ring(w->conf.handoff, w->conf.workers, from, w->conf.index);
    uint32_t at = __atomic_load_n(&ring->consumer, __ATOMIC_RELAXED);
    uint32_t there = __atomic_load_n(&ring->producer, __ATOMIC_ACQUIRE) - at;
    if (there > XS_HANDOFF_SLOTS) { /* no ring holds so many: leave what it says alone */
        __atomic_store_n(&ring->consumer, at + there, __ATOMIC_RELEASE);
        return 0;
    }
    uint32_t count = there < max ? there : max, taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct xs_handoff_entry e = read_entry(ring, at + i);
        if (!believable(w, &e)) {
            w->counters->verdicts[XS_V_DROP_MALFORMED]++; /* there is no frame to give back */
            continue;
        }
        w->loop->owners[e.chunk] = w->loop->me;
        frames[taken++] = (struct xs_frame){
            .data = xs_chunk_base(w, e.chunk) + e.offset,
            .len = e.len,
            .chunk = e.chunk,
            .port = e.port,
            .queue = e.queue,
            .flags = e.flags | XS_FRAME_HANDED,
        };
    }
    if (count)
        __atomic_store_n(&ring->consumer, at + count, __ATOMIC_RELEASE);
    w->counters->handoff_received += taken;
    return taken;
}

void xs_handoff_adopt(struct xs_worker *w)
{
    for (uint32_t from = 0; w->conf.handoff && from < w->conf.workers; from++) {
        struct xs_handoff_ring *ring = xs_handoff_ring(w->conf.handoff, w->conf.workers, from, w->conf.index);
        uint32_t at = __atomic_load_n(&ring->consumer, __ATOMIC_RELAXED);
        uint32_t end = __atomic_load_n(&ring->producer, __ATOMIC_ACQUIRE);
        for (; at != end && end - at <= XS_HANDOFF_SLOTS; at++)
            xs_chunk_in_ring(w->loop, __atomic_load_n(&ring->entries[at % XS_HANDOFF_SLOTS].chunk, __ATOMIC_RELAXED));
    }
}
