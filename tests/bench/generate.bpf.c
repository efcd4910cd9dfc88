/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The generator's program: each live frame gets the next flow (source host and destination subnet) and leaves by the
 * interface it is said to have come in by. The frame is Ethernet, IPv4 without options; see generate.c. */
#include <linux/bpf.h>
/* after bpf.h, whose types they use */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <stdbool.h>

/* destinations 10.2.0.9 to 10.2.7.9, one for each child of the gateway; sources 10.1.0.1 to 10.1.0.64 */
enum { SUBNETS = 8, HOSTS = 64 };

/* One per core, set by generate.c. At a rate, a frame that is not due yet is dropped here and the next one asks again:
 * so one long call paces itself. (A call takes some 15 ms to begin and end; frames due then are not made up for, for
 * they would come in a burst that no receive ring holds.) */
struct lane {
    __u64 sent, limit;
    __u64 next, interval; /* ns; interval 0 = no pace */
};
enum { SLACK = 64 }; /* frames that may be made up for */

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct lane);
} lanes SEC(".maps");

static __always_inline bool due(struct lane *lane)
{
    if (lane->sent >= lane->limit)
        return false;
    if (!lane->interval)
        return true;
    __u64 now = bpf_ktime_get_ns(), earliest = now - SLACK * lane->interval;
    if (now < lane->next)
        return false;
    lane->next = (lane->next < earliest ? earliest : lane->next) + lane->interval;
    return true;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
    struct ethhdr *eth = (void *)(long)ctx->data;
    struct iphdr *ip = (void *)(eth + 1);
    __u32 key = 0, sum = 0;
    struct lane *lane = bpf_map_lookup_elem(&lanes, &key);
    if ((void *)(ip + 1) > (void *)(long)ctx->data_end || !lane || !due(lane))
        return XDP_DROP;
    __u32 n = (__u32)lane->sent++;
    __u16 *words = (void *)ip;
    ip->saddr = bpf_htonl(0x0a010001 + n / SUBNETS % HOSTS);
    ip->daddr = bpf_htonl(0x0a020009 | n % SUBNETS << 8);
    ip->check = 0;
#pragma unroll
    for (int i = 0; i < 10; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    ip->check = (__u16) ~((sum & 0xffff) + (sum >> 16));
    return XDP_TX;
}

/* A veth takes live frames only when XDP is on it: this one is there for that. */
SEC("xdp")
int pass(struct xdp_md *ctx)
{
    (void)ctx;
    return XDP_PASS;
}

/* The far end of what leaves: a next gateway's XDP program would take each frame there. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
    (void)ctx;
    return XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
