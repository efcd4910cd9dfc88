/* The breath: a burst from each ring, the stages, a burst out of each port, then sleep when there was nothing. */
#include "loop.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "inet.h"
#include "tally.h"

/* While packets flow, the channel is looked at once in so many breaths. */
enum { BREATHS_PER_LOOK = 16, NS_PER_MS = 1000000 };
/* With frames left in a transmit ring, or frames on hold, sleep is short: nothing else would wake us for them. */
enum { UNSENT_SLEEP_MS = 1, HELD_SLEEP_MS = 100 };

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

/* --- chunks ------------------------------------------------------------------------------------------------- */

uint32_t xs_chunks_want(struct xs_worker *w, uint32_t count)
{
    struct xs_loop *loop = w->loop;
    if (count > XS_CACHE_MAX)
        count = XS_CACHE_MAX;
    if (loop->cached < count) {
        uint32_t want = count - loop->cached;
        if (want < XS_CACHE_BATCH && loop->cached + XS_CACHE_BATCH <= XS_CACHE_MAX)
            want = XS_CACHE_BATCH;
        loop->cached += xs_pool_take(loop->pool, loop->chunks, w->conf.index, loop->cache + loop->cached, want);
    }
    return loop->cached;
}

bool xs_chunk_take(struct xs_worker *w, uint32_t *chunk)
{
    if (!xs_chunks_want(w, 1))
        return false;
    *chunk = w->loop->cache[--w->loop->cached];
    return true;
}

void xs_chunk_give(struct xs_worker *w, uint32_t chunk)
{
    struct xs_loop *loop = w->loop;
    if (loop->cached == XS_CACHE_MAX) {
        loop->cached -= XS_CACHE_BATCH;
        xs_pool_give(loop->pool, loop->chunks, loop->cache + loop->cached, XS_CACHE_BATCH);
    }
    loop->cache[loop->cached++] = chunk;
}

/* --- the exits of a frame ------------------------------------------------------------------------------------ */

void xs_drop(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict, struct xs_sa *sa)
{
    w->counters->verdicts[verdict]++;
    if (sa)
        sa->slot->drops[verdict]++;
    xs_chunk_give(w, f->chunk);
}

static void send_out(struct xs_worker *w, struct xs_port *port)
{
    uint32_t count = port->out_count, sent = port->ops->send(w, port, port->out, count);
    port->out_count = 0;
    uint64_t bytes = 0, same = 0;
    for (uint32_t i = 0; i < sent; i++) {
        bytes += port->out[i].len;
        same++;
        if (i + 1 == sent || port->out_verdict[i + 1] != port->out_verdict[i]) {
            w->counters->verdicts[port->out_verdict[i]] += same;
            same = 0;
        }
    }
    w->counters->tx_bytes[port->conf.index] += bytes;
    w->counters->tx_packets[port->conf.index] += sent;
    for (uint32_t i = sent; i < count; i++)
        xs_drop(w, &port->out[i], XS_V_DROP_TX_FULL, NULL);
}

void xs_emit_slowly(struct xs_worker *w, const struct xs_frame *f, uint32_t verdict)
{
    struct xs_port *port = f->port < XS_MAX_PORTS ? w->ports[f->port] : NULL;
    if (!port) {
        xs_drop(w, f, XS_V_DROP_NO_ROUTE, NULL);
        return;
    }
    send_out(w, port);
    xs_emit(w, f, verdict);
}

bool xs_event_push(struct xs_worker *w, const struct xs_event *event)
{
    struct xs_loop *loop = w->loop;
    if (loop->event_count == XS_EVENTS)
        return false;
    loop->events[(loop->event_head + loop->event_count++) % XS_EVENTS] = *event;
    return true;
}

int xs_worker_event(struct xs_worker *w, struct xs_event *event)
{
    struct xs_loop *loop = w->loop;
    if (!loop->event_count)
        return 0;
    *event = loop->events[loop->event_head];
    loop->event_head = (loop->event_head + 1) % XS_EVENTS;
    loop->event_count--;
    return 1;
}

/* --- the breath ------------------------------------------------------------------------------------------------ */

void xs_ports_flush(struct xs_worker *w)
{
    if (!w->loop->started) /* neighbours and SAs come before the start: chunks taken now would be swept with the rest */
        return;
    w->loop->unsent = false;
    for (uint32_t p = 0; p < XS_MAX_PORTS; p++) {
        if (!w->ports[p])
            continue;
        if (w->ports[p]->out_count)
            send_out(w, w->ports[p]);
        w->ports[p]->ops->flush(w, w->ports[p]);
    }
    for (uint32_t i = 0; i < w->conf.workers; i++) {
        uint64_t one = 1;
        if (!w->loop->wake[i])
            continue;
        w->loop->wake[i] = false;
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the ring's producer before the look at asleep */
        if (__atomic_load_n(&w->loop->pool->asleep[i], __ATOMIC_RELAXED) && w->conf.wake_fds &&
            write(w->conf.wake_fds[i], &one, sizeof one) < 0)
            continue; /* a full eventfd means it is awake already */
    }
}

/* What a burst's way out costs is counted as its packets'; an idle look is nobody's. */
static void end_burst(struct xs_worker *w)
{
    uint64_t clock = __rdtsc();
    xs_ports_flush(w);
    xs_stage_end(w, XS_STAGE_TX, &clock);
}

static void count_burst(struct xs_worker *w, const struct xs_frame *frames, uint32_t count)
{
    struct xs_counters *c = w->counters;
    uint32_t port = frames[0].port, bucket = 31U - (uint32_t)__builtin_clz(count);
    c->batches[bucket < XS_BATCH_BUCKETS ? bucket : XS_BATCH_BUCKETS - 1]++;
    c->batch_packets += count;
    c->rx_packets[port] += count;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += frames[i].len;
    c->rx_bytes[port] += bytes;
}

static uint32_t from_port(struct xs_worker *w, struct xs_port *port, struct xs_frame *frames)
{
    uint32_t moved = 0;
    for (uint32_t q = 0; q < port->queue_count; q++) {
        uint64_t clock = __rdtsc();
        uint32_t count = port->ops->receive(w, port, q, frames, w->conf.burst);
        if (!count)
            continue;
        xs_stage_end(w, XS_STAGE_RX, &clock);
        count_burst(w, frames, count);
        if (port->conf.role == XS_ROLE_OUTSIDE)
            xs_inbound(w, frames, count);
        else
            xs_outbound(w, frames, count);
        end_burst(w);
        moved += count;
    }
    return moved;
}

static uint32_t from_workers(struct xs_worker *w, struct xs_frame *frames)
{
    uint32_t moved = 0;
    for (uint32_t from = 0; w->conf.handoff && from < w->conf.workers; from++) {
        uint32_t count = from == w->conf.index ? 0 : xs_handoff_receive(w, from, frames, w->conf.burst);
        if (!count)
            continue;
        xs_outbound(w, frames, count);
        end_burst(w);
        moved += count;
    }
    return moved;
}

int xs_worker_breathe(struct xs_worker *w)
{
    struct xs_frame frames[XS_BURST_MAX];
    uint32_t moved = 0;
    w->now_ns = now();
    for (uint32_t p = 0; p < XS_MAX_PORTS; p++)
        if (w->ports[p])
            moved += from_port(w, w->ports[p], frames);
    moved += from_workers(w, frames);
    if (xs_held_count(w->loop))
        xs_hold_expire(w);
    w->loop->idle = !moved;
    if (!moved)
        xs_ports_flush(w); /* completions of the last burst come late */
    w->counters->ring_rx_fill = moved;
    return (int)moved;
}

/* --- sleep ------------------------------------------------------------------------------------------------------ */

static bool handed_something(const struct xs_worker *w)
{
    for (uint32_t from = 0; w->conf.handoff && from < w->conf.workers; from++) {
        const struct xs_handoff_ring *ring = xs_handoff_ring(w->conf.handoff, w->conf.workers, from, w->conf.index);
        if (__atomic_load_n(&ring->producer, __ATOMIC_ACQUIRE) != ring->consumer)
            return true;
    }
    return false;
}

int xs_watch_socket(struct xs_loop *loop, int fd)
{
    if (loop->watched_count == sizeof loop->watched / sizeof loop->watched[0])
        return -ENOSPC;
    loop->watched[loop->watched_count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    return 0;
}

/* Waits for rings, channel or a peer's handoff; true when the channel wants Python. */
static bool wait(struct xs_worker *w, int timeout_ms)
{
    struct xs_loop *loop = w->loop;
    struct pollfd *wake = &loop->watched[XS_WATCH_WAKE];
    uint32_t *asleep = &w->loop->pool->asleep[w->conf.index];
    if (timeout_ms) {
        __atomic_store_n(asleep, 1, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* asleep before the last look at the rings */
        if (handed_something(w))
            timeout_ms = 0;
    }
    uint64_t before = timeout_ms ? now() : 0;
    /* without a sleep the sockets need no look: the next breath reads their rings */
    int count = poll(loop->watched, timeout_ms ? loop->watched_count : XS_WATCH_SOCKETS, timeout_ms);
    if (timeout_ms) {
        w->counters->idle_ns += now() - before;
        w->counters->wakeups++;
    }
    __atomic_store_n(asleep, 0, __ATOMIC_RELAXED);
    if (count <= 0)
        return false;
    uint64_t unused;
    if (wake->revents)
        (void)!read(wake->fd, &unused, sizeof unused);
    return loop->watched[XS_WATCH_CHANNEL].revents != 0;
}

static int sleep_ms(const struct xs_worker *w, uint64_t deadline)
{
    int left = deadline > w->now_ns ? (int)((deadline - w->now_ns) / NS_PER_MS) + 1 : 0;
    int most = w->loop->unsent ? UNSENT_SLEEP_MS : xs_held_count(w->loop) ? HELD_SLEEP_MS : left;
    return most < left ? most : left;
}

int xs_worker_run(struct xs_worker *w, int channel_fd, int max_ms)
{
    w->now_ns = now();
    uint64_t deadline = w->now_ns + (uint64_t)max_ms * NS_PER_MS, idle_since = w->now_ns;
    w->loop->watched[XS_WATCH_CHANNEL].fd = channel_fd;
    for (uint32_t breath = 1;; breath++) {
        int moved = xs_worker_breathe(w);
        w->counters->heartbeat_ns = w->now_ns;
        if (w->loop->event_count)
            return XS_RUN_EVENT;
        if (moved)
            idle_since = w->now_ns;
        bool spin = moved || w->now_ns - idle_since < w->conf.spin_us * 1000ULL;
        if ((!spin || breath % BREATHS_PER_LOOK == 0) && wait(w, spin ? 0 : sleep_ms(w, deadline)))
            return XS_RUN_CHANNEL;
        if (w->now_ns >= deadline)
            return XS_RUN_TIME;
    }
}
