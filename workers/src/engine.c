/* Which crypto engine serves which SA. Each engine proves known answers once before it is used. */
#include "engine.h"

#include <string.h>

#include "engine_internal.h"
#include "worker.h"

/* Expected outputs were computed with pyca/cryptography from the inputs that prove() builds. GCM: the ciphertext and
 * tag; CBC: ciphertext, then the HMAC over ESP header, IV, ciphertext and the high half of the sequence number. */
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
    bool gcm = a->cipher == XS_AES_GCM;
    struct xs_op op = {.key = key, .text = packet + 24, .text_len = 32, .icv = packet + 56};
    op.aad = gcm ? aad : packet;
    op.aad_len = gcm ? sizeof aad : 24;
    op.iv = gcm ? nonce : packet + 8;
    op.has_auth_tail = !gcm;
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

static bool prove(const struct xs_engine *engine)
{
    if (!engine)
        return false;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (!prove_one(engine, &answers[i]))
            return false;
    return true;
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

const struct xs_engine *xs_engine_for(const struct xs_sa_conf *conf)
{
    const struct xs_engine *engine = xs_engine_get(conf->engine);
    if (engine && engine->supports(conf->cipher, conf->auth, conf->key_len, conf->icv_len))
        return engine;
    engine = conf->engine == XS_ENGINE_AUTO ? xs_engine_get(XS_ENGINE_OPENSSL) : NULL;
    return engine && engine->supports(conf->cipher, conf->auth, conf->key_len, conf->icv_len) ? engine : NULL;
}

bool xs_engine_sane(uint8_t cipher, uint8_t auth, uint8_t key_len, uint8_t icv_len)
{
    static const uint8_t icv_of[] = {0, 12, 16, 24, 32}; /* RFC 2404, RFC 4868; by enum xs_auth */
    if (cipher == XS_AES_GCM)
        return auth == XS_AUTH_NONE && (key_len == 20 || key_len == 36) && icv_len == 16;
    return cipher == XS_AES_CBC && (key_len == 16 || key_len == 32) && auth > XS_AUTH_NONE &&
           auth <= XS_HMAC_SHA512_256 && icv_len == icv_of[auth];
}
