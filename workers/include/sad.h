/* The SAD as a worker sees it: one struct per SA with everything the packet passes need, apart from configuration.
 * Inbound SAs are found by SPI, outbound ones by child, both by slot (RFC 4301 sec. 4.4.2). */
#ifndef XS_SAD_H
#define XS_SAD_H

#include <stdbool.h>

#include "engine.h"
#include "fib.h"
#include "internal.h"

enum { XS_TEMPLATE_MAX = 28, XS_SELECTORS_MAX = 16 };
/* How an SA's packets may come, by whether they are in UDP; an inbound SA that stopped takes none. */
enum { XS_TAKES_PLAIN = 1 << false, XS_TAKES_UDP = 1 << true };

/* A selector row in the order the inner header has it, masks expanded. */
struct xs_match {
    uint32_t src, src_mask, dst, dst_mask; /* network order */
    uint16_t src_lo, src_hi, dst_lo, dst_hi;
    uint8_t protocol;
    bool ports; /* some port range is not "any" */
};

struct xs_sa {
    uint32_t spi; /* host order */
    uint32_t slot_index, child;
    uint8_t direction, cipher;
    uint8_t iv_len, icv_len, block; /* bytes; block = alignment of the ciphertext */
    uint8_t template_len;           /* outer IPv4 header, and UDP with encapsulation */
    bool esn, udp, copy_dscp;
    bool aead, counter; /* counter: the nonce is salt and IV, from nonce_skip */
    bool any_encap;
    uint8_t takes; /* inbound: XS_TAKES_ bits */
    uint8_t df, dscp;
    uint8_t nonce_skip; /* a salt of three bytes stands at the end of salt */
    uint8_t tail_room;  /* behind the inner packet: padding as it is copied, trailer, ICV */
    uint8_t salt[4];
    uint32_t window;    /* packets, a multiple of 64 */
    uint32_t ring_mask; /* bits of the window in the slot, a power of two, less one: the same for every window */
    uint32_t path_mtu, inner_mtu;
    const struct xs_engine *engine;
    struct xs_key *key;
    struct xs_sa_slot *slot;
    uint64_t ask_at;                   /* GrantWanted is raised when a number reaches this */
    uint64_t next_seq, granted;        /* outbound: our own, the slot's are for a successor: others can write those */
    uint64_t last_number;              /* outbound: of the last packet that may be sent */
    uint64_t look_packets, look_bytes; /* counts at which there is something to tell or to stop: xs_sa_look */
    uint64_t soft_packets, soft_bytes, hard_packets, hard_bytes; /* UINT64_MAX = none */
    bool asked, told_end, told_soft, told_use;                   /* events already raised */
    uint16_t encap_remote;                                       /* the peer's UDP port, 0 = none */
    uint64_t told_elsewhere_ns;                                  /* 0 = not since it was placed */
    struct xs_hop hop;                                           /* outbound: where the peer is reached */
    struct xs_addr remote;
    uint8_t template[XS_TEMPLATE_MAX];
    uint32_t template_sum; /* of the header's 16-bit words that no packet changes, not folded */
    uint32_t match_count;
    struct xs_match match[XS_SELECTORS_MAX];
};

struct xs_sad_entry {
    uint32_t spi; /* 0 = empty */
    struct xs_sa *sa;
};

struct xs_sad {
    struct xs_sad_entry *by_spi; /* open addressing, inbound SAs */
    uint32_t mask, used;
    struct xs_sa **by_slot;
    uint32_t slots;
    struct xs_sa **by_child; /* the outbound SA in use */
    uint32_t children;
};

struct xs_sad *xs_sad_new(uint32_t slots);
void xs_sad_free(struct xs_sad *sad);
void xs_sa_begin(struct xs_sa *sa, const struct xs_sa_conf *conf); /* once, its slot in place: limits, what is told */
void xs_sa_ask(struct xs_worker *w, struct xs_sa *sa, uint64_t number); /* raises GRANT_WANTED once per grant */
/* Why this number may not be sent; raises EXHAUSTED once. */
uint32_t xs_sa_past_end(struct xs_worker *w, struct xs_sa *sa, uint64_t number);
void xs_sa_look(struct xs_worker *w, struct xs_sa *sa); /* a limit or the first use is reached: tells, stops */
void xs_sa_seen(struct xs_worker *w, struct xs_sa *sa); /* inbound: a packet that opened and carried nothing */
/* Inbound: the newest packet came in UDP from another address (network order) or port; raises ELSEWHERE each second. */
void xs_sa_elsewhere(struct xs_worker *w, struct xs_sa *sa, uint32_t src, uint16_t port);
void xs_sa_reach(struct xs_worker *w, struct xs_sa *sa); /* outbound: looks up the peer's hop again */
void xs_match_from(struct xs_match *m, const struct xs_selector *s, bool inbound);

static inline uint32_t xs_sad_hash(const struct xs_sad *sad, uint32_t spi)
{
    return (spi * 2654435761U) >> 7 & sad->mask;
}

static inline struct xs_sa *xs_sad_inbound(const struct xs_sad *sad, uint32_t spi)
{
    uint32_t at = xs_sad_hash(sad, spi);
    while (sad->by_spi[at].spi) {
        if (sad->by_spi[at].spi == spi)
            return sad->by_spi[at].sa;
        at = (at + 1) & sad->mask;
    }
    return NULL;
}

static inline struct xs_sa *xs_sad_outbound(const struct xs_sad *sad, uint32_t child)
{
    return child < sad->children ? sad->by_child[child] : NULL;
}

static inline bool xs_match_packet(const struct xs_match *m, uint32_t src, uint32_t dst, uint8_t protocol,
                                   uint16_t src_port, uint16_t dst_port)
{
    if ((src & m->src_mask) != m->src || (dst & m->dst_mask) != m->dst)
        return false;
    if (m->protocol && m->protocol != protocol)
        return false;
    return !m->ports ||
           (src_port >= m->src_lo && src_port <= m->src_hi && dst_port >= m->dst_lo && dst_port <= m->dst_hi);
}

#endif
