/* Which crypto engine serves which SA. Each engine proves known answers once before it is used. */
#include "engine.h"

#include <string.h>

#include "engine_internal.h"
#include "worker.h"

const struct xs_cipher_facts *xs_cipher_facts(uint8_t cipher)
{
    static const struct xs_cipher_facts facts[XS_CIPHERS] = {
        [XS_AES_CBC] = {.iv_len = 16, .block = 16},                                                       /* RFC 3602 */
        [XS_AES_GCM] = {.iv_len = 8, .block = 4, .salt_len = 4, .aead = true, .counter = true},           /* RFC 4106 */
        [XS_AES_CCM] = {.iv_len = 8, .block = 4, .salt_len = 3, .aead = true, .counter = true},           /* RFC 4309 */
        [XS_AES_CTR] = {.iv_len = 8, .block = 4, .salt_len = 4, .counter = true},                         /* RFC 3686 */
        [XS_CHACHA20_POLY1305] = {.iv_len = 8, .block = 4, .salt_len = 4, .aead = true, .counter = true}, /* RFC 7634 */
        [XS_NULL] = {.block = 4},                                                                         /* RFC 2410 */
        [XS_3DES_CBC] = {.iv_len = 8, .block = 8},                                                        /* RFC 2451 */
        [XS_AES_GMAC] = {.iv_len = 8, .block = 4, .salt_len = 4, .aead = true, .counter = true},          /* RFC 4543 */
    };
    return &facts[cipher < XS_CIPHERS ? cipher : XS_CIPHER_NONE];
}

bool xs_engine_sane(uint8_t cipher, uint8_t auth, uint8_t key_len, uint8_t icv_len)
{
    static const uint8_t icv_of[XS_AUTHS] = {0, 12, 16, 24, 32, 12, 12}; /* RFC 2404, 4868, 3566, 4494 */
    const struct xs_cipher_facts *facts = xs_cipher_facts(cipher);
    uint32_t bare = key_len - facts->salt_len;
    bool aes = bare == 16 || bare == 24 || bare == 32;
    bool whole = cipher == XS_CHACHA20_POLY1305 || cipher == XS_AES_GMAC; /* no shorter tags (RFC 7634, 4543) */
    if (facts->aead)
        return auth == XS_AUTH_NONE && (cipher == XS_CHACHA20_POLY1305 ? bare == 32 : aes) &&
               (icv_len == 16 || (!whole && (icv_len == 8 || icv_len == 12)));
    if (auth == XS_AUTH_NONE || auth >= XS_AUTHS || icv_len != icv_of[auth])
        return false;
    switch (cipher) {
    case XS_AES_CBC:
    case XS_AES_CTR:
        return aes;
    case XS_NULL:
        return key_len == 0;
    default:
        return cipher == XS_3DES_CBC && key_len == 24;
    }
}

/* Expected outputs were computed with pyca/cryptography from the inputs that prove_one() builds. AEAD: the ciphertext
 * and tag; else the ciphertext, then the MAC over ESP header, IV, ciphertext and the high half of the sequence number;
 * CTR takes the IV's place as its counter block; GMAC's tag is that of GCM over aad, IV and text without plaintext. */
struct answer {
    uint8_t cipher, auth, key_len, auth_key_len, icv_len;
    uint8_t out[32], icv[32];
};

static const struct answer answers[] = {
#include "engine_answers.h"
};

static void fill(uint8_t *bytes, size_t count, uint8_t start)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(start + i);
}

static bool prove_one(const struct xs_engine *engine, const struct answer *a)
{
    struct xs_sa_conf conf = {.cipher = a->cipher, .auth = a->auth, .key_len = a->key_len, .icv_len = a->icv_len};
    conf.auth_key_len = a->auth_key_len;
    fill(conf.key, a->key_len, 1);
    fill(conf.auth_key, a->auth_key_len, 0x40);
    struct xs_key *key = engine->key_new(&conf);
    if (!key)
        return false;
    uint8_t packet[96], aad[12], nonce[12];
    fill(packet, 24, 0x80); /* ESP header and IV */
    fill(packet + 24, 32, 0);
    fill(aad, sizeof aad, 0x90);
    fill(nonce, sizeof nonce, 0xa0);
    bool aead = xs_cipher_facts(a->cipher)->aead;
    struct xs_op op = {.key = key, .text = packet + 24, .text_len = 32, .icv = packet + 56};
    op.aad = aead ? aad : packet;
    op.aad_len = aead ? sizeof aad : 24;
    op.iv = aead ? nonce : packet + 8;
    op.has_auth_tail = !aead;
    op.auth_tail = 0x01020304;
    engine->seal(&op, 1);
    bool right = op.ok && !memcmp(op.text, a->out, 32) && !memcmp(op.icv, a->icv, a->icv_len);
    engine->open(&op, 1);
    uint8_t plain[32];
    fill(plain, sizeof plain, 0);
    right = right && op.ok && !memcmp(op.text, plain, sizeof plain);
    engine->seal(&op, 1);
    packet[24] ^= 1;
    engine->open(&op, 1);
    right = right && !op.ok;
    engine->key_free(key);
    return right;
}

/* Every answer whose suite the library has. */
static bool prove(const struct xs_engine *engine)
{
    size_t proved = 0;
    for (size_t i = 0; engine && i < sizeof answers / sizeof answers[0]; i++) {
        const struct answer *a = &answers[i];
        if (!engine->supports(a->cipher, a->auth, a->key_len, a->icv_len))
            continue;
        if (!prove_one(engine, a))
            return false;
        proved++;
    }
    return proved > 0;
}

const struct xs_engine *xs_engine_get(uint8_t choice)
{
    static const struct xs_engine *proved[XS_ENGINE_OPENSSL + 1];
    static bool tried;
    if (!tried) {
        const struct xs_engine *mb = xs_engine_ipsec_mb();
        const struct xs_engine *openssl = xs_engine_openssl();
        proved[XS_ENGINE_IPSEC_MB] = prove(mb) ? mb : NULL;
        proved[XS_ENGINE_OPENSSL] = prove(openssl) ? openssl : NULL;
        proved[XS_ENGINE_AUTO] = proved[XS_ENGINE_IPSEC_MB] ? proved[XS_ENGINE_IPSEC_MB] : proved[XS_ENGINE_OPENSSL];
        tried = true;
    }
    return choice <= XS_ENGINE_OPENSSL ? proved[choice] : NULL;
}

const char *xs_engine_proved(uint8_t choice)
{
    const struct xs_engine *engine = xs_engine_get(choice);
    return engine ? engine->name : NULL;
}

static bool serves(const struct xs_engine *engine, const struct xs_sa_conf *conf)
{
    return engine && engine->supports(conf->cipher, conf->auth, conf->key_len, conf->icv_len);
}

const struct xs_engine *xs_engine_for(const struct xs_sa_conf *conf)
{
    const struct xs_engine *wanted = xs_engine_get(conf->engine);
    if (!wanted || serves(wanted, conf)) /* an engine that is absent or refused has no stand-in: AUTO knew already */
        return wanted;
    static const uint8_t both[] = {XS_ENGINE_IPSEC_MB, XS_ENGINE_OPENSSL};
    for (size_t i = 0; i < sizeof both; i++)
        if (serves(xs_engine_get(both[i]), conf))
            return xs_engine_get(both[i]);
    return NULL;
}
