/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What control and supervisor tell the door. Keys and values are in shared.h. */
#ifndef XS_MAPS_H
#define XS_MAPS_H

#include <linux/bpf.h>
/* after bpf.h, whose types it uses */
#include <bpf/bpf_helpers.h>

#include "shared.h"

/* XSKMAP[xs_xskmap_index(port, queue, worker)] */
struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, XS_XSKMAP_SIZE);
    __type(key, uint32_t);
    __type(value, uint32_t);
} sockets SEC(".maps");

/* ifindex -> port index */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, XS_MAX_PORTS);
    __type(key, uint32_t);
    __type(value, uint32_t);
} port_of SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, XS_MAX_PORTS);
    __type(key, uint32_t);
    __type(value, struct xs_door_port);
} ports SEC(".maps");

/* bucket of the SPI -> worker; XS_MAX_WORKERS and above = nobody */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, XS_BUCKETS);
    __type(key, uint32_t);
    __type(value, uint32_t);
} buckets SEC(".maps");

/* the gateway's own outer addresses (IPv4-mapped) */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, XS_MAX_ADDRESSES);
    __type(key, uint8_t[16]);
    __type(value, uint32_t);
} addresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, XS_MAX_PREFIXES);
    __type(key, struct xs_prefix_key);
    __type(value, struct xs_prefix_value);
} local_prefixes SEC(".maps"), remote_prefixes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, XS_DOOR_COUNT *XS_MAX_PORTS);
    __type(key, uint32_t);
    __type(value, uint64_t);
} verdicts SEC(".maps");

#endif
