/* Every suite against ESP that is not authentic, of every length, in both engines and with both kinds of numbers: what
 * is too short or no whole blocks is malformed, the rest fails its check, and none of it is read beyond its end. Sizes
 * as the RFCs have them (4106, 4543, 4309, 7634, 3686, 3602, 2410, 2451). */
#include "path_peer.h"

static const struct {
    uint8_t cipher, auth, key_len, auth_len, icv_len, iv_len, block;
} SUITES[] = {
    {XS_AES_GCM, XS_AUTH_NONE, 20, 0, 16, 8, 4},      {XS_AES_GCM, XS_AUTH_NONE, 28, 0, 8, 8, 4},
    {XS_AES_GCM, XS_AUTH_NONE, 36, 0, 12, 8, 4},      {XS_AES_CCM, XS_AUTH_NONE, 19, 0, 16, 8, 4},
    {XS_AES_CCM, XS_AUTH_NONE, 27, 0, 8, 8, 4},       {XS_AES_CCM, XS_AUTH_NONE, 35, 0, 12, 8, 4},
    {XS_CHACHA20_POLY1305, 0, 36, 0, 16, 8, 4},       {XS_AES_CTR, XS_HMAC_SHA256_128, 20, 32, 16, 8, 4},
    {XS_AES_CTR, XS_AES_XCBC_96, 36, 16, 12, 8, 4},   {XS_AES_CBC, XS_HMAC_SHA1_96, 24, 20, 12, 16, 16},
    {XS_AES_CBC, XS_AES_CMAC_96, 16, 16, 12, 16, 16}, {XS_AES_CBC, XS_HMAC_SHA512_256, 32, 64, 32, 16, 16},
    {XS_NULL, XS_HMAC_SHA384_192, 0, 48, 24, 0, 4},   {XS_NULL, XS_AES_XCBC_96, 0, 16, 12, 0, 4},
    {XS_AES_GMAC, XS_AUTH_NONE, 20, 0, 16, 8, 4},     {XS_AES_GMAC, XS_AUTH_NONE, 28, 0, 16, 8, 4},
    {XS_AES_GMAC, XS_AUTH_NONE, 36, 0, 16, 8, 4},     {XS_3DES_CBC, XS_HMAC_SHA256_128, 24, 32, 16, 8, 8},
    {XS_3DES_CBC, XS_AES_CMAC_96, 24, 16, 12, 8, 8},
};
enum { COUNT = sizeof SUITES / sizeof SUITES[0], LONGEST = 200 };

static struct xs_sa_conf sa_of(uint32_t s, bool outbound, bool esn)
{
    struct xs_sa_conf conf = lab_sa(outbound ? XS_OUTBOUND : XS_INBOUND, false, esn);
    conf.cipher = SUITES[s].cipher;
    conf.auth = SUITES[s].auth;
    conf.key_len = SUITES[s].key_len;
    conf.auth_key_len = SUITES[s].auth_len;
    conf.icv_len = SUITES[s].icv_len;
    for (uint8_t i = 0; i < sizeof conf.auth_key; i++)
        conf.auth_key[i] = i;
    return conf;
}

static void every_length(void)
{
    for (uint32_t way = 0; way < 4 * COUNT; way++) {
        struct lab lab;
        struct xs_sa_conf conf = sa_of(way / 4, false, way & 1);
        const uint32_t around = 8U + SUITES[way / 4].iv_len + SUITES[way / 4].icv_len, block = SUITES[way / 4].block;
        conf.engine = way & 2 ? XS_ENGINE_OPENSSL : XS_ENGINE_IPSEC_MB;
        lab_open(&lab, 0, 1, 1500);
        lab_install(&lab, &conf);
        for (uint32_t len = 8; len < LONGEST; len++) {
            uint8_t esp[LONGEST], frame[LAB_FRAME];
            for (uint32_t i = 0; i < len; i++)
                esp[i] = (uint8_t)(i * 7 + len);
            memcpy(esp, (uint8_t[]){0, 0, 0x10, 0x01, 0, 0, 0, 1}, 8); /* the SPI, number 1 */
            bool whole = len >= around + block && (len - around) % block == 0;
            CHECK(verdict_of(&lab, frame, lab_outer(frame, &conf, esp, len, 0)) ==
                  (whole ? XS_V_DROP_ICV : XS_V_DROP_MALFORMED));
        }
        CHECK(lab_slot(&lab, conf.slot)->top == 0); /* nothing of it counted as received */
        lab_close(&lab);
    }
}

/* What one gateway seals the same gateway opens, at every amount of padding, and only NULL and GMAC show what is
 * inside; one engine seals and the other opens, where both can. */
static void there_and_back(void)
{
    for (uint32_t way = 0; way < 4 * COUNT; way++) {
        struct lab lab;
        struct xs_sa_conf in = sa_of(way / 4, false, way & 1), out = sa_of(way / 4, true, way & 1);
        struct xs_selector all = lab_selector(0, 0);
        in.engine = way & 2 ? XS_ENGINE_OPENSSL : XS_ENGINE_IPSEC_MB;
        out.engine = way & 2 ? XS_ENGINE_IPSEC_MB : XS_ENGINE_OPENSSL;
        all.local.bits = all.remote.bits = 0;
        in.selectors = &all, in.selector_count = 1;
        lab_open(&lab, 0, 1, 1500);
        lab_install(&lab, &in);
        lab_install(&lab, &out);
        lab_policy(&lab, 0, 0, 0);
        for (uint32_t payload = 0; payload < 40; payload++) {
            uint8_t packet[LAB_FRAME], frame[LAB_FRAME], again[LAB_FRAME];
            struct lab_ip ip = {.src = "10.1.0.5", .dst = "10.2.0.9", .ttl = 9, .sport = 1, .payload = payload};
            uint32_t len = lab_ip_packet(packet, &ip);
            lab_put(&lab, LAB_INSIDE, frame, lab_frame(frame, packet, len, 0));
            uint32_t sealed = lab_take(&lab, LAB_OUTSIDE, frame);
            bool open = SUITES[way / 4].cipher == XS_NULL || SUITES[way / 4].cipher == XS_AES_GMAC;
            CHECK(sealed && !memmem(frame, sealed, packet + 12, 8) == !open);
            lab_put(&lab, LAB_OUTSIDE, frame, sealed); /* opened, it goes out again: its destination is remote */
            CHECK(lab_take(&lab, LAB_OUTSIDE, again) == sealed && lab_slot(&lab, in.slot)->packets == payload + 1);
        }
        CHECK(lab_count(&lab, XS_V_ENCRYPTED) == 80 && lab_total(&lab) == 80);
        lab_close(&lab);
    }
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {{"every_length", every_length}, {"there_and_back", there_and_back}};
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
