/* The engines alone: each other's output over whole bursts, and the proof at start, which must refuse an engine that is
 * broken in any one way. engine.c is included for its static proof. */
#include "../../../workers/src/engine.c"

#include "path_lab.h"

static const uint8_t CHOICES[] = {XS_ENGINE_IPSEC_MB, XS_ENGINE_OPENSSL};
static const uint8_t HASH_KEY[] = {0, 20, 32, 48, 64, 16, 16}, HASH_ICV[] = {0, 12, 16, 24, 32, 12, 12};
enum { ROOM = 2048, BURST = 256 };

static struct xs_sa_conf suite(uint8_t cipher, uint8_t auth, uint8_t key_len)
{
    struct xs_sa_conf c = {.cipher = cipher, .auth = auth, .key_len = key_len};
    c.icv_len = auth ? HASH_ICV[auth] : 16;
    c.auth_key_len = HASH_KEY[auth];
    fill(c.key, key_len, 3);
    fill(c.auth_key, c.auth_key_len, 9);
    fill(c.iv_key, 16, 0x33);
    return c;
}

/* --- bursts -- */

static uint8_t packets[2][BURST][ROOM], sealed[BURST][ROOM];

static struct xs_op burst_op(struct xs_key *key, const struct xs_sa_conf *c, uint8_t *packet, uint32_t i)
{
    bool aead = xs_cipher_facts(c->cipher)->aead;
    fill(packet, ROOM, (uint8_t)(i * 5));
    struct xs_op op = {.key = key, .aad = packet, .iv = packet + 8, .text = packet + 24};
    op.aad_len = aead ? (i % 2 ? 12 : 8) : 24;
    op.text_len = 16 * (1 + i * 7 % 40);
    op.icv = op.text + op.text_len;
    op.has_auth_tail = !aead && i % 2;
    op.auth_tail = i;
    return op;
}

/* Those that both libraries have, every cipher and every MAC among them. */
static const uint8_t BOTH[][3] = {
    {XS_AES_GCM, 0, 20}, {XS_AES_CBC, 1, 16}, {XS_AES_GCM, 0, 36},  {XS_AES_CBC, 2, 32},  {XS_AES_CCM, 0, 19},
    {XS_AES_CBC, 3, 24}, {XS_AES_CTR, 4, 20}, {XS_NULL, 1, 0},      {XS_AES_CCM, 0, 35},  {XS_3DES_CBC, 2, 24},
    {XS_AES_CTR, 6, 36}, {XS_NULL, 6, 0},     {XS_AES_GCM, 0, 28},  {XS_AES_CBC, 6, 16},  {XS_CHACHA20_POLY1305, 0, 36},
    {XS_AES_CTR, 2, 28}, {XS_AES_CBC, 4, 16}, {XS_AES_GMAC, 0, 20}, {XS_AES_GMAC, 0, 28}, {XS_AES_GMAC, 0, 36},
};
enum { KEYS = sizeof BOTH / sizeof BOTH[0] };

/* Every count from one to a whole burst, suites mixed: the lanes of the multi-buffer engine are never full alike. */
static void bursts_of_every_size(void)
{
    struct xs_sa_conf confs[KEYS];
    struct xs_key *keys[2][KEYS];
    for (uint32_t i = 0; i < KEYS; i++) {
        confs[i] = suite(BOTH[i][0], BOTH[i][1], BOTH[i][2]);
        for (size_t e = 0; e < 2; e++)
            CHECK((keys[e][i] = xs_engine_get(CHOICES[e])->key_new(&confs[i])));
    }
    for (uint32_t count = 1; count <= BURST; count += count < 140 ? 1 : 29) {
        struct xs_op ops[2][BURST];
        for (size_t e = 0; e < 2; e++) {
            for (uint32_t i = 0; i < count; i++)
                ops[e][i] = burst_op(keys[e][(i + count) % KEYS], &confs[(i + count) % KEYS], packets[e][i], i);
            xs_engine_get(CHOICES[e])->seal(ops[e], count);
        }
        CHECK(!memcmp(packets[0], packets[1], count * ROOM));
        memcpy(sealed, packets[0], sizeof sealed);
        for (size_t e = 0; e < 2; e++) {
            for (uint32_t i = e; i < count; i += 3) /* some are not authentic; their neighbours must not notice */
                ops[e][i].text[i % ops[e][i].text_len] ^= 0x80;
            xs_engine_get(CHOICES[e])->open(ops[e], count);
            for (uint32_t i = 0; i < count; i++) {
                uint8_t plain[ROOM];
                fill(plain, ROOM, (uint8_t)(i * 5));
                CHECK(ops[e][i].ok == (i < e || (i - e) % 3 != 0));
                CHECK(!ops[e][i].ok || !memcmp(ops[e][i].text, plain + 24, ops[e][i].text_len));
            }
        }
    }
    for (uint32_t i = 0; i < 2 * KEYS; i++)
        xs_engine_get(CHOICES[i / KEYS])->key_free(keys[i / KEYS][i % KEYS]);
}

static void ivs_agree_and_never_repeat(void)
{
    struct xs_sa_conf conf = suite(XS_AES_CBC, XS_HMAC_SHA1_96, 16);
    struct xs_key *keys[2];
    uint8_t iv[2][16], last[16] = {0};
    for (size_t e = 0; e < 2; e++)
        CHECK((keys[e] = xs_engine_get(CHOICES[e])->key_new(&conf)));
    for (uint64_t seq = (1ULL << 32) - 50; seq < (1ULL << 32) + 50; seq++) {
        for (size_t e = 0; e < 2; e++)
            xs_engine_get(CHOICES[e])->cbc_iv(keys[e], seq, iv[e]);
        CHECK(!memcmp(iv[0], iv[1], 16) && memcmp(iv[0], last, 16));
        memcpy(last, iv[0], 16);
    }
    for (size_t e = 0; e < 2; e++)
        xs_engine_get(CHOICES[e])->key_free(keys[e]);
}

/* --- the proof at start -- */

/* What one library lacks the other serves, also where the configuration names the one. */
static void an_engine_may_lack_a_suite(void)
{
    struct xs_sa_conf xcbc = {.cipher = XS_AES_CBC, .auth = XS_AES_XCBC_96, .key_len = 16, .icv_len = 12};
    struct xs_sa_conf ccm = {.cipher = XS_AES_CCM, .key_len = 27, .icv_len = 16};
    for (uint8_t choice = XS_ENGINE_AUTO; choice <= XS_ENGINE_OPENSSL; choice++) {
        xcbc.engine = ccm.engine = choice;
        CHECK(xs_engine_for(&xcbc) == xs_engine_ipsec_mb());
        CHECK(xs_engine_for(&ccm) == xs_engine_openssl());
    }
    CHECK(!xs_engine_openssl()->key_new(&xcbc) && !xs_engine_ipsec_mb()->key_new(&ccm));
}

enum fault {
    NONE,
    FLIPS_TEXT,
    FLIPS_ICV,
    SEALS_NOTHING,
    OPENS_ANYTHING,
    OPENS_NOTHING,
    LEAVES_CIPHERTEXT,
    FORGETS_TAIL,
    FORGETS_AAD,
    WRONG_IV,
    SHORT_ICV,
    NO_KEYS,
    FAULTS
};
static enum fault fault;

static struct xs_key *faulty_key(const struct xs_sa_conf *conf)
{
    return fault == NO_KEYS ? NULL : xs_engine_openssl()->key_new(conf);
}

static void spoil(struct xs_op *op, uint8_t nonce[16])
{
    if (fault == FORGETS_TAIL)
        op->has_auth_tail = false;
    if (fault == FORGETS_AAD && op->aad_len == 12)
        op->aad_len = 8;
    if (fault == WRONG_IV) {
        memcpy(nonce, op->iv, op->aad_len == 12 ? 12 : 16);
        nonce[3] ^= 1;
        op->iv = nonce;
    }
}

static void faulty_seal(struct xs_op *ops, uint32_t count)
{
    uint8_t nonce[16];
    struct xs_op op = ops[0];
    spoil(&op, nonce);
    if (fault != SEALS_NOTHING)
        xs_engine_openssl()->seal(&op, count);
    if (fault == FLIPS_TEXT)
        op.text[op.text_len - 1] ^= 1;
    if (fault == FLIPS_ICV || fault == SHORT_ICV)
        op.icv[fault == FLIPS_ICV ? 0 : 11] ^= 1;
    ops[0].ok = true;
}

static void faulty_open(struct xs_op *ops, uint32_t count)
{
    uint8_t nonce[16], text[64];
    struct xs_op op = ops[0];
    memcpy(text, op.text, op.text_len);
    spoil(&op, nonce);
    xs_engine_openssl()->open(&op, count);
    ops[0].ok = (op.ok || fault == OPENS_ANYTHING) && fault != OPENS_NOTHING;
    if (fault == LEAVES_CIPHERTEXT)
        memcpy(op.text, text, op.text_len);
}

static void a_broken_engine_is_refused(void)
{
    struct xs_engine broken = *xs_engine_openssl();
    broken.key_new = faulty_key;
    broken.seal = faulty_seal;
    broken.open = faulty_open;
    for (fault = NONE; fault < FAULTS; fault++)
        CHECK(prove(&broken) == (fault == NONE));
    CHECK(!prove(NULL));
}

static void choices(void)
{
    struct xs_sa_conf conf = suite(XS_AES_GCM, 0, 20);
    CHECK(xs_engine_get(XS_ENGINE_AUTO) == xs_engine_get(XS_ENGINE_IPSEC_MB)); /* the faster one */
    CHECK(!xs_engine_get(3) && !strcmp(xs_engine_get(XS_ENGINE_OPENSSL)->name, "openssl"));
    conf.engine = XS_ENGINE_OPENSSL;
    CHECK(xs_engine_for(&conf) == xs_engine_openssl());
    static const uint8_t refused[][4] = {
        {XS_AES_GCM, 0, 16, 16},
        {XS_AES_GCM, 0, 19, 16},
        {XS_AES_GCM, 0, 20, 4},
        {XS_AES_GCM, 0, 20, 10},
        {XS_AES_GCM, 1, 20, 16},
        {XS_AES_CCM, 0, 20, 16},
        {XS_AES_CCM, 0, 2, 8},
        {XS_CHACHA20_POLY1305, 0, 36, 12},
        {XS_CHACHA20_POLY1305, 0, 20, 16},
        {XS_AES_GMAC, 0, 20, 12},
        {XS_AES_GMAC, 0, 16, 16},
        {XS_AES_GMAC, 2, 20, 16},
        {XS_AES_CTR, 0, 20, 0},
        {XS_AES_CTR, 1, 16, 12},
        {XS_AES_CBC, 0, 16, 16},
        {XS_AES_CBC, 1, 20, 12},
        {XS_AES_CBC, 2, 16, 12},
        {XS_AES_CBC, XS_AUTHS, 16, 12},
        {XS_AES_CBC, XS_AES_XCBC_96, 16, 16},
        {XS_NULL, 0, 0, 0},
        {XS_NULL, 2, 16, 16},
        {XS_3DES_CBC, 1, 16, 12},
        {XS_3DES_CBC, 1, 8, 12},
        {XS_CIPHER_NONE, 2, 0, 16},
        {XS_CIPHERS, 1, 16, 12},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct xs_sa_conf odd = {.cipher = refused[i][0], .auth = refused[i][1], .key_len = refused[i][2]};
        odd.icv_len = refused[i][3];
        CHECK(!xs_engine_for(&odd) && !xs_engine_openssl()->key_new(&odd) && !xs_engine_ipsec_mb()->key_new(&odd));
    }
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"bursts_of_every_size", bursts_of_every_size},
        {"ivs_agree_and_never_repeat", ivs_agree_and_never_repeat},
        {"a_broken_engine_is_refused", a_broken_engine_is_refused},
        {"choices", choices},
        {"an_engine_may_lack_a_suite", an_engine_may_lack_a_suite},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
