/* IPv4 and TCP bits that both directions need: header checks, checksum arithmetic (RFC 1071, 1624), MSS clamp,
 * ICMP errors (RFC 792, 1191). Headers are read by hand-checked offsets; every length is verified before. */
#ifndef XS_INET_H
#define XS_INET_H

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/ip.h>
#include <stdbool.h>
#include <string.h>

#include "internal.h"
#include "spd.h"

enum { XS_ETH_LEN = 14, XS_VLAN_LEN = 18, XS_IP_MIN = 20, XS_ETHERTYPE_IP = 0x0800, XS_ETHERTYPE_VLAN = 0x8100 };

static inline uint16_t xs_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t xs_get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void xs_put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void xs_put64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
}

static inline void xs_put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

uint16_t xs_checksum(const uint8_t *bytes, uint32_t len); /* host order; 0 over a block that contains a right one */

static inline uint16_t xs_checksum20(const uint8_t *ip)
{
    uint64_t a, b;
    uint32_t c;
    memcpy(&a, ip, 8);
    memcpy(&b, ip + 8, 8);
    memcpy(&c, ip + 16, 4);
    uint64_t sum = (a & 0xffffffff) + (a >> 32) + (b & 0xffffffff) + (b >> 32) + c;
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum; /* in memory order */
}

/* RFC 1624 equation 3, for one changed 16-bit word. */
static inline void xs_checksum_patch(uint8_t *checksum, uint16_t before, uint16_t after)
{
    uint32_t sum = (uint16_t)~xs_get16(checksum) + (uint16_t)~before + (uint32_t)after;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    xs_put16(checksum, (uint16_t)~sum);
}

static inline void xs_ttl_decrement(uint8_t *ip)
{
    uint32_t sum = xs_get16(ip + 10) + 0x0100U; /* equation 3 for a word that sinks by 0x0100 */
    ip[8]--;
    xs_put16(ip + 10, (uint16_t)(sum + (sum >= 0xffff)));
}

/* Packets lie in memory that other workers can write: a length in them is read once, and the compiler is not to read it
 * again between its check and its use. */
static inline uint32_t xs_once(uint32_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

/* Steps f->data over the link-layer header. False: not IPv4, or too short to say. */
static inline bool xs_strip_l2(struct xs_frame *f)
{
    if (f->len < XS_ETH_LEN + XS_IP_MIN)
        return false;
    uint16_t type = xs_get16(f->data + 12);
    f->l2_len = XS_ETH_LEN;
    if (__builtin_expect(type == XS_ETHERTYPE_VLAN, 0)) {
        if (f->len < XS_VLAN_LEN + XS_IP_MIN)
            return false;
        f->vlan = xs_get16(f->data + 14);
        f->flags |= XS_FRAME_TAGGED;
        type = xs_get16(f->data + 16);
        f->l2_len = XS_VLAN_LEN;
    }
    f->data += f->l2_len;
    f->len -= f->l2_len;
    return type == XS_ETHERTYPE_IP;
}

/* The header is whole, its length true and its checksum right (RFC 1812 sec. 5.2.2): trims f->len to the packet.
 * Returns the header length, 0 = refuse. */
static inline uint32_t xs_ip_check(struct xs_frame *f)
{
    const uint8_t *ip = f->data;
    if (f->len < XS_IP_MIN)
        return 0;
    if (__builtin_expect(ip[0] == 0x45, 1)) { /* no options: nearly all */
        uint32_t len = xs_once(xs_get16(ip + 2));
        if (len < XS_IP_MIN || len > f->len || xs_checksum20(ip) != 0)
            return 0;
        f->len = len;
        return XS_IP_MIN;
    }
    if (ip[0] >> 4 != 4)
        return 0;
    uint32_t ihl = xs_once((ip[0] & 15U) * 4), total = xs_once(xs_get16(ip + 2));
    if (ihl < XS_IP_MIN || total < ihl || total > f->len)
        return 0;
    if (xs_checksum(ip, ihl) != 0)
        return 0;
    f->len = total;
    return ihl;
}

static inline bool xs_is_fragment(const uint8_t *ip)
{
    return (xs_get16(ip + 6) & 0x3fff) != 0; /* offset or more fragments */
}

static inline bool xs_later_fragment(const uint8_t *ip)
{
    return (xs_get16(ip + 6) & 0x1fff) != 0;
}

static inline bool xs_has_ports(uint8_t protocol)
{
    return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP || protocol == IPPROTO_DCCP;
}

static inline struct xs_flow xs_flow_from(const uint8_t *ip, uint32_t ihl, uint32_t len)
{
    bool fragment = xs_later_fragment(ip);
    uint64_t addresses, rest = (uint64_t)ip[9] << XS_FLOW_PROTOCOL | (uint64_t)fragment << XS_FLOW_FRAGMENT;
    memcpy(&addresses, ip + 12, sizeof addresses);
    if (xs_has_ports(ip[9]) && !fragment && len >= ihl + 4)
        rest |= xs_get16(ip + ihl) | (uint64_t)xs_get16(ip + ihl + 2) << XS_FLOW_DST_PORT;
    return (struct xs_flow){.words = {addresses, rest}};
}

static inline bool xs_is_tcp_syn(const uint8_t *ip, uint32_t ihl, uint32_t len)
{
    return ip[9] == IPPROTO_TCP && len >= ihl + 20 && ip[ihl + 13] & 0x02 && !xs_later_fragment(ip);
}

/* Lowers the MSS option of a SYN to what fits mtu (inner IPv4 packet, bytes). */
void xs_mss_clamp(uint8_t *ip, uint32_t ihl, uint32_t len, uint32_t mtu);

/* Turns the refused packet (f->data at its IP header) into the ICMP error for its sender, f->data at the new header.
 * False: no error may be sent for it (RFC 1122 sec. 3.2.2), there is no address to send it from, or too many lately. */
enum xs_icmp { XS_ICMP_TIME_EXCEEDED, XS_ICMP_TOO_BIG };
bool xs_icmp_error(struct xs_worker *w, struct xs_frame *f, uint32_t ihl, enum xs_icmp kind, uint32_t mtu,
                   uint32_t from);

#endif
