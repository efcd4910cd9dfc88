/* Cleartext out, by RFC 4303 sec. 3.3: what leaves is opened by libcrypto (path_packets.c) and read field by field;
 * what may not leave is answered, held, handed over or a counted drop. */
#include "path_host.h"

static void check_outer(const uint8_t *ip, uint32_t len, bool udp)
{
    CHECK(ip[0] == 0x45 && ip[8] == 64 && ip[9] == (udp ? 17 : 50) && lab_sum(ip, 20, 0) == 0);
    CHECK((uint32_t)ip[2] * 256 + ip[3] == len);
    CHECK(!memcmp(ip + 12, lab_addr("10.9.0.1").bytes, 4) && !memcmp(ip + 16, lab_addr("10.9.0.2").bytes, 4));
    static const uint8_t ports[4] = {0x11, 0x94, 0x11, 0x94};
    CHECK(!udp || (!memcmp(ip + 20, ports, 4) && (uint32_t)ip[24] * 256 + ip[25] == len - 20 && !ip[26] && !ip[27]));
}

static void seals_one(bool cbc, bool esn, bool udp, uint8_t engine)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, cbc, esn);
    conf.encap_local = conf.encap_remote = udp ? 4500 : 0;
    conf.engine = engine;
    lab_open(&lab, 0, 1, 1500);
    const uint64_t first = esn ? (1ULL << 32) - 30 : 1;
    lab_slot(&lab, LAB_SLOT_OUT)->next_seq = esn ? first : 0;
    lab_install(&lab, &conf);
    lab_policy(&lab, 0, 0, 0);
    for (uint32_t payload = 0; payload < 70; payload++) {
        uint8_t packet[LAB_FRAME], frame[LAB_FRAME], inner[LAB_FRAME];
        struct lab_ip ip = PLAIN;
        ip.payload = payload;
        uint32_t len = lab_ip_packet(packet, &ip);
        CHECK(send_ip(&lab, &ip) == XS_V_ENCRYPTED);
        CHECK(taken(&lab, &conf, first + payload, frame, inner) == len);
        CHECK(inner[8] == 63 && !memcmp(inner, packet, 8) && !memcmp(inner + 12, packet + 12, len - 12));
        static const uint8_t ethernet[14] = {2, 0, 0, 0, 9, 0, 2, 0, 0, 0, 0, 1, 8, 0};
        CHECK(!memcmp(frame, ethernet, LAB_ETH));
        uint32_t blocks = cbc ? (len + 2 + 15) / 16 * 16 + 16 : (len + 2 + 3) / 4 * 4 + 8;
        check_outer(frame + LAB_ETH, 20 + (udp ? 8 : 0) + 8 + blocks + 16, udp);
    }
    CHECK(lab_slot(&lab, LAB_SLOT_OUT)->next_seq == first + 70 && lab_slot(&lab, LAB_SLOT_OUT)->packets == 70);
    lab_close(&lab);
}

static void seals(void)
{
    for (int i = 0; i < 16; i++)
        seals_one(i & 1, i & 2, i & 4, i & 8 ? XS_ENGINE_OPENSSL : XS_ENGINE_AUTO);
}

static void grants(void)
{
    struct lab lab;
    struct xs_event event;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    lab_open(&lab, 0, 1, 1500);
    struct xs_sa_slot *slot = lab_slot(&lab, LAB_SLOT_OUT);
    slot->next_seq = 100;
    slot->granted = 110;
    lab_install(&lab, &conf);
    lab_policy(&lab, 0, 0, 0);
    for (uint64_t seq = 100; seq < 110; seq++) {
        CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED);
        CHECK(xs_worker_event(lab.w, &event) == (seq == 105)); /* at half of the block, once */
    }
    CHECK(event.kind == XS_EVENT_GRANT_WANTED && event.slot == LAB_SLOT_OUT);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_DROP_NO_GRANT && slot->next_seq == 110 && slot->drops[XS_V_DROP_NO_GRANT] == 1);
    CHECK(xs_sa_grant(lab.w, LAB_SLOT_OUT, 120) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && slot->next_seq == 111);
    CHECK(xs_sa_grant(lab.w, LAB_SLOT_OUT, 5) == 0 && slot->granted == 120); /* a mark never goes back */
    CHECK(xs_sa_remove(lab.w, LAB_SLOT_OUT) == 0);
    lab_install(&lab, &conf); /* whoever takes the slot over goes on where it stood */
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && slot->next_seq == 112);
    lab_close(&lab);
}

/* Another worker can write the slot: while we live, no number serves twice and none goes beyond what we were granted.
 */
static void turned_back(void)
{
    struct lab lab;
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    lab_open(&lab, 0, 1, 1500);
    struct xs_sa_slot *slot = lab_slot(&lab, LAB_SLOT_OUT);
    slot->next_seq = 100;
    slot->granted = 110;
    lab_install(&lab, &conf);
    lab_policy(&lab, 0, 0, 0);
    for (uint64_t seq = 100; seq < 110; seq++) {
        slot->next_seq = 1;
        slot->granted = UINT64_MAX;
        CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && slot->next_seq == seq + 1);
        CHECK(taken(&lab, &conf, seq, frame, inner));
    }
    CHECK(send_ip(&lab, &PLAIN) == XS_V_DROP_NO_GRANT);
    lab_close(&lab);
}

static void exhaustion(void)
{
    struct lab lab;
    struct xs_event event;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, false);
    lab_open(&lab, 0, 1, 1500);
    lab_slot(&lab, LAB_SLOT_OUT)->next_seq = UINT32_MAX;
    lab_slot(&lab, LAB_SLOT_OUT)->granted = 1ULL << 32;
    lab_install(&lab, &conf);
    lab_policy(&lab, 0, 0, 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED); /* 2^32 - 1 is the last (RFC 4303 sec. 3.3.3) */
    for (int i = 0; i < 3; i++)
        CHECK(send_ip(&lab, &PLAIN) == XS_V_DROP_SEQ_EXHAUSTED);
    uint32_t ends = 0;
    while (xs_worker_event(lab.w, &event))
        ends += event.kind == XS_EVENT_EXHAUSTED;
    CHECK(ends == 1 && lab_slot(&lab, LAB_SLOT_OUT)->next_seq == 1ULL << 32);
    lab_close(&lab);
}

static void copies_bits(void)
{
    for (uint32_t i = 0; i < 12; i++) {
        struct lab lab;
        struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
        conf.df = (uint8_t)(i % 3);
        conf.copy_dscp = i / 6;
        conf.dscp = 10;
        start(&lab, &conf);
        struct lab_ip ip = PLAIN;
        ip.frag = i / 3 % 2 ? 0x4000 : 0;
        ip.tos = 0xb8 | 2;
        uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
        CHECK(send_ip(&lab, &ip) == XS_V_ENCRYPTED && taken(&lab, &conf, 1, frame, inner));
        bool df = conf.df == XS_DF_SET || (conf.df == XS_DF_COPY && ip.frag);
        CHECK(frame[LAB_ETH + 6] == (df ? 0x40 : 0) && frame[LAB_ETH + 7] == 0);
        CHECK(frame[LAB_ETH + 1] == (conf.copy_dscp ? 0xb8 | 2 : 10 << 2 | 2)); /* ECN is copied, RFC 6040 sec. 4.1 */
        CHECK(inner[1] == ip.tos && inner[6] == ip.frag >> 8);
        lab_close(&lab);
    }
}

static void policies(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    struct lab_ip ip = PLAIN;
    start(&lab, &conf);
    ip.dst = "10.3.0.1";
    CHECK(send_ip(&lab, &ip) == XS_V_DROP_NO_POLICY);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED);
    lab_policy(&lab, 17, 2000, 0); /* a change reaches flows that are cached */
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED);
    ip = PLAIN;
    ip.dport = 2001;
    CHECK(send_ip(&lab, &ip) == XS_V_DROP_NO_POLICY);
    ip = PLAIN;
    ip.frag = 0x0010;
    CHECK(send_ip(&lab, &ip) == XS_V_DROP_FRAGMENT);
    CHECK(xs_policy_replace(lab.w, NULL, 0) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_DROP_NO_POLICY);
    lab_close(&lab);
}

/* The owner's frames go to the owner, unless this worker has an SA of the child for itself (RFC 9611). */
static void hands_over(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    lab_open(&lab, 0, 2, 1500);
    lab_policy(&lab, 0, 0, 1);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT && lab.counters.handoff_sent == 1);
    struct xs_handoff_ring *ring = xs_handoff_ring(lab.conf.handoff, 2, 1, 0); /* the same frame comes from worker 1 */
    ring->entries[0] = xs_handoff_ring(lab.conf.handoff, 2, 0, 1)->entries[0];
    CHECK(ring->entries[0].len == LAB_ETH + 64); /* whole, from the Ethernet header */
    ring->producer = 1;
    lab_install(&lab, &conf);
    CHECK(xs_worker_breathe(lab.w) == 1);
    CHECK(lab_count(&lab, XS_V_ENCRYPTED) == 1 && lab.counters.handoff_sent == 1);    /* served, never bounced */
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && lab.counters.handoff_sent == 1); /* by our own SA */
    struct lab_ip last_hop = PLAIN;
    last_hop.ttl = 1;
    CHECK(send_ip(&lab, &last_hop) == XS_V_ANSWERED && lab.counters.handoff_sent == 1);
    CHECK(xs_sa_remove(lab.w, conf.slot) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT && lab.counters.handoff_sent == 2);
    lab_close(&lab);
}

static void waits(void)
{
    struct lab lab;
    struct xs_event event;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    struct xs_addr peer = lab_addr("10.9.0.2");
    lab_open(&lab, 0, 1, 1500);
    lab_policy(&lab, 0, 0, 0);
    CHECK(xs_neighbour_remove(lab.w, LAB_OUTSIDE, &peer) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT); /* no SA yet */
    CHECK(xs_worker_event(lab.w, &event) && event.kind == XS_EVENT_ACQUIRE && event.child == 0);
    lab_install(&lab, &conf); /* now no neighbour */
    CHECK(xs_worker_event(lab.w, &event) && event.kind == XS_EVENT_RESOLVE && event.port == LAB_OUTSIDE);
    CHECK(!memcmp(event.addr.bytes, peer.bytes, 4) && !lab_take(&lab, LAB_OUTSIDE, frame));
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.2", 42); /* reached by a tag */
    CHECK(lab_count(&lab, XS_V_ENCRYPTED) == 1);
    uint32_t len = lab_take(&lab, LAB_OUTSIDE, frame);
    CHECK(len && frame[12] == 0x81 && frame[13] == 0 && frame[15] == 42 && frame[16] == 8 && frame[17] == 0);
    CHECK(lab_esp_open(inner, &conf, 1, frame + 18 + 20, len - 18 - 20));
    CHECK(xs_route_replace(lab.w, NULL, 0) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_DROP_NO_ROUTE);
    lab_routes(&lab);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED);
    lab_close(&lab);
}

static void longest_prefix(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    uint8_t frame[LAB_FRAME];
    start(&lab, &conf);
    struct xs_route rows[] = {
        {.prefix = {lab_addr("0.0.0.0"), 0}, .via = lab_addr("10.1.0.5"), .port = LAB_INSIDE},
        {.prefix = {lab_addr("10.9.0.2"), 32}, .via = lab_addr("10.9.0.7"), .port = LAB_OUTSIDE},
        {.prefix = {lab_addr("10.9.0.0"), 24}, .port = LAB_INSIDE},
    };
    CHECK(xs_route_replace(lab.w, rows, 3) == 0);
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.7", 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && lab_take(&lab, LAB_OUTSIDE, frame));
    lab_close(&lab);
}

static void malformed(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    uint8_t packet[LAB_FRAME], frame[LAB_FRAME];
    start(&lab, &conf);
    uint32_t len = lab_frame(frame, packet, lab_ip_packet(packet, &PLAIN), 0);
    for (uint32_t cut = 0; cut < len; cut++)
        lab_put(&lab, LAB_INSIDE, frame, cut);
    CHECK(lab_count(&lab, XS_V_DROP_MALFORMED) == len && lab_total(&lab) == len);
    frame[LAB_ETH + 10] ^= 1;
    lab_put(&lab, LAB_INSIDE, frame, len);
    CHECK(lab_count(&lab, XS_V_DROP_MALFORMED) == len + 1);
    frame[12] = 0x86, frame[13] = 0xdd, frame[LAB_ETH] = 0x60;
    lab_put(&lab, LAB_INSIDE, frame, len);
    CHECK(lab_count(&lab, XS_V_DROP_UNSUPPORTED) == 1);
    lab_close(&lab);
}

static void refuses_configuration(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    struct xs_selector odd = lab_selector(0, 0);
    odd.local.addr.family = 6;
    struct xs_sa_conf good = lab_sa(XS_INBOUND, false, true), bad[6] = {good, good, good, good, good, good};
    bad[0].spi = 0;
    bad[1].slot = LAB_SLOTS;
    bad[2].selectors = &odd, bad[2].selector_count = 1;
    bad[3].replay_window = 100;
    bad[4].path_mtu = 575;
    bad[5].key_len = 19;
    for (int i = 0; i < 6; i++)
        CHECK(xs_sa_install(lab.w, &bad[i]) < 0);
    lab_install(&lab, &good);
    CHECK(xs_sa_install(lab.w, &good) < 0); /* twice in one slot */
    good.slot = 5;
    CHECK(xs_sa_install(lab.w, &good) < 0); /* one SPI twice */
    CHECK(xs_sa_use(lab.w, 0, LAB_SLOT_IN) < 0 && xs_sa_remove(lab.w, 9) < 0 && xs_sa_grant(lab.w, 9, 1) < 0);
    CHECK(xs_sa_path_mtu(lab.w, 0, 1400) < 0 && !xs_sa_engine(lab.w, 9) && xs_sa_engine(lab.w, LAB_SLOT_IN));
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"seals", seals},
        {"grants", grants},
        {"turned_back", turned_back},
        {"exhaustion", exhaustion},
        {"copies_bits", copies_bits},
        {"policies", policies},
        {"hands_over", hands_over},
        {"waits", waits},
        {"longest_prefix", longest_prefix},
        {"malformed", malformed},
        {"refuses_configuration", refuses_configuration},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
