/* Cleartext out, by RFC 4303 sec. 3.3: what leaves is opened by libcrypto (path_packets.c) and read field by field;
 * what may not leave is answered, held, handed over or a counted drop. */
#include "loop.h"
#include "path_lab.h"

static const struct lab_ip PLAIN = {.src = "10.1.0.5", .dst = "10.2.0.9", .sport = 1000, .dport = 2000, .payload = 40};
enum { OUTER = LAB_ETH + 20 };

static void start(struct lab *lab, struct xs_sa_conf *conf)
{
    lab_open(lab, 0, 1, 1500);
    lab_install(lab, conf);
    lab_policy(lab, 0, 0, 0);
}

static uint32_t send_ip(struct lab *lab, const struct lab_ip *ip)
{
    uint8_t packet[LAB_FRAME], frame[LAB_FRAME];
    uint64_t before[XS_V_COUNT];
    memcpy(before, lab->counters.verdicts, sizeof before);
    lab_put(lab, LAB_INSIDE, frame, lab_frame(frame, packet, lab_ip_packet(packet, ip), 0));
    for (uint32_t v = 0; v < XS_V_COUNT; v++)
        if (lab_count(lab, v) != before[v])
            return v;
    return XS_V_COUNT; /* held or handed over */
}

/* The next frame out of the outside port, opened; the inner length. */
static uint32_t taken(struct lab *lab, const struct xs_sa_conf *conf, uint64_t seq, uint8_t *frame, uint8_t *inner)
{
    uint32_t len = lab_take(lab, LAB_OUTSIDE, frame), skip = OUTER + (conf->encap_local ? 8 : 0);
    CHECK(len > skip);
    const uint8_t *esp = frame + skip, number[4] = {seq >> 24 & 255, seq >> 16 & 255, seq >> 8 & 255, seq & 255};
    CHECK(!memcmp(esp, (uint8_t[]){0, 0, 0x10, 0x01}, 4) && !memcmp(esp + 4, number, 4));
    uint32_t text = lab_esp_open(inner, conf, seq, esp, len - skip);
    CHECK(text && inner[text - 1] == 4);
    uint32_t pad = inner[text - 2];
    for (uint32_t i = 0; i < pad; i++)
        CHECK(inner[text - 2 - pad + i] == i + 1); /* RFC 4303 sec. 2.4 */
    CHECK((uint32_t)inner[2] * 256 + inner[3] == text - 2 - pad && lab_sum(inner, 20, 0) == 0);
    return text - 2 - pad;
}

static void check_outer(const uint8_t *ip, uint32_t len, bool udp)
{
    CHECK(ip[0] == 0x45 && ip[8] == 64 && ip[9] == (udp ? 17 : 50) && lab_sum(ip, 20, 0) == 0);
    CHECK((uint32_t)ip[2] * 256 + ip[3] == len);
    CHECK(!memcmp(ip + 12, lab_addr("10.9.0.1").bytes, 4) && !memcmp(ip + 16, lab_addr("10.9.0.2").bytes, 4));
    static const uint8_t ports[4] = {0x11, 0x94, 0x11, 0x94};
    CHECK(!udp || (!memcmp(ip + 20, ports, 4) && (uint32_t)ip[24] * 256 + ip[25] == len - 20 && !ip[26] && !ip[27]));
}

static void seals_one(bool cbc, bool esn, bool udp)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, cbc, esn);
    conf.encap_local = conf.encap_remote = udp ? 4500 : 0;
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
    for (int i = 0; i < 8; i++)
        seals_one(i & 1, i & 2, i & 4);
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

/* The ICMP error that left inside: to the sender's station, from us, quoting the packet (RFC 792). */
static void check_error(struct lab *lab, const struct lab_ip *about, uint8_t type, uint8_t code, uint32_t mtu)
{
    uint8_t frame[LAB_FRAME], packet[LAB_FRAME];
    uint32_t len = lab_take(lab, LAB_INSIDE, frame);
    CHECK(len == LAB_ETH + 56);
    static const uint8_t ethernet[14] = {2, 0, 0, 0, 7, 7, 2, 0, 0, 0, 0, 2, 8, 0};
    CHECK(!memcmp(frame, ethernet, LAB_ETH));
    uint8_t *ip = frame + LAB_ETH;
    CHECK(ip[9] == 1 && ip[3] == 56 && lab_sum(ip, 20, 0) == 0 && lab_sum(ip + 20, 36, 0) == 0);
    CHECK(!memcmp(ip + 12, lab_addr("10.1.0.1").bytes, 4) && !memcmp(ip + 16, lab_addr(about->src).bytes, 4));
    CHECK(ip[20] == type && ip[21] == code && (uint32_t)ip[26] * 256 + ip[27] == mtu);
    lab_ip_packet(packet, about);
    CHECK(!memcmp(ip + 28, packet, 28));
}

static void time_exceeded(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    start(&lab, &conf);
    struct lab_ip ip = PLAIN;
    ip.ttl = 1;
    CHECK(send_ip(&lab, &ip) == XS_V_ANSWERED);
    check_error(&lab, &ip, 11, 0, 0);
    ip.protocol = 1;
    ip.sport = 0x0300; /* itself an ICMP error: never answered (RFC 1122 sec. 3.2.2) */
    CHECK(send_ip(&lab, &ip) == XS_V_DROP_TTL);
    ip.sport = 0x0800;
    CHECK(send_ip(&lab, &ip) == XS_V_ANSWERED);
    ip = PLAIN;
    ip.ttl = 1;
    ip.frag = 0x0001;
    CHECK(send_ip(&lab, &ip) == XS_V_DROP_TTL); /* later fragments neither */
    CHECK(lab_slot(&lab, LAB_SLOT_OUT)->next_seq == 1);
    lab_close(&lab);
}

/* At most so many in a second of the worker's clock, which stands still here. */
static void errors_are_limited(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    uint8_t packet[LAB_FRAME], out[LAB_FRAME];
    start(&lab, &conf);
    struct lab_ip ip = PLAIN;
    ip.ttl = 1;
    uint32_t len = lab_ip_packet(packet, &ip);
    lab.w->now_ns = 5000000000ULL;
    for (int i = 0; i < 1500; i++) {
        struct xs_frame f = {.port = LAB_INSIDE};
        CHECK(xs_chunk_take(lab.w, &f.chunk));
        f.data = xs_chunk_base(lab.w, f.chunk) + 256;
        f.len = lab_frame(f.data, packet, len, 0);
        if (i == 1400)
            lab.w->now_ns += 1000000001ULL;
        xs_outbound(lab.w, &f, 1);
        xs_ports_flush(lab.w);
        lab_take(&lab, LAB_INSIDE, out);
    }
    CHECK(lab_count(&lab, XS_V_ANSWERED) == 1100 && lab_count(&lab, XS_V_DROP_TTL) == 400);
    lab_close(&lab);
}

static void too_big_one(bool cbc, bool udp, uint32_t path)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, cbc, true);
    conf.encap_local = conf.encap_remote = udp ? 4500 : 0;
    start(&lab, &conf);
    CHECK(xs_sa_path_mtu(lab.w, 0, path) == 0);
    const uint32_t around = 20 + (udp ? 8 : 0) + 8 + (cbc ? 16 : 8) + 16, block = cbc ? 16 : 4;
    const uint32_t fits = (path - around) / block * block - 2;
    uint8_t frame[LAB_FRAME];
    struct lab_ip ip = PLAIN;
    ip.frag = 0x4000;
    ip.payload = fits - 24;
    CHECK(send_ip(&lab, &ip) == XS_V_ENCRYPTED && lab_take(&lab, LAB_OUTSIDE, frame) <= LAB_ETH + path);
    ip.payload++;
    CHECK(send_ip(&lab, &ip) == XS_V_ANSWERED);
    check_error(&lab, &ip, 3, 4, fits);
    ip.frag = 0;
    CHECK(send_ip(&lab, &ip) == XS_V_DROP_TOO_BIG);
    lab_close(&lab);
}

static void too_big(void)
{
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t path = 576; path <= 1500; path += 33)
            too_big_one(i & 1, i & 2, path);
    too_big_one(false, false, 1500);
}

/* A SYN with the option behind a NOP or not: the words of the checksum then straddle it. */
static void clamp_one(uint16_t offered, bool odd, bool inbound)
{
    struct lab lab;
    struct xs_sa_conf out = lab_sa(XS_OUTBOUND, false, true), in = lab_sa(XS_INBOUND, false, true);
    uint8_t packet[LAB_FRAME], frame[LAB_FRAME], inner[LAB_FRAME];
    start(&lab, &out);
    lab_install(&lab, &in);
    struct lab_ip ip = {.src = inbound ? PLAIN.dst : PLAIN.src, .dst = inbound ? PLAIN.src : PLAIN.dst, .protocol = 6};
    ip.payload = 24;
    uint32_t len = lab_ip_packet(packet, &ip);
    uint8_t *tcp = packet + 20;
    memset(tcp + 4, 0, 24);
    tcp[12] = 7 << 4;
    tcp[13] = inbound ? 0x12 : 0x02;
    memset(tcp + 20, 1, 8);
    const uint8_t option[4] = {2, 4, (uint8_t)(offered >> 8), (uint8_t)offered};
    memcpy(tcp + 20 + odd, option, 4);
    uint16_t sum = lab_sum(tcp, 28, 0);
    tcp[16] = (uint8_t)(sum >> 8), tcp[17] = (uint8_t)sum;
    CHECK(lab_sum(tcp, 28, 0) == 0);
    const uint8_t *found = inner;
    if (inbound) {
        lab_put(&lab, LAB_OUTSIDE, frame, lab_sealed(frame, &in, 1, packet, len, 0));
        CHECK(lab_take(&lab, LAB_INSIDE, inner));
        found = inner + LAB_ETH;
    } else {
        lab_put(&lab, LAB_INSIDE, frame, lab_frame(frame, packet, len, 0));
        CHECK(taken(&lab, &out, 1, frame, inner) == len);
    }
    const uint32_t most = (1500 - 52) / 4 * 4 - 2 - 40, mss = found[20 + 22 + odd] * 256U + found[20 + 23 + odd];
    CHECK(mss == (offered < most ? offered : most) && lab_sum(found + 20, 28, 0) == 0);
    lab_close(&lab);
}

static void clamps(void)
{
    static const uint16_t offers[] = {1460, 1406, 1407, 536, 65535, 1446};
    for (uint32_t i = 0; i < 6; i++)
        for (int way = 0; way < 4; way++)
            clamp_one(offers[i], way & 1, way & 2);
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

static void hands_over(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    lab_open(&lab, 0, 2, 1500);
    lab_install(&lab, &conf);
    lab_policy(&lab, 0, 0, 1);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT && lab.counters.handoff_sent == 1);
    struct xs_handoff_ring *ring = xs_handoff_ring(lab.conf.handoff, 2, 1, 0); /* the same frame comes from worker 1 */
    ring->entries[0] = xs_handoff_ring(lab.conf.handoff, 2, 0, 1)->entries[0];
    CHECK(ring->entries[0].len == LAB_ETH + 64); /* whole, from the Ethernet header */
    ring->producer = 1;
    CHECK(xs_worker_breathe(lab.w) == 1);
    CHECK(lab_count(&lab, XS_V_ENCRYPTED) == 1 && lab.counters.handoff_sent == 1); /* served, never bounced */
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
    lab_install(&lab, &conf);                   /* now no neighbour */
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
        {"exhaustion", exhaustion},
        {"copies_bits", copies_bits},
        {"time_exceeded", time_exceeded},
        {"errors_are_limited", errors_are_limited},
        {"too_big", too_big},
        {"clamps", clamps},
        {"policies", policies},
        {"hands_over", hands_over},
        {"waits", waits},
        {"longest_prefix", longest_prefix},
        {"malformed", malformed},
        {"refuses_configuration", refuses_configuration},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
