/* See fuzz.h: frames as a peer and a host send them, and every way they are spoiled, before sealing and after. */
#include <arpa/inet.h>

#include "fuzz.h"

uint64_t dice_roll(struct dice *d)
{
    uint64_t z = d->state += 0x9E3779B97F4A7C15ULL;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ z >> 27) * 0x94D049BB133111EBULL;
    return z ^ z >> 31;
}

uint32_t dice_below(struct dice *d, uint32_t limit)
{
    return (uint32_t)((dice_roll(d) >> 32) * limit >> 32);
}

bool dice_one_in(struct dice *d, uint32_t n)
{
    return dice_below(d, n) == 0;
}

static const char *pick(struct dice *d, const char *const *of, uint32_t count)
{
    return of[dice_below(d, count)];
}
#define PICK(d, list) pick(d, list, sizeof(list) / sizeof(list)[0])

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value;
}

static void right_checksum(uint8_t *ip)
{
    uint32_t ihl = (ip[0] & 15U) * 4;
    put16(ip + 10, 0);
    put16(ip + 10, lab_sum(ip, ihl < 20 ? 20 : ihl, 0));
}

/* --- packets --------------------------------------------------------------------------------------------------------
 */

/* A TCP SYN whose MSS option stands at any offset, among options that may lie about their lengths. */
static void make_syn(struct dice *d, uint8_t *packet, uint32_t len)
{
    uint8_t *tcp = packet + 20;
    if (len < 60)
        return;
    memset(tcp + 4, 0, 36);
    tcp[12] = (uint8_t)((5 + dice_below(d, 6)) << 4);
    tcp[13] = 2;
    for (uint32_t at = 20; at < 40; at++)
        tcp[at] = 1;
    uint32_t at = 20 + dice_below(d, 17);
    tcp[at] = 2, tcp[at + 1] = 4;
    put16(tcp + at + 2, dice_below(d, 65536));
    if (dice_one_in(d, 4))
        tcp[20 + dice_below(d, 20)] = (uint8_t)dice_roll(d);
}

static uint32_t make_packet(struct dice *d, uint8_t *packet, const char *src, const char *dst, uint16_t sport)
{
    static const uint8_t protocols[] = {17, 17, 6, 1, 132, 47};
    static const uint16_t frags[] = {0, 0, 0, 0, 0x4000, 0x4000, 0x2000, 0x0010, 0x2010};
    struct lab_ip ip = {.src = src, .dst = dst, .sport = sport, .dport = (uint16_t)(2000 + (dice_below(d, 4) == 0))};
    ip.protocol = protocols[dice_below(d, sizeof protocols)];
    ip.frag = frags[dice_below(d, 9)];
    ip.tos = (uint8_t)dice_roll(d);
    ip.ttl = dice_one_in(d, 16) ? 1 : (uint8_t)(2 + dice_below(d, 200));
    ip.payload = dice_one_in(d, 8) ? dice_below(d, INNER_MAX - 24) : dice_below(d, 120);
    if (ip.protocol == 1)
        ip.sport = (uint16_t)((dice_one_in(d, 2) ? 8 : dice_below(d, 20)) << 8);
    uint32_t len = lab_ip_packet(packet, &ip);
    if (ip.protocol == 6)
        make_syn(d, packet, len);
    return len;
}

/* --- spoiling -------------------------------------------------------------------------------------------------------
 */

static void flip(struct dice *d, uint8_t *at, uint32_t len)
{
    if (len)
        at[dice_below(d, len)] ^= (uint8_t)(1 << dice_below(d, 8));
}

/* One thing wrong with an IPv4 packet of len bytes in a buffer of INNER_MAX; its new length. */
static uint32_t spoil_packet(struct dice *d, uint8_t *ip, uint32_t len)
{
    static const uint16_t lengths[] = {0, 1, 19, 20, 21, 0xffff, 0x7fff, 60};
    switch (dice_below(d, 12)) {
    case 0:
        flip(d, ip, len < 24 ? len : 24);
        break;
    case 1:
        ip[0] = (uint8_t)dice_roll(d);
        break;
    case 2: /* the inner length lies */
        put16(ip + 2, dice_one_in(d, 2) ? lengths[dice_below(d, 8)] : len - 4 + dice_below(d, 9));
        break;
    case 3:
        return dice_below(d, len + 1);
    case 4:
        memset(ip + len, (int)dice_roll(d), 32);
        return len + dice_below(d, 33) < INNER_MAX ? len + dice_below(d, 33) : len;
    case 5:
        put16(ip + 6, dice_below(d, 65536));
        break;
    case 6:
        ip[8] = (uint8_t)dice_below(d, 3);
        break;
    case 7:
        ip[9] = (uint8_t)dice_roll(d);
        break;
    case 8: /* addresses near and far */
        ip[12 + dice_below(d, 8)] = (uint8_t)dice_roll(d);
        break;
    case 9: /* options where the payload was */
        ip[0] = (uint8_t)(0x45 + dice_below(d, 11));
        break;
    case 10:
        ip[1] = (uint8_t)dice_roll(d);
        put16(ip + 4, dice_below(d, 65536));
        break;
    default:
        for (uint32_t n = 1 + dice_below(d, 8); n; n--)
            flip(d, ip, len);
    }
    return len;
}

static uint32_t spoil_whole(struct dice *d, uint8_t *packet, uint32_t len)
{
    for (uint32_t n = 1 + dice_below(d, 2); n; n--)
        len = spoil_packet(d, packet, len);
    if (!dice_one_in(d, 4)) /* a checksum that covers it up: else nothing gets past the header */
        right_checksum(packet);
    return len;
}

static void spoil_trailer(struct dice *d, uint8_t *text, uint32_t len)
{
    static const uint8_t nexts[] = {0, 1, 4, 6, 17, 41, 50, 59, 255};
    if (dice_one_in(d, 2))
        text[len - 1] = nexts[dice_below(d, sizeof nexts)];
    else if (dice_one_in(d, 2))
        text[len - 2] = (uint8_t)dice_roll(d);
    else
        flip(d, text + (len > 20 ? len - 20 : 0), len < 20 ? len : 20);
}

static const uint8_t *end_of(const struct shot *s)
{
    return s->frame + s->len;
}

/* One thing wrong on the wire. */
static void spoil_frame(struct dice *d, struct shot *s)
{
    uint8_t *ip = s->frame + LAB_ETH;
    switch (dice_below(d, 12)) {
    case 0:
        s->len = dice_below(d, s->len + 1);
        return;
    case 1:
        s->len = s->len + 64 < FRAME_MAX ? s->len + dice_below(d, 64) : s->len;
        return;
    case 2:
        if (s->len > LAB_ETH + 20)
            spoil_whole(d, ip, 20);
        return;
    case 3: /* SPI or number */
        flip(d, ip + (ip[9] == 17 ? 28 : 20), 8);
        return;
    case 4:
        ip[9] = ip[9] == 50 ? 17 : dice_one_in(d, 2) ? 50 : 51;
        right_checksum(ip);
        return;
    case 5: /* a tag, or two */
        if (s->len + 4 >= FRAME_MAX)
            return;
        memmove(s->frame + 16, s->frame + 12, s->len - 12);
        put16(s->frame + 12, 0x8100);
        put16(s->frame + 14, dice_below(d, 4096));
        s->len += 4;
        return;
    case 6:
        put16(s->frame + 12, dice_one_in(d, 2) ? 0x86dd : dice_below(d, 65536));
        ip[0] = dice_one_in(d, 2) ? 0x60 : ip[0];
        return;
    case 7: /* an honest outer length over less ESP */
        if (end_of(s) > ip + 20) {
            s->len = LAB_ETH + 20 + dice_below(d, (uint32_t)(end_of(s) - ip) - 20);
            put16(ip + 2, s->len - LAB_ETH);
            right_checksum(ip);
        }
        return;
    case 8:
        put16(ip + 6, dice_below(d, 65536));
        right_checksum(ip);
        return;
    case 9:
        flip(d, s->frame + (s->len > 16 ? s->len - 16 : 0), s->len < 16 ? s->len : 16);
        return;
    default:
        for (uint32_t n = 1 + dice_below(d, 4); n; n--)
            flip(d, s->frame, s->len);
    }
}

/* --- shots ----------------------------------------------------------------------------------------------------------
 */

/* Mostly the next number; now and then an old, a repeated, a skipped or one past the mark. */
static uint64_t number_of(struct fuzz *f, struct peer_sa *sa)
{
    struct dice *d = &f->dice;
    uint64_t granted = lab_slot(&f->lab, sa->conf.slot)->granted;
    switch (dice_below(d, 24)) {
    case 0:
        return sa->next > 9000 ? sa->next - dice_below(d, 8000) : sa->next++;
    case 1:
        return sa->next - dice_below(d, 80) - 1;
    case 2:
        return granted + dice_below(d, 3);
    case 3:
        sa->next += dice_below(d, 70);
        return sa->next++;
    default:
        if (sa->next >= granted)
            sa->next = granted - 1;
        return sa->next++;
    }
}

static uint32_t peer_packet(struct fuzz *f, struct shot *s)
{
    static const char *const remote[] = {"10.2.0.9", "10.2.0.9", "10.2.0.9", "10.3.0.9", "10.4.0.1", "10.77.0.1"};
    static const char *const local[] = {"10.1.0.5", "10.1.0.5", "10.1.0.5", "10.1.0.5",
                                        "10.1.0.6", "10.1.7.7", "10.2.0.1", "10.88.0.1"};
    struct dice *d = &f->dice;
    const char *src = s->sa == 1 && !dice_one_in(d, 8) ? "10.3.0.9" : PICK(d, remote);
    return make_packet(d, s->text, src, PICK(d, local), dice_one_in(d, 4) ? 2222 : 1000);
}

static void seal(struct fuzz *f, struct shot *s, uint32_t len, bool spoil_end)
{
    struct peer_sa *sa = &f->in[s->sa];
    uint32_t block = sa->conf.cipher == XS_AES_GCM ? 4 : 16;
    s->text_len = lab_trailer(s->text, len, block, 4);
    if (spoil_end)
        spoil_trailer(&f->dice, s->text, s->text_len);
    s->esp_len = lab_esp(s->esp, &sa->conf, s->seq, s->text, s->text_len);
    s->len = lab_outer(s->frame, &sa->conf, s->esp, s->esp_len, s->tos);
}

void shot_inbound(struct fuzz *f, struct shot *s, bool forged)
{
    struct dice *d = &f->dice;
    uint32_t kind = dice_below(d, 20); /* 3 good, 13 spoilt before sealing, 4 on the wire */
    memset(s, 0, sizeof *s);
    s->port = LAB_OUTSIDE;
    s->sa = dice_below(d, IN_SAS);
    s->seq = number_of(f, &f->in[s->sa]);
    s->tos = dice_one_in(d, 3) ? (uint8_t)dice_roll(d) : 0;
    s->spoilt = kind < 3 ? GOOD : kind < 16 ? BEFORE_SEAL : ON_WIRE;
    s->honest = s->spoilt != ON_WIRE;
    uint32_t len = peer_packet(f, s);
    bool end = s->spoilt == BEFORE_SEAL && dice_one_in(d, 4);
    if (s->spoilt == BEFORE_SEAL && (!end || dice_one_in(d, 4)))
        len = spoil_whole(d, s->text, len);
    seal(f, s, len < 1400 ? len : 1400, end); /* what the outer link carries */
    if (s->honest)
        return;
    if (forged)
        s->frame[s->len - 1] ^= 0x55, s->frame[s->len - 7] ^= 0x81;
    spoil_frame(d, s);
}

void shot_outbound(struct fuzz *f, struct shot *s)
{
    static const char *const local[] = {"10.1.0.5", "10.1.0.5", "10.1.9.9", "10.99.0.1"};
    static const char *const remote[] = {"10.2.0.9", "10.2.0.9", "10.2.0.9", "10.3.0.9",
                                         "10.3.0.9", "10.4.0.1", "10.5.0.1", "10.6.0.1"};
    struct dice *d = &f->dice;
    uint32_t kind = dice_below(d, 20);
    memset(s, 0, sizeof *s);
    s->port = LAB_INSIDE;
    s->spoilt = kind < 3 ? GOOD : kind < 16 ? BEFORE_SEAL : ON_WIRE;
    uint32_t len = make_packet(d, s->text, PICK(d, local), PICK(d, remote), 1000);
    if (dice_one_in(d, 2))
        put16(s->text + 22, 1000);
    if (s->spoilt == BEFORE_SEAL)
        len = spoil_whole(d, s->text, len);
    s->len = lab_frame(s->frame, s->text, len, 0);
    if (s->spoilt == ON_WIRE)
        spoil_frame(d, s);
}

/* What must pass whatever happened before. */
void shot_good(struct fuzz *f, struct shot *s, uint8_t port, uint32_t sa)
{
    const struct lab_ip in = {
        .src = sa == 1 ? "10.3.0.9" : "10.2.0.9", .dst = "10.1.0.5", .sport = 1000, .payload = 64};
    const struct lab_ip out = {.src = "10.1.0.5", .dst = sa ? "10.3.0.9" : "10.2.0.9", .dport = 1000, .payload = 64};
    memset(s, 0, sizeof *s);
    s->port = port;
    s->sa = sa;
    uint32_t len = lab_ip_packet(s->text, port == LAB_OUTSIDE ? &in : &out);
    if (port == LAB_INSIDE) {
        s->len = lab_frame(s->frame, s->text, len, 0);
        return;
    }
    s->honest = true;
    f->in[sa].next = f->in[sa].top + 1;
    s->seq = f->in[sa].next++;
    seal(f, s, len, false);
}
