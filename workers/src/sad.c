/* SAs: built from configuration off the packet path, found by SPI, child or slot, wiped when they go. */
#include "sad.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "inet.h"

enum { ESP_HEADER = 8, TRAILER = 2, PADDING_COPIED = 16, OUTER_TTL = 64, MTU_MIN = 576, DSCP_MAX = 63 };

struct xs_sad *xs_sad_new(uint32_t slots)
{
    struct xs_sad *sad = calloc(1, sizeof *sad);
    if (!sad)
        return NULL;
    uint32_t size = 64;
    while (size < slots * 2) /* at most half full: short probes */
        size *= 2;
    sad->mask = size - 1;
    sad->slots = slots;
    sad->by_spi = calloc(size, sizeof *sad->by_spi);
    sad->by_slot = calloc(slots, sizeof *sad->by_slot);
    if (sad->by_spi && sad->by_slot)
        return sad;
    xs_sad_free(sad);
    return NULL;
}

static void sa_free(struct xs_sa *sa)
{
    sa->engine->key_free(sa->key);
    OPENSSL_cleanse(sa, sizeof *sa);
    free(sa);
}

void xs_sad_free(struct xs_sad *sad)
{
    if (!sad)
        return;
    for (uint32_t i = 0; sad->by_slot && i < sad->slots; i++)
        if (sad->by_slot[i])
            sa_free(sad->by_slot[i]);
    free(sad->by_spi);
    free(sad->by_slot);
    free(sad->by_child);
    free(sad);
}

void xs_match_from(struct xs_match *m, const struct xs_selector *s, bool inbound)
{
    const struct xs_prefix *src = inbound ? &s->remote : &s->local, *dst = inbound ? &s->local : &s->remote;
    memcpy(&m->src, src->addr.bytes, 4);
    memcpy(&m->dst, dst->addr.bytes, 4);
    m->src_mask = src->bits ? htonl(~0U << (32 - src->bits)) : 0;
    m->dst_mask = dst->bits ? htonl(~0U << (32 - dst->bits)) : 0;
    m->src &= m->src_mask;
    m->dst &= m->dst_mask;
    m->protocol = s->protocol;
    m->src_lo = inbound ? s->remote_port_lo : s->local_port_lo;
    m->src_hi = inbound ? s->remote_port_hi : s->local_port_hi;
    m->dst_lo = inbound ? s->local_port_lo : s->remote_port_lo;
    m->dst_hi = inbound ? s->local_port_hi : s->remote_port_hi;
    m->ports = m->src_lo != 0 || m->dst_lo != 0 || m->src_hi != 65535 || m->dst_hi != 65535;
}

/* Outer IPv4 header, and UDP (RFC 3948 sec. 2.1: checksum zero); length, id and checksum are patched per packet. */
static void build_template(struct xs_sa *sa, const struct xs_addr *local, uint16_t from, uint16_t to)
{
    uint8_t *ip = sa->template;
    memset(ip, 0, XS_TEMPLATE_MAX);
    sa->template_sum = 0;
    ip[0] = 0x45;
    ip[1] = (uint8_t)(sa->dscp << 2);
    ip[8] = OUTER_TTL;
    ip[9] = sa->udp ? IPPROTO_UDP : IPPROTO_ESP;
    memcpy(ip + 12, local->bytes, 4);
    memcpy(ip + 16, sa->remote.bytes, 4);
    for (uint32_t at = 8; at < 20; at += 2)
        sa->template_sum += xs_get16(ip + at); /* TTL, protocol, addresses; the checksum itself is zero */
    sa->template_len = 20;
    if (sa->udp) {
        uint16_t ports[2] = {htons(from), htons(to)};
        memcpy(ip + 20, ports, sizeof ports);
        sa->template_len = 28;
    }
}

/* The largest inner packet whose sealed form fits the path and the link that leads there (RFC 4303 sec. 2.4: padding,
 * two trailer bytes, ICV). */
static void fit(struct xs_sa *sa)
{
    uint32_t link = sa->hop.mtu >= MTU_MIN ? sa->hop.mtu : sa->path_mtu;
    uint32_t room =
        (link < sa->path_mtu ? link : sa->path_mtu) - sa->template_len - ESP_HEADER - sa->iv_len - sa->icv_len;
    sa->inner_mtu = room / sa->block * sa->block - 2;
}

static void set_ask_mark(struct xs_sa *sa)
{
    const bool outbound = sa->direction == XS_OUTBOUND;
    const uint64_t used = outbound ? sa->next_seq : sa->slot->top, granted = outbound ? sa->granted : sa->slot->granted;
    sa->ask_at = granted > used ? used + (granted - used) / 2 : used;
    sa->asked = false;
}

/* Where the SA runs: outer addresses, and UDP ports unless `from` is 0. */
static void place(struct xs_sa *sa, const struct xs_addr *local, const struct xs_addr *remote, uint16_t from,
                  uint16_t to)
{
    sa->udp = from != 0;
    sa->remote = *remote;
    sa->encap_remote = to;
    sa->told_elsewhere_ns = 0;
    sa->hop.epoch = 0; /* looked up again before the next packet */
    if (sa->takes)
        sa->takes = sa->any_encap ? XS_TAKES_PLAIN | XS_TAKES_UDP : sa->udp ? XS_TAKES_UDP : XS_TAKES_PLAIN;
    build_template(sa, local, from, to);
    fit(sa);
}

/* Of the cipher alone. */
static void take_cipher(struct xs_sa *sa, const struct xs_sa_conf *conf)
{
    const struct xs_cipher_facts *facts = xs_cipher_facts(conf->cipher);
    sa->cipher = conf->cipher;
    sa->iv_len = facts->iv_len;
    sa->block = facts->block;
    sa->aead = facts->aead;
    sa->counter = facts->counter;
    sa->icv_len = conf->icv_len;
    uint32_t room = facts->block + TRAILER + conf->icv_len;
    sa->tail_room = (uint8_t)(room > PADDING_COPIED ? room : PADDING_COPIED);
    sa->nonce_skip = (uint8_t)(sizeof sa->salt - facts->salt_len);
    if (facts->counter)
        memcpy(sa->salt + sa->nonce_skip, conf->key + conf->key_len - facts->salt_len, facts->salt_len);
}

static struct xs_sa *sa_new(struct xs_worker *w, const struct xs_sa_conf *conf)
{
    const struct xs_engine *engine = xs_engine_for(conf);
    struct xs_sa *sa = engine ? calloc(1, sizeof *sa) : NULL;
    if (!sa)
        return NULL;
    sa->engine = engine;
    sa->key = engine->key_new(conf);
    sa->spi = conf->spi;
    sa->slot_index = conf->slot;
    sa->slot = (struct xs_sa_slot *)((uint8_t *)w->conf.state + sizeof(struct xs_state_header)) + conf->slot;
    sa->child = conf->child;
    sa->direction = conf->direction;
    sa->esn = conf->esn;
    sa->any_encap = conf->any_encap;
    sa->takes = XS_TAKES_PLAIN; /* any: place() says which */
    sa->copy_dscp = conf->copy_dscp;
    sa->dscp = conf->dscp;
    sa->df = conf->df;
    sa->window = conf->replay_window;
    sa->ring_mask = XS_WINDOW_DEFAULT - 1;
    sa->path_mtu = conf->path_mtu;
    take_cipher(sa, conf);
    place(sa, &conf->local, &conf->remote, conf->encap_local, conf->encap_remote);
    sa->match_count = conf->selector_count;
    for (uint32_t i = 0; i < conf->selector_count; i++)
        xs_match_from(&sa->match[i], &conf->selectors[i], conf->direction == XS_INBOUND);
    if (sa->direction == XS_OUTBOUND && sa->slot->next_seq == 0)
        sa->slot->next_seq = 1; /* RFC 4303 sec. 3.3.3: the first packet is number 1 */
    sa->next_seq = sa->slot->next_seq;
    sa->granted = sa->slot->granted;
    set_ask_mark(sa);
    xs_sa_begin(sa, conf);
    if (sa->key)
        return sa;
    free(sa);
    return NULL;
}

static bool is_ipv4(const struct xs_prefix *p)
{
    return p->addr.family == 4 && p->bits <= 32;
}

/* The key fits the algorithm (RFC 4868 sec. 2.1.1: as long as the hash's output; RFC 3566 and 4494: 128 bits); the
 * engine checks the cipher's. */
static bool keys_fit(const struct xs_sa_conf *c)
{
    static const uint8_t length[XS_AUTHS] = {0, 20, 32, 48, 64, 16, 16};
    return c->key_len <= sizeof c->key && c->auth < sizeof length && c->auth_key_len == length[c->auth];
}

static bool acceptable(const struct xs_worker *w, const struct xs_sa_conf *c)
{
    if (c->spi == 0 || c->slot >= w->sad->slots || c->child >= XS_CHILDREN_MAX || c->direction > XS_OUTBOUND)
        return false;
    if (c->selector_count > XS_SELECTORS_MAX || c->path_mtu < MTU_MIN || c->path_mtu > UINT16_MAX)
        return false;
    if (c->local.family != 4 || c->remote.family != 4 || !keys_fit(c) || c->df > XS_DF_CLEAR || c->dscp > DSCP_MAX)
        return false;
    for (uint32_t i = 0; i < c->selector_count; i++)
        if (!is_ipv4(&c->selectors[i].local) || !is_ipv4(&c->selectors[i].remote))
            return false;
    if (c->direction == XS_OUTBOUND)
        return true;
    return c->replay_window >= 64 && c->replay_window % 64 == 0 && c->replay_window <= XS_WINDOW_DEFAULT;
}

int xs_sa_install(struct xs_worker *w, const struct xs_sa_conf *conf)
{
    struct xs_sad *sad = w->sad;
    if (!acceptable(w, conf))
        return -EINVAL;
    if (sad->by_slot[conf->slot] || (conf->direction == XS_INBOUND && xs_sad_inbound(sad, conf->spi)))
        return -EEXIST;
    struct xs_sa *sa = sa_new(w, conf);
    if (!sa)
        return -EOPNOTSUPP;
    sad->by_slot[conf->slot] = sa;
    if (conf->direction == XS_INBOUND) {
        uint32_t at = xs_sad_hash(sad, conf->spi);
        while (sad->by_spi[at].spi)
            at = (at + 1) & sad->mask;
        sad->by_spi[at] = (struct xs_sad_entry){conf->spi, sa};
    }
    return 0;
}

/* Removal from open addressing: the run behind the hole is put in again. */
static void forget_spi(struct xs_sad *sad, uint32_t spi)
{
    uint32_t at = xs_sad_hash(sad, spi);
    while (sad->by_spi[at].spi != spi)
        at = (at + 1) & sad->mask;
    sad->by_spi[at] = (struct xs_sad_entry){0};
    for (at = (at + 1) & sad->mask; sad->by_spi[at].spi; at = (at + 1) & sad->mask) {
        struct xs_sad_entry moved = sad->by_spi[at];
        sad->by_spi[at] = (struct xs_sad_entry){0};
        uint32_t to = xs_sad_hash(sad, moved.spi);
        while (sad->by_spi[to].spi)
            to = (to + 1) & sad->mask;
        sad->by_spi[to] = moved;
    }
}

static struct xs_sa *by_slot(struct xs_worker *w, uint32_t slot)
{
    return slot < w->sad->slots ? w->sad->by_slot[slot] : NULL;
}

int xs_sa_remove(struct xs_worker *w, uint32_t slot)
{
    struct xs_sad *sad = w->sad;
    struct xs_sa *sa = by_slot(w, slot);
    if (!sa)
        return -ENOENT;
    sad->by_slot[slot] = NULL;
    if (sa->direction == XS_INBOUND)
        forget_spi(sad, sa->spi);
    else if (xs_sad_outbound(sad, sa->child) == sa)
        sad->by_child[sa->child] = NULL;
    sa_free(sa);
    return 0;
}

int xs_sa_use(struct xs_worker *w, uint32_t child, uint32_t slot)
{
    struct xs_sad *sad = w->sad;
    struct xs_sa *sa = by_slot(w, slot);
    if (!sa || sa->direction != XS_OUTBOUND || sa->child != child)
        return -ENOENT;
    if (child >= sad->children) {
        uint32_t room = (child + 64) / 64 * 64 + 64;
        struct xs_sa **grown = realloc(sad->by_child, room * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        memset(grown + sad->children, 0, (room - sad->children) * sizeof *grown);
        sad->by_child = grown;
        sad->children = room;
    }
    sad->by_child[child] = sa;
    xs_release_child(w, child);
    return 0;
}

int xs_sa_move(struct xs_worker *w, uint32_t slot, const struct xs_addr *local, const struct xs_addr *remote,
               uint16_t encap_local, uint16_t encap_remote)
{
    struct xs_sa *sa = by_slot(w, slot);
    if (!sa)
        return -ENOENT;
    if (local->family != 4 || remote->family != 4 || !encap_local != !encap_remote)
        return -EINVAL;
    place(sa, local, remote, encap_local, encap_remote);
    return 0;
}

int xs_sa_grant(struct xs_worker *w, uint32_t slot, uint64_t mark)
{
    struct xs_sa *sa = by_slot(w, slot);
    if (!sa)
        return -ENOENT;
    if (mark > sa->granted)
        sa->granted = sa->slot->granted = mark;
    set_ask_mark(sa);
    return 0;
}

int xs_sa_path_mtu(struct xs_worker *w, uint32_t child, uint32_t mtu)
{
    struct xs_sa *sa = xs_sad_outbound(w->sad, child);
    if (!sa || mtu < MTU_MIN)
        return sa ? -EINVAL : -ENOENT;
    sa->path_mtu = mtu;
    fit(sa);
    return 0;
}

const char *xs_sa_engine(struct xs_worker *w, uint32_t slot)
{
    const struct xs_sa *sa = by_slot(w, slot);
    return sa ? sa->engine->name : NULL;
}

void xs_sa_reach(struct xs_worker *w, struct xs_sa *sa)
{
    uint32_t dst;
    memcpy(&dst, sa->remote.bytes, sizeof dst);
    sa->hop = *xs_fib_lookup(w, dst);
    fit(sa);
}

int xs_tables_new(struct xs_worker *w)
{
    w->sad = xs_sad_new(w->slots);
    w->spd = xs_spd_new();
    w->fib = xs_fib_new();
    return w->sad && w->spd && w->fib ? 0 : -ENOMEM;
}

void xs_tables_free(struct xs_worker *w)
{
    xs_sad_free(w->sad);
    xs_spd_free(w->spd);
    xs_fib_free(w->fib);
}
