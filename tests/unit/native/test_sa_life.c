/* What is told of an SA on its way and what ends it: first use, soft and hard limits, each once and neither early nor
 * late; and where it runs, which may change under it (RFC 4301 sec. 4.4.2.1, RFC 4555, RFC 7296 sec. 2.23). */
#include "loop.h"
#include "path_host.h"
#include "sad.h"

static const struct lab_ip BACK = {.src = "10.2.0.9", .dst = "10.1.0.5", .sport = 2000, .dport = 1000, .payload = 40};
enum { INNER = 20 + 4 + 40 };

static uint32_t events_of(struct lab *lab, uint32_t kind)
{
    struct xs_event event;
    uint32_t count = 0;
    while (xs_worker_event(lab->w, &event)) {
        CHECK(event.kind == XS_EVENT_NONE || event.slot <= LAB_SLOT_OUT);
        count += event.kind == kind;
    }
    return count;
}

/* The verdict of one packet from the peer. */
static uint32_t from_peer(struct lab *lab, const struct xs_sa_conf *conf, uint64_t seq, uint8_t next)
{
    uint8_t inner[LAB_FRAME], text[LAB_FRAME], esp[LAB_FRAME], frame[LAB_FRAME];
    uint64_t before[XS_V_COUNT];
    uint32_t len = lab_ip_packet(inner, &BACK);
    memcpy(before, lab->counters.verdicts, sizeof before);
    memcpy(text, inner, len);
    len = lab_esp(esp, conf, seq, text, lab_trailer(text, len, 4, next));
    lab_put(lab, LAB_OUTSIDE, frame, lab_outer(frame, conf, esp, len, 0));
    for (uint32_t v = 0; v < XS_V_COUNT; v++)
        if (lab_count(lab, v) != before[v])
            return v;
    return XS_V_COUNT;
}

static void begin(struct lab *lab, struct xs_sa_conf *conf)
{
    lab_open(lab, 0, 1, 1500);
    lab_policy(lab, 0, 0, 0);
    lab_install(lab, conf);
}

static void outbound_packets(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    conf.soft_packets = 5;
    conf.hard_packets = 8;
    begin(&lab, &conf);
    for (uint32_t n = 1; n <= 12; n++) {
        CHECK(send_ip(&lab, &PLAIN) == (n <= 8 ? XS_V_ENCRYPTED : XS_V_DROP_LIFETIME));
        struct xs_event event;
        uint32_t kind = xs_worker_event(lab.w, &event) ? event.kind : XS_EVENT_NONE;
        CHECK(kind == (n == 5 ? XS_EVENT_SOFT : n == 8 ? XS_EVENT_EXHAUSTED : XS_EVENT_NONE));
        CHECK(!kind || event.slot == conf.slot);
        CHECK(!xs_worker_event(lab.w, &event));
    }
    CHECK(lab_slot(&lab, conf.slot)->next_seq == 9 && lab_slot(&lab, conf.slot)->drops[XS_V_DROP_LIFETIME] == 4);
    lab_close(&lab);
}

/* Exact also within one burst: no packet beyond the limit is sealed. */
static void outbound_burst(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    uint8_t packet[LAB_FRAME], frame[LAB_FRAME];
    conf.hard_packets = 20;
    begin(&lab, &conf);
    uint32_t len = lab_frame(frame, packet, lab_ip_packet(packet, &PLAIN), 0);
    for (uint32_t i = 0; i < 64; i++)
        CHECK(xs_memory_put(lab.w, LAB_INSIDE, frame, len) == 0);
    CHECK(xs_worker_breathe(lab.w) == 64);
    CHECK(lab_count(&lab, XS_V_ENCRYPTED) == 20 && lab_count(&lab, XS_V_DROP_LIFETIME) == 44);
    CHECK(events_of(&lab, XS_EVENT_EXHAUSTED) == 1);
    lab_close(&lab);
}

static void outbound_bytes(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, true, false);
    conf.soft_bytes = 2 * INNER + 1;
    conf.hard_bytes = 4 * INNER;
    begin(&lab, &conf);
    for (uint32_t n = 1; n <= 6; n++) {
        CHECK(send_ip(&lab, &PLAIN) == (n <= 4 ? XS_V_ENCRYPTED : XS_V_DROP_LIFETIME));
        struct xs_event event;
        uint32_t kind = xs_worker_event(lab.w, &event) ? event.kind : XS_EVENT_NONE;
        CHECK(kind == (n == 3 ? XS_EVENT_SOFT : n == 4 ? XS_EVENT_EXHAUSTED : XS_EVENT_NONE));
    }
    lab_close(&lab);
}

static void inbound(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    conf.tell_use = 1;
    conf.soft_packets = 3;
    conf.hard_packets = 5;
    begin(&lab, &conf);
    conf.key[0] ^= 1;
    CHECK(from_peer(&lab, &conf, 1, 4) == XS_V_DROP_ICV && !events_of(&lab, XS_EVENT_FIRST_USE)); /* no proof */
    conf.key[0] ^= 1;
    for (uint32_t n = 1; n <= 7; n++) {
        CHECK(from_peer(&lab, &conf, n, 4) == (n <= 5 ? XS_V_DECRYPTED : XS_V_DROP_LIFETIME));
        struct xs_event event;
        uint32_t kind = xs_worker_event(lab.w, &event) ? event.kind : XS_EVENT_NONE;
        CHECK(kind == (n == 1   ? XS_EVENT_FIRST_USE
                       : n == 3 ? XS_EVENT_SOFT
                       : n == 5 ? XS_EVENT_EXHAUSTED
                                : XS_EVENT_NONE));
        CHECK(!xs_worker_event(lab.w, &event));
    }
    CHECK(lab_slot(&lab, conf.slot)->top == 5);
    lab_close(&lab);
}

static uint32_t from_port(struct lab *lab, const struct xs_sa_conf *conf, uint64_t seq, uint16_t port)
{
    struct xs_sa_conf there = *conf;
    there.encap_remote = port;
    return from_peer(lab, &there, seq, 4);
}

/* RFC 7296 sec. 2.23: in response to a new packet alone, authentic, of an SA that has UDP. Told again each second,
 * until it is placed there. */
static void a_peer_that_a_nat_moved_is_told(void)
{
    struct lab lab;
    struct xs_event event;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    conf.encap_local = conf.encap_remote = 4500;
    conf.any_encap = 1;
    begin(&lab, &conf);
    CHECK(from_port(&lab, &conf, 5, 4500) == XS_V_DECRYPTED && !xs_worker_event(lab.w, &event));
    conf.key[0] ^= 1;
    CHECK(from_port(&lab, &conf, 6, 61000) == XS_V_DROP_ICV && !xs_worker_event(lab.w, &event));
    conf.key[0] ^= 1;
    CHECK(from_port(&lab, &conf, 4, 61000) == XS_V_DECRYPTED && !xs_worker_event(lab.w, &event)); /* it came late */
    CHECK(from_port(&lab, &conf, 5, 61000) == XS_V_DROP_REPLAY && !xs_worker_event(lab.w, &event));
    CHECK(from_port(&lab, &conf, 6, 61000) == XS_V_DECRYPTED && xs_worker_event(lab.w, &event));
    CHECK(event.kind == XS_EVENT_ELSEWHERE && event.slot == conf.slot && event.port == 61000);
    CHECK(event.addr.family == 4 && !memcmp(event.addr.bytes, conf.remote.bytes, 4));
    CHECK(from_port(&lab, &conf, 7, 61000) == XS_V_DECRYPTED && !xs_worker_event(lab.w, &event));
    xs_sad_inbound(lab.w->sad, conf.spi)->told_elsewhere_ns -= 2 * XS_ASK_NS;
    CHECK(from_port(&lab, &conf, 8, 61000) == XS_V_DECRYPTED && xs_worker_event(lab.w, &event));
    CHECK(xs_sa_move(lab.w, conf.slot, &conf.local, &conf.remote, 4500, 61000) == 0);
    CHECK(from_port(&lab, &conf, 9, 61000) == XS_V_DECRYPTED && !xs_worker_event(lab.w, &event));
    CHECK(from_port(&lab, &conf, 10, 61001) == XS_V_DECRYPTED && xs_worker_event(lab.w, &event));
    lab_close(&lab);
}

/* Manual SAs have the addresses that they have. */
static void a_manual_sa_stays(void)
{
    struct lab lab;
    struct xs_event event;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    conf.encap_local = conf.encap_remote = 4500;
    begin(&lab, &conf);
    CHECK(from_port(&lab, &conf, 1, 61000) == XS_V_DECRYPTED && !xs_worker_event(lab.w, &event));
    lab_close(&lab);
}

/* A dummy packet is as good a proof that the peer uses the SA, and that it lives. */
static void a_dummy_is_a_use(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    conf.tell_use = 1;
    begin(&lab, &conf);
    CHECK(lab_slot(&lab, conf.slot)->last_seen_ns == 0);
    CHECK(from_peer(&lab, &conf, 1, 59) == XS_V_DUMMY);
    CHECK(lab_slot(&lab, conf.slot)->last_seen_ns == lab.w->now_ns && lab_slot(&lab, conf.slot)->packets == 0);
    CHECK(events_of(&lab, XS_EVENT_FIRST_USE) == 1);
    CHECK(from_peer(&lab, &conf, 2, 4) == XS_V_DECRYPTED && !events_of(&lab, XS_EVENT_FIRST_USE));
    lab_close(&lab);
}

/* With the queue of events full each is told later, none is lost. */
static void told_when_there_is_room(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    struct xs_event noise = {.kind = XS_EVENT_NONE};
    conf.tell_use = 1;
    conf.soft_packets = 1;
    conf.hard_packets = 3;
    begin(&lab, &conf);
    while (xs_event_push(lab.w, &noise))
        ;
    CHECK(from_peer(&lab, &conf, 1, 4) == XS_V_DECRYPTED && !events_of(&lab, XS_EVENT_FIRST_USE));
    CHECK(from_peer(&lab, &conf, 2, 4) == XS_V_DECRYPTED);
    struct xs_event event;
    CHECK(xs_worker_event(lab.w, &event) && event.kind == XS_EVENT_FIRST_USE);
    CHECK(xs_worker_event(lab.w, &event) && event.kind == XS_EVENT_SOFT && !xs_worker_event(lab.w, &event));
    while (xs_event_push(lab.w, &noise))
        ;
    CHECK(from_peer(&lab, &conf, 3, 4) == XS_V_DECRYPTED && !events_of(&lab, XS_EVENT_EXHAUSTED));
    CHECK(from_peer(&lab, &conf, 4, 4) == XS_V_DROP_LIFETIME && events_of(&lab, XS_EVENT_EXHAUSTED) == 1);
    CHECK(from_peer(&lab, &conf, 5, 4) == XS_V_DROP_LIFETIME && events_of(&lab, XS_EVENT_EXHAUSTED) == 0);
    lab_close(&lab);
}

/* A successor goes on from the counts of the slot: what was used up stays used up. */
static void counts_outlive_the_worker(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    conf.tell_use = 1;
    conf.hard_packets = 3;
    begin(&lab, &conf);
    for (uint32_t n = 1; n <= 3; n++)
        CHECK(from_peer(&lab, &conf, n, 4) == XS_V_DECRYPTED);
    CHECK(events_of(&lab, XS_EVENT_EXHAUSTED) == 1 && xs_sa_remove(lab.w, conf.slot) == 0);
    lab_install(&lab, &conf);
    CHECK(from_peer(&lab, &conf, 4, 4) == XS_V_DROP_LIFETIME && events_of(&lab, XS_EVENT_EXHAUSTED) == 1);
    CHECK(xs_sa_remove(lab.w, conf.slot) == 0);
    conf.hard_packets = 0;
    lab_install(&lab, &conf);
    CHECK(from_peer(&lab, &conf, 4, 4) == XS_V_DECRYPTED && !events_of(&lab, XS_EVENT_FIRST_USE)); /* not the first */
    lab_close(&lab);
}

static void encapsulation_both_ways(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true), udp = conf;
    udp.encap_local = udp.encap_remote = 4500;
    begin(&lab, &conf);
    CHECK(from_peer(&lab, &udp, 1, 4) == XS_V_DROP_ENCAP && from_peer(&lab, &conf, 1, 4) == XS_V_DECRYPTED);
    CHECK(xs_sa_remove(lab.w, conf.slot) == 0);
    udp.any_encap = 1;
    udp.selectors = NULL;
    lab_install(&lab, &udp);
    CHECK(from_peer(&lab, &udp, 2, 4) == XS_V_DECRYPTED && from_peer(&lab, &conf, 3, 4) == XS_V_DECRYPTED);
    lab_close(&lab);
}

/* The peer went to another address, behind a NAT and back: numbers go on, headers follow, and so does the next hop. */
static void outbound_moves(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    struct xs_addr ours = lab_addr("10.9.0.9"), theirs = lab_addr("10.9.0.77"), six = {.family = 6};
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    begin(&lab, &conf);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && taken(&lab, &conf, 1, frame, inner) == INNER);
    CHECK(frame[5] == LAB_OUTSIDE);
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.77", 9); /* reached by a tag: a longer header than before */
    CHECK(xs_sa_move(lab.w, conf.slot, &ours, &theirs, 4500, 61234) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED);
    uint32_t len = lab_take(&lab, LAB_OUTSIDE, frame);
    const uint8_t *ip = frame + LAB_ETH + 4, ports[] = {4500 >> 8, 4500 & 255, 61234 >> 8, 61234 & 255};
    CHECK(frame[12] == 0x81 && ip[9] == 17 && lab_sum(ip, 20, 0) == 0 && !memcmp(ip + 20, ports, 4));
    CHECK(!memcmp(ip + 12, ours.bytes, 4) && !memcmp(ip + 16, theirs.bytes, 4));
    CHECK((uint32_t)ip[2] * 256 + ip[3] == len - LAB_ETH - 4 && (uint32_t)ip[24] * 256 + ip[25] == len - LAB_ETH - 24);
    CHECK(lab_esp_open(inner, &conf, 2, ip + 28, len - LAB_ETH - 4 - 28)); /* number 2: no number twice */
    CHECK(xs_sa_move(lab.w, conf.slot, &conf.local, &conf.remote, 0, 0) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && taken(&lab, &conf, 3, frame, inner) == INNER);
    CHECK(xs_sa_move(lab.w, conf.slot, &six, &theirs, 0, 0) < 0 && xs_sa_move(lab.w, 15, &ours, &theirs, 0, 0) < 0);
    CHECK(xs_sa_move(lab.w, conf.slot, &ours, &theirs, 4500, 0) < 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED && taken(&lab, &conf, 4, frame, inner) == INNER);
    lab_close(&lab);
}

/* A move to where ESP goes in UDP leaves less room: senders are told the smaller size. */
static void a_move_changes_what_fits(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    struct lab_ip ip = PLAIN;
    ip.frag = 0x4000;
    ip.payload = 1500 - 20 - 8 - 8 - 16 - 2 - 24; /* outer, ESP, IV, ICV, trailer; inner headers: the largest */
    begin(&lab, &conf);
    CHECK(send_ip(&lab, &ip) == XS_V_ENCRYPTED);
    CHECK(xs_sa_move(lab.w, conf.slot, &conf.local, &conf.remote, 4500, 4500) == 0);
    CHECK(send_ip(&lab, &ip) == XS_V_ANSWERED);
    CHECK(xs_sa_move(lab.w, conf.slot, &conf.local, &conf.remote, 0, 0) == 0);
    CHECK(send_ip(&lab, &ip) == XS_V_ENCRYPTED);
    lab_close(&lab);
}

static void inbound_moves(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true), udp = conf;
    struct xs_addr theirs = lab_addr("10.9.0.77");
    begin(&lab, &conf);
    CHECK(from_peer(&lab, &conf, 7, 4) == XS_V_DECRYPTED);
    udp.encap_local = 4500;
    udp.encap_remote = 1024;
    udp.remote = theirs;
    CHECK(xs_sa_move(lab.w, conf.slot, &conf.local, &theirs, 4500, 1024) == 0);
    CHECK(from_peer(&lab, &conf, 8, 4) == XS_V_DROP_ENCAP && from_peer(&lab, &udp, 8, 4) == XS_V_DECRYPTED);
    CHECK(from_peer(&lab, &udp, 7, 4) == XS_V_DROP_REPLAY); /* the window stays */
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"outbound_packets", outbound_packets},
        {"outbound_burst", outbound_burst},
        {"outbound_bytes", outbound_bytes},
        {"inbound", inbound},
        {"a_dummy_is_a_use", a_dummy_is_a_use},
        {"a_peer_that_a_nat_moved_is_told", a_peer_that_a_nat_moved_is_told},
        {"a_manual_sa_stays", a_manual_sa_stays},
        {"told_when_there_is_room", told_when_there_is_room},
        {"counts_outlive_the_worker", counts_outlive_the_worker},
        {"encapsulation_both_ways", encapsulation_both_ways},
        {"outbound_moves", outbound_moves},
        {"a_move_changes_what_fits", a_move_changes_what_fits},
        {"inbound_moves", inbound_moves},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
