/* Routes, neighbours, policies, SAs by SPI: each against the plainest search there is, over random tables, and what is
 * cached in front of them when a table changes. */
#include "fib.h"
#include "inet.h"
#include "path_host.h"
#include "sad.h"
#include "spd.h"

static uint32_t random32(void)
{
    return (uint32_t)rand() << 17 ^ (uint32_t)rand();
}

static struct xs_prefix random_prefix(void)
{
    uint32_t addr = htonl(0x0a000000 | (random32() & 0x00030303)); /* few values: prefixes nest */
    struct xs_prefix p = {.addr.family = 4, .bits = (uint8_t)(rand() % 33)};
    memcpy(p.addr.bytes, &addr, 4);
    return p;
}

static bool holds(const struct xs_prefix *p, uint32_t addr)
{
    uint32_t net;
    memcpy(&net, p->addr.bytes, 4);
    return p->bits == 0 || (ntohl(net) ^ ntohl(addr)) >> (32 - p->bits) == 0;
}

static void longest_prefix(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    srand(5);
    for (uint32_t table = 0; table < 40; table++) {
        struct xs_route rows[60];
        for (uint32_t i = 0; i < 60; i++) {
            rows[i] =
                (struct xs_route){.prefix = random_prefix(), .port = (uint8_t)(rand() % 3)}; /* port 2: not there */
            rows[i].via = rand() % 2 ? (struct xs_addr){4, {10, 9, 0, (uint8_t)rand()}} : (struct xs_addr){0};
        }
        CHECK(xs_route_replace(lab.w, rows, 60) == 0);
        for (uint32_t probe = 0; probe < 500; probe++) {
            uint32_t dst = htonl(0x0a000000 | (random32() & 0x00030303)), best = 0;
            bool any = false, right = false;
            for (uint32_t i = 0; i < 60; i++)
                if (rows[i].port < 2 && holds(&rows[i].prefix, dst) && (!any || rows[i].prefix.bits > best))
                    any = true, best = rows[i].prefix.bits;
            const struct xs_hop *hop = xs_fib_lookup(lab.w, dst);
            CHECK(hop->routed == any);
            for (uint32_t i = 0; any && i < 60; i++) { /* of two alike either will do */
                uint32_t next = dst;
                if (rows[i].via.family)
                    memcpy(&next, rows[i].via.bytes, 4);
                right |= rows[i].prefix.bits == best && holds(&rows[i].prefix, dst) && rows[i].port == hop->port &&
                         next == hop->addr;
            }
            CHECK(right == any);
        }
    }
    lab_close(&lab);
}

static void neighbours_change_under_a_cache(void)
{
    struct lab lab;
    struct xs_addr addr = lab_addr("10.1.0.77");
    uint32_t dst;
    memcpy(&dst, addr.bytes, 4);
    lab_open(&lab, 0, 1, 1500);
    CHECK(xs_fib_lookup(lab.w, dst)->routed && !xs_fib_lookup(lab.w, dst)->resolved);
    for (uint16_t vlan = 0; vlan < 3; vlan++) {
        lab_neighbour(&lab, LAB_INSIDE, "10.1.0.77", vlan);
        const struct xs_hop *hop = xs_fib_lookup(lab.w, dst);
        CHECK(hop->resolved && hop->l2_len == (vlan ? 18 : 14) && (!vlan || hop->l2[15] == vlan));
    }
    for (uint32_t i = 0; i < 300; i++) { /* the table grows */
        char text[16];
        snprintf(text, sizeof text, "10.1.%u.%u", 1 + i / 200, i % 200);
        lab_neighbour(&lab, LAB_INSIDE, text, 0);
    }
    CHECK(xs_fib_lookup(lab.w, dst)->resolved);
    CHECK(xs_neighbour_remove(lab.w, LAB_OUTSIDE, &addr) == -2); /* another port's */
    CHECK(xs_neighbour_remove(lab.w, LAB_INSIDE, &addr) == 0 && !xs_fib_lookup(lab.w, dst)->resolved);
    CHECK(xs_neighbour_remove(lab.w, LAB_INSIDE, &addr) == -2);
    lab_close(&lab);
}

static bool matches(const struct xs_selector *s, const struct xs_flow *f)
{
    return holds(&s->local, f->src) && holds(&s->remote, f->dst) && (!s->protocol || s->protocol == f->protocol) &&
           f->src_port >= s->local_port_lo && f->src_port <= s->local_port_hi && f->dst_port >= s->remote_port_lo &&
           f->dst_port <= s->remote_port_hi;
}

/* The first row that matches wins, whatever the cache in front has seen before. */
static void policies_in_order(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    srand(6);
    for (uint32_t table = 0; table < 60; table++) {
        struct xs_policy rows[20];
        for (uint32_t i = 0; i < 20; i++) {
            uint16_t low = (uint16_t)(rand() % 4);
            rows[i] = (struct xs_policy){.child = i, .owner = i % 3};
            rows[i].selector = (struct xs_selector){.local = random_prefix(), .remote = random_prefix()};
            rows[i].selector.protocol = rand() % 2 ? 17 : 0;
            rows[i].selector.remote_port_lo = rand() % 2 ? low : 0;
            rows[i].selector.remote_port_hi = rand() % 2 ? low + 1 : 65535;
            rows[i].selector.local_port_hi = 65535;
        }
        CHECK(xs_policy_replace(lab.w, rows, table % 20) == 0);
        for (uint32_t probe = 0; probe < 500; probe++) {
            struct xs_flow f = {.src = htonl(0x0a000000 | (random32() & 0x00030303)), .protocol = rand() % 2 ? 17 : 6};
            f.dst = htonl(0x0a000000 | (random32() & 0x00030303));
            f.dst_port = (uint16_t)(rand() % 6);
            uint32_t first = 0;
            while (first < table % 20 && !matches(&rows[first].selector, &f))
                first++;
            const struct xs_flow_entry *e = xs_spd_lookup(lab.w->spd, f);
            CHECK(e->result == (first == table % 20 ? XS_SPD_NONE : 0));
            CHECK(e->result || (e->child == first && e->owner == first % 3));
        }
    }
    lab_close(&lab);
}

/* A child's rows go before all others and take the place of its own: as if the table so made were replaced whole. */
static void policies_of_a_child_first(void)
{
    struct lab lab, whole;
    lab_open(&lab, 0, 1, 1500);
    lab_open(&whole, 0, 1, 1500);
    srand(8);
    struct xs_policy rows[64];
    uint32_t count = 0;
    for (uint32_t turn = 0; turn < 300; turn++) {
        uint32_t child = (uint32_t)rand() % 8, fresh = (uint32_t)rand() % 4;
        struct xs_policy table[64];
        for (uint32_t i = 0; i < fresh; i++) {
            table[i] = (struct xs_policy){.child = child, .owner = turn % 3};
            table[i].selector = (struct xs_selector){.local = random_prefix(), .remote = random_prefix()};
            table[i].selector.remote_port_hi = rand() % 4 ? 65535 : 2;
            table[i].selector.local_port_hi = 65535;
        }
        uint32_t size = fresh;
        for (uint32_t i = 0; i < count; i++)
            if (rows[i].child != child)
                table[size++] = rows[i];
        CHECK(xs_policy_first(lab.w, child, table, fresh) == 0 && xs_policy_replace(whole.w, table, size) == 0);
        CHECK(lab.w->spd->uses_ports == whole.w->spd->uses_ports);
        for (uint32_t probe = 0; probe < 100; probe++) {
            struct xs_flow f = {.src = htonl(0x0a000000 | (random32() & 0x00030303)), .protocol = 17};
            f.dst = htonl(0x0a000000 | (random32() & 0x00030303));
            f.dst_port = (uint16_t)(rand() % 6);
            struct xs_flow_entry one = *xs_spd_lookup(lab.w->spd, f), other = *xs_spd_lookup(whole.w->spd, f);
            CHECK(one.result == other.result && (one.result || (one.child == other.child && one.owner == other.owner)));
        }
        memcpy(rows, table, sizeof *rows * size);
        count = size;
    }
    lab_close(&whole);
    lab_close(&lab);
}

/* SPIs that fall on one another in the table come and go; each is found as long as it is there. */
static void sas_by_spi(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    uint32_t spis[LAB_SLOTS] = {0};
    srand(7);
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t slot = (uint32_t)rand() % LAB_SLOTS;
        struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
        conf.slot = slot;
        conf.spi = 256 + (uint32_t)rand() % 40 * 1000003;
        bool taken = spis[slot] != 0;
        for (uint32_t k = 0; k < LAB_SLOTS; k++)
            taken |= spis[k] == conf.spi;
        if (spis[slot] && rand() % 2) {
            CHECK(xs_sa_remove(lab.w, slot) == 0);
            spis[slot] = 0;
        } else {
            CHECK((xs_sa_install(lab.w, &conf) == 0) == !taken);
            spis[slot] = taken ? spis[slot] : conf.spi;
        }
        for (uint32_t k = 0; k < LAB_SLOTS; k++)
            CHECK(!spis[k] || xs_sad_inbound(lab.w->sad, spis[k])->slot_index == k);
        CHECK(!xs_sad_inbound(lab.w->sad, 0) && !xs_sad_inbound(lab.w->sad, 7));
    }
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"longest_prefix", longest_prefix},
        {"neighbours_change_under_a_cache", neighbours_change_under_a_cache},
        {"policies_in_order", policies_in_order},
        {"policies_of_a_child_first", policies_of_a_child_first},
        {"sas_by_spi", sas_by_spi},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
