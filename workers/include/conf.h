/* What Python tells C: plain values, copied on the way in. Addresses in network order, the rest in host order. */
#ifndef XS_CONF_H
#define XS_CONF_H

#include "shared.h"

struct xs_addr {
    uint8_t family; /* 4, 6, 0 = unset */
    uint8_t bytes[16];
};

struct xs_prefix {
    struct xs_addr addr;
    uint8_t bits;
};

/* One row: a traffic selector pair seen from this gateway. Protocol 0 and port range 0-65535 mean any. */
struct xs_selector {
    struct xs_prefix local, remote;
    uint8_t protocol;
    uint16_t local_port_lo, local_port_hi;
    uint16_t remote_port_lo, remote_port_hi;
};

enum xs_cipher {
    XS_CIPHER_NONE, /* never an SA's: one without encryption says XS_NULL */
    XS_AES_CBC,
    XS_AES_GCM,
    XS_AES_CCM,
    XS_AES_CTR,
    XS_CHACHA20_POLY1305,
    XS_NULL,
    XS_3DES_CBC,
    XS_AES_GMAC, /* encrypts nothing, authenticates as GCM does */
    XS_CIPHERS
};
enum xs_auth {
    XS_AUTH_NONE,
    XS_HMAC_SHA1_96,
    XS_HMAC_SHA256_128,
    XS_HMAC_SHA384_192,
    XS_HMAC_SHA512_256,
    XS_AES_XCBC_96,
    XS_AES_CMAC_96,
    XS_AUTHS
};
enum xs_engine_choice { XS_ENGINE_AUTO, XS_ENGINE_IPSEC_MB, XS_ENGINE_OPENSSL };
enum xs_df { XS_DF_COPY, XS_DF_SET, XS_DF_CLEAR };

struct xs_sa_conf {
    uint32_t spi;
    uint8_t direction; /* enum xs_direction */
    uint8_t engine;    /* enum xs_engine_choice */
    uint8_t cipher, auth;
    uint8_t key[36]; /* the salt of an AEAD, or the nonce of CTR, follows the key */
    uint8_t key_len; /* salt included */
    uint8_t auth_key[64];
    uint8_t auth_key_len;
    uint8_t iv_key[16]; /* random per SA and process: CBC IV = AES(iv_key, sequence number) */
    uint8_t icv_len;
    uint8_t esn;
    uint8_t df;        /* enum xs_df */
    uint8_t copy_dscp; /* 1: inner to outer; 0: dscp is used */
    uint8_t dscp;
    uint32_t child;                      /* index of the child the SA belongs to */
    uint32_t slot;                       /* in sa_state */
    uint32_t replay_window;              /* packets; 0 = no replay check (never by default) */
    uint32_t path_mtu;                   /* outer, bytes */
    struct xs_addr local, remote;        /* outer addresses */
    uint16_t encap_local, encap_remote;  /* UDP ports, 0 = none */
    const struct xs_selector *selectors; /* inbound: inner packets must match one */
    uint32_t selector_count;
    uint64_t soft_bytes, soft_packets; /* told once when reached; 0 = none, as below */
    uint64_t hard_bytes, hard_packets; /* the SA stops */
    uint8_t tell_use;                  /* inbound: FIRST_USE is raised for the first packet that opened */
    uint8_t any_encap;                 /* inbound: taken with and without UDP (RFC 7296 sec. 2.23) */
};

/* One row of the SPD, in order of priority. owner: the worker that has the child's outbound SA. */
struct xs_policy {
    struct xs_selector selector;
    uint32_t child;
    uint32_t owner;
};

/* One row of the FIB. via unset = connected: the destination is its own neighbour. */
struct xs_route {
    struct xs_prefix prefix;
    struct xs_addr via;
    uint8_t port;
};

struct xs_neighbour {
    struct xs_addr addr;
    uint8_t port;
    uint8_t mac[6];
    uint8_t tagged; /* the next hop is reached with this tag */
    uint16_t vlan;
};

enum xs_port_kind { XS_PORT_XSK, XS_PORT_MEMORY };

struct xs_port_conf {
    uint8_t index;
    uint8_t role; /* enum xs_port_role */
    uint8_t kind; /* enum xs_port_kind */
    uint8_t mac[6];
    uint32_t mtu;
    struct xs_addr addr4, addr6; /* the gateway's own, source of ICMP errors; may be unset */
};

/* own_fd: this worker's socket on the queue. queue_fd: the queue's first socket, which has the fill and completion
 * rings that all workers of the queue share. */
struct xs_queue_conf {
    uint8_t port;
    uint8_t queue;
    int own_fd;
    int queue_fd;
    uint32_t rx_size, tx_size, fill_size, completion_size;
};

/* XS_HELD_MAX frames wait for SAs in one worker, whatever their children. */
enum xs_hold_limits { XS_HELD_MAX = 1024, XS_HOLD_DEFAULT = 64, XS_CHILDREN_MAX = 65536 };

struct xs_worker_conf {
    uint32_t index, workers;
    void *umem;
    uint64_t umem_size;
    uint32_t chunk_size;
    void *pool;  /* see pool.h */
    void *state; /* struct xs_state_header */
    uint64_t state_size;
    void *counters;      /* this worker's struct xs_counters */
    void *handoff;       /* see handoff.h; NULL with one worker */
    const int *wake_fds; /* one eventfd per worker: a handoff wakes its target; NULL with one worker */
    uint32_t burst;      /* frames per receive burst, 64 by default, 256 at most */
    uint32_t hold;       /* frames of one child that wait for its SA, XS_HELD_MAX at most; 0 = XS_HOLD_DEFAULT */
    uint32_t spin_us;
};

/* What a worker wants Python to tell control. */
enum xs_event_kind {
    XS_EVENT_NONE,
    XS_EVENT_GRANT_WANTED,
    XS_EVENT_RESOLVE,
    XS_EVENT_ACQUIRE,
    XS_EVENT_EXHAUSTED,
    XS_EVENT_FIRST_USE,
    XS_EVENT_SOFT,
    XS_EVENT_ELSEWHERE
};
struct xs_event {
    uint32_t kind;
    uint32_t slot;       /* those of an SA: all but RESOLVE and ACQUIRE */
    uint32_t child;      /* ACQUIRE, and those of an SA */
    uint32_t port;       /* RESOLVE; of UDP with ELSEWHERE */
    uint64_t number;     /* GRANT_WANTED: of the packet that reached half the block, or is beyond it */
    struct xs_addr addr; /* RESOLVE; ELSEWHERE: where the peer's packets come from now */
};

#endif
