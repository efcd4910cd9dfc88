/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The door: sorts frames to workers, to the kernel or away, and counts each. It keeps nothing, changes no byte and
 * knows no SA; a redirect that finds no socket is a drop, never a pass. */
#include "parse.h"

#include "maps.h"

/* The one exit: every frame is counted once, by port and verdict. */
static __always_inline int leave(uint32_t port, enum xs_door_verdict verdict, int action)
{
    uint32_t key = port * XS_DOOR_COUNT + verdict;
    uint64_t *count = bpf_map_lookup_elem(&verdicts, &key);
    if (count)
        *count += 1;
    return action;
}

static __always_inline int to_worker(struct xdp_md *ctx, uint32_t port, uint32_t worker, enum xs_door_verdict verdict)
{
    uint32_t queue = ctx->rx_queue_index;
    if (worker >= XS_MAX_WORKERS || queue >= XS_MAX_QUEUES)
        return leave(port, XS_DOOR_DROP_NO_WORKER, XDP_DROP);
    int action = bpf_redirect_map(&sockets, xs_xskmap_index(port, queue, worker), XDP_DROP);
    return leave(port, action == XDP_REDIRECT ? verdict : XS_DOOR_DROP_NO_WORKER, action);
}

static __always_inline bool our_mac(const struct view *v, const struct xs_door_port *conf)
{
    uint8_t differ = 0; /* no memcmp here: the compiler leaves it a call */
#pragma unroll
    for (int i = 0; i < 6; i++)
        differ |= v->mac[i] ^ conf->mac[i];
    return !differ;
}

static __always_inline const struct xs_prefix_value *prefix(void *trie, const uint8_t *addr)
{
    struct xs_prefix_key key = {.bits = 128};
    __builtin_memcpy(key.addr, addr, 16);
    return bpf_map_lookup_elem(trie, &key);
}

static __always_inline bool meets(const uint8_t *local, const uint8_t *remote)
{
    const struct xs_prefix_value *l = prefix(&local_prefixes, local), *r = prefix(&remote_prefixes, remote);
    return l && r && (l->policies & r->policies);
}

static __always_inline int steer_spi(struct xdp_md *ctx, const struct view *v, uint32_t port, const __be32 *spi,
                                     enum xs_door_verdict verdict)
{
    if ((void *)(spi + 1) > v->end)
        return leave(port, XS_DOOR_DROP_TRUNCATED, XDP_DROP);
    uint32_t bucket = xs_bucket(bpf_ntohl(*spi));
    uint32_t *worker = bpf_map_lookup_elem(&buckets, &bucket);
    return to_worker(ctx, port, worker ? *worker : XS_MAX_WORKERS, verdict);
}

enum { NOT_OURS = -1 };

/* UDP to us: ESP behind a non-zero first word on 4500 (RFC 3948 sec. 2.2), IKE and keepalives; else NOT_OURS. */
static __always_inline int outside_udp(struct xdp_md *ctx, const struct view *v, uint32_t port)
{
    struct {
        __be16 source, dest, len, check;
    } *udp = v->at;
    if ((void *)(udp + 1) > v->end)
        return leave(port, XS_DOOR_DROP_TRUNCATED, XDP_DROP);
    if (udp->dest == bpf_htons(PORT_IKE))
        return leave(port, XS_DOOR_PASS_IKE, XDP_PASS);
    if (udp->dest != bpf_htons(PORT_NATT))
        return NOT_OURS;
    __be32 *word = (void *)(udp + 1);
    if (bpf_ntohs(udp->len) < 8 + 4)
        return leave(port, XS_DOOR_PASS_KEEPALIVE, XDP_PASS);
    if ((void *)(word + 1) > v->end)
        return leave(port, XS_DOOR_DROP_TRUNCATED, XDP_DROP);
    if (*word == 0)
        return leave(port, XS_DOOR_PASS_IKE, XDP_PASS);
    return steer_spi(ctx, v, port, word, XS_DOOR_UDP_ESP_TO_WORKER);
}

/* What keeps the tunnel itself alive is ESP, AH and IKE to our own address. Anything else that a policy protects may
 * not arrive in the clear, wherever it is addressed (RFC 4301 sec. 5.2): ESP between two protected hosts is cleartext
 * too. */
static __always_inline int outside(struct xdp_md *ctx, const struct view *v, uint32_t port)
{
    bool ours = bpf_map_lookup_elem(&addresses, v->dst);
    if (ours && (v->protocol == IPPROTO_ESP || v->protocol == IPPROTO_AH)) {
        if (v->fragment)
            return leave(port, XS_DOOR_DROP_ESP_FRAGMENT, XDP_DROP);
        if (v->protocol == IPPROTO_ESP)
            return steer_spi(ctx, v, port, v->at, XS_DOOR_ESP_TO_WORKER);
        return steer_spi(ctx, v, port, v->at + 4, XS_DOOR_AH_TO_WORKER);
    }
    if (ours && v->protocol == IPPROTO_UDP && !v->fragment) {
        int action = outside_udp(ctx, v, port);
        if (action != NOT_OURS)
            return action;
    }
    if (meets(v->dst, v->src))
        return leave(port, XS_DOOR_DROP_CLEARTEXT, XDP_DROP);
    return leave(port, XS_DOOR_PASS_FOREIGN, XDP_PASS);
}

static __always_inline uint32_t mix(uint32_t h)
{
    h = (h ^ h >> 16) * 2246822507U;
    h = (h ^ h >> 13) * 3266489909U;
    return h ^ h >> 16;
}

/* By addresses alone, so that fragments stay with their flow. Each step mixes fully: hosts of one subnet differ in a
 * few bits only. */
static __always_inline uint32_t flow_hash(const struct view *v)
{
    uint32_t h = 0, word;
#pragma unroll
    for (int i = 0; i < 16; i += 4) {
        __builtin_memcpy(&word, v->src + i, 4);
        h = mix(h ^ word);
    }
#pragma unroll
    for (int i = 0; i < 16; i += 4) {
        __builtin_memcpy(&word, v->dst + i, 4);
        h = mix(h ^ word);
    }
    return h;
}

static __always_inline int inside(struct xdp_md *ctx, const struct view *v, uint32_t port)
{
    const struct xs_prefix_value *remote = prefix(&remote_prefixes, v->dst);
    if (!remote || !remote->policies)
        return leave(port, XS_DOOR_PASS_FOREIGN, XDP_PASS);
    const struct xs_prefix_value *local = prefix(&local_prefixes, v->src);
    if (!local || !(local->policies & remote->policies))
        return leave(port, XS_DOOR_DROP_CLEARTEXT, XDP_DROP);
    uint32_t count = remote->worker_count;
    if (count == 0 || count > XS_MAX_WORKERS)
        return leave(port, XS_DOOR_DROP_NO_WORKER, XDP_DROP);
    uint32_t pick = count > 1 ? flow_hash(v) % count : 0;
    asm volatile("" : "+r"(pick)); /* else the compiler drops the mask below, which the verifier wants to see */
    return to_worker(ctx, port, remote->workers[pick & (XS_MAX_WORKERS - 1)], XS_DOOR_INSIDE_TO_WORKER);
}

SEC("xdp")
int steer(struct xdp_md *ctx)
{
    uint32_t ifindex = ctx->ingress_ifindex;
    uint32_t *found = bpf_map_lookup_elem(&port_of, &ifindex);
    uint32_t port = found ? *found : 0;
    const struct xs_door_port *conf = found ? bpf_map_lookup_elem(&ports, &port) : NULL;
    if (!conf || port >= XS_MAX_PORTS)
        return leave(0, XS_DOOR_DROP_NO_PORT, XDP_DROP);
    struct view v = {};
    if (!parse(&v, ctx))
        return leave(port, XS_DOOR_DROP_TRUNCATED, XDP_DROP);
    if (!our_mac(&v, conf))
        return leave(port, XS_DOOR_PASS_NOT_OUR_MAC, XDP_PASS);
    if (!v.ip)
        return leave(port, XS_DOOR_PASS_FOREIGN, XDP_PASS);
    return conf->role == XS_ROLE_OUTSIDE ? outside(ctx, &v, port) : inside(ctx, &v, port);
}

char LICENSE[] SEC("license") = "GPL";
