/* Checksum arithmetic and the MSS clamp on their own: against sums computed anew (RFC 1071), at every offset an option
 * may have, among options that lie; nothing outside the header is touched. */
#include "inet.h"
#include "path_lab.h"

static void checksums(void)
{
    uint8_t block[64];
    srand(8);
    for (uint32_t i = 0; i < 20000; i++) {
        for (uint32_t k = 0; k < sizeof block; k++)
            block[k] = (uint8_t)(rand() % 3 ? rand() : rand() % 2 * 255);
        uint32_t len = (uint32_t)rand() % 64;
        CHECK(xs_checksum(block, len) == lab_sum(block, len, 0));
        uint16_t twenty = xs_checksum20(block);
        CHECK(((const uint8_t *)&twenty)[0] * 256 + ((const uint8_t *)&twenty)[1] == lab_sum(block, 20, 0));
    }
}

/* Every TTL under every checksum that ends in one of the carries: one less, and still right. */
static void ttl(void)
{
    struct lab_ip ip = {.src = "10.1.0.5", .dst = "10.2.0.9"};
    uint8_t packet[64];
    for (uint32_t i = 0; i < 65536; i++) {
        lab_ip_packet(packet, &ip);
        packet[4] = (uint8_t)(i >> 8), packet[5] = (uint8_t)i, packet[8] = (uint8_t)(1 + i % 255);
        packet[10] = packet[11] = 0;
        uint16_t sum = lab_sum(packet, 20, 0);
        xs_put16(packet + 10, sum);
        xs_ttl_decrement(packet);
        CHECK(packet[8] == i % 255 && xs_checksum20(packet) == 0);
    }
}

enum { TCP_AT = 20, ROOM = 96 };

static void sum_tcp(uint8_t *packet, uint32_t len)
{
    packet[TCP_AT + 16] = packet[TCP_AT + 17] = 0;
    xs_put16(packet + TCP_AT + 16, lab_sum(packet + TCP_AT, len - TCP_AT, 0));
}

static void mss_at_every_offset(void)
{
    for (uint32_t header = 24; header <= 60; header += 4) {
        for (uint32_t at = 20; at + 4 <= header; at++) {
            for (uint32_t mss = 0; mss < 65536; mss += 997) {
                uint8_t packet[ROOM] = {0x45}, before[ROOM];
                const uint32_t len = TCP_AT + header + 4;
                memset(packet + TCP_AT + 20, 1, header - 20); /* NOPs */
                packet[TCP_AT + 12] = (uint8_t)(header << 2);
                packet[TCP_AT + at] = 2, packet[TCP_AT + at + 1] = 4;
                xs_put16(packet + TCP_AT + at + 2, (uint16_t)mss);
                sum_tcp(packet, len);
                memcpy(before, packet, ROOM);
                xs_mss_clamp(packet, TCP_AT, len, 1446);
                CHECK(xs_get16(packet + TCP_AT + at + 2) == (mss < 1406 ? mss : 1406));
                CHECK(lab_sum(packet + TCP_AT, len - TCP_AT, 0) == 0);
                xs_put16(packet + TCP_AT + at + 2, (uint16_t)mss); /* and nothing else has changed */
                memcpy(packet + TCP_AT + 16, before + TCP_AT + 16, 2);
                CHECK(!memcmp(packet, before, ROOM));
            }
        }
    }
}

/* Options of random kinds and lengths, headers longer than the packet: nothing beyond the header changes, and ASan sees
 * no read beyond the packet, which ends its allocation. */
static void options_that_lie(void)
{
    srand(9);
    for (uint32_t i = 0; i < 200000; i++) {
        uint32_t len = TCP_AT + 20 + (uint32_t)rand() % 41;
        uint8_t *packet = malloc(len), before[ROOM];
        for (uint32_t k = 0; k < len; k++)
            packet[k] = (uint8_t)(rand() % 3 ? rand() % 6 : rand());
        packet[TCP_AT + 12] = (uint8_t)(rand() % 16 << 4);
        uint32_t header = (packet[TCP_AT + 12] >> 4) * 4U;
        memcpy(before, packet, len);
        xs_mss_clamp(packet, TCP_AT, len, 576);
        uint32_t changed = 0;
        for (uint32_t k = 0; k < len; k++) {
            bool may = k >= TCP_AT + 16 && k < TCP_AT + header && (k < TCP_AT + 18 || k >= TCP_AT + 20);
            CHECK(packet[k] == before[k] || may);
            changed += packet[k] != before[k];
        }
        CHECK(changed <= 4);
        free(packet);
    }
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"checksums", checksums},
        {"ttl", ttl},
        {"mss_at_every_offset", mss_at_every_offset},
        {"options_that_lie", options_that_lie},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
