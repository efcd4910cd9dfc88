/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The one header that the XDP program, the workers and cffi share: limits, the bucket hash, map values,
 * verdict lists and the layout of shared memory. It refuses to know any function of user space. */
#ifndef XS_SHARED_H
#define XS_SHARED_H

#if defined(__bpf__)
#include <linux/types.h>
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
#elif !defined(XS_CDEF)
#include <stdint.h>
#endif

enum xs_limits {
    XS_BUCKETS = 256,
    XS_MAX_PORTS = 8,
    XS_MAX_QUEUES = 64,
    XS_MAX_WORKERS = 32,
    XS_XSKMAP_SIZE = XS_MAX_PORTS * XS_MAX_QUEUES * XS_MAX_WORKERS,
    XS_MAX_PREFIXES = 65536, /* entries of each protected-prefix trie */
    XS_MAX_ADDRESSES = 1024, /* the gateway's own addresses */
    XS_BATCH_BUCKETS = 8,    /* burst sizes 1, 2-3, 4-7, ... 64-127, 128 and more */
    XS_WINDOW_DEFAULT = 4096,
    XS_SA_ID_SIZE = 16,
};

enum xs_port_role { XS_ROLE_OUTSIDE = 0, XS_ROLE_INSIDE = 1 };
enum xs_direction { XS_INBOUND = 0, XS_OUTBOUND = 1 };

/* --- verdicts of the door (XDP): NAME, "help". The same list makes enum, counter and metric label. --- */
#define XS_DOOR_VERDICTS(X)                                                                                            \
    X(ESP_TO_WORKER, "ESP redirected to a worker")                                                                     \
    X(AH_TO_WORKER, "AH redirected to a worker")                                                                       \
    X(UDP_ESP_TO_WORKER, "UDP-encapsulated ESP redirected to a worker")                                                \
    X(INSIDE_TO_WORKER, "cleartext for a protected prefix redirected to a worker")                                     \
    X(PASS_NOT_OUR_MAC, "frame for another station left to the kernel")                                                \
    X(PASS_IKE, "IKE left to the kernel")                                                                              \
    X(PASS_KEEPALIVE, "UDP 4500 with less than four bytes left to the kernel")                                         \
    X(PASS_FOREIGN, "traffic that is neither ours nor protected left to the kernel")                                   \
    X(DROP_ESP_FRAGMENT, "fragment of ESP or AH")                                                                      \
    X(DROP_CLEARTEXT, "cleartext that a policy says must be protected")                                                \
    X(DROP_NO_WORKER, "no worker serves this bucket, queue or policy")                                                 \
    X(DROP_TRUNCATED, "frame too short for the headers it claims")                                                     \
    X(DROP_NO_PORT, "frame on a port that is not configured")

/* --- verdicts of a worker: every frame a worker takes from a ring ends in exactly one of these --- */
#define XS_VERDICTS(X)                                                                                                 \
    X(DECRYPTED, "inbound packet authenticated, decrypted and forwarded")                                              \
    X(ENCRYPTED, "outbound packet encrypted and sent")                                                                 \
    X(DUMMY, "dummy packet (next header 59) discarded")                                                                \
    X(ANSWERED, "packet answered with an ICMP error instead of being forwarded")                                       \
    X(DROP_MALFORMED, "outer headers do not parse")                                                                    \
    X(DROP_NO_SA, "no SA for this SPI")                                                                                \
    X(DROP_REPLAY, "sequence number seen before or left of the window")                                                \
    X(DROP_ICV, "integrity check failed")                                                                              \
    X(DROP_TRAILER, "padding or next header of the ESP trailer is wrong")                                              \
    X(DROP_INNER, "inner header does not parse or its length lies")                                                    \
    X(DROP_ECN, "congestion experienced, but the inner packet cannot carry the mark (RFC 6040)")                       \
    X(DROP_SELECTOR, "inner packet outside the selectors of its SA")                                                   \
    X(DROP_ENCAP, "encapsulation differs from what the SA says")                                                       \
    X(DROP_TAG, "802.1Q tag that the next hop does not expect")                                                        \
    X(DROP_NO_POLICY, "no policy for this cleartext packet")                                                           \
    X(DROP_NO_OUT_SA, "policy found but no SA to protect the packet with")                                             \
    X(DROP_TTL, "time to live is used up")                                                                             \
    X(DROP_TOO_BIG, "packet does not fit and may not be fragmented")                                                   \
    X(DROP_FRAGMENT, "cleartext fragment of a flow whose policy needs ports")                                          \
    X(DROP_SEQ_EXHAUSTED, "sequence numbers of the SA are used up")                                                    \
    X(DROP_LIFETIME, "hard limit of the SA reached, in bytes or packets")                                              \
    X(DROP_NO_GRANT, "no sequence grant beyond the saved mark")                                                        \
    X(DROP_NO_ROUTE, "no route to the destination")                                                                    \
    X(DROP_NO_NEIGHBOUR, "link-layer address of the next hop is not known")                                            \
    X(DROP_TX_FULL, "transmit ring full")                                                                              \
    X(DROP_HANDOFF_FULL, "handoff ring to the owning worker full")                                                     \
    X(DROP_UNSUPPORTED, "protocol that this version does not carry")

#define XS_AS_DOOR(name, help) XS_DOOR_##name,
#define XS_AS_VERDICT(name, help) XS_V_##name,
enum xs_door_verdict { XS_DOOR_VERDICTS(XS_AS_DOOR) XS_DOOR_COUNT };
enum xs_verdict { XS_VERDICTS(XS_AS_VERDICT) XS_V_COUNT };

/* --- BPF map values ------------------------------------------------------------------------------------ */

/* ports: array by port index; ifindex -> port comes from a second map so that one program serves all ports */
struct xs_door_port {
    uint32_t ifindex; /* 0 = slot unused */
    uint8_t mac[6];
    uint8_t role; /* enum xs_port_role */
    uint8_t pad;
};

/* Key of the protected-prefix tries: IPv4 addresses as IPv4-mapped (::ffff:a.b.c.d), prefix bits + 96. */
struct xs_prefix_key {
    uint32_t bits;
    uint8_t addr[16];
};

/* A bit stands for one policy (child index modulo 64): a packet is protected when the bits of its local and of its
 * remote prefix meet. Control writes into each prefix the union of the prefixes that cover it. */
struct xs_prefix_value {
    uint64_t policies;
    uint32_t worker_count; /* remote trie only: the set of workers that own an outbound SA for it */
    uint8_t workers[XS_MAX_WORKERS];
    uint32_t pad;
};

/* --- shared memory -------------------------------------------------------------------------------------- */

/* sa_state: a file in tmpfs. Header, then slots. One slot per SA and direction. The header is for whoever opens the
 * file after a restart; processes that share it go by the struct and by its size. */
enum xs_state_magic { XS_STATE_VERSION = 1 };
struct xs_state_header {
    uint64_t magic; /* XS_STATE_MAGIC */
    uint32_t version;
    uint32_t slots;
    uint32_t slot_size;
    uint32_t window_bits; /* size of the replay window that fits a slot */
    char boot_id[40];
    uint8_t pad[64];
};

/* Written by the owning worker alone (sa_id, spi, direction by control before the worker is told).
 * It outlives worker and supervisor: what is here decides which numbers may still be used. */
struct xs_sa_slot {
    uint8_t sa_id[XS_SA_ID_SIZE]; /* names the key without revealing it; all zero = free */
    uint32_t spi;
    uint8_t direction;
    uint8_t negotiated; /* the key ends with the control that negotiated it: nothing here is kept for a successor */
    uint8_t pad[2];
    uint64_t next_seq; /* outbound: the number the next packet takes, starts at 1 */
    uint64_t granted;  /* numbers below this may be used (outbound) or accepted (inbound) */
    uint64_t floor;    /* inbound: numbers at or below this are refused, whatever the window says */
    uint64_t top;      /* inbound: highest authenticated number, right edge of the window */
    uint64_t packets;
    uint64_t bytes;        /* of inner packets */
    uint64_t last_seen_ns; /* CLOCK_MONOTONIC of the last packet */
    uint64_t drops[XS_V_COUNT];
    uint64_t window[XS_WINDOW_DEFAULT / 64]; /* bits */
};

enum xs_stage { XS_STAGE_RX, XS_STAGE_PARSE, XS_STAGE_CRYPTO, XS_STAGE_FINISH, XS_STAGE_TX, XS_STAGE_COUNT };

/* counters: one block per worker, plain adds by that worker, read at scrape. */
struct xs_counters {
    uint64_t verdicts[XS_V_COUNT];
    uint64_t batches[XS_BATCH_BUCKETS]; /* bursts by size, powers of two */
    uint64_t batch_packets;             /* sum of sizes, for the histogram's _sum */
    uint64_t rx_packets[XS_MAX_PORTS];
    uint64_t rx_bytes[XS_MAX_PORTS];
    uint64_t tx_packets[XS_MAX_PORTS]; /* descriptors submitted to the kernel */
    uint64_t tx_bytes[XS_MAX_PORTS];
    uint64_t tx_completed[XS_MAX_PORTS]; /* completions reaped by this worker, whoever sent them */
    uint64_t cycles[XS_STAGE_COUNT];     /* TSC cycles spent per stage */
    uint64_t handoff_sent;
    uint64_t handoff_received;
    uint64_t held;              /* gauge: frames held for a neighbour or an SA */
    uint64_t ring_rx_fill;      /* gauge: descriptors found in receive rings at the last burst */
    uint64_t ring_fill_missing; /* gauge: frames short in the fill rings */
    uint64_t wakeups;           /* times the worker slept and was woken */
    uint64_t idle_ns;           /* time spent asleep since started_ns */
    uint64_t started_ns;        /* CLOCK_MONOTONIC at start of this worker process */
    uint64_t heartbeat_ns;      /* CLOCK_MONOTONIC of the last pause */
};

#ifndef XS_CDEF
#define XS_STATE_MAGIC 0x7864707365633031ULL /* "xdpsec01" */

/* SPI (host order) -> bucket. A multiplicative hash: SPIs that count upwards spread evenly. */
static inline uint32_t xs_bucket(uint32_t spi)
{
    return (spi * 2654435761U) >> 24;
}

static inline uint32_t xs_xskmap_index(uint32_t port, uint32_t queue, uint32_t worker)
{
    return (port * XS_MAX_QUEUES + queue) * XS_MAX_WORKERS + worker;
}
#endif

#endif
