/* What the tests of cleartext out share: an outbound SA, a host that sends one packet, and what left, opened. */
#ifndef PATH_HOST_H
#define PATH_HOST_H

#include "path_lab.h"

static const struct lab_ip PLAIN = {.src = "10.1.0.5", .dst = "10.2.0.9", .sport = 1000, .dport = 2000, .payload = 40};
enum { OUTER = LAB_ETH + 20 };

static inline void start(struct lab *lab, struct xs_sa_conf *conf)
{
    lab_open(lab, 0, 1, 1500);
    lab_install(lab, conf);
    lab_policy(lab, 0, 0, 0);
}

static inline uint32_t send_ip(struct lab *lab, const struct lab_ip *ip)
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
static inline uint32_t taken(struct lab *lab, const struct xs_sa_conf *conf, uint64_t seq, uint8_t *frame,
                             uint8_t *inner)
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

#endif
