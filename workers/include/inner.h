/* What ESP in checks once a packet is open: its padding, the selectors of its SA, the two ECN fields. Functions of
 * bytes and values; they drop nothing themselves. */
#ifndef XS_INNER_H
#define XS_INNER_H

#include "inet.h"
#include "sad.h"

enum { XS_ESP_TRAILER = 2 }; /* pad length, next header */

/* The default padding is 1, 2, 3, ... and is verified (RFC 4303 sec. 2.4). Up to eight bytes, as any packet but one
 * that hides its length has, are compared as one word. */
static inline bool xs_padding_fits(const uint8_t *end, uint32_t pad, uint32_t text_len)
{
#ifdef XS_MUTANT_PADDING
    (void)end, (void)pad, (void)text_len;
    return true;
#else
    const uint8_t *padding = end - XS_ESP_TRAILER - pad;
    if (pad <= 8 && text_len >= 8 + XS_ESP_TRAILER) {
        uint64_t word;
        memcpy(&word, end - XS_ESP_TRAILER - 8, sizeof word);
        return pad == 0 || be64toh(word) << (64 - 8 * pad) == 0x0102030405060708ULL >> (64 - 8 * pad) << (64 - 8 * pad);
    }
    for (uint32_t i = 0; i < pad; i++)
        if (padding[i] != (uint8_t)(i + 1))
            return false;
    return true;
#endif
}

static inline bool xs_selector_check(const struct xs_sa *sa, const struct xs_flow *flow, bool *needs_ports)
{
#ifdef XS_MUTANT_SELECTOR
    (void)sa, (void)flow, (void)needs_ports;
    return true;
#else
    for (uint32_t i = 0; i < sa->match_count; i++) {
        const struct xs_match *m = &sa->match[i];
        if (flow->fragment && m->ports) {
            *needs_ports |= xs_match_packet(m, flow->src, flow->dst, flow->protocol, m->src_lo, m->dst_lo);
            continue;
        }
        if (xs_match_packet(m, flow->src, flow->dst, flow->protocol, flow->src_port, flow->dst_port))
            return true;
    }
    return false;
#endif
}

/* RFC 6040 sec. 4.2, figure 4. False: drop. */
static inline bool xs_merge_ecn(uint8_t *ip, uint8_t outer_tos)
{
    uint8_t inner = ip[1] & 3, outer = outer_tos & 3, merged = inner;
    if (outer == 3) {
        if (inner == 0)
            return false;
        merged = 3;
    } else if (outer == 1 && inner == 2) {
        merged = 1;
    }
    if (merged != inner) {
        uint16_t before = xs_get16(ip);
        ip[1] = (uint8_t)((ip[1] & 0xfc) | merged);
        xs_checksum_patch(ip + 10, before, xs_get16(ip));
    }
    return true;
}

#endif
