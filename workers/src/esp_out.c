/* Cleartext out: policy, number, headers, seal (RFC 4303 sec. 3.3, RFC 3948, RFC 6040). Three passes per burst: all
 * that touches the packet before the cipher is written in the first, while its lines are near, so that the last one
 * does not touch it again. The lanes are static: a worker is one thread, and a burst is finished before the next
 * begins. */
#include <netinet/in.h>

#include "inet.h"
#include "sad.h"
#include "tally.h"

enum { ESP_HEADER = 8, TRAILER = 2, NEXT_IPV4 = 4, DF = 0x4000, UDP_LEN = 8 };

struct lane {
    struct xs_frame f; /* data: the inner packet, then the ESP header, then the frame as it leaves */
    struct xs_sa *sa;
    uint32_t inner_len;
    uint8_t aad[12], nonce[16];
};

/* A frame whose headers were read. */
struct looked {
    struct xs_frame f;
    struct xs_flow flow;
    uint32_t ihl;
};

static struct lane lanes[XS_BURST_MAX];
static struct xs_op ops[XS_BURST_MAX];

/* The exits of pass 1. Frames go to them by value: one whose address is taken lives in memory, not in registers. */
#define EXIT __attribute__((noinline, cold)) static bool

EXIT drop(struct xs_worker *w, struct xs_frame f, uint32_t verdict, struct xs_sa *sa)
{
    xs_drop(w, &f, verdict, sa);
    return false;
}

static struct xs_frame with_l2(struct xs_frame f)
{
    f.data -= f.l2_len;
    f.len += f.l2_len;
    return f;
}

EXIT hand_over(struct xs_worker *w, struct xs_frame f, uint32_t owner)
{
    f = with_l2(f);
    xs_hand_over(w, &f, owner);
    return false;
}

EXIT hold(struct xs_worker *w, struct xs_frame f, uint32_t child)
{
    f = with_l2(f);
    xs_hold_for_sa(w, &f, child);
    return false;
}

/* Back out of the port it came from, to the station that sent it. */
EXIT refuse(struct xs_worker *w, struct xs_frame f, enum xs_icmp kind, uint32_t verdict, struct xs_sa *sa)
{
    uint8_t l2[XS_VLAN_LEN];
    uint32_t from = 0, ihl = (f.data[0] & 15U) * 4;
    const struct xs_port *port = w->ports[f.port];
    memcpy(l2, f.data - f.l2_len, f.l2_len);
    memcpy(l2, l2 + 6, 6);
    if (port && !(f.flags & XS_FRAME_INNER)) {
        memcpy(&from, port->conf.addr4.bytes, sizeof from);
        memcpy(l2 + 6, port->conf.mac, 6);
    }
    if (!xs_icmp_error(w, &f, ihl, kind, kind == XS_ICMP_TOO_BIG ? sa->inner_mtu : 0, from))
        return drop(w, f, verdict, sa);
    f = with_l2(f);
    memcpy(f.data, l2, f.l2_len);
    xs_emit(w, &f, XS_V_ANSWERED);
    return false;
}

/* No SA takes this packet, or not as it is: the first reason that holds. */
EXIT turn_away(struct xs_worker *w, struct xs_frame f, const struct xs_flow_entry *policy, struct xs_sa *sa)
{
    if (policy->result)
        return drop(w, f, policy->result == XS_SPD_NEEDS_PORTS ? XS_V_DROP_FRAGMENT : XS_V_DROP_NO_POLICY, NULL);
    if (!sa && policy->owner != w->conf.index && !(f.flags & XS_FRAME_HANDED))
        return hand_over(w, f, policy->owner);
    if (!sa)
        return hold(w, f, policy->child);
    if (f.data[8] <= 1)
        return refuse(w, f, XS_ICMP_TIME_EXCEEDED, XS_V_DROP_TTL, sa);
    if (xs_get16(f.data + 6) & DF)
        return refuse(w, f, XS_ICMP_TOO_BIG, XS_V_DROP_TOO_BIG, sa);
    return drop(w, f, XS_V_DROP_TOO_BIG, sa);
}

/* The next number of the SA, gone from the slot that outlives us before anything is sealed with it. */
static inline uint32_t take_number(struct xs_worker *w, struct xs_sa *sa, uint64_t *seq)
{
    const uint64_t next = sa->next_seq;
    if (__builtin_expect(next > sa->last_number, 0))
        return xs_sa_past_end(w, sa, next);
    if (next >= sa->ask_at)
        xs_sa_ask(w, sa, next);
    if (next >= sa->granted)
        return XS_V_DROP_NO_GRANT;
    sa->next_seq = next + 1;
    __atomic_store_n(&sa->slot->next_seq, next + 1, __ATOMIC_RELEASE);
    *seq = next;
    return XS_V_COUNT;
}

/* What a cipher with a MAC beside it starts from; all from the ESP header on is authenticated. */
static inline void begin_separate(struct lane *lane, struct xs_op *op, struct xs_sa *sa, uint8_t *iv, uint64_t seq)
{
    uint8_t block[16];
    op->iv = iv;
    if (sa->counter) { /* RFC 3686 sec. 4 */
        xs_put64(iv, seq);
        memcpy(lane->nonce, sa->salt, 4);
        xs_put64(lane->nonce + 4, seq);
        xs_put32(lane->nonce + 12, 1);
        op->iv = lane->nonce;
    } else if (sa->iv_len) {
        sa->engine->cbc_iv(sa->key, seq, block);
        memcpy(iv, block, sa->iv_len);
    }
    op->aad = iv - ESP_HEADER;
    op->aad_len = ESP_HEADER + sa->iv_len;
    op->has_auth_tail = sa->esn;
    op->auth_tail = (uint32_t)(seq >> 32);
}

/* ESP header, IV, padding and trailer around the inner packet; the operation that seals it (RFC 4303 sec. 2). */
static inline void build(struct lane *lane, struct xs_op *op, struct xs_frame *f, struct xs_sa *sa, uint64_t seq)
{
    uint8_t *text = f->data, *esp = text - sa->iv_len - ESP_HEADER, *iv = esp + ESP_HEADER;
    uint32_t pad = (uint32_t)-(int32_t)(f->len + TRAILER) & (sa->block - 1U);
    uint8_t *tail = text + f->len;
    static const uint8_t padding[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    memcpy(tail, padding, sizeof padding); /* as much as any cipher needs; has_room saw to it */
    tail[pad] = (uint8_t)pad;
    tail[pad + 1] = NEXT_IPV4;
    xs_put32(esp, sa->spi);
    xs_put32(esp + 4, (uint32_t)seq);
    lane->inner_len = f->len;
    op->key = sa->key;
    op->cold = f->flags & XS_FRAME_COLD;
    op->text = text;
    op->text_len = f->len + pad + TRAILER;
    op->icv = text + op->text_len;
    if (sa->aead) { /* RFC 4106 sec. 3 to 5, and alike RFC 4309 and 7634 */
        xs_put64(iv, seq);
        memcpy(lane->nonce, sa->salt, 4);
        xs_put64(lane->nonce + 4, seq);
        op->iv = lane->nonce + sa->nonce_skip;
        op->aad = esp;
        op->aad_len = ESP_HEADER;
        if (sa->esn) {
            xs_put32(lane->aad, sa->spi);
            xs_put64(lane->aad + 4, seq);
            op->aad = lane->aad;
            op->aad_len = 12;
        }
        op->has_auth_tail = false;
    } else {
        begin_separate(lane, op, sa, iv, seq);
    }
    f->data = esp;
    f->len = ESP_HEADER + sa->iv_len + op->text_len + sa->icv_len;
}

/* The outer header from the template; length, id, DSCP and ECN, DF and checksum are this packet's. Then the link-layer
 * header, when the hop has one: a frame that must wait for it gets it later. */
static inline void wrap(struct xs_frame *f, const struct xs_sa *sa, uint8_t inner_tos, bool df, uint16_t id)
{
    uint8_t *ip = f->data - sa->template_len;
    memcpy(ip, sa->template, XS_IP_MIN);
    if (sa->udp) {
        memcpy(ip + XS_IP_MIN, sa->template + XS_IP_MIN, UDP_LEN);
        xs_put16(ip + 24, (uint16_t)(f->len + UDP_LEN));
    }
    f->data = ip;
    f->len += sa->template_len;
    uint8_t tos = sa->copy_dscp ? inner_tos : (uint8_t)(sa->dscp << 2 | (inner_tos & 3)); /* ECN: RFC 6040 sec. 4.1 */
    uint16_t words[4] = {(uint16_t)(0x4500 | tos), (uint16_t)f->len, df ? 0 : id, df ? DF : 0};
    uint32_t sum = sa->template_sum + words[0] + words[1] + words[2] + words[3];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    xs_put64(ip, (uint64_t)words[0] << 48 | (uint64_t)words[1] << 32 | (uint64_t)words[2] << 16 | words[3]);
    xs_put16(ip + 10, (uint16_t)~sum);
    if (sa->hop.resolved)
        xs_hop_write(f, &sa->hop);
}

static inline bool has_room(const struct xs_worker *w, const struct xs_frame *f, const struct xs_sa *sa)
{
    const uint8_t *base = xs_chunk_base(w, f->chunk), *end = base + w->conf.chunk_size;
    uint32_t front = XS_VLAN_LEN + sa->template_len + ESP_HEADER + sa->iv_len;
    return f->data - base >= (ptrdiff_t)front && end - f->data >= (ptrdiff_t)(f->len + sa->tail_room);
}

/* Reads the headers of one frame and fetches its flow's policy; true when it goes on. */
static inline bool look(struct xs_worker *w, struct xs_frame f, struct looked *to)
{
    if (!xs_strip_l2(&f))
        return drop(w, f, f.len >= XS_IP_MIN && f.data[0] >> 4 == 6 ? XS_V_DROP_UNSUPPORTED : XS_V_DROP_MALFORMED,
                    NULL);
    to->ihl = xs_ip_check(&f);
    if (!to->ihl)
        return drop(w, f, XS_V_DROP_MALFORMED, NULL);
    to->flow = xs_flow_from(f.data, to->ihl, f.len);
    xs_spd_fetch(w->spd, to->flow);
    xs_frame_put(&to->f, &f);
    return true;
}

/* Policy, number, all headers; true when the frame took the lane. */
static inline bool prepare(struct xs_worker *w, const struct looked *from, struct lane *lane, struct xs_op *op)
{
    struct xs_frame f;
    xs_frame_put(&f, &from->f);
    uint32_t ihl = from->ihl;
    uint8_t *ip = f.data;
    const struct xs_flow_entry *policy = xs_spd_lookup(w->spd, from->flow);
    struct xs_sa *sa = policy->result ? NULL : xs_sad_outbound(w->sad, policy->child); /* ours, or the owner is asked */
    if (sa && __builtin_expect(sa->hop.epoch != w->fib->epoch, 0))
        xs_sa_reach(w, sa);
    if (!sa || ip[8] <= 1 || f.len > sa->inner_mtu)
        return turn_away(w, f, policy, sa);
    uint64_t seq = 0;
    uint32_t verdict = has_room(w, &f, sa) ? take_number(w, sa, &seq) : XS_V_DROP_TOO_BIG;
    if (verdict != XS_V_COUNT)
        return drop(w, f, verdict, sa);
    xs_ttl_decrement(ip);
    if (xs_is_tcp_syn(ip, ihl, f.len))
        xs_mss_clamp(ip, ihl, f.len, sa->inner_mtu);
    uint8_t tos = ip[1];
    bool df = sa->df == XS_DF_SET || (sa->df == XS_DF_COPY && (xs_get16(ip + 6) & DF));
    lane->sa = sa;
    build(lane, op, &f, sa, seq);
    wrap(&f, sa, tos, df, (uint16_t)seq);
    xs_frame_put(&lane->f, &f);
    return true;
}

/* The lines that pass 1 writes: headers, what goes in front of them, and the trailer. */
static inline void fetch(const struct xs_frame *frames, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < count && i < from + XS_GROUP; i++) {
        const uint8_t *frame = frames[i].data;
        xs_fetch_own(frame - XS_LINE);
        xs_fetch_own(frame);
        xs_fetch_own(frame + frames[i].len);
    }
}

/* Pass 1, a few frames at a time: while one group is worked on, the headers of the next are fetched. Returns the lanes
 * taken. */
static uint32_t parse(struct xs_worker *w, const struct xs_frame *frames, uint32_t count)
{
    struct looked looked[XS_GROUP];
    uint32_t n = 0;
    fetch(frames, 0, count);
    for (uint32_t at = 0; at < count; at += XS_GROUP) {
        uint32_t seen = 0;
        fetch(frames, at + XS_GROUP, count);
        for (uint32_t i = at; i < count && i < at + XS_GROUP; i++)
            seen += look(w, frames[i], &looked[seen]);
        for (uint32_t i = 0; i < seen; i++)
            n += prepare(w, &looked[i], &lanes[n], &ops[n]);
    }
    return n;
}

void xs_outbound(struct xs_worker *w, struct xs_frame *frames, uint32_t count)
{
    uint64_t clock = __rdtsc();
    struct xs_tally tally = {.w = w};
    uint32_t n = parse(w, frames, count);
    xs_stage_end(w, XS_STAGE_PARSE, &clock);
    for (uint32_t i = 0, end; i < n; i = end) {
        const struct xs_engine *engine = lanes[i].sa->engine;
        for (end = i + 1; end < n && lanes[end].sa->engine == engine; end++)
            ;
        engine->seal(&ops[i], end - i);
    }
    xs_stage_end(w, XS_STAGE_CRYPTO, &clock);
    for (uint32_t i = 0; i < n; i++) {
        if (!ops[i].ok) {
            xs_drop(w, &lanes[i].f, XS_V_DROP_UNSUPPORTED, lanes[i].sa);
            continue;
        }
        struct xs_sa *sa = lanes[i].sa;
        xs_tally_add(&tally, sa, lanes[i].inner_len);
        if (sa->hop.resolved)
            xs_emit(w, &lanes[i].f, XS_V_ENCRYPTED);
        else
            xs_hop_wait(w, &lanes[i].f, &sa->hop, XS_V_ENCRYPTED, sa);
    }
    xs_tally_write(&tally);
    xs_stage_end(w, XS_STAGE_FINISH, &clock);
}
