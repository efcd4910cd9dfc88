/* intel-ipsec-mb: GCM by direct call per packet, CBC and HMAC as multi-buffer jobs that are flushed at the end of the
 * burst. One manager per process: a worker is one thread. */
#include <intel-ipsec-mb.h>
#include <stdlib.h>

#include "engine_internal.h"

struct xs_key {
    struct gcm_key_data gcm; /* first: wants 64 bytes alignment */
    _Alignas(16) uint32_t enc[15 * 4];
    _Alignas(16) uint32_t dec[15 * 4];
    _Alignas(16) uint32_t iv_enc[11 * 4]; /* AES-128 of the CBC IVs */
    _Alignas(16) uint8_t ipad[64];
    _Alignas(16) uint8_t opad[64];
    uint8_t cipher, cipher_key_len, icv_len;
    IMB_HASH_ALG hash;
};

static IMB_MGR *mgr;

static bool supports(uint8_t cipher, uint8_t auth, uint8_t key_len, uint8_t icv_len)
{
    return xs_engine_sane(cipher, auth, key_len, icv_len);
}

/* The two inner states of HMAC (RFC 2104), by the library's one-block digests. */
static void hmac_states(struct xs_key *key, const struct xs_sa_conf *conf)
{
    uint8_t block[2][128];
    memset(block[0], 0x36, sizeof block[0]);
    memset(block[1], 0x5c, sizeof block[1]);
    for (uint32_t i = 0; i < conf->auth_key_len; i++) {
        block[0][i] ^= conf->auth_key[i];
        block[1][i] ^= conf->auth_key[i];
    }
    uint8_t *out[2] = {key->ipad, key->opad};
    for (int i = 0; i < 2; i++) {
        switch (conf->auth) {
        case XS_HMAC_SHA1_96:
            IMB_SHA1_ONE_BLOCK(mgr, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_1;
            break;
        case XS_HMAC_SHA256_128:
            IMB_SHA256_ONE_BLOCK(mgr, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_256;
            break;
        case XS_HMAC_SHA384_192:
            IMB_SHA384_ONE_BLOCK(mgr, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_384;
            break;
        default:
            IMB_SHA512_ONE_BLOCK(mgr, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_512;
        }
    }
    OPENSSL_cleanse(block, sizeof block);
}

static struct xs_key *key_new(const struct xs_sa_conf *conf)
{
    if (!supports(conf->cipher, conf->auth, conf->key_len, conf->icv_len))
        return NULL;
    struct xs_key *key = aligned_alloc(64, (sizeof *key + 63) / 64 * 64);
    if (!key)
        return NULL;
    memset(key, 0, sizeof *key);
    key->cipher = conf->cipher;
    key->icv_len = conf->icv_len;
    key->cipher_key_len = conf->cipher == XS_AES_GCM ? conf->key_len - XS_SALT_LEN : conf->key_len;
    if (conf->cipher == XS_AES_GCM) {
        if (key->cipher_key_len == 16)
            IMB_AES128_GCM_PRE(mgr, conf->key, &key->gcm);
        else
            IMB_AES256_GCM_PRE(mgr, conf->key, &key->gcm);
        return key;
    }
    uint32_t unused[15 * 4];
    IMB_AES_KEYEXP_128(mgr, conf->iv_key, key->iv_enc, unused);
    if (key->cipher_key_len == 16)
        IMB_AES_KEYEXP_128(mgr, conf->key, key->enc, key->dec);
    else
        IMB_AES_KEYEXP_256(mgr, conf->key, key->enc, key->dec);
    hmac_states(key, conf);
    OPENSSL_cleanse(unused, sizeof unused);
    return key;
}

static void key_free(struct xs_key *key)
{
    if (key)
        OPENSSL_cleanse(key, sizeof *key);
    free(key);
}

enum { LINE = 64 };
static inline void fetch_next(const struct xs_op *ops, uint32_t i, uint32_t count)
{
    if (i + 1 == count || !ops[i + 1].cold)
        return;
    for (const uint8_t *at = ops[i + 1].text; at < ops[i + 1].icv; at += LINE)
        __builtin_prefetch(at);
}

static void gcm_seal(struct xs_op *op)
{
    struct gcm_context_data ctx;
    if (op->key->cipher_key_len == 16)
        IMB_AES128_GCM_ENC(mgr, &op->key->gcm, &ctx, op->text, op->text, op->text_len, op->iv, op->aad, op->aad_len,
                           op->icv, op->key->icv_len);
    else
        IMB_AES256_GCM_ENC(mgr, &op->key->gcm, &ctx, op->text, op->text, op->text_len, op->iv, op->aad, op->aad_len,
                           op->icv, op->key->icv_len);
    op->ok = true;
}

static void gcm_open(struct xs_op *op)
{
    struct gcm_context_data ctx;
    uint8_t icv[16];
    if (op->key->cipher_key_len == 16)
        IMB_AES128_GCM_DEC(mgr, &op->key->gcm, &ctx, op->text, op->text, op->text_len, op->iv, op->aad, op->aad_len,
                           icv, op->key->icv_len);
    else
        IMB_AES256_GCM_DEC(mgr, &op->key->gcm, &ctx, op->text, op->text, op->text_len, op->iv, op->aad, op->aad_len,
                           icv, op->key->icv_len);
    op->ok = xs_same(icv, op->icv, op->key->icv_len);
}

/* One CBC and HMAC job. out receives the ICV; with ESN the tail already stands behind the text. */
static void fill_job(IMB_JOB *job, struct xs_op *op, bool seal, uint8_t *out)
{
    struct xs_key *key = op->key;
    job->cipher_mode = IMB_CIPHER_CBC;
    job->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job->chain_order = seal ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job->key_len_in_bytes = key->cipher_key_len;
    job->enc_keys = key->enc;
    job->dec_keys = key->dec;
    job->src = op->aad;
    job->dst = op->text;
    job->cipher_start_src_offset_in_bytes = (uint64_t)(op->text - op->aad);
    job->msg_len_to_cipher_in_bytes = op->text_len;
    job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = xs_authenticated(op) + (op->has_auth_tail ? 4 : 0);
    job->iv = op->iv;
    job->iv_len_in_bytes = XS_CBC_BLOCK;
    job->hash_alg = key->hash;
    job->u.HMAC._hashed_auth_key_xor_ipad = key->ipad;
    job->u.HMAC._hashed_auth_key_xor_opad = key->opad;
    job->auth_tag_output = out;
    job->auth_tag_output_len_in_bytes = key->icv_len;
    job->user_data = op;
}

static void done(IMB_JOB *job)
{
    if (job)
        ((struct xs_op *)job->user_data)->ok = job->status == IMB_STATUS_COMPLETED;
}

static void flush(void)
{
    IMB_JOB *job;
    while ((job = IMB_FLUSH_JOB(mgr)))
        done(job);
}

static void seal(struct xs_op *ops, uint32_t count)
{
    bool jobs = false;
    for (uint32_t i = 0; i < count; i++) {
        struct xs_op *op = &ops[i];
        if (op->key->cipher == XS_AES_GCM) {
            fetch_next(ops, i, count);
            gcm_seal(op);
            continue;
        }
        op->ok = false;
        if (op->has_auth_tail)
            xs_put_tail(op->icv, op); /* the hash has read it before the ICV is written over it */
        IMB_JOB *job = IMB_GET_NEXT_JOB(mgr);
        fill_job(job, op, true, op->icv);
        done(IMB_SUBMIT_JOB(mgr));
        jobs = true;
    }
    if (jobs)
        flush();
}

enum { CHUNK = 64 };

static void open_jobs(struct xs_op **ops, uint32_t count)
{
    uint8_t received[CHUNK][XS_ICV_MAX], computed[CHUNK][XS_ICV_MAX];
    for (uint32_t i = 0; i < count; i++) {
        struct xs_op *op = ops[i];
        op->ok = false;
        memcpy(received[i], op->icv, op->key->icv_len);
        if (op->has_auth_tail)
            xs_put_tail(op->icv, op);
        IMB_JOB *job = IMB_GET_NEXT_JOB(mgr);
        fill_job(job, op, false, computed[i]);
        done(IMB_SUBMIT_JOB(mgr));
    }
    flush();
    for (uint32_t i = 0; i < count; i++)
        ops[i]->ok = ops[i]->ok && xs_same(received[i], computed[i], ops[i]->key->icv_len);
}

static void open_burst(struct xs_op *ops, uint32_t count)
{
    struct xs_op *jobs[CHUNK];
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].key->cipher == XS_AES_GCM) {
            fetch_next(ops, i, count);
            gcm_open(&ops[i]);
            continue;
        }
        jobs[waiting++] = &ops[i];
        if (waiting == CHUNK) {
            open_jobs(jobs, waiting);
            waiting = 0;
        }
    }
    if (waiting)
        open_jobs(jobs, waiting);
}

static void cbc_iv(struct xs_key *key, uint64_t seq, uint8_t iv[16])
{
    uint64_t block[2] = {seq, 0};
    IMB_AES128_CFB_ONE(mgr, iv, (const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", block, key->iv_enc, 16);
}

static const struct xs_engine engine = {
    .name = "ipsec-mb",
    .supports = supports,
    .key_new = key_new,
    .key_free = key_free,
    .seal = seal,
    .open = open_burst,
    .cbc_iv = cbc_iv,
};

const struct xs_engine *xs_engine_ipsec_mb(void)
{
    if (!mgr) {
        mgr = alloc_mb_mgr(0);
        if (!mgr)
            return NULL;
        init_mb_mgr_auto(mgr, NULL);
        if (imb_get_errno(mgr))
            return NULL;
    }
    return &engine;
}
