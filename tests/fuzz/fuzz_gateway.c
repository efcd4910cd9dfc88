/* See fuzz.h: the gateway under fire. Four inbound SAs of all kinds, two outbound, a child without an SA and one whose
 * SA another worker has. */
#include <time.h>

#include "fuzz.h"

/* A worker takes the upper half of the chunks at first and the lowest of these before others; that many suffice. */
enum { CANARY = 0xa5, FIRST_USED = LAB_CHUNKS - XS_CACHE_BATCH, USED = 2 * 64 + XS_HOLD_DEFAULT + XS_HELD_FOR_HOPS };
enum { NS_PER_BREATH = 50000 };

_Noreturn void fuzz_failed(const struct fuzz *f, const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s\nagain with: tests/fuzz/run --seed %llu --frames %llu\n", file, line, what,
            (unsigned long long)f->seed, (unsigned long long)f->frame);
    exit(1);
}

static struct xs_selector selector(const char *remote, uint8_t bits, uint8_t protocol, uint16_t remote_port)
{
    struct xs_selector s = lab_selector(protocol, remote_port);
    s.remote = (struct xs_prefix){lab_addr(remote), bits};
    return s;
}

static void install_inbound(struct fuzz *f, uint32_t i, bool cbc, bool esn, uint8_t engine, uint64_t top)
{
    struct peer_sa *sa = &f->in[i];
    sa->conf = lab_sa(XS_INBOUND, cbc, esn);
    sa->conf.spi = LAB_SPI + i;
    sa->conf.slot = 2 * i;
    sa->conf.child = i == 3 ? 0 : i;
    sa->conf.engine = engine;
    sa->conf.key[0] = (uint8_t)(0x80 + i);
    sa->conf.replay_window = i == 3 ? XS_WINDOW_DEFAULT : 64;
    sa->conf.encap_local = sa->conf.encap_remote = i == 1 ? 4500 : 0;
    sa->selectors[0] = selector("10.2.0.0", 16, 0, 0);
    sa->conf.selectors = sa->selectors;
    sa->conf.selector_count = 1;
    if (i == 1) {
        sa->selectors[0] = selector("10.3.0.0", 16, 17, 1000);
        sa->selectors[0].local_port_hi = 2000;
        sa->selectors[1] = selector("10.3.0.0", 16, 6, 0);
        sa->conf.selector_count = 2;
    }
    if (i == 2)
        sa->selectors[0].local.bits = sa->selectors[0].remote.bits = 0;
    lab_slot(&f->lab, sa->conf.slot)->top = sa->top = top;
    lab_slot(&f->lab, sa->conf.slot)->granted = top + 1024;
    sa->next = top + 1;
    lab_install(&f->lab, &sa->conf);
}

static void install_outbound(struct fuzz *f, uint32_t i, bool cbc, uint64_t next)
{
    f->out[i] = lab_sa(XS_OUTBOUND, cbc, true);
    f->out[i].spi = 0x2001 + i;
    f->out[i].slot = 2 * i + 1;
    f->out[i].child = i;
    f->out[i].key[0] = (uint8_t)(0xc0 + i);
    f->out[i].encap_local = f->out[i].encap_remote = i == 1 ? 4500 : 0;
    lab_slot(&f->lab, 2 * i + 1)->next_seq = f->out_next[i] = next;
    lab_slot(&f->lab, 2 * i + 1)->granted = next + 1024;
    lab_install(&f->lab, &f->out[i]);
}

void gateway_open(struct fuzz *f)
{
    const uint64_t edge = 1ULL << 32;
    lab_open(&f->lab, 0, 2, 1400);
    memset(f->lab.conf.umem, CANARY, f->lab.conf.umem_size);
    install_inbound(f, 0, false, true, XS_ENGINE_AUTO, edge - 2000);
    install_inbound(f, 1, true, true, XS_ENGINE_OPENSSL, edge - 100);
    install_inbound(f, 2, true, false, XS_ENGINE_IPSEC_MB, 0);
    install_inbound(f, 3, false, false, XS_ENGINE_OPENSSL, 5000);
    install_outbound(f, 0, false, edge - 1000);
    install_outbound(f, 1, true, 1);
    struct xs_policy rows[] = {
        {.selector = selector("10.2.0.0", 16, 0, 0), .child = 0},
        {.selector = selector("10.3.0.0", 16, 17, 1000), .child = 1},
        {.selector = selector("10.3.0.0", 16, 6, 0), .child = 1},
        {.selector = selector("10.4.0.0", 16, 0, 0), .child = 2},
        {.selector = selector("10.5.0.0", 16, 0, 0), .child = 3, .owner = PEER_WORKER},
    };
    CHECK(xs_policy_replace(f->lab.w, rows, 5) == 0);
}

void gateway_events(struct fuzz *f)
{
    struct xs_event e;
    while (xs_worker_event(f->lab.w, &e)) {
        MUST(f, e.kind == XS_EVENT_GRANT_WANTED || e.kind == XS_EVENT_RESOLVE || e.kind == XS_EVENT_ACQUIRE);
        if (e.kind == XS_EVENT_GRANT_WANTED)
            MUST(f, xs_sa_grant(f->lab.w, e.slot, lab_slot(&f->lab, e.slot)->granted + 1024) == 0);
        if (e.kind == XS_EVENT_RESOLVE)
            MUST(f, e.addr.family == 4 && e.port == LAB_INSIDE);
    }
}

void gateway_drain_peer(struct fuzz *f)
{
    struct xs_handoff_ring *ring = xs_handoff_ring(f->lab.conf.handoff, 2, 0, PEER_WORKER);
    struct xs_loop *loop = f->lab.w->loop;
    for (; ring->consumer != ring->producer; ring->consumer++, f->handed++) {
        const struct xs_handoff_entry *e = &ring->entries[ring->consumer % XS_HANDOFF_SLOTS];
        MUST(f, e->chunk < LAB_CHUNKS && e->len >= LAB_ETH + 20 && e->offset + e->len <= LAB_CHUNK);
        loop->owners[e->chunk] = loop->me; /* as if it had gone round through the pool: the chunks in use stay few */
        xs_chunk_give(f->lab.w, e->chunk);
    }
}

/* The only clock of the run (CMakeLists.txt puts it in front of libc's): so a seed is enough to run it again. */
static uint64_t clock_ns = 1000000000ULL;
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    (void)id;
    clock_ns += NS_PER_BREATH;
    t->tv_sec = (time_t)(clock_ns / 1000000000ULL);
    t->tv_nsec = (long)(clock_ns % 1000000000ULL);
    return 0;
}

void gateway_rest(struct fuzz *f)
{
    const struct xs_counters *c = &f->lab.counters;
    clock_ns += XS_HOLD_SA_NS + 1;
    MUST(f, xs_worker_breathe(f->lab.w) == 0); /* what waited has waited in vain */
    MUST(f, c->held == 0 && xs_held_count(f->lab.w->loop) == 0);
    uint64_t out = c->verdicts[XS_V_DECRYPTED] + c->verdicts[XS_V_ENCRYPTED] + c->verdicts[XS_V_ANSWERED];
    MUST(f, f->fed == lab_total(&f->lab) + f->handed); /* in = out + counted drops, exactly */
    MUST(f, f->taken == out && c->handoff_sent == f->handed);
    MUST(f, c->rx_packets[0] + c->rx_packets[1] == f->fed && c->tx_packets[0] + c->tx_packets[1] == f->taken);
    uint32_t freed, mine = xs_pool_count(f->lab.conf.pool, LAB_CHUNKS, XS_OWNER_WORKER, &freed);
    MUST(f, mine + freed == LAB_CHUNKS && mine == f->lab.w->loop->cached);
    static uint8_t at_home[LAB_CHUNKS];
    memset(at_home, 0, sizeof at_home);
    for (uint32_t i = 0; i < f->lab.w->loop->cached; i++)
        MUST(f, !at_home[f->lab.w->loop->cache[i]]++); /* no chunk twice */
    const uint8_t *umem = f->lab.conf.umem;
    for (uint32_t i = 0; i < LAB_CHUNKS * LAB_CHUNK; i++) /* nobody wrote past the chunks in use */
        MUST(f, umem[i] == CANARY || (i / LAB_CHUNK >= FIRST_USED && i / LAB_CHUNK < FIRST_USED + USED));
}
