/* ESP in, by RFC 4303 sec. 3.4: what is authentic, fresh and permitted comes out inside; everything else is one counted
 * verdict. The peer is path_packets.c. The cases icv and
 * selector are the ones that the mutants of these names must break. */
#include "path_peer.h"

static void delivers_one(bool cbc, bool esn, bool udp, uint8_t engine)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, cbc, esn);
    conf.encap_local = conf.encap_remote = udp ? 4500 : 0;
    conf.engine = engine;
    lab_install(&lab, &conf);
    for (uint32_t payload = 0; payload < 70; payload++) { /* every amount of padding */
        uint8_t inner[LAB_FRAME], out[LAB_FRAME];
        struct lab_ip ip = PLAIN;
        ip.payload = payload;
        uint32_t len = lab_ip_packet(inner, &ip);
        CHECK(send_ip(&lab, &conf, payload + 1, &ip) == XS_V_DECRYPTED);
        CHECK(lab_take(&lab, LAB_INSIDE, out) == LAB_ETH + len);
        static const uint8_t ethernet[14] = {2, 0, 0, 0, 9, 1, 2, 0, 0, 0, 0, 2, 8, 0};
        CHECK(!memcmp(out, ethernet, LAB_ETH));
        CHECK(out[LAB_ETH + 8] == 63 && lab_sum(out + LAB_ETH, 20, 0) == 0);
        CHECK(!memcmp(out + LAB_ETH, inner, 8) && !memcmp(out + LAB_ETH + 12, inner + 12, len - 12));
    }
    CHECK(lab_slot(&lab, LAB_SLOT_IN)->packets == 70);
    lab_close(&lab);
}

static void delivers(void)
{
    for (int i = 0; i < 16; i++)
        delivers_one(i & 1, i & 2, i & 4, i & 8 ? XS_ENGINE_OPENSSL : XS_ENGINE_AUTO);
}

static void icv(void)
{
    for (int cbc = 0; cbc < 2; cbc++) {
        struct lab lab;
        struct xs_sa_conf conf;
        start(&lab, &conf, cbc, true);
        uint8_t inner[LAB_FRAME], good[LAB_FRAME], frame[LAB_FRAME];
        uint32_t len = lab_sealed(good, &conf, 7, inner, lab_ip_packet(inner, &PLAIN), 0);
        for (uint32_t at = LAB_ETH + 20 + 8; at < len; at++) { /* IV, ciphertext, ICV */
            memcpy(frame, good, len);
            frame[at] ^= 0x10;
            CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_ICV);
        }
        CHECK(lab_slot(&lab, LAB_SLOT_IN)->top == 0); /* what was not authentic moved nothing */
        CHECK(verdict_of(&lab, good, len) == XS_V_DECRYPTED);
        lab_close(&lab);
    }
}

static void selector(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    start(&lab, &conf, false, true);
    struct lab_ip ip = PLAIN;
    ip.src = "10.3.0.9";
    CHECK(send_ip(&lab, &conf, 1, &ip) == XS_V_DROP_SELECTOR);
    ip = PLAIN;
    ip.dst = "10.4.0.5";
    CHECK(send_ip(&lab, &conf, 2, &ip) == XS_V_DROP_SELECTOR);
    CHECK(send_ip(&lab, &conf, 3, &PLAIN) == XS_V_DECRYPTED);
    lab_close(&lab);
}

static void selector_ports(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    struct xs_selector web[] = {lab_selector(17, 1000), lab_selector(17, 1001)};
    conf.selectors = web;
    conf.selector_count = 2;
    lab_install(&lab, &conf);
    struct lab_ip ip = PLAIN;
    CHECK(send_ip(&lab, &conf, 1, &ip) == XS_V_DECRYPTED);
    ip.sport = 1001; /* the second row */
    CHECK(send_ip(&lab, &conf, 2, &ip) == XS_V_DECRYPTED);
    ip.sport = 1002;
    CHECK(send_ip(&lab, &conf, 3, &ip) == XS_V_DROP_SELECTOR);
    ip = PLAIN;
    ip.protocol = 6;
    CHECK(send_ip(&lab, &conf, 4, &ip) == XS_V_DROP_SELECTOR);
    ip = PLAIN;
    ip.frag = 0x0010; /* a later fragment: what stands where ports were is payload */
    CHECK(send_ip(&lab, &conf, 5, &ip) == XS_V_DROP_FRAGMENT);
    lab_close(&lab);
}

static void inner_lies(void)
{
    static const struct {
        uint8_t at, value;
    } lies[] = {{0, 0x65}, {0, 0x44}, {0, 0x4f}, {2, 0x7f}, {3, 0x10}, {10, 0xee}};
    struct lab lab;
    struct xs_sa_conf conf;
    start(&lab, &conf, false, true);
    uint8_t text[LAB_FRAME];
    for (uint32_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint32_t len = lab_ip_packet(text, &PLAIN);
        text[lies[i].at] = lies[i].value;
        CHECK(send_text(&lab, &conf, i + 1, text, lab_trailer(text, len, 4, 4)) == XS_V_DROP_INNER);
    }
    uint32_t len = lab_ip_packet(text, &PLAIN);
    for (uint32_t cut = 0; cut < len; cut++) /* inner length lies, at every length */
        CHECK(send_text(&lab, &conf, 100 + cut, text, lab_trailer((lab_ip_packet(text, &PLAIN), text), cut, 4, 4)) ==
              XS_V_DROP_INNER);
    lab_close(&lab);
}

/* RFC 6040 sec. 4.2, figure 4, typed off: rows inner, columns outer; 9 = drop. Not-ECT, ECT(1), ECT(0), CE. */
static void ecn(void)
{
    static const uint8_t figure[4][4] = {{0, 0, 0, 9}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    struct lab lab;
    struct xs_sa_conf conf;
    start(&lab, &conf, false, true);
    for (uint32_t i = 0; i < 16; i++) {
        uint8_t inner[LAB_FRAME], frame[LAB_FRAME], out[LAB_FRAME], in_ecn = i / 4, out_ecn = i % 4;
        struct lab_ip ip = PLAIN;
        ip.tos = (uint8_t)(0xb8 | in_ecn);
        uint32_t len = lab_sealed(frame, &conf, i + 1, inner, lab_ip_packet(inner, &ip), (uint8_t)(0x28 | out_ecn));
        uint8_t expected = figure[in_ecn][out_ecn];
        CHECK(verdict_of(&lab, frame, len) == (expected == 9 ? XS_V_DROP_ECN : XS_V_DECRYPTED));
        if (expected == 9)
            continue;
        CHECK(lab_take(&lab, LAB_INSIDE, out));
        CHECK(out[LAB_ETH + 1] == (0xb8 | expected) && lab_sum(out + LAB_ETH, 20, 0) == 0);
    }
    lab_close(&lab);
}

static void outer(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    uint8_t inner[LAB_FRAME], good[LAB_FRAME], frame[LAB_FRAME];
    start(&lab, &conf, false, true);
    uint32_t len = lab_sealed(good, &conf, 1, inner, lab_ip_packet(inner, &PLAIN), 0);
    for (uint32_t cut = 0; cut < len; cut++) /* the outer length then says more than there is */
        CHECK(verdict_of(&lab, good, cut) == XS_V_DROP_MALFORMED);
    for (uint32_t room = 20; room < len - LAB_ETH; room++) { /* an honest length, too little ESP in it */
        uint32_t esp = room - 20;
        uint32_t sent = lab_outer(frame, &conf, good + LAB_ETH + 20, esp, 0);
        uint32_t verdict = verdict_of(&lab, frame, sent);
        CHECK(verdict == (esp < 8 + 8 + 4 + 16 || esp % 4 ? XS_V_DROP_MALFORMED : XS_V_DROP_ICV));
    }
    memcpy(frame, good, len);
    frame[LAB_ETH + 20] = 0x77;
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_NO_SA);
    struct xs_sa_conf udp = conf;
    udp.encap_local = udp.encap_remote = 4500;
    len = lab_sealed(frame, &udp, 1, inner, lab_ip_packet(inner, &PLAIN), 0);
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_ENCAP);
    frame[LAB_ETH + 25]++; /* the UDP length lies */
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_MALFORMED);
    lab_close(&lab);
}

static void tags(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    uint8_t inner[LAB_FRAME], plain[LAB_FRAME], frame[LAB_FRAME];
    start(&lab, &conf, false, true);
    uint32_t len = lab_sealed(plain, &conf, 1, inner, lab_ip_packet(inner, &PLAIN), 0);
    len = lab_frame(frame, plain + LAB_ETH, len - LAB_ETH, 42);
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_TAG);
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.2", 43);
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_TAG);
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.2", 42);
    CHECK(verdict_of(&lab, frame, len) == XS_V_DECRYPTED);
    lab_close(&lab);
}

/* What came out of a tunnel and cannot go on is answered through the tunnel (RFC 792, RFC 1191), never in the clear. */
static void answers_back(void)
{
    struct lab lab;
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true), back = lab_sa(XS_OUTBOUND, false, true);
    lab_open(&lab, 0, 1, 1000);
    lab_install(&lab, &conf);
    struct lab_ip ip = PLAIN;
    ip.ttl = 1;
    CHECK(send_ip(&lab, &conf, 1, &ip) == XS_V_DROP_NO_POLICY); /* no way back: nothing leaves */
    back.spi = 0x2002;
    lab_install(&lab, &back);
    lab_policy(&lab, 0, 0, 0);
    uint8_t out[LAB_FRAME], text[LAB_FRAME];
    for (uint64_t seq = 1; seq <= 2; seq++) {
        CHECK(send_ip(&lab, &conf, seq + 1, &ip) == XS_V_ENCRYPTED);
        uint32_t len = lab_take(&lab, LAB_OUTSIDE, out);
        len = lab_esp_open(text, &back, seq, out + LAB_ETH + 20, len - LAB_ETH - 20);
        CHECK(len && text[9] == 1 && lab_sum(text, 20, 0) == 0);
        CHECK(!memcmp(text + 12, lab_addr("10.1.0.1").bytes, 4) && !memcmp(text + 16, lab_addr("10.2.0.9").bytes, 4));
        CHECK(text[20] == (seq == 1 ? 11 : 3) && text[21] == (seq == 1 ? 0 : 4));
        CHECK(lab_sum(text + 20, (uint32_t)text[2] * 256 + text[3] - 20, 0) == 0);
        CHECK(seq == 1 || text[26] * 256 + text[27] == 1000);
        ip = PLAIN;
        ip.payload = 1000 - 24 + 1;
        ip.frag = 0x4000;
    }
    ip.frag = 0;
    CHECK(send_ip(&lab, &conf, 4, &ip) == XS_V_DROP_TOO_BIG);
    ip.payload--;
    CHECK(send_ip(&lab, &conf, 5, &ip) == XS_V_DECRYPTED);
    lab_close(&lab);
}

/* A packet whose next hop is outside again goes by policy or not at all. */
static void never_in_the_clear(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    struct xs_sa_conf conf = lab_sa(XS_INBOUND, false, true);
    struct xs_selector any = lab_selector(0, 0);
    any.local.bits = any.remote.bits = 0;
    conf.selectors = &any;
    conf.selector_count = 1;
    lab_install(&lab, &conf);
    struct lab_ip ip = PLAIN;
    ip.dst = "10.2.0.77";
    CHECK(send_ip(&lab, &conf, 1, &ip) == XS_V_DROP_NO_POLICY);
    ip.dst = "10.77.0.1";
    CHECK(send_ip(&lab, &conf, 2, &ip) == XS_V_DROP_NO_ROUTE);
    uint8_t out[LAB_FRAME];
    CHECK(!lab_take(&lab, LAB_OUTSIDE, out) && !lab_take(&lab, LAB_INSIDE, out));
    lab_close(&lab);
}

/* A packet that the peer itself spoiled before sealing; half of the time with a checksum that covers it up. */
static uint32_t spoil(uint8_t *text)
{
    struct lab_ip ip = PLAIN;
    ip.protocol = rand() % 2 ? 6 : 17;
    ip.payload = (uint32_t)rand() % 60;
    uint32_t whole = lab_trailer(text, lab_ip_packet(text, &ip), 4, 4);
    for (int n = rand() % 3; n > 0; n--)
        text[rand() % 2 ? (uint32_t)rand() % 24 : whole - 1 - (uint32_t)rand() % 4] ^= (uint8_t)(1 << rand() % 8);
    if (rand() % 2 && text[0] == 0x45) {
        text[10] = text[11] = 0;
        uint16_t sum = lab_sum(text, 20, 0);
        text[10] = (uint8_t)(sum >> 8), text[11] = (uint8_t)sum;
    }
    return whole;
}

/* Noise below and above the seal: every frame is counted once or still waits, and what comes out was permitted. */
static void hostile(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    uint8_t text[LAB_FRAME], esp[LAB_FRAME], frame[LAB_FRAME], out[LAB_FRAME];
    const uint32_t frames = 40000;
    start(&lab, &conf, false, true);
    srand(2);
    for (uint32_t i = 0; i < frames; i++) {
        uint32_t whole = spoil(text),
                 len = lab_outer(frame, &conf, esp, lab_esp(esp, &conf, i + 1, text, whole), (uint8_t)rand());
        if (rand() % 4 == 0)
            frame[LAB_ETH + (uint32_t)rand() % (len - LAB_ETH)] ^= (uint8_t)(1 << rand() % 8);
        lab_put(&lab, LAB_OUTSIDE, frame, len);
        while (lab_take(&lab, LAB_INSIDE, out))
            CHECK(!memcmp(out + LAB_ETH + 12, (uint8_t[]){10, 2}, 2) &&
                  !memcmp(out + LAB_ETH + 16, (uint8_t[]){10, 1}, 2));
        CHECK(!lab_take(&lab, LAB_OUTSIDE, out));
    }
    CHECK(lab_total(&lab) + lab.counters.held == frames);
    static const uint8_t reached[] = {XS_V_DECRYPTED,      XS_V_DROP_ICV,   XS_V_DROP_TRAILER,
                                      XS_V_DROP_INNER,     XS_V_DROP_ECN,   XS_V_DROP_SELECTOR,
                                      XS_V_DROP_MALFORMED, XS_V_DROP_NO_SA, XS_V_DROP_NO_NEIGHBOUR};
    for (uint32_t i = 0; i < sizeof reached; i++)
        CHECK(lab_count(&lab, reached[i]) > 0);
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"delivers", delivers},
        {"icv", icv},
        {"selector", selector},
        {"selector_ports", selector_ports},
        {"inner_lies", inner_lies},
        {"ecn", ecn},
        {"outer", outer},
        {"tags", tags},
        {"answers_back", answers_back},
        {"never_in_the_clear", never_in_the_clear},
        {"hostile", hostile},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
