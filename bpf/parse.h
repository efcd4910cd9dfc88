/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* A cursor over the frame: each step checks the packet's end before it reads. What it finds it writes into struct view;
 * it decides nothing. */
#ifndef XS_PARSE_H
#define XS_PARSE_H

#include <linux/bpf.h>
/* after bpf.h, whose types they use */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>

#include "shared.h"

/* IPv6 header kinds that <linux/in6.h> has only for user space */
enum { NEXT_HOPOPTS = 0, NEXT_ROUTING = 43, NEXT_FRAGMENT = 44, NEXT_DSTOPTS = 60, MAX_EXTENSIONS = 4, MAX_TAGS = 2 };
enum { PORT_NATT = 4500, PORT_IKE = 500 };

struct vlan_tag {
    __be16 tci;
    __be16 type;
};

struct view {
    void *at, *end;
    uint8_t *mac;    /* destination */
    uint8_t src[16]; /* IPv4 as ::ffff:a.b.c.d */
    uint8_t dst[16];
    uint8_t protocol;    /* upper layer */
    bool ip;             /* an IP packet */
    bool fragment;       /* any fragment, the first included */
    bool later_fragment; /* no upper layer header in it */
};

static __always_inline void map_v4(uint8_t *out, __be32 addr)
{
    __builtin_memset(out, 0, 10);
    out[10] = 0xff;
    out[11] = 0xff;
    __builtin_memcpy(out + 12, &addr, 4);
}

static __always_inline bool parse_v4(struct view *v)
{
    struct iphdr *ip = v->at;
    if ((void *)(ip + 1) > v->end || ip->version != 4 || ip->ihl < 5)
        return false;
    v->at += ip->ihl * 4;
    if (v->at > v->end)
        return false;
    map_v4(v->src, ip->saddr);
    map_v4(v->dst, ip->daddr);
    v->protocol = ip->protocol;
    v->fragment = ip->frag_off & bpf_htons(0x3fff);
    v->later_fragment = ip->frag_off & bpf_htons(0x1fff);
    v->ip = true;
    return true;
}

static __always_inline bool parse_v6(struct view *v)
{
    struct ipv6hdr *ip = v->at;
    if ((void *)(ip + 1) > v->end || ip->version != 6)
        return false;
    __builtin_memcpy(v->src, &ip->saddr, 16);
    __builtin_memcpy(v->dst, &ip->daddr, 16);
    v->ip = true;
    v->at = ip + 1;
    uint8_t next = ip->nexthdr;
#pragma unroll
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        uint8_t *h = v->at;
        if (next != NEXT_HOPOPTS && next != NEXT_ROUTING && next != NEXT_DSTOPTS && next != NEXT_FRAGMENT)
            break;
        if ((void *)(h + 8) > v->end)
            return false;
        if (next == NEXT_FRAGMENT) {
            uint16_t offset = (uint16_t)(h[2] << 8 | h[3]);
            v->fragment = true;
            v->later_fragment = offset & 0xfff8;
            v->at += 8;
        } else {
            v->at += (h[1] + 1) * 8;
        }
        next = h[0];
        if (v->later_fragment)
            break;
    }
    v->protocol = next;
    return v->at <= v->end;
}

/* False: too short for the headers it claims. A frame that is not IP is true with ip unset. */
static __always_inline bool parse(struct view *v, struct xdp_md *ctx)
{
    v->at = (void *)(long)ctx->data;
    v->end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = v->at;
    if ((void *)(eth + 1) > v->end)
        return false;
    v->mac = eth->h_dest;
    v->at = eth + 1;
    __be16 type = eth->h_proto;
#pragma unroll
    for (int i = 0; i < MAX_TAGS; i++) { /* workers take one; behind two, cleartext must be seen all the same */
        struct vlan_tag *tag = v->at;
        if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
            break;
        if ((void *)(tag + 1) > v->end)
            return false;
        type = tag->type;
        v->at = tag + 1;
    }
    if (type == bpf_htons(ETH_P_IP))
        return parse_v4(v);
    if (type == bpf_htons(ETH_P_IPV6))
        return parse_v6(v);
    return true;
}

#endif
