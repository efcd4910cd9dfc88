/* See path_lab.h: the gateway around the worker. */
#include "path_lab.h"

#include <arpa/inet.h>
#include <sys/mman.h>

static const uint8_t MAC[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};

int lab_main(int argc, char **argv, const struct lab_case *cases, size_t count)
{
    int ran = 0;
    for (size_t i = 0; i < count; i++) {
        bool wanted = argc < 2;
        for (int a = 1; a < argc; a++)
            wanted |= !strcmp(argv[a], cases[i].name);
        if (!wanted)
            continue;
        printf("%s\n", cases[i].name);
        fflush(stdout);
        cases[i].run();
        ran++;
    }
    return ran ? 0 : 2;
}

static void *region(uint64_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void add_port(struct lab *lab, uint8_t index, uint8_t role, uint32_t mtu, const char *addr)
{
    struct xs_port_conf port = {
        .index = index, .role = role, .kind = XS_PORT_MEMORY, .mtu = mtu, .addr4 = lab_addr(addr)};
    memcpy(port.mac, MAC[index], 6);
    CHECK(xs_worker_add_port(lab->w, &port) == 0);
}

void lab_open(struct lab *lab, uint32_t index, uint32_t workers, uint32_t inside_mtu)
{
    memset(lab, 0, sizeof *lab);
    struct xs_worker_conf *c = &lab->conf;
    *c = (struct xs_worker_conf){.index = index, .workers = workers, .chunk_size = LAB_CHUNK, .burst = 64};
    c->umem_size = (uint64_t)LAB_CHUNKS * LAB_CHUNK;
    c->umem = region(c->umem_size);
    c->pool = region(xs_pool_size(LAB_CHUNKS));
    CHECK(xs_pool_format(c->pool, LAB_CHUNKS) == 0);
    c->state_size = sizeof(struct xs_state_header) + LAB_SLOTS * sizeof(struct xs_sa_slot);
    struct xs_state_header *state = c->state = region(c->state_size);
    *state = (struct xs_state_header){.magic = XS_STATE_MAGIC,
                                      .version = XS_STATE_VERSION,
                                      .slots = LAB_SLOTS,
                                      .slot_size = sizeof(struct xs_sa_slot),
                                      .window_bits = XS_WINDOW_DEFAULT};
    c->counters = &lab->counters;
    if (workers > 1)
        c->handoff = region(xs_handoff_size(workers));
    CHECK((lab->w = xs_worker_new(c)));
    add_port(lab, LAB_OUTSIDE, XS_ROLE_OUTSIDE, 1500, "10.9.0.1");
    add_port(lab, LAB_INSIDE, XS_ROLE_INSIDE, inside_mtu, "10.1.0.1");
    CHECK(xs_worker_start(lab->w) == 0);
    lab_routes(lab);
    lab_neighbour(lab, LAB_OUTSIDE, "10.9.0.2", 0);
    lab_neighbour(lab, LAB_INSIDE, "10.1.0.5", 0);
}

void lab_close(struct lab *lab)
{
    struct xs_worker_conf *c = &lab->conf;
    xs_worker_free(lab->w);
    munmap(c->umem, c->umem_size);
    munmap(c->pool, xs_pool_size(LAB_CHUNKS));
    munmap(c->state, c->state_size);
    if (c->handoff)
        munmap(c->handoff, xs_handoff_size(c->workers));
}

struct xs_addr lab_addr(const char *text)
{
    struct xs_addr addr = {.family = 4};
    CHECK(inet_pton(AF_INET, text, addr.bytes) == 1);
    return addr;
}

void lab_neighbour(struct lab *lab, uint8_t port, const char *addr, uint16_t vlan)
{
    struct xs_neighbour n = {.addr = lab_addr(addr), .port = port, .mac = {2, 0, 0, 0, 9, port}};
    n.tagged = vlan != 0;
    n.vlan = vlan;
    CHECK(xs_neighbour_set(lab->w, &n) == 0);
}

void lab_routes(struct lab *lab)
{
    struct xs_route rows[] = {
        {.prefix = {lab_addr("10.9.0.0"), 24}, .port = LAB_OUTSIDE},
        {.prefix = {lab_addr("10.1.0.0"), 16}, .port = LAB_INSIDE},
        {.prefix = {lab_addr("10.2.0.0"), 16}, .via = lab_addr("10.9.0.2"), .port = LAB_OUTSIDE},
    };
    CHECK(xs_route_replace(lab->w, rows, 3) == 0);
}

struct xs_selector lab_selector(uint8_t protocol, uint16_t remote_port)
{
    return (struct xs_selector){.local = {lab_addr("10.1.0.0"), 16},
                                .remote = {lab_addr("10.2.0.0"), 16},
                                .protocol = protocol,
                                .local_port_hi = 65535,
                                .remote_port_lo = remote_port,
                                .remote_port_hi = remote_port ? remote_port : 65535};
}

void lab_policy(struct lab *lab, uint8_t protocol, uint16_t remote_port, uint32_t owner)
{
    struct xs_policy row = {.selector = lab_selector(protocol, remote_port), .child = 0, .owner = owner};
    CHECK(xs_policy_replace(lab->w, &row, 1) == 0);
}

struct xs_sa_slot *lab_slot(struct lab *lab, uint32_t slot)
{
    return (struct xs_sa_slot *)((uint8_t *)lab->conf.state + sizeof(struct xs_state_header)) + slot;
}

struct xs_sa_conf lab_sa(uint8_t direction, bool cbc, bool esn)
{
    struct xs_sa_conf c = {.spi = LAB_SPI, .direction = direction, .esn = esn, .copy_dscp = 1, .path_mtu = 1500};
    c.cipher = cbc ? XS_AES_CBC : XS_AES_GCM;
    c.auth = cbc ? XS_HMAC_SHA256_128 : XS_AUTH_NONE;
    c.key_len = cbc ? 16 : 20;
    c.auth_key_len = cbc ? 32 : 0;
    c.icv_len = 16;
    for (uint8_t i = 0; i < 32; i++)
        c.key[i % 20] = (uint8_t)(7 * i + 1), c.auth_key[i] = (uint8_t)(5 * i + 3), c.iv_key[i % 16] = i;
    c.slot = direction == XS_INBOUND ? LAB_SLOT_IN : LAB_SLOT_OUT;
    c.replay_window = 64;
    c.local = lab_addr("10.9.0.1");
    c.remote = lab_addr("10.9.0.2");
    return c;
}

void lab_install(struct lab *lab, struct xs_sa_conf *conf)
{
    struct xs_selector any = lab_selector(0, 0);
    struct xs_sa_slot *slot = lab_slot(lab, conf->slot);
    if (!conf->selectors) {
        conf->selectors = &any;
        conf->selector_count = 1;
    }
    slot->spi = conf->spi;
    slot->direction = conf->direction;
    if (!slot->granted)
        slot->granted = 1ULL << 48;
    CHECK(xs_sa_install(lab->w, conf) == 0);
    if (conf->direction == XS_OUTBOUND)
        CHECK(xs_sa_use(lab->w, conf->child, conf->slot) == 0);
    if (conf->selectors == &any)
        conf->selectors = NULL, conf->selector_count = 0;
}

void lab_put(struct lab *lab, uint8_t port, const uint8_t *frame, uint32_t len)
{
    CHECK(xs_memory_put(lab->w, port, frame, len) == 0);
    CHECK(xs_worker_breathe(lab->w) == 1);
}

uint32_t lab_take(struct lab *lab, uint8_t port, uint8_t *frame)
{
    return xs_memory_take(lab->w, port, frame, LAB_FRAME);
}

uint64_t lab_count(const struct lab *lab, uint32_t verdict)
{
    return lab->counters.verdicts[verdict];
}

uint64_t lab_total(const struct lab *lab)
{
    uint64_t total = 0;
    for (uint32_t v = 0; v < XS_V_COUNT; v++)
        total += lab->counters.verdicts[v];
    return total;
}
