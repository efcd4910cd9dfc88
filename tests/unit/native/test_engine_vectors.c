/* Published vectors (tests/vectors/data: each file names its source on top) through each engine that has the algorithm:
 * sealed to the byte, opened again, and refused with the last bit of the ICV turned. */
#include "engine_internal.h"
#include "path_lab.h"
#include "vector_file.h"

enum { ROOM = 2048, ENGINES = 2 };
static const uint8_t CHOICES[ENGINES] = {XS_ENGINE_IPSEC_MB, XS_ENGINE_OPENSSL};

typedef bool (*vector_run)(const struct xs_engine *engine, const struct vector_case *c, uint8_t algorithm);

/* Each engine over the file; `expected`: cases that run, by engine. */
static void run_file(const char *name, vector_run run, uint8_t algorithm, const uint32_t expected[ENGINES])
{
    for (uint32_t e = 0; e < ENGINES; e++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", XS_VECTORS, name);
        FILE *file = fopen(path, "r");
        CHECK(file);
        struct vector_case c;
        uint32_t ran = 0;
        while (vector_next(file, &c))
            ran += run(xs_engine_get(CHOICES[e]), &c, algorithm);
        CHECK(ran == expected[e]);
        fclose(file);
    }
}

static bool aead_case(const struct xs_engine *engine, const struct vector_case *c, uint8_t cipher)
{
    struct xs_sa_conf conf = {.cipher = cipher};
    uint8_t nonce[16], aad[64], text[ROOM], plain[ROOM], sealed[ROOM], icv[16], expected[16];
    conf.key_len = (uint8_t)(vector_bytes(c, "key", conf.key) + xs_cipher_facts(cipher)->salt_len);
    CHECK(vector_bytes(c, "nonce", nonce) == xs_cipher_facts(cipher)->salt_len + 8U);
    conf.icv_len = (uint8_t)vector_bytes(c, "icv", expected);
    if (!engine->supports(cipher, 0, conf.key_len, conf.icv_len))
        return false;
    struct xs_op op = {.aad = aad, .iv = nonce, .text = text, .icv = icv};
    op.aad_len = vector_bytes(c, "aad", aad);
    op.text_len = vector_bytes(c, "plain", plain);
    CHECK(vector_bytes(c, "cipher", sealed) == op.text_len);
    for (; conf.icv_len >= 8; conf.icv_len -= 4) { /* the shorter tags of GCM are the first bytes of the long one */
        memcpy(text, plain, op.text_len);
        CHECK((op.key = engine->key_new(&conf)));
        engine->seal(&op, 1);
        CHECK(op.ok && !memcmp(text, sealed, op.text_len) && !memcmp(icv, expected, conf.icv_len));
        engine->open(&op, 1);
        CHECK(op.ok && !memcmp(text, plain, op.text_len));
        engine->seal(&op, 1);
        icv[conf.icv_len - 1] ^= 1;
        engine->open(&op, 1);
        CHECK(!op.ok);
        engine->key_free(op.key);
        if (cipher != XS_AES_GCM)
            break;
    }
    return true;
}

/* The first 12 bytes of the case's aad as the ESP header with an extended number, then 8 as the packet's IV. */
static bool gmac_case(const struct xs_engine *engine, const struct vector_case *c, uint8_t cipher)
{
    struct xs_sa_conf conf = {.cipher = cipher, .icv_len = 16};
    uint8_t nonce[16], packet[ROOM], before[ROOM], icv[16], expected[16];
    conf.key_len = (uint8_t)(vector_bytes(c, "key", conf.key) + xs_cipher_facts(cipher)->salt_len);
    CHECK(vector_bytes(c, "nonce", nonce) == 12 && vector_bytes(c, "icv", expected) == 16);
    struct xs_op op = {.aad = packet, .aad_len = 12, .iv = nonce, .text = packet + 20, .icv = icv};
    uint32_t len = vector_bytes(c, "aad", packet);
    memcpy(before, packet, len);
    op.text_len = len - 20;
    CHECK((op.key = engine->key_new(&conf)));
    engine->seal(&op, 1);
    CHECK(op.ok && !memcmp(icv, expected, 16) && !memcmp(packet, before, len));
    engine->open(&op, 1);
    CHECK(op.ok && !memcmp(packet, before, len));
    for (uint32_t i = 0; i < len + 16; i++) { /* any byte of header, IV, text and ICV */
        uint8_t *byte = i < len ? packet + i : icv + i - len;
        *byte ^= 0x10;
        engine->open(&op, 1);
        CHECK(!op.ok);
        *byte ^= 0x10;
    }
    engine->key_free(op.key);
    return true;
}

static void aead_vectors(void)
{
    run_file("gcm.txt", aead_case, XS_AES_GCM, (const uint32_t[]){8, 8});
    run_file("gcm-esp.txt", aead_case, XS_AES_GCM, (const uint32_t[]){11, 11});
    run_file("nist-ccm.txt", aead_case, XS_AES_CCM, (const uint32_t[]){6, 9}); /* intel-ipsec-mb has no CCM-192 */
    run_file("nist-gmac.txt", gmac_case, XS_AES_GMAC, (const uint32_t[]){12, 12});
    run_file("rfc7634-esp.txt", aead_case, XS_CHACHA20_POLY1305, (const uint32_t[]){1, 1});
}

/* The cipher alone, under any MAC. */
static bool cipher_case(const struct xs_engine *engine, const struct vector_case *c, uint8_t cipher)
{
    struct xs_sa_conf conf = {.cipher = cipher, .auth = XS_HMAC_SHA1_96, .auth_key_len = 20, .icv_len = 12};
    uint8_t packet[ROOM], expected[ROOM], plain[ROOM];
    conf.key_len = (uint8_t)(vector_bytes(c, "key", conf.key) + xs_cipher_facts(cipher)->salt_len);
    struct xs_op op = {.aad = packet, .iv = packet + 8, .text = packet + 24, .aad_len = 24};
    vector_bytes(c, cipher == XS_AES_CTR ? "block" : "iv", op.iv);
    op.text_len = vector_bytes(c, "plain", op.text);
    memcpy(plain, op.text, op.text_len);
    op.icv = op.text + op.text_len;
    CHECK(vector_bytes(c, "cipher", expected) == op.text_len);
    CHECK((op.key = engine->key_new(&conf)));
    engine->seal(&op, 1);
    CHECK(op.ok && !memcmp(op.text, expected, op.text_len));
    engine->open(&op, 1);
    CHECK(op.ok && !memcmp(op.text, plain, op.text_len));
    engine->key_free(op.key);
    return true;
}

static void cipher_vectors(void)
{
    run_file("rfc3602-cbc.txt", cipher_case, XS_AES_CBC, (const uint32_t[]){4, 4});
    run_file("rfc3686-ctr.txt", cipher_case, XS_AES_CTR, (const uint32_t[]){9, 9});
    run_file("nist-3des.txt", cipher_case, XS_3DES_CBC, (const uint32_t[]){10, 10});
}

/* The MAC over the case's data, as NULL's text. */
static bool mac_case(const struct xs_engine *engine, const struct vector_case *c, uint8_t unused)
{
    static const struct {
        const char *name;
        uint8_t auth, icv_len;
    } macs[] = {{"sha1", XS_HMAC_SHA1_96, 12},      {"sha256", XS_HMAC_SHA256_128, 16},
                {"sha384", XS_HMAC_SHA384_192, 24}, {"sha512", XS_HMAC_SHA512_256, 32},
                {"xcbc", XS_AES_XCBC_96, 12},       {"cmac", XS_AES_CMAC_96, 12}};
    uint32_t m = 0;
    uint8_t packet[ROOM], mac[64], iv[16] = {unused};
    while (strcmp(macs[m].name, vector_text(c, "auth")))
        m++;
    struct xs_sa_conf conf = {.cipher = XS_NULL, .auth = macs[m].auth, .icv_len = macs[m].icv_len};
    if (!engine->supports(conf.cipher, conf.auth, conf.key_len, conf.icv_len))
        return false;
    conf.auth_key_len = (uint8_t)vector_bytes(c, "key", conf.auth_key);
    struct xs_op op = {.aad = packet, .iv = iv, .text = packet};
    op.text_len = vector_bytes(c, "data", packet);
    op.icv = packet + op.text_len;
    CHECK(vector_bytes(c, "mac", mac) >= conf.icv_len);
    CHECK((op.key = engine->key_new(&conf)));
    engine->seal(&op, 1);
    CHECK(op.ok && !memcmp(op.icv, mac, conf.icv_len));
    engine->open(&op, 1);
    CHECK(op.ok);
    op.icv[conf.icv_len - 1] ^= 1; /* the last byte that is compared */
    engine->open(&op, 1);
    CHECK(!op.ok);
    engine->key_free(op.key);
    return true;
}

static void mac_vectors(void)
{
    run_file("rfc2202.txt", mac_case, 0, (const uint32_t[]){4, 4});
    run_file("rfc4231.txt", mac_case, 0, (const uint32_t[]){7, 7});
    run_file("rfc4868.txt", mac_case, 0, (const uint32_t[]){9, 9});
    run_file("rfc3566.txt", mac_case, 0, (const uint32_t[]){5, 0}); /* libcrypto has no XCBC */
    run_file("rfc4493.txt", mac_case, 0, (const uint32_t[]){3, 3});
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"aead_vectors", aead_vectors},
        {"cipher_vectors", cipher_vectors},
        {"mac_vectors", mac_vectors},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
