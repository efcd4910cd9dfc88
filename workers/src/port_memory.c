/* The memory port: two queues of frames inside the UMEM and nothing behind them. */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "port.h"

enum { SLOTS = 4096, HEADROOM = 256 };

struct fifo {
    struct xs_frame frames[SLOTS];
    uint32_t head, count;
};

struct memory_port {
    struct fifo in, out;
};

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t push(struct fifo *q, const struct xs_frame *frames, uint32_t count)
{
    count = smaller(count, SLOTS - q->count);
    uint32_t at = (q->head + q->count) % SLOTS, first = smaller(count, SLOTS - at);
    memcpy(&q->frames[at], frames, first * sizeof *frames);
    memcpy(q->frames, frames + first, (count - first) * sizeof *frames);
    q->count += count;
    return count;
}

static uint32_t pop(struct fifo *q, struct xs_frame *frames, uint32_t max)
{
    uint32_t count = smaller(max, q->count), first = smaller(count, SLOTS - q->head);
    memcpy(frames, &q->frames[q->head], first * sizeof *frames);
    memcpy(frames + first, q->frames, (count - first) * sizeof *frames);
    q->head = (q->head + count) % SLOTS;
    q->count -= count;
    return count;
}

static struct memory_port *memory_of(struct xs_worker *w, uint8_t port)
{
    bool there = port < XS_MAX_PORTS && w->ports[port] && w->ports[port]->conf.kind == XS_PORT_MEMORY;
    return there ? w->ports[port]->impl : NULL;
}

int xs_memory_put(struct xs_worker *w, uint8_t port, const uint8_t *bytes, uint32_t len)
{
    struct memory_port *m = memory_of(w, port);
    if (!m || len > w->conf.chunk_size - HEADROOM)
        return -EINVAL;
    struct xs_frame f = {.len = len, .port = port};
    if (m->in.count == SLOTS || !xs_chunk_take(w, &f.chunk))
        return -ENOMEM;
    f.data = xs_chunk_base(w, f.chunk) + HEADROOM;
    memcpy(f.data, bytes, len);
    push(&m->in, &f, 1);
    return 0;
}

uint32_t xs_memory_take(struct xs_worker *w, uint8_t port, uint8_t *bytes, uint32_t size)
{
    struct memory_port *m = memory_of(w, port);
    struct xs_frame f;
    if (!m || !pop(&m->out, &f, 1))
        return 0;
    memcpy(bytes, f.data, f.len < size ? f.len : size);
    xs_chunk_give(w, f.chunk);
    return f.len;
}

uint32_t xs_memory_offer(struct xs_worker *w, uint8_t port, const struct xs_frame *frames, uint32_t count)
{
    struct memory_port *m = memory_of(w, port);
    return m ? push(&m->in, frames, count) : 0;
}

uint32_t xs_memory_collect(struct xs_worker *w, uint8_t port, struct xs_frame *frames, uint32_t max)
{
    struct memory_port *m = memory_of(w, port);
    return m ? pop(&m->out, frames, max) : 0;
}

static uint32_t receive(struct xs_worker *w, struct xs_port *port, uint32_t queue, struct xs_frame *frames,
                        uint32_t max)
{
    (void)w, (void)queue;
    return pop(&((struct memory_port *)port->impl)->in, frames, max);
}

static uint32_t send_frames(struct xs_worker *w, struct xs_port *port, const struct xs_frame *frames, uint32_t count)
{
    (void)w;
    return push(&((struct memory_port *)port->impl)->out, frames, count);
}

static void flush(struct xs_worker *w, struct xs_port *port)
{
    (void)w, (void)port;
}

static void close_port(struct xs_worker *w, struct xs_port *port)
{
    (void)w;
    free(port->impl);
}

static const struct xs_port_ops ops = {receive, send_frames, flush, close_port};

int xs_port_memory_open(struct xs_port *port)
{
    port->ops = &ops;
    port->queue_count = 1;
    port->impl = calloc(1, sizeof(struct memory_port));
    return port->impl ? 0 : -ENOMEM;
}
