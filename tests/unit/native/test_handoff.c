/* Frames from worker to worker: whole, once, counted when the ring is full; and a ring that a dead or hostile peer left
 * behind: what it says is checked before it is believed. */
#include "loop.h"
#include "path_host.h"

/* Two workers in one process on the same memory: lab is worker 0 with its ports, the other has the SA. */
struct pair {
    struct lab lab;
    struct xs_worker *other;
    struct xs_counters counters;
};

static void open_pair(struct pair *p)
{
    lab_open(&p->lab, 0, 2, 1500);
    lab_policy(&p->lab, 0, 0, 1);
    struct xs_worker_conf conf = p->lab.conf;
    conf.index = 1;
    memset(&p->counters, 0, sizeof p->counters);
    conf.counters = &p->counters;
    CHECK((p->other = xs_worker_new(&conf)));
    struct xs_port_conf port = {.index = LAB_OUTSIDE, .role = XS_ROLE_OUTSIDE, .kind = XS_PORT_MEMORY, .mtu = 1500};
    CHECK(xs_worker_add_port(p->other, &port) == 0);
    port.index = LAB_INSIDE, port.role = XS_ROLE_INSIDE;
    CHECK(xs_worker_add_port(p->other, &port) == 0 && xs_worker_start(p->other) == 0);
}

static void close_pair(struct pair *p)
{
    xs_worker_free(p->other);
    lab_close(&p->lab);
}

static struct xs_handoff_ring *ring(struct pair *p)
{
    return xs_handoff_ring(p->lab.conf.handoff, 2, 0, 1);
}

static uint64_t verdicts_of(const struct xs_counters *c)
{
    uint64_t total = 0;
    for (uint32_t v = 0; v < XS_V_COUNT; v++)
        total += c->verdicts[v];
    return total;
}

static void crosses_whole(void)
{
    struct pair p;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    open_pair(&p);
    lab_slot(&p.lab, LAB_SLOT_OUT)->granted = 1 << 20;
    struct xs_selector any = lab_selector(0, 0);
    struct xs_policy row = {.selector = any, .owner = 1};
    struct xs_route route = {.prefix = {lab_addr("10.9.0.0"), 24}, .port = LAB_OUTSIDE};
    struct xs_neighbour peer = {.addr = lab_addr("10.9.0.2"), .port = LAB_OUTSIDE, .mac = {2, 0, 0, 0, 9, 0}};
    CHECK(xs_sa_install(p.other, &conf) == 0 && xs_sa_use(p.other, 0, LAB_SLOT_OUT) == 0);
    CHECK(xs_policy_replace(p.other, &row, 1) == 0 && xs_route_replace(p.other, &route, 1) == 0);
    CHECK(xs_neighbour_set(p.other, &peer) == 0);
    for (uint32_t i = 0; i < 3 * XS_HANDOFF_SLOTS; i++) { /* round the ring */
        CHECK(send_ip(&p.lab, &PLAIN) == XS_V_COUNT);
        CHECK(xs_worker_breathe(p.other) == 1);
        uint32_t len = xs_memory_take(p.other, LAB_OUTSIDE, frame, sizeof frame);
        CHECK(len && lab_esp_open(inner, &conf, i + 1, frame + OUTER, len - OUTER));
        /* so few would end there */
        xs_pool_give(p.lab.conf.pool, LAB_CHUNKS, &p.other->loop->cache[--p.other->loop->cached], 1);
    }
    CHECK(p.lab.counters.handoff_sent == 3 * XS_HANDOFF_SLOTS);
    CHECK(p.counters.handoff_received == 3 * XS_HANDOFF_SLOTS);
    CHECK(lab_total(&p.lab) == 0 && p.counters.verdicts[XS_V_ENCRYPTED] == 3 * XS_HANDOFF_SLOTS);
    close_pair(&p);
}

static void full(void)
{
    struct pair p;
    open_pair(&p);
    ring(&p)->producer = ring(&p)->consumer = UINT32_MAX - 5; /* indices wrap */
    for (uint32_t i = 0; i < 300; i++)
        CHECK(send_ip(&p.lab, &PLAIN) == XS_V_COUNT);
    ring(&p)->consumer -= XS_HANDOFF_SLOTS - 300; /* as if the others were still there */
    for (uint32_t i = 0; i < 10; i++)
        CHECK(send_ip(&p.lab, &PLAIN) == XS_V_DROP_HANDOFF_FULL);
    CHECK(p.lab.counters.handoff_sent == 300);
    ring(&p)->consumer = ring(&p)->producer + 1; /* more taken than there was */
    CHECK(send_ip(&p.lab, &PLAIN) == XS_V_DROP_HANDOFF_FULL);
    uint32_t freed, mine = xs_pool_count(p.lab.conf.pool, LAB_CHUNKS, XS_OWNER_WORKER, &freed);
    CHECK(mine == p.lab.w->loop->cached && mine + freed == LAB_CHUNKS - 300);
    lab_policy(&p.lab, 0, 0, 7); /* a worker that does not exist */
    CHECK(send_ip(&p.lab, &PLAIN) == XS_V_DROP_HANDOFF_FULL);
    close_pair(&p);
}

/* A peer whose successor sweeps in this very moment must not free what stands in a ring. */
static void what_is_in_a_ring_is_in_nobodys_hand(void)
{
    struct pair p;
    open_pair(&p);
    CHECK(send_ip(&p.lab, &PLAIN) == XS_V_COUNT);
    uint32_t chunk = ring(&p)->entries[0].chunk;
    xs_pool_sweep(p.lab.conf.pool, LAB_CHUNKS, 1);
    CHECK(p.lab.w->loop->owners[chunk] != XS_OWNER_FREE);
    CHECK(xs_worker_breathe(p.other) == 1);
    CHECK(p.other->loop->owners[chunk] == xs_owner_of_worker(1));
    close_pair(&p);
}

static void lies(void)
{
    struct pair p;
    open_pair(&p);
    const uint64_t before = verdicts_of(&p.counters);
    for (uint32_t i = 0; i < 8; i++)
        CHECK(send_ip(&p.lab, &PLAIN) == XS_V_COUNT);
    struct xs_handoff_entry *e = ring(&p)->entries;
    e[0].chunk = LAB_CHUNKS;
    e[1].chunk = UINT32_MAX;
    e[2].offset = LAB_CHUNK;
    e[3].len = LAB_CHUNK;
    e[4].offset = UINT16_MAX, e[4].len = UINT16_MAX;
    e[5].port = XS_MAX_PORTS;
    e[6].chunk = e[7].chunk; /* one frame twice */
    CHECK(xs_worker_breathe(p.other) == 1);
    CHECK(p.counters.verdicts[XS_V_DROP_MALFORMED] == 7 && verdicts_of(&p.counters) - before == 8);
    ring(&p)->producer += 5 * XS_HANDOFF_SLOTS; /* more than a ring can hold */
    CHECK(xs_worker_breathe(p.other) == 0);
    CHECK(verdicts_of(&p.counters) - before == 8);
    close_pair(&p);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"crosses_whole", crosses_whole},
        {"full", full},
        {"what_is_in_a_ring_is_in_nobodys_hand", what_is_in_a_ring_is_in_nobodys_hand},
        {"lies", lies},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
