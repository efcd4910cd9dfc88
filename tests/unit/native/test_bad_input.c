/* Frames that no honest peer or host sends, one reason each: what is empty, as large as a chunk, of another protocol,
 * fragmented, overlapping; and a transmit ring that takes nothing. (Cuts at every length, wrong ICVs, replays, unknown
 * SPIs, selectors and lengths that lie: test_path_in.c, test_path_out.c, test_path_replay.c.) */
#include "path_peer.h"

static uint32_t from_inside(struct lab *lab, const uint8_t *frame, uint32_t len)
{
    uint64_t before[XS_V_COUNT];
    memcpy(before, lab->counters.verdicts, sizeof before);
    lab_put(lab, LAB_INSIDE, frame, len);
    for (uint32_t v = 0; v < XS_V_COUNT; v++)
        if (lab_count(lab, v) != before[v])
            return v;
    return XS_V_COUNT;
}

static void open_both(struct lab *lab, struct xs_sa_conf *in)
{
    struct xs_sa_conf out = lab_sa(XS_OUTBOUND, false, true);
    start(lab, in, false, true);
    out.spi = 0x2002;
    lab_install(lab, &out);
    lab_policy(lab, 0, 0, 0);
}

static void empty_frames(void)
{
    struct lab lab;
    struct xs_sa_conf in;
    uint8_t frame[LAB_FRAME] = {0}, packet[LAB_FRAME];
    open_both(&lab, &in);
    CHECK(verdict_of(&lab, frame, 0) == XS_V_DROP_MALFORMED && from_inside(&lab, frame, 0) == XS_V_DROP_MALFORMED);
    uint32_t len = lab_ip_packet(packet, &PLAIN); /* a packet of nothing but its header */
    packet[2] = 0, packet[3] = 20, packet[10] = packet[11] = 0;
    uint16_t sum = lab_sum(packet, 20, 0);
    packet[10] = (uint8_t)(sum >> 8), packet[11] = (uint8_t)sum;
    len = lab_sealed(frame, &in, 1, packet, 20, 0);
    CHECK(verdict_of(&lab, frame, len) == XS_V_DECRYPTED && lab_take(&lab, LAB_INSIDE, frame) == LAB_ETH + 20);
    lab_close(&lab);
}

/* As large as the memory port takes: to the last byte of the chunk. */
static void largest_frames(void)
{
    struct lab lab;
    struct xs_sa_conf in;
    uint8_t frame[LAB_FRAME], packet[LAB_FRAME], out[LAB_FRAME];
    const uint32_t most = LAB_CHUNK - 256;
    open_both(&lab, &in);
    struct lab_ip ip = PLAIN;
    for (uint32_t size = most - LAB_ETH - 80; size <= most - LAB_ETH; size++) {
        ip.src = "10.1.0.5", ip.dst = "10.2.0.9", ip.payload = size - 24, ip.frag = size % 2 ? 0x4000 : 0;
        uint32_t len = lab_frame(frame, packet, lab_ip_packet(packet, &ip), 0);
        CHECK(from_inside(&lab, frame, len) == (ip.frag ? XS_V_ANSWERED : XS_V_DROP_TOO_BIG));
        CHECK(!ip.frag || lab_take(&lab, LAB_INSIDE, out) == LAB_ETH + 56);
    }
    uint64_t seq = 1;
    for (uint32_t size = 1400; size <= most - LAB_ETH - 20 - 8 - 8 - 16 - 6; size++, seq++) {
        ip = PLAIN;
        ip.payload = size - 24;
        uint32_t len = lab_sealed(frame, &in, seq, packet, lab_ip_packet(packet, &ip), 0);
        CHECK(len <= most && verdict_of(&lab, frame, len) == (size <= 1500 ? XS_V_DECRYPTED : XS_V_DROP_TOO_BIG));
        CHECK(size > 1500 || lab_take(&lab, LAB_INSIDE, out) == LAB_ETH + size);
    }
    CHECK(xs_memory_put(lab.w, LAB_INSIDE, frame, most + 1) < 0);
    lab_close(&lab);
}

static void other_protocols(void)
{
    struct lab lab;
    struct xs_sa_conf in;
    uint8_t frame[LAB_FRAME], packet[LAB_FRAME], good[LAB_FRAME];
    open_both(&lab, &in);
    uint32_t len = lab_sealed(good, &in, 1, packet, lab_ip_packet(packet, &PLAIN), 0);
    for (uint32_t protocol = 0; protocol < 256; protocol++) {
        memcpy(frame, good, len);
        uint8_t *ip = frame + LAB_ETH;
        ip[9] = (uint8_t)protocol, ip[10] = ip[11] = 0;
        uint16_t sum = lab_sum(ip, 20, 0);
        ip[10] = (uint8_t)(sum >> 8), ip[11] = (uint8_t)sum;
        if (protocol != 50)
            CHECK(verdict_of(&lab, frame, len) == (protocol == 51 ? XS_V_DROP_UNSUPPORTED : XS_V_DROP_MALFORMED));
    }
    memcpy(frame, good, len);
    frame[12] = 0x86, frame[13] = 0xdd, frame[LAB_ETH] = 0x60; /* ESP in IPv6, which the door lets in */
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_UNSUPPORTED);
    CHECK(from_inside(&lab, frame, len) == XS_V_DROP_UNSUPPORTED);
    frame[12] = 0x08, frame[13] = 0x06;
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_MALFORMED);
    lab_close(&lab);
}

/* Outer fragments are the kernel's. Inner ones go on as they are, overlapping or not: whose ports matter do not. */
static void fragments_and_overlaps(void)
{
    static const uint16_t pieces[] = {0x2000, 0x2001, 0x2000, 0x0001, 0x0002, 0x1fff, 0x3fff};
    struct lab lab;
    struct xs_sa_conf in;
    uint8_t frame[LAB_FRAME], packet[LAB_FRAME], out[LAB_FRAME];
    open_both(&lab, &in);
    for (uint32_t i = 0; i < 7; i++) {
        struct lab_ip ip = PLAIN;
        ip.frag = pieces[i];
        uint32_t size = lab_ip_packet(packet, &ip), len = lab_sealed(frame, &in, i + 1, packet, size, 0);
        CHECK(verdict_of(&lab, frame, len) == XS_V_DECRYPTED && lab_take(&lab, LAB_INSIDE, out) == LAB_ETH + size);
        CHECK(out[LAB_ETH + 6] == ip.frag >> 8 && out[LAB_ETH + 7] == (ip.frag & 255));
        ip.frag = 0;
        len = lab_sealed(frame, &in, i + 100, packet, lab_ip_packet(packet, &ip), 0);
        uint8_t *outer = frame + LAB_ETH;
        outer[6] = (uint8_t)(pieces[i] >> 8), outer[7] = (uint8_t)pieces[i], outer[10] = outer[11] = 0;
        uint16_t sum = lab_sum(outer, 20, 0);
        outer[10] = (uint8_t)(sum >> 8), outer[11] = (uint8_t)sum;
        CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_MALFORMED);
    }
    CHECK(xs_sa_remove(lab.w, LAB_SLOT_IN) == 0);
    struct xs_selector web = lab_selector(17, 1000);
    in.selectors = &web, in.selector_count = 1;
    lab_install(&lab, &in);
    for (uint32_t i = 0; i < 7; i++) {
        struct lab_ip ip = PLAIN;
        ip.frag = pieces[i];
        uint32_t len = lab_sealed(frame, &in, i + 200, packet, lab_ip_packet(packet, &ip), 0);
        CHECK(verdict_of(&lab, frame, len) == (pieces[i] & 0x1fff ? XS_V_DROP_FRAGMENT : XS_V_DECRYPTED));
    }
    lab_close(&lab);
}

static uint32_t sends_nothing(struct xs_worker *w, struct xs_port *port, const struct xs_frame *frames, uint32_t count)
{
    (void)w, (void)port, (void)frames, (void)count;
    return 0;
}

static void transmit_ring_full(void)
{
    struct lab lab;
    struct xs_sa_conf in;
    uint8_t frame[LAB_FRAME], packet[LAB_FRAME];
    open_both(&lab, &in);
    struct xs_port_ops full = *lab.w->ports[LAB_INSIDE]->ops;
    full.send = sends_nothing;
    lab.w->ports[LAB_INSIDE]->ops = &full;
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t len = lab_sealed(frame, &in, i + 1, packet, lab_ip_packet(packet, &PLAIN), 0);
        CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_TX_FULL);
    }
    uint32_t freed, mine = xs_pool_count(lab.conf.pool, LAB_CHUNKS, XS_OWNER_WORKER, &freed);
    CHECK(mine + freed == LAB_CHUNKS && lab.counters.tx_packets[LAB_INSIDE] == 0);
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"empty_frames", empty_frames},
        {"largest_frames", largest_frames},
        {"other_protocols", other_protocols},
        {"fragments_and_overlaps", fragments_and_overlaps},
        {"transmit_ring_full", transmit_ring_full},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
