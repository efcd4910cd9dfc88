/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The door: sorts frames, keeps nothing. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "shared.h"

SEC("xdp")
int outside(struct xdp_md *ctx)
{
    (void)ctx;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
