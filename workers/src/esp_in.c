/* ESP in: check, open, mark, then trailer, inner packet and selectors (RFC 4303 sec. 3.4, RFC 4301 sec. 5.2, RFC 6040
 * sec. 4.2). Three passes per burst; what one packet of a burst changes is checked again for the next. */
#include <netinet/in.h>

#include "inner.h"
#include "replay.h"
#include "tally.h"

enum {
    ESP_HEADER = 8,
    NEXT_IPV4 = 4,
    NEXT_IPV6 = 41,
    NEXT_DUMMY = 59,
    DF = 0x4000,
    UDP_LEN = 8,
    ETHERTYPE_IPV6 = 0x86dd
};

struct lane {
    struct xs_frame f; /* data: outer header, then the ESP header, then the inner packet */
    struct xs_sa *sa;
    uint8_t *esp;
    uint32_t esp_len, spi;
    uint64_t seq;
    uint8_t outer_tos;
    bool udp;
    uint8_t aad[12], nonce[16];
};

static struct lane lanes[XS_BURST_MAX];
static struct xs_op ops[XS_BURST_MAX];

/* Outer headers down to the ESP header. False: malformed. By value: where frames stay in registers (esp_out.c). */
static inline bool find_esp(struct lane *lane, struct xs_frame f)
{
    if (!xs_strip_l2(&f))
        return false;
    uint32_t ihl = xs_ip_check(&f);
    if (!ihl || xs_is_fragment(f.data))
        return false;
    uint32_t offset = ihl;
    bool udp = f.data[9] == IPPROTO_UDP;
    if (udp) {
        if (f.len < ihl + UDP_LEN || xs_get16(f.data + ihl + 4) != f.len - ihl)
            return false;
        offset += UDP_LEN;
    } else if (f.data[9] != IPPROTO_ESP) {
        return false;
    }
    if (f.len < offset + ESP_HEADER)
        return false;
    lane->udp = udp;
    lane->esp = f.data + offset;
    lane->esp_len = f.len - offset;
    lane->spi = xs_get32(lane->esp);
    lane->outer_tos = f.data[1];
    xs_frame_put(&lane->f, &f);
    return true;
}

/* Why it is no ESP in IPv4: a protocol that the door lets in and this version does not carry, or broken. */
static uint32_t no_esp(struct xs_frame f)
{
    const uint8_t *start = f.data;
    bool carried = true;
    if (xs_strip_l2(&f))
        carried = xs_ip_check(&f) == 0 || xs_is_fragment(f.data) || f.data[9] != IPPROTO_AH;
    else if (f.data != start)
        carried = xs_get16(f.data - 2) != ETHERTYPE_IPV6;
    return carried ? XS_V_DROP_MALFORMED : XS_V_DROP_UNSUPPORTED;
}

/* A tagged frame is taken only from a peer that is reached by the same tag. */
static bool tag_fits(struct xs_worker *w, const struct xs_frame *f)
{
    uint32_t src;
    memcpy(&src, f->data + 12, sizeof src);
    const struct xs_hop *hop = xs_fib_lookup(w, src);
    return hop->resolved && hop->l2_len == XS_VLAN_LEN && (xs_get16(hop->l2 + 14) & 0xfff) == (f->vlan & 0xfff);
}

/* The operation that opens the packet. False: too short, or no whole blocks. */
static bool build(struct lane *lane, struct xs_op *op)
{
    struct xs_sa *sa = lane->sa;
    uint8_t *esp = lane->esp, *iv = esp + ESP_HEADER;
    uint32_t around = ESP_HEADER + sa->iv_len + sa->icv_len;
    if (lane->esp_len < around + sa->block || (lane->esp_len - around) & (sa->block - 1U))
        return false;
    op->key = sa->key;
    op->cold = lane->f.flags & XS_FRAME_COLD;
    op->text = iv + sa->iv_len;
    op->text_len = lane->esp_len - around;
    op->icv = op->text + op->text_len;
    op->aad = esp;
    op->aad_len = ESP_HEADER;
    op->iv = iv;
    op->has_auth_tail = false;
    if (sa->counter) {
        memcpy(lane->nonce, sa->salt, 4);
        memcpy(lane->nonce + 4, iv, 8);
        op->iv = lane->nonce + sa->nonce_skip;
    }
    if (sa->aead) {
        if (sa->esn) {
            xs_put32(lane->aad, sa->spi);
            xs_put64(lane->aad + 4, lane->seq);
            op->aad = lane->aad;
            op->aad_len = 12;
        }
    } else {
        xs_put32(lane->nonce + 12, 1); /* of CTR: the first block's counter (RFC 3686 sec. 4) */
        op->has_auth_tail = sa->esn;
        op->auth_tail = (uint32_t)(lane->seq >> 32);
    }
    return true;
}

/* Pass 1, second half: SA, encapsulation, number. XS_V_COUNT = go on. */
static uint32_t prepare(struct xs_worker *w, struct lane *lane, struct xs_op *op)
{
    struct xs_sa *sa = lane->sa = xs_sad_inbound(w->sad, lane->spi);
    if (!sa)
        return XS_V_DROP_NO_SA;
    if (__builtin_expect(!(sa->takes >> lane->udp & 1), 0))
        return sa->takes ? XS_V_DROP_ENCAP : xs_sa_past_end(w, sa, 0);
    if (lane->f.flags & XS_FRAME_TAGGED && !tag_fits(w, &lane->f))
        return XS_V_DROP_TAG;
    lane->seq = xs_replay_full_seq(sa, xs_get32(lane->esp + 4));
    if (!build(lane, op))
        return XS_V_DROP_MALFORMED;
    uint32_t verdict = xs_replay_check(sa, lane->seq);
    return verdict == XS_V_DROP_NO_GRANT ? XS_V_COUNT : verdict; /* only a packet that opens may ask for a grant */
}

static inline uint32_t strip_trailer(struct xs_frame *f, const struct xs_op *op)
{
    const uint8_t *end = op->text + op->text_len;
    uint32_t pad = xs_once(end[-2]);
    if (pad + XS_ESP_TRAILER > op->text_len)
        return XS_V_DROP_TRAILER;
    if (!xs_padding_fits(end, pad, op->text_len))
        return XS_V_DROP_TRAILER;
    f->data = op->text;
    f->len = op->text_len - XS_ESP_TRAILER - pad;
    if (end[-1] == NEXT_IPV4)
        return XS_V_COUNT;
    if (end[-1] == NEXT_DUMMY)
        return XS_V_DUMMY;
    return end[-1] == NEXT_IPV6 ? XS_V_DROP_UNSUPPORTED : XS_V_DROP_TRAILER;
}

#define EXIT __attribute__((noinline, cold)) static void

EXIT drop(struct xs_worker *w, struct xs_frame f, uint32_t verdict, struct xs_sa *sa)
{
    xs_drop(w, &f, verdict, sa);
}

/* Into the outbound path as if it came from inside: to another tunnel, or an ICMP error back through this one. */
EXIT turn_around(struct xs_worker *w, struct xs_frame f)
{
    f.data -= XS_ETH_LEN;
    f.len += XS_ETH_LEN;
    f.l2_len = XS_ETH_LEN;
    f.flags = XS_FRAME_INNER;
    memset(f.data, 0, 12);
    xs_put16(f.data + 12, XS_ETHERTYPE_IP);
    xs_outbound(w, &f, 1);
}

static uint32_t inside_address(const struct xs_worker *w)
{
    uint32_t addr = 0;
    for (uint32_t p = 0; p < XS_MAX_PORTS && !addr; p++)
        if (w->ports[p] && w->ports[p]->conf.role == XS_ROLE_INSIDE && w->ports[p]->conf.addr4.family == 4)
            memcpy(&addr, w->ports[p]->conf.addr4.bytes, sizeof addr);
    return addr;
}

EXIT refuse(struct xs_worker *w, struct xs_frame f, struct xs_sa *sa, enum xs_icmp kind, uint32_t mtu, uint32_t verdict)
{
    uint32_t ihl = (f.data[0] & 15U) * 4;
    if (xs_icmp_error(w, &f, ihl, kind, mtu, inside_address(w)))
        turn_around(w, f);
    else
        drop(w, f, verdict, sa);
}

static inline void forward(struct xs_worker *w, struct xs_frame *f, struct xs_sa *sa, uint32_t ihl)
{
    uint8_t *ip = f->data;
    uint32_t dst;
    memcpy(&dst, ip + 16, sizeof dst);
    const struct xs_hop *hop = xs_fib_lookup(w, dst);
    if (ip[8] <= 1) {
        refuse(w, *f, sa, XS_ICMP_TIME_EXCEEDED, 0, XS_V_DROP_TTL);
        return;
    }
    if (hop->routed && w->ports[hop->port]->conf.role == XS_ROLE_OUTSIDE) {
        turn_around(w, *f); /* hub and spoke; what no policy protects is dropped there, never sent in the clear */
        return;
    }
    if (hop->routed && f->len > hop->mtu) {
        if (xs_get16(ip + 6) & DF)
            refuse(w, *f, sa, XS_ICMP_TOO_BIG, hop->mtu, XS_V_DROP_TOO_BIG);
        else
            drop(w, *f, XS_V_DROP_TOO_BIG, sa);
        return;
    }
    xs_ttl_decrement(ip);
    if (xs_is_tcp_syn(ip, ihl, f->len)) {
        const struct xs_sa *back = xs_sad_outbound(w->sad, sa->child); /* may be another worker's: then our twin */
        xs_mss_clamp(ip, ihl, f->len, back ? back->inner_mtu : sa->inner_mtu);
    }
    xs_hop_emit(w, f, hop, XS_V_DECRYPTED, sa);
}

/* Authenticated? And then: granted? A packet that opened but is past the mark is the reason to ask for more. */
static inline uint32_t opened(struct xs_worker *w, struct lane *lane, const struct xs_op *op, uint32_t replay)
{
#ifdef XS_MUTANT_ICV
    (void)op; /* here and not in the engine: an engine that accepts anything fails its known answers at start */
#else
    if (!op->ok)
        return XS_V_DROP_ICV;
#endif
    if (lane->seq >= lane->sa->ask_at)
        xs_sa_ask(w, lane->sa, lane->seq);
    return replay;
}

/* An authentic packet, newer than all before it: where it came from is where a NAT has the peer now (RFC 7296
 * sec. 2.23). An older one may have been on its way since before the mapping changed. */
static inline void look_where_from(struct xs_worker *w, const struct lane *lane)
{
    struct xs_sa *sa = lane->sa;
    uint32_t src, known;
    memcpy(&src, lane->f.data + 12, sizeof src);
    memcpy(&known, sa->remote.bytes, sizeof known);
    uint16_t port = xs_get16(lane->esp - UDP_LEN);
    if (__builtin_expect(src != known || port != sa->encap_remote, 0) && sa->udp && sa->any_encap)
        xs_sa_elsewhere(w, sa, src, port);
}

/* Trailer, inner header, selectors, ECN. The packet is whole and permitted when this says XS_V_COUNT. */
static inline uint32_t inner_check(const struct lane *lane, struct xs_frame *f, const struct xs_op *op, uint32_t *ihl)
{
    uint32_t verdict = strip_trailer(f, op);
    if (verdict != XS_V_COUNT)
        return verdict;
    *ihl = xs_ip_check(f);
    if (!*ihl)
        return XS_V_DROP_INNER;
    const struct xs_flow flow = xs_flow_from(f->data, *ihl, f->len);
    bool needs_ports = false;
    if (!xs_selector_check(lane->sa, &flow, &needs_ports))
        return needs_ports ? XS_V_DROP_FRAGMENT : XS_V_DROP_SELECTOR;
    return xs_merge_ecn(f->data, lane->outer_tos) ? XS_V_COUNT : XS_V_DROP_ECN;
}

/* Pass 3 for one packet: check again (its neighbour in the burst may bear the same number), open, mark, inner check. */
static inline void finish(struct xs_worker *w, struct lane *lane, const struct xs_op *op, struct xs_tally *tally)
{
    struct xs_sa *sa = lane->sa;
    struct xs_frame f = lane->f;
    uint32_t ihl = 0;
    uint32_t verdict = xs_replay_check(sa, lane->seq);
    verdict = verdict == XS_V_DROP_REPLAY ? verdict : opened(w, lane, op, verdict);
    if (verdict == XS_V_COUNT) {
        if (lane->udp && lane->seq > sa->slot->top)
            look_where_from(w, lane);
        xs_replay_mark(sa, lane->seq);
        verdict = inner_check(lane, &f, op, &ihl);
        if (verdict != XS_V_COUNT)
            xs_sa_seen(w, sa); /* whatever it carried, the peer sent it */
    }
    if (verdict != XS_V_COUNT) {
        drop(w, f, verdict, sa);
        return;
    }
    xs_tally_add(tally, sa, f.len);
    forward(w, &f, sa, ihl);
}

/* SAs and operations of the lanes from `n` to `end`; those that go on move together. Returns where they end. */
static uint32_t take_lanes(struct xs_worker *w, uint32_t n, uint32_t end)
{
    for (uint32_t i = n; i < end; i++) {
        uint32_t verdict = prepare(w, &lanes[i], &ops[n]);
        if (verdict != XS_V_COUNT) {
            xs_drop(w, &lanes[i].f, verdict, lanes[i].sa);
            continue;
        }
        if (i != n) { /* the operation points into its lane */
            lanes[n] = lanes[i];
            if (lanes[n].sa->counter)
                ops[n].iv = lanes[n].nonce + lanes[n].sa->nonce_skip;
            if (lanes[n].sa->aead && lanes[n].sa->esn)
                ops[n].aad = lanes[n].aad;
        }
        n++;
    }
    return n;
}

/* Pass 1, a few frames at a time: while one group is worked on, the headers of the next are fetched, and of its own
 * the SAs. Returns the lanes that go on. */
static uint32_t parse(struct xs_worker *w, const struct xs_frame *frames, uint32_t count)
{
    uint32_t n = 0;
    xs_fetch_starts(frames, 0, count);
    for (uint32_t at = 0; at < count; at += XS_GROUP) {
        uint32_t end = n;
        xs_fetch_starts(frames, at + XS_GROUP, count);
        for (uint32_t i = at; i < count && i < at + XS_GROUP; i++) {
            if (find_esp(&lanes[end], frames[i]))
                __builtin_prefetch(&w->sad->by_spi[xs_sad_hash(w->sad, lanes[end++].spi)]);
            else
                xs_drop(w, &frames[i], no_esp(frames[i]), NULL);
        }
        n = take_lanes(w, n, end);
    }
    return n;
}

void xs_inbound(struct xs_worker *w, struct xs_frame *frames, uint32_t count)
{
    uint64_t clock = __rdtsc();
    struct xs_tally tally = {.w = w};
    uint32_t n = parse(w, frames, count);
    xs_stage_end(w, XS_STAGE_PARSE, &clock);
    for (uint32_t i = 0, end; i < n; i = end) {
        const struct xs_engine *engine = lanes[i].sa->engine;
        for (end = i + 1; end < n && lanes[end].sa->engine == engine; end++)
            ;
        engine->open(&ops[i], end - i);
    }
    xs_stage_end(w, XS_STAGE_CRYPTO, &clock);
    for (uint32_t i = 0; i < n; i++) {
        if (i + XS_GROUP < n) { /* long packets have pushed each other out of the nearest cache */
            const struct xs_op *ahead = &ops[i + XS_GROUP];
            __builtin_prefetch(ahead->text);
            __builtin_prefetch(ahead->text + ahead->text_len - XS_ESP_TRAILER);
        }
        finish(w, &lanes[i], &ops[i], &tally);
    }
    xs_tally_write(&tally);
    xs_stage_end(w, XS_STAGE_FINISH, &clock);
}
