/* Checksums and the MSS clamp: what is not done for every packet or does not fit on one line. */
#include "inet.h"

uint16_t xs_checksum(const uint8_t *bytes, uint32_t len)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i + 1 < len; i += 2)
        sum += xs_get16(bytes + i);
    if (len & 1)
        sum += (uint32_t)bytes[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

void xs_mss_clamp(uint8_t *ip, uint32_t ihl, uint32_t len, uint32_t mtu)
{
    uint8_t *tcp = ip + ihl;
    uint32_t header = xs_once((tcp[12] >> 4) * 4U), most = mtu - 40; /* IPv4 and TCP without options */
    if (header < 20 || ihl + header > len)
        return;
    for (uint32_t at = 20; at + 1 < header;) {
        uint32_t kind = tcp[at], size = xs_once(tcp[at + 1]);
        if (kind == 0)
            return;
        if (kind == 1) {
            at++;
            continue;
        }
        if (size < 2 || at + size > header)
            return;
        if (kind == 2 && size == 4 && xs_get16(tcp + at + 2) > most) {
            /* the option may stand at an odd offset: the words of the checksum then straddle it */
            for (uint32_t i = 0; i < 2; i++) {
                uint32_t byte = at + 2 + i, word = byte & ~1U;
                uint16_t before = xs_get16(tcp + word);
                tcp[byte] = (uint8_t)(i == 0 ? most >> 8 : most);
                xs_checksum_patch(tcp + 16, before, xs_get16(tcp + word));
            }
            return;
        }
        at += size;
    }
}
