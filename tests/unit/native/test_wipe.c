/* After an SA is removed, and after the worker is freed, no key is left in this process: not in heap, stack, data, the
 * engines' managers or libcrypto's contexts. What is looked for: the keys, what the key schedules hold (round keys,
 * hash keys, HMAC states), all kept masked so that the search does not find itself. */
#include <malloc.h>
#include <openssl/crypto.h>

#include "engine.h"
#include "inet.h"
#include "path_lab.h"
#include "sad.h"

enum { NEEDLE = 16, NEEDLES = 512, MASK = 0x5a };

static uint8_t needles[NEEDLES][NEEDLE]; /* masked */
static uint32_t needle_count;
static uint8_t first[65536 / 8]; /* first two bytes of a masked needle */
static struct xs_sa_conf conf;   /* static and filled in place: no copy of it on the stack */

static bool is_plain(const uint8_t *at) /* zeros, counters, pointers: what is no key */
{
    uint32_t different = 0;
    for (uint32_t i = 0; i < NEEDLE; i++) {
        bool again = at[i] == 0;
        for (uint32_t k = 0; k < i; k++)
            again |= at[k] == at[i];
        different += !again;
    }
    return different < 12;
}

static void look_for(const uint8_t *secret, uint32_t len)
{
    for (uint32_t at = 0; at + NEEDLE <= len; at += NEEDLE) {
        if (is_plain(secret + at))
            continue;
        CHECK(needle_count < NEEDLES);
        uint8_t *needle = needles[needle_count++];
        for (uint32_t i = 0; i < NEEDLE; i++)
            needle[i] = secret[at + i] ^ MASK;
        uint32_t word = needle[0] | (uint32_t)needle[1] << 8;
        first[word / 8] |= (uint8_t)(1 << word % 8);
    }
}

static bool is_needle(const uint8_t *at)
{
    uint32_t word = (at[0] ^ MASK) | (uint32_t)(at[1] ^ MASK) << 8;
    if (!(first[word / 8] >> word % 8 & 1))
        return false;
    for (uint32_t n = 0; n < needle_count; n++) {
        uint32_t same = 0;
        while (same < NEEDLE && (at[same] ^ MASK) == needles[n][same])
            same++;
        if (same == NEEDLE)
            return true;
    }
    return false;
}

/* ASan's shadow and its quarantine are not the program's: that build only runs what leads here. */
#if defined(__SANITIZE_ADDRESS__)
enum { LOOKS = 0 };
#else
enum { LOOKS = 1 };
#endif

/* Keys found in everything this process can write. */
static uint32_t found(bool say)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    char line[512];
    uint32_t count = 0;
    while (LOOKS && fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char mode[8];
        CHECK(sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3);
        if (mode[0] != 'r' || mode[1] != 'w')
            continue;
        for (const uint8_t *at = (const uint8_t *)start; at + NEEDLE <= (const uint8_t *)end; at++) {
            if (!is_needle(at))
                continue;
            count++;
            if (say)
                fprintf(stderr, "key bytes at +%lx of %s", (unsigned long)at - start, line);
        }
    }
    fclose(maps);
    return count;
}

static const struct {
    uint8_t cipher, auth, key_len, auth_len, icv_len;
} SUITES[] = {
    {XS_AES_GCM, XS_AUTH_NONE, 20, 0, 16},           {XS_AES_GCM, XS_AUTH_NONE, 36, 0, 16},
    {XS_AES_CBC, XS_HMAC_SHA1_96, 16, 20, 12},       {XS_AES_CBC, XS_HMAC_SHA256_128, 32, 32, 16},
    {XS_AES_CBC, XS_HMAC_SHA384_192, 16, 48, 24},    {XS_AES_CBC, XS_HMAC_SHA512_256, 32, 64, 32},
    {XS_AES_GCM, XS_AUTH_NONE, 28, 0, 12},           {XS_AES_CCM, XS_AUTH_NONE, 19, 0, 8},
    {XS_AES_CCM, XS_AUTH_NONE, 27, 0, 16},           {XS_AES_CCM, XS_AUTH_NONE, 35, 0, 12},
    {XS_CHACHA20_POLY1305, XS_AUTH_NONE, 36, 0, 16}, {XS_AES_CTR, XS_AES_CMAC_96, 36, 16, 12},
    {XS_AES_CTR, XS_HMAC_SHA256_128, 20, 32, 16},    {XS_AES_CBC, XS_AES_XCBC_96, 24, 16, 12},
    {XS_NULL, XS_HMAC_SHA256_128, 0, 32, 16},        {XS_NULL, XS_AES_CMAC_96, 0, 16, 12},
    {XS_AES_GMAC, XS_AUTH_NONE, 28, 0, 16},          {XS_3DES_CBC, XS_HMAC_SHA1_96, 24, 20, 12},
    {XS_3DES_CBC, XS_AES_CMAC_96, 24, 16, 12},
};

/* Keys of no pattern, made where they stand. */
static void fill_keys(uint32_t suite, uint64_t seed)
{
    uint8_t *parts[] = {conf.key, conf.auth_key, conf.iv_key};
    const uint32_t lens[] = {conf.key_len, conf.auth_key_len, sizeof conf.iv_key};
    uint64_t state = seed * 977 + suite + 1;
    for (uint32_t p = 0; p < 3; p++) {
        for (uint32_t i = 0; i < lens[p]; i++) {
            state = state * 6364136223846793005ULL + 1442695040888963407ULL;
            parts[p][i] = (uint8_t)(state >> 33);
        }
    }
    state = 0;
}

static void install(struct lab *lab, uint32_t suite, uint8_t engine, uint8_t direction)
{
    static struct xs_selector all;
    memset(&conf, 0, sizeof conf);
    all = lab_selector(0, 0);
    all.local.bits = all.remote.bits = 0;
    conf.spi = LAB_SPI;
    conf.direction = direction;
    conf.engine = engine;
    conf.cipher = SUITES[suite].cipher, conf.auth = SUITES[suite].auth, conf.key_len = SUITES[suite].key_len;
    conf.auth_key_len = SUITES[suite].auth_len, conf.icv_len = SUITES[suite].icv_len;
    conf.slot = direction == XS_INBOUND ? LAB_SLOT_IN : LAB_SLOT_OUT;
    conf.esn = 1, conf.replay_window = 64, conf.path_mtu = 1500;
    conf.local = lab_addr("10.9.0.1"), conf.remote = lab_addr("10.9.0.2");
    conf.selectors = &all, conf.selector_count = 1;
    fill_keys(suite, engine);
    bool cbc = conf.cipher == XS_AES_CBC || conf.cipher == XS_3DES_CBC;
    look_for(conf.key, conf.key_len);
    look_for(conf.auth_key, conf.auth_key_len);
    look_for(conf.iv_key, direction == XS_OUTBOUND && cbc ? sizeof conf.iv_key : 0);
    lab_install(lab, &conf);
    const struct xs_sa *sa = lab->w->sad->by_slot[conf.slot];
    if (!strcmp(sa->engine->name, "ipsec-mb")) /* the whole schedule: all that its struct points to lies in it */
        look_for((const uint8_t *)sa->key, (uint32_t)malloc_usable_size(sa->key));
    OPENSSL_cleanse(&conf, sizeof conf);
}

/* Out, and what went out in again, in bursts: every path of the engine has seen the keys. */
static void pass_traffic(struct lab *lab)
{
    static uint8_t packet[LAB_FRAME], frame[LAB_FRAME];
    struct lab_ip ip = {.src = "10.1.0.5", .dst = "10.2.0.9", .sport = 1, .dport = 2};
    for (uint32_t i = 0; i < 60; i++) {
        ip.payload = 20 * i;
        uint32_t len = lab_frame(frame, packet, lab_ip_packet(packet, &ip), 0);
        CHECK(xs_memory_put(lab->w, LAB_INSIDE, frame, len) == 0);
    }
    CHECK(xs_worker_breathe(lab->w) == 60);
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t len = lab_take(lab, LAB_OUTSIDE, frame);
        CHECK(len && xs_memory_put(lab->w, LAB_OUTSIDE, frame, len) == 0);
    }
    CHECK(xs_worker_breathe(lab->w) == 60);
    while (lab_take(lab, LAB_OUTSIDE, frame))
        ;
    CHECK(lab_count(lab, XS_V_ENCRYPTED) == 120 && lab_slot(lab, LAB_SLOT_IN)->packets == 60);
}

static void one(uint32_t suite, uint8_t engine, bool remove)
{
    struct lab lab;
    needle_count = 0;
    memset(first, 0, sizeof first);
    lab_open(&lab, 0, 1, 1500);
    lab_policy(&lab, 0, 0, 0);
    install(&lab, suite, engine, XS_INBOUND);
    install(&lab, suite, engine, XS_OUTBOUND);
    pass_traffic(&lab);
    CHECK(!LOOKS || found(false) > 0); /* while they are in use they are there: the search can see */
    if (remove) {
        CHECK(xs_sa_remove(lab.w, LAB_SLOT_IN) == 0 && xs_sa_remove(lab.w, LAB_SLOT_OUT) == 0);
        CHECK(found(true) == 0);
    }
    lab_close(&lab);
    CHECK(found(true) == 0);
}

static void ipsec_mb(void)
{
    for (uint32_t i = 0; i < 2 * sizeof SUITES / sizeof SUITES[0]; i++)
        one(i / 2, XS_ENGINE_IPSEC_MB, i % 2);
}

static void openssl(void)
{
    for (uint32_t i = 0; i < 2 * sizeof SUITES / sizeof SUITES[0]; i++)
        one(i / 2, XS_ENGINE_OPENSSL, i % 2);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {{"ipsec_mb", ipsec_mb}, {"openssl", openssl}};
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
