/* See fuzz.h: what must become of a frame, from the RFCs and not from the core: RFC 4303 sec. 2.4 and 3.4, RFC 791,
 * RFC 4301 sec. 5.2, RFC 6040 figure 4. */
#include <arpa/inet.h>

#include "fuzz.h"

static uint32_t get16(const uint8_t *at)
{
    return at[0] * 256U + at[1];
}

static bool in_prefix(const struct xs_prefix *p, const uint8_t *addr)
{
    for (uint32_t bit = 0; bit < p->bits; bit++)
        if ((p->addr.bytes[bit / 8] ^ addr[bit / 8]) >> (7 - bit % 8) & 1)
            return false;
    return true;
}

/* A whole IPv4 header that does not lie about its packet; its length, 0 = bad. */
static uint32_t header_of(const uint8_t *ip, uint32_t len)
{
    if (len < 20 || ip[0] >> 4 != 4)
        return 0;
    uint32_t ihl = (ip[0] & 15U) * 4, total = get16(ip + 2);
    return ihl >= 20 && total >= ihl && total <= len && lab_sum(ip, ihl, 0) == 0 ? ihl : 0;
}

static bool ports_matter(const struct xs_selector *s)
{
    return s->local_port_lo || s->remote_port_lo || s->local_port_hi != 65535 || s->remote_port_hi != 65535;
}

/* Inbound: the source is remote, the destination local. */
static uint32_t selected(const struct peer_sa *sa, const uint8_t *ip, uint32_t ihl)
{
    bool later = get16(ip + 6) & 0x1fff, blind = false;
    bool has_ports = (ip[9] == 6 || ip[9] == 17 || ip[9] == 132 || ip[9] == 33) && get16(ip + 2) >= ihl + 4;
    uint32_t source = has_ports ? get16(ip + ihl) : 0, target = has_ports ? get16(ip + ihl + 2) : 0;
    for (uint32_t i = 0; i < sa->conf.selector_count; i++) {
        const struct xs_selector *s = &sa->selectors[i];
        if (!in_prefix(&s->remote, ip + 12) || !in_prefix(&s->local, ip + 16) || (s->protocol && s->protocol != ip[9]))
            continue;
        if (!ports_matter(s))
            return FORWARDED;
        if (later)
            blind = true;
        else if (source >= s->remote_port_lo && source <= s->remote_port_hi && target >= s->local_port_lo &&
                 target <= s->local_port_hi)
            return FORWARDED;
    }
    return blind ? XS_V_DROP_FRAGMENT : XS_V_DROP_SELECTOR;
}

uint32_t model_inbound(const struct peer_sa *sa, const struct shot *s)
{
    uint32_t pad = s->text[s->text_len - 2], next = s->text[s->text_len - 1];
    if (pad + 2 > s->text_len)
        return XS_V_DROP_TRAILER;
    for (uint32_t i = 0; i < pad; i++)
        if (s->text[s->text_len - 2 - pad + i] != i + 1)
            return XS_V_DROP_TRAILER;
    if (next != 4)
        return next == 59 ? XS_V_DUMMY : next == 41 ? XS_V_DROP_UNSUPPORTED : XS_V_DROP_TRAILER;
    uint32_t ihl = header_of(s->text, s->text_len - 2 - pad);
    if (!ihl)
        return XS_V_DROP_INNER;
    uint32_t verdict = selected(sa, s->text, ihl);
    if (verdict != FORWARDED)
        return verdict;
    return (s->tos & 3) == 3 && (s->text[1] & 3) == 0 ? XS_V_DROP_ECN : FORWARDED;
}

uint32_t model_number(const struct fuzz *f, const struct peer_sa *sa, uint64_t seq)
{
    if (seq == 0 || (seq <= sa->top && (sa->seen[seq % SEEN] == seq || sa->top - seq >= sa->conf.replay_window)))
        return XS_V_DROP_REPLAY;
    return seq < lab_slot((struct lab *)&f->lab, sa->conf.slot)->granted ? FORWARDED : XS_V_DROP_NO_GRANT;
}

void model_mark(struct peer_sa *sa, uint64_t seq)
{
    sa->seen[seq % SEEN] = seq;
    sa->top = seq > sa->top ? seq : sa->top;
}

/* --- what left -----------------------------------------------------------------------------------------------------
 */

static void check_same(struct fuzz *f, const struct shot *s, const uint8_t *ip, uint32_t len)
{
    static const uint8_t ecn[4][4] = {{0, 0, 0, 9}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    uint32_t ihl = (ip[0] & 15U) * 4;
    bool syn = ip[9] == 6 && !(get16(ip + 6) & 0x1fff) && len >= ihl + 20 && ip[ihl + 13] & 2;
    MUST(f, len == get16(s->text + 2) && ip[8] == s->text[8] - 1 && ip[0] == s->text[0]);
    MUST(f, ip[1] == (uint8_t)((s->text[1] & 0xfc) | ecn[s->text[1] & 3][s->tos & 3]));
    MUST(f, !memcmp(ip + 2, s->text + 2, 6) && ip[9] == s->text[9] && !memcmp(ip + 12, s->text + 12, ihl - 12));
    MUST(f, syn || !memcmp(ip + ihl, s->text + ihl, len - ihl)); /* a SYN may have lost some of its MSS */
}

void check_inside(struct fuzz *f, const struct shot *only)
{
    static const uint8_t ours[4] = {10, 1, 0, 1};
    uint8_t frame[LAB_FRAME];
    for (uint32_t len; (len = lab_take(&f->lab, LAB_INSIDE, frame)); f->taken++) {
        const uint8_t *ip = frame + LAB_ETH + (get16(frame + 12) == 0x8100 ? 4 : 0);
        uint32_t size = len - (uint32_t)(ip - frame);
        MUST(f, header_of(ip, size) && get16(ip + 2) == size);
        if (ip[9] == 1 && !memcmp(ip + 12, ours, 4) && (ip[20] == 11 || ip[20] == 3)) {
            MUST(f, lab_sum(ip + 20, size - 20, 0) == 0); /* our ICMP error */
            continue;
        }
        bool permitted = false;
        for (uint32_t i = 0; i < IN_SAS; i++)
            permitted |= selected(&f->in[i], ip, (ip[0] & 15U) * 4) == FORWARDED;
        MUST(f, permitted && ip[16] == 10 && ip[17] == 1 && ip[8] > 0);
        if (only && only->honest && only->port == LAB_OUTSIDE)
            check_same(f, only, ip, size);
    }
}

void check_outside(struct fuzz *f)
{
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    for (uint32_t len; (len = lab_take(&f->lab, LAB_OUTSIDE, frame)); f->taken++) {
        const uint8_t *ip = frame + LAB_ETH, *esp = ip + (ip[9] == 17 ? 28 : 20);
        MUST(f, header_of(ip, len - LAB_ETH) == 20 && get16(ip + 2) == len - LAB_ETH && len <= LAB_ETH + 1500);
        MUST(f, !memcmp(ip + 12, lab_addr("10.9.0.1").bytes, 4) && !memcmp(ip + 16, lab_addr("10.9.0.2").bytes, 4));
        uint32_t i = esp[3] - 1U;
        MUST(f,
             get16(esp) == 0 && esp[2] == 0x20 && i < OUT_SAS && (ip[9] == 17) == (i == 1) && (i == 1 || ip[9] == 50));
        uint32_t text = lab_esp_open(inner, &f->out[i], f->out_next[i]++, esp, len - (uint32_t)(esp - frame));
        MUST(f, text && inner[text - 1] == 4 && header_of(inner, text - 2) &&
                    inner[8] > 0); /* each number once, in order */
        MUST(f, get16(inner + 2) == text - 2 - inner[text - 2] && inner[16] == 10 && inner[17] == (i ? 3 : 2));
    }
}
