/* ICMP errors made from the packet that was refused: Time Exceeded and Fragmentation Needed, to its sender. */
#include <netinet/in.h>

#include "inet.h"

enum { QUOTED = 8, ICMP_LEN = 8, ERRORS_PER_SECOND = 1000 };

/* RFC 1122 sec. 3.2.2: never about an ICMP error, a later fragment, or a source that is no single host. */
static bool may_answer(const uint8_t *ip, uint32_t ihl, uint32_t len)
{
    if (xs_later_fragment(ip) || ip[12] == 0 || ip[12] == 127 || ip[12] >= 224 || ip[16] >= 224)
        return false;
    if (ip[9] != IPPROTO_ICMP)
        return true;
    uint8_t type = len > ihl ? ip[ihl] : 3;
    return type == 0 || type == 8 || type > 12;
}

/* RFC 1812 sec. 4.3.2.8 asks for a limit; one worker answers at most so many in a second. */
static bool under_limit(struct xs_worker *w)
{
    if (w->now_ns - w->icmp_since_ns > 1000000000ULL) {
        w->icmp_since_ns = w->now_ns;
        w->icmp_count = 0;
    }
    return w->icmp_count++ < ERRORS_PER_SECOND;
}

bool xs_icmp_error(struct xs_worker *w, struct xs_frame *f, uint32_t ihl, enum xs_icmp kind, uint32_t mtu,
                   uint32_t from)
{
    uint8_t *old = f->data;
    const uint32_t quoted = ihl + (f->len - ihl < QUOTED ? f->len - ihl : QUOTED);
    const uint32_t in_front = XS_IP_MIN + ICMP_LEN;
    const uint32_t headroom = (uint32_t)(old - xs_chunk_base(w, f->chunk));
    /* ihl may have been read from the packet anew since it was checked: another process can write there */
    if (from == 0 || ihl > f->len || headroom < in_front + XS_VLAN_LEN || !may_answer(old, ihl, f->len) ||
        !under_limit(w))
        return false;
    uint8_t *ip = old - in_front, *icmp = ip + XS_IP_MIN;
    memset(ip, 0, in_front);
    ip[0] = 0x45;
    ip[1] = 0xc0; /* internetwork control (RFC 1812 sec. 4.3.2.5) */
    xs_put16(ip + 2, (uint16_t)(in_front + quoted));
    ip[8] = 64;
    ip[9] = IPPROTO_ICMP;
    memcpy(ip + 12, &from, 4);
    memcpy(ip + 16, old + 12, 4);
    icmp[0] = kind == XS_ICMP_TIME_EXCEEDED ? 11 : 3;
    icmp[1] = kind == XS_ICMP_TIME_EXCEEDED ? 0 : 4;
    if (kind == XS_ICMP_TOO_BIG)
        xs_put16(icmp + 6, (uint16_t)mtu); /* RFC 1191 sec. 4 */
    xs_put16(icmp + 2, xs_checksum(icmp, ICMP_LEN + quoted));
    xs_put16(ip + 10, xs_checksum(ip, XS_IP_MIN));
    f->data = ip;
    f->len = in_front + quoted;
    return true;
}
