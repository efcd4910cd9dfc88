/* OpenSSL libcrypto: the second engine, for machines without AVX and for proof against the first. Contexts are made
 * with the key and reused; no allocation per packet. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "engine_internal.h"

enum { CCM_NONCE = 11 }; /* RFC 4309 sec. 4 */

struct xs_key {
    EVP_CIPHER_CTX *enc, *dec; /* NULL: nothing is encrypted */
    EVP_CIPHER_CTX *iv;        /* AES-128-ECB of the CBC IVs */
    EVP_MAC_CTX *mac;
    uint8_t cipher, icv_len;
    bool aead;
};

static bool supports(uint8_t cipher, uint8_t auth, uint8_t key_len, uint8_t icv_len)
{
    return auth != XS_AES_XCBC_96 && xs_engine_sane(cipher, auth, key_len, icv_len); /* libcrypto has no XCBC */
}

static void key_free(struct xs_key *key)
{
    if (!key)
        return;
    EVP_CIPHER_CTX_free(key->enc);
    EVP_CIPHER_CTX_free(key->dec);
    EVP_CIPHER_CTX_free(key->iv);
    EVP_MAC_CTX_free(key->mac);
    free(key);
}

static EVP_CIPHER_CTX *cipher_new(const EVP_CIPHER *cipher, const uint8_t *key, bool encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_CipherInit_ex2(ctx, cipher, key, NULL, encrypt, NULL) == 1 && EVP_CIPHER_CTX_set_padding(ctx, 0))
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

/* CCM wants the lengths of nonce and tag before the key (EVP_EncryptInit(3)). */
static EVP_CIPHER_CTX *ccm_new(const EVP_CIPHER *cipher, const struct xs_sa_conf *conf, bool encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx && EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, encrypt, NULL) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, CCM_NONCE, NULL) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, conf->icv_len, NULL) == 1 &&
        EVP_CipherInit_ex2(ctx, NULL, conf->key, NULL, encrypt, NULL) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

static const EVP_CIPHER *cipher_of(const struct xs_sa_conf *conf)
{
    uint32_t size = xs_cipher_key_len(conf) / 8 - 2; /* 128, 192, 256 bits */
    const EVP_CIPHER *const aes[XS_CIPHERS][3] = {
        [XS_AES_CBC] = {EVP_aes_128_cbc(), EVP_aes_192_cbc(), EVP_aes_256_cbc()},
        [XS_AES_GCM] = {EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm()},
        [XS_AES_CCM] = {EVP_aes_128_ccm(), EVP_aes_192_ccm(), EVP_aes_256_ccm()},
        [XS_AES_CTR] = {EVP_aes_128_ctr(), EVP_aes_192_ctr(), EVP_aes_256_ctr()},
        [XS_AES_GMAC] = {EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm()},
    };
    if (conf->cipher == XS_CHACHA20_POLY1305)
        return EVP_chacha20_poly1305();
    return conf->cipher == XS_3DES_CBC ? EVP_des_ede3_cbc() : aes[conf->cipher][size];
}

static EVP_MAC_CTX *mac_new(const struct xs_sa_conf *conf)
{
    static const char *const digests[] = {"", "SHA1", "SHA256", "SHA384", "SHA512"}; /* by enum xs_auth */
    bool cmac = conf->auth == XS_AES_CMAC_96;
    OSSL_PARAM params[] = {
        cmac ? OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, (char *)"AES-128-CBC", 0)
             : OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digests[conf->auth], 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, cmac ? "CMAC" : "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    if (ctx && EVP_MAC_init(ctx, conf->auth_key, conf->auth_key_len, params) == 1)
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

static bool schedule(struct xs_key *key, const struct xs_sa_conf *conf)
{
    bool ciphers = true;
    if (conf->cipher == XS_AES_CCM) {
        key->enc = ccm_new(cipher_of(conf), conf, true);
        key->dec = ccm_new(cipher_of(conf), conf, false);
    } else if (conf->cipher != XS_NULL) {
        key->enc = cipher_new(cipher_of(conf), conf->key, true);
        key->dec = cipher_new(cipher_of(conf), conf->key, false);
    } else {
        ciphers = false;
    }
    key->iv = cipher_new(EVP_aes_128_ecb(), conf->iv_key, true);
    key->mac = key->aead ? NULL : mac_new(conf);
    return key->iv && (!ciphers || (key->enc && key->dec)) && (key->aead || key->mac);
}

static struct xs_key *key_new(const struct xs_sa_conf *conf)
{
    if (!supports(conf->cipher, conf->auth, conf->key_len, conf->icv_len))
        return NULL;
    struct xs_key *key = calloc(1, sizeof *key);
    if (!key)
        return NULL;
    key->cipher = conf->cipher;
    key->icv_len = conf->icv_len;
    key->aead = xs_cipher_facts(conf->cipher)->aead;
    if (schedule(key, conf))
        return key;
    key_free(key);
    return NULL;
}

static bool ccm_lengths(EVP_CIPHER_CTX *ctx, const struct xs_op *op)
{
    int n;
    return op->key->cipher != XS_AES_CCM || EVP_CipherUpdate(ctx, NULL, &n, NULL, (int)op->text_len) == 1;
}

/* The text of an AEAD; GMAC's is more of what is authenticated only, so that n stays 0. */
static bool aead_text(EVP_CIPHER_CTX *ctx, const struct xs_op *op, int *n)
{
    if (op->key->cipher != XS_AES_GMAC)
        return EVP_CipherUpdate(ctx, op->text, n, op->text, (int)op->text_len) == 1;
    bool taken = EVP_CipherUpdate(ctx, NULL, n, xs_gmac_data(op), (int)xs_gmac_len(op)) == 1;
    *n = 0;
    return taken;
}

static bool aead_seal(struct xs_op *op)
{
    EVP_CIPHER_CTX *ctx = op->key->enc;
    int n;
    return EVP_EncryptInit_ex2(ctx, NULL, NULL, op->iv, NULL) == 1 && ccm_lengths(ctx, op) &&
           EVP_EncryptUpdate(ctx, NULL, &n, op->aad, (int)op->aad_len) == 1 && aead_text(ctx, op, &n) &&
           EVP_EncryptFinal_ex(ctx, op->text + n, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, op->key->icv_len, op->icv) == 1;
}

/* libcrypto compares the tag itself, in constant time; CCM's when the text is given, the others' at the end. */
static bool aead_open(struct xs_op *op)
{
    EVP_CIPHER_CTX *ctx = op->key->dec;
    int n;
    bool right = EVP_DecryptInit_ex2(ctx, NULL, NULL, op->iv, NULL) == 1 &&
                 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, op->key->icv_len, op->icv) == 1 &&
                 ccm_lengths(ctx, op) && EVP_DecryptUpdate(ctx, NULL, &n, op->aad, (int)op->aad_len) == 1 &&
                 aead_text(ctx, op, &n);
    return right && (op->key->cipher == XS_AES_CCM || EVP_DecryptFinal_ex(ctx, op->text + n, &n) == 1);
}

static bool mac(struct xs_op *op, uint8_t out[XS_ICV_MAX])
{
    uint8_t tail[4];
    size_t n;
    xs_put_tail(tail, op);
    return EVP_MAC_init(op->key->mac, NULL, 0, NULL) == 1 &&
           EVP_MAC_update(op->key->mac, op->aad, xs_authenticated(op)) == 1 &&
           (!op->has_auth_tail || EVP_MAC_update(op->key->mac, tail, sizeof tail) == 1) &&
           EVP_MAC_final(op->key->mac, out, &n, XS_ICV_MAX) == 1;
}

static bool cipher(EVP_CIPHER_CTX *ctx, struct xs_op *op)
{
    int n;
    return !ctx || (EVP_CipherInit_ex2(ctx, NULL, NULL, op->iv, -1, NULL) == 1 &&
                    EVP_CipherUpdate(ctx, op->text, &n, op->text, (int)op->text_len) == 1);
}

static void seal(struct xs_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct xs_op *op = &ops[i];
        if (op->key->aead) {
            op->ok = aead_seal(op);
            continue;
        }
        uint8_t icv[XS_ICV_MAX];
        op->ok = cipher(op->key->enc, op) && mac(op, icv);
        if (op->ok)
            memcpy(op->icv, icv, op->key->icv_len);
    }
}

static void open_burst(struct xs_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct xs_op *op = &ops[i];
        if (op->key->aead) {
            op->ok = aead_open(op);
            continue;
        }
        uint8_t icv[XS_ICV_MAX];
        op->ok = mac(op, icv) && xs_same(icv, op->icv, op->key->icv_len) && cipher(op->key->dec, op);
    }
}

static void cbc_iv(struct xs_key *key, uint64_t seq, uint8_t iv[16])
{
    uint64_t block[2] = {seq, 0};
    int n;
    EVP_CipherUpdate(key->iv, iv, &n, (const uint8_t *)block, sizeof block);
}

static const struct xs_engine engine = {
    .name = "openssl",
    .supports = supports,
    .key_new = key_new,
    .key_free = key_free,
    .seal = seal,
    .open = open_burst,
    .cbc_iv = cbc_iv,
};

const struct xs_engine *xs_engine_openssl(void)
{
    return &engine;
}
