/* What does not go on: time to live, size, and the answers to the sender (RFC 792, 1191, 1812); the MSS clamp. */
#include "loop.h"
#include "path_host.h"

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

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"time_exceeded", time_exceeded},
        {"errors_are_limited", errors_are_limited},
        {"too_big", too_big},
        {"clamps", clamps},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
