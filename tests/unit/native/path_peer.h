/* What the tests of ESP in share: an inbound SA and a peer that sends one packet and reads its one verdict. */
#ifndef PATH_PEER_H
#define PATH_PEER_H

#include "path_lab.h"

static const struct lab_ip PLAIN = {.src = "10.2.0.9", .dst = "10.1.0.5", .sport = 1000, .dport = 2000, .payload = 40};

static inline void start(struct lab *lab, struct xs_sa_conf *conf, bool cbc, bool esn)
{
    lab_open(lab, 0, 1, 1500);
    *conf = lab_sa(XS_INBOUND, cbc, esn);
    lab_install(lab, conf);
}

static inline uint32_t verdict_of(struct lab *lab, const uint8_t *frame, uint32_t len)
{
    uint64_t before[XS_V_COUNT];
    memcpy(before, lab->counters.verdicts, sizeof before);
    lab_put(lab, LAB_OUTSIDE, frame, len);
    uint32_t found = XS_V_COUNT;
    for (uint32_t v = 0; v < XS_V_COUNT; v++) {
        if (lab_count(lab, v) == before[v])
            continue;
        CHECK(found == XS_V_COUNT && lab_count(lab, v) == before[v] + 1); /* exactly one verdict a frame */
        found = v;
    }
    CHECK(found != XS_V_COUNT);
    return found;
}

static inline uint32_t send_ip(struct lab *lab, const struct xs_sa_conf *conf, uint64_t seq, const struct lab_ip *ip)
{
    uint8_t inner[LAB_FRAME], frame[LAB_FRAME];
    uint32_t len = lab_ip_packet(inner, ip);
    return verdict_of(lab, frame, lab_sealed(frame, conf, seq, inner, len, 0));
}

static inline uint32_t send_seq(struct lab *lab, const struct xs_sa_conf *conf, uint64_t seq)
{
    return send_ip(lab, conf, seq, &PLAIN);
}

static inline uint32_t send_text(struct lab *lab, const struct xs_sa_conf *conf, uint64_t seq, const uint8_t *text,
                                 uint32_t len)
{
    uint8_t esp[LAB_FRAME], frame[LAB_FRAME];
    return verdict_of(lab, frame, lab_outer(frame, conf, esp, lab_esp(esp, conf, seq, text, len), 0));
}

#endif
