/* The bare AF_XDP forwarder that the gateway is measured against: same sockets, rings, door and batch; it copies
 * nothing and writes two addresses a frame. One process per worker. With the cipher it seals each packet where it
 * lies, by the gateway's own engine, and does nothing else of ESP. */

/* bench-forward CORE WORKER WORKERS UMEM_FD CHUNKS BOARD_FD RX_SIZE FILL_SIZE CIPHER IN OUT DESTINATION_MAC
 *
 * CIPHER: 1 to seal, else 0.
 *
 * IN: own:first descriptors of every queue of the port where frames arrive, by commas. OUT: the same of the one queue
 * that this worker sends on; its completions are this worker's alone. BOARD_FD: shared memory, a struct board. */
#include <poll.h>
#include <signal.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#include "engine.h"

enum { CHUNK = 2048, BATCH = 64, TX = 2048, COMPLETION = 4096 };
enum { QUEUES_MAX = 8, WORKERS_MAX = 8, KICKS_MAX = 64, IDLE_MS = 100 };
enum { ETH = 14, KEY = 16, SALT = 4, NONCE = 12, AAD = 12, ICV = 16 };
/* What AES-GCM ESP in tunnel mode puts in front of an IPv4 packet and, at the sizes measured here, behind it. */
enum { FRONT = 20 + 8 + 8, TRAILER = 4 };

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "bench-forward: not so: %s\n", #what);                                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* What the processes share: a lock for each fill ring, and what each worker counted. veth.py reads it. */
struct board {
    _Alignas(64) uint32_t fill_lock[QUEUES_MAX];
    struct {
        _Alignas(64) uint64_t received; /* the others follow: one line a worker */
        uint64_t sent, completed, dropped;
    } workers[WORKERS_MAX];
};

struct queue {
    int fd;
    struct xsk_ring_cons rx, completion;
    struct xsk_ring_prod tx, fill;
};

struct forwarder {
    uint8_t *umem;
    struct board *board;
    uint32_t worker, in_count, free_count;
    struct queue in[QUEUES_MAX], out;
    uint8_t mac[12]; /* destination, source */
    uint64_t *free;  /* addresses of chunks at hand */
    uint32_t rx_size, fill_size;
    const struct xs_engine *engine; /* NULL: nothing is sealed */
    struct xs_key *key;
    uint64_t sealed;
};

static void *map(int fd, uint64_t page, uint64_t descriptors, uint64_t bytes)
{
    void *at = mmap(NULL, descriptors + bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)page);
    MUST(at != MAP_FAILED);
    return at;
}

static void set_cons(struct xsk_ring_cons *r, uint8_t *at, const struct xdp_ring_offset *off, uint32_t size)
{
    *r = (struct xsk_ring_cons){.mask = size - 1, .size = size, .ring = at + off->desc};
    r->producer = (uint32_t *)(at + off->producer);
    r->consumer = (uint32_t *)(at + off->consumer);
    r->flags = (uint32_t *)(at + off->flags);
}

static void set_prod(struct xsk_ring_prod *r, uint8_t *at, const struct xdp_ring_offset *off, uint32_t size)
{
    *r = (struct xsk_ring_prod){.mask = size - 1, .size = size, .ring = at + off->desc, .cached_cons = size};
    r->producer = (uint32_t *)(at + off->producer);
    r->consumer = (uint32_t *)(at + off->consumer);
    r->flags = (uint32_t *)(at + off->flags);
}

/* "own:first": this worker's socket, and the queue's first, which has the fill and completion rings. */
static void open_queue(const struct forwarder *f, struct queue *q, const char *pair)
{
    struct xdp_mmap_offsets off;
    socklen_t len = sizeof off;
    int first;
    MUST(sscanf(pair, "%d:%d", &q->fd, &first) == 2);
    MUST(getsockopt(q->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) == 0);
    uint64_t rx_bytes = f->rx_size * sizeof(struct xdp_desc), fill_bytes = f->fill_size * sizeof(uint64_t);
    set_cons(&q->rx, map(q->fd, XDP_PGOFF_RX_RING, off.rx.desc, rx_bytes), &off.rx, f->rx_size);
    set_prod(&q->tx, map(q->fd, XDP_PGOFF_TX_RING, off.tx.desc, TX * sizeof(struct xdp_desc)), &off.tx, TX);
    set_prod(&q->fill, map(first, XDP_UMEM_PGOFF_FILL_RING, off.fr.desc, fill_bytes), &off.fr, f->fill_size);
    set_cons(&q->completion, map(first, XDP_UMEM_PGOFF_COMPLETION_RING, off.cr.desc, COMPLETION * sizeof(uint64_t)),
             &off.cr, COMPLETION);
}

/* The workers share the fill rings: trylock, and whoever comes too late comes again. */
static void refill(struct forwarder *f, uint32_t queue)
{
    struct xsk_ring_prod *fill = &f->in[queue].fill;
    uint32_t at, filled = *fill->producer - __atomic_load_n(fill->consumer, __ATOMIC_RELAXED);
    if (filled > f->fill_size - 2048 || !f->free_count)
        return;
    if (__atomic_exchange_n(&f->board->fill_lock[queue], 1, __ATOMIC_ACQUIRE))
        return;
    fill->cached_prod = *fill->producer;
    fill->cached_cons = __atomic_load_n(fill->consumer, __ATOMIC_ACQUIRE) + fill->size;
    uint32_t count = xsk_prod_nb_free(fill, f->fill_size);
    count = count < f->free_count ? count : f->free_count;
    if (count && xsk_ring_prod__reserve(fill, count, &at)) {
        for (uint32_t i = 0; i < count; i++)
            *xsk_ring_prod__fill_addr(fill, at + i) = f->free[--f->free_count];
        xsk_ring_prod__submit(fill, count);
    }
    __atomic_store_n(&f->board->fill_lock[queue], 0, __ATOMIC_RELEASE);
}

static void reap(struct forwarder *f)
{
    uint32_t at, count = xsk_ring_cons__peek(&f->out.completion, COMPLETION, &at);
    for (uint32_t i = 0; i < count; i++)
        f->free[f->free_count++] = *xsk_ring_cons__comp_addr(&f->out.completion, at + i) / CHUNK * CHUNK;
    if (count)
        xsk_ring_cons__release(&f->out.completion, count);
    f->board->workers[f->worker].completed += count;
}

static void kick(struct queue *q)
{
    for (uint32_t i = 0; i < KICKS_MAX && *q->tx.producer != __atomic_load_n(q->tx.consumer, __ATOMIC_ACQUIRE); i++)
        if (xsk_ring_prod__needs_wakeup(&q->tx))
            sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
}

/* AES-GCM-128 over the packets that the kernel is about to get, in one call for the burst as the gateway has it. They
 * leave as long as ESP would be. */
static void seal(struct forwarder *f, uint32_t at, uint32_t count)
{
    static struct xs_op ops[BATCH];
    static uint8_t nonces[BATCH][NONCE], aad[AAD];
    for (uint32_t i = 0; i < count; i++) {
        struct xdp_desc *d = xsk_ring_prod__tx_desc(&f->out.tx, at + i);
        uint8_t *text = f->umem + d->addr + ETH;
        uint32_t text_len = d->len - ETH + TRAILER;
        f->sealed++;
        memcpy(nonces[i] + SALT, &f->sealed, sizeof f->sealed);
        ops[i] = (struct xs_op){.key = f->key, .iv = nonces[i], .aad = aad, .aad_len = AAD, .cold = true};
        ops[i].text = text, ops[i].text_len = text_len, ops[i].icv = text + text_len;
        d->addr -= FRONT, d->len += FRONT + TRAILER + ICV;
    }
    f->engine->seal(ops, count);
}

static uint32_t forward(struct forwarder *f, struct queue *in)
{
    struct queue *out = &f->out;
    uint32_t from, to = 0, count = xsk_ring_cons__peek(&in->rx, BATCH, &from);
    if (!count)
        return 0;
    uint32_t room = xsk_prod_nb_free(&out->tx, count), sent = count < room ? count : room;
    if (sent)
        xsk_ring_prod__reserve(&out->tx, sent, &to);
    for (uint32_t i = 0; i < count; i++) {
        const struct xdp_desc *d = xsk_ring_cons__rx_desc(&in->rx, from + i);
        if (i >= sent) {
            f->free[f->free_count++] = d->addr / CHUNK * CHUNK;
            continue;
        }
        memcpy(f->umem + d->addr, f->mac, sizeof f->mac);
        *xsk_ring_prod__tx_desc(&out->tx, to + i) = (struct xdp_desc){.addr = d->addr, .len = d->len};
    }
    xsk_ring_cons__release(&in->rx, count);
    if (sent && f->engine)
        seal(f, to, sent);
    if (sent)
        xsk_ring_prod__submit(&out->tx, sent);
    f->board->workers[f->worker].received += count;
    f->board->workers[f->worker].sent += sent;
    f->board->workers[f->worker].dropped += count - sent;
    kick(out);
    return count;
}

static void run(struct forwarder *f)
{
    struct pollfd wait[QUEUES_MAX];
    for (uint32_t q = 0; q < f->in_count; q++)
        wait[q] = (struct pollfd){.fd = f->in[q].fd, .events = POLLIN};
    for (;;) {
        uint32_t moved = 0;
        for (uint32_t q = 0; q < f->in_count; q++)
            moved += forward(f, &f->in[q]);
        reap(f);
        for (uint32_t q = 0; q < f->in_count; q++)
            refill(f, q);
        if (!moved)
            poll(wait, f->in_count, IDLE_MS);
    }
}

static void open_cipher(struct forwarder *f)
{
    struct xs_sa_conf conf = {.cipher = XS_AES_GCM, .key_len = KEY + SALT, .icv_len = ICV, .key = "a key of no use"};
    f->engine = xs_engine_for(&conf);
    f->key = f->engine ? f->engine->key_new(&conf) : NULL;
    MUST(f->key);
}

int main(int argc, char **argv)
{
    MUST(argc == 13);
    static struct forwarder f;
    uint32_t workers = (uint32_t)atoi(argv[3]), chunks = (uint32_t)atoi(argv[5]);
    unsigned m[6];
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(atoi(argv[1]), &one);
    f.worker = (uint32_t)atoi(argv[2]);
    MUST(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && sched_setaffinity(0, sizeof one, &one) == 0);
    MUST(f.worker < workers && workers <= WORKERS_MAX && (f.free = calloc(chunks, sizeof *f.free)));
    f.umem = map(atoi(argv[4]), 0, 0, (uint64_t)chunks * CHUNK);
    f.board = map(atoi(argv[6]), 0, 0, sizeof *f.board);
    f.rx_size = (uint32_t)atoi(argv[7]), f.fill_size = (uint32_t)atoi(argv[8]);
    if (atoi(argv[9]))
        open_cipher(&f);
    for (char *pair = strtok(argv[10], ","); pair && f.in_count < QUEUES_MAX; pair = strtok(NULL, ","))
        open_queue(&f, &f.in[f.in_count++], pair);
    open_queue(&f, &f.out, argv[11]);
    MUST(sscanf(argv[12], "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) == 6);
    for (uint32_t i = 0; i < 6; i++)
        f.mac[i] = (uint8_t)m[i], f.mac[6 + i] = (uint8_t)(i == 0 ? 2 : 0);
    for (uint32_t i = chunks / workers; i-- > 0;) /* low chunks on top: they stay in cache */
        f.free[f.free_count++] = (uint64_t)(f.worker * (chunks / workers) + i) * CHUNK;
    for (uint32_t q = 0; q < f.in_count; q++)
        refill(&f, q);
    puts("ready");
    fflush(stdout);
    run(&f);
}
