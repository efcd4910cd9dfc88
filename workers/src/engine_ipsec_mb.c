/* intel-ipsec-mb: GCM and GMAC by direct call per packet, everything else as multi-buffer jobs that are flushed at the
 * end of the burst. */
#include <stdlib.h>

#include "engine_mb.h"

enum { IMB_CCM_192 = 24 };

IMB_MGR *xs_mb;

static bool supports(uint8_t cipher, uint8_t auth, uint8_t key_len, uint8_t icv_len)
{
    if (cipher == XS_AES_CCM && key_len - xs_cipher_facts(cipher)->salt_len == IMB_CCM_192)
        return false; /* the library has 128 and 256 */
    return xs_engine_sane(cipher, auth, key_len, icv_len);
}

static struct xs_key *key_new(const struct xs_sa_conf *conf)
{
    if (!supports(conf->cipher, conf->auth, conf->key_len, conf->icv_len))
        return NULL;
    struct xs_key *key = aligned_alloc(64, (sizeof *key + 63) / 64 * 64);
    if (!key)
        return NULL;
    memset(key, 0, sizeof *key);
    xs_mb_schedule(key, conf);
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
    op->key->gcm_seal(&op->key->cipher_key.gcm, &ctx, op->text, op->text, op->text_len, op->iv, op->aad, op->aad_len,
                      op->icv, op->key->icv_len);
    op->ok = true;
}

static void gcm_open(struct xs_op *op)
{
    struct gcm_context_data ctx;
    uint8_t icv[16];
    op->key->gcm_open(&op->key->cipher_key.gcm, &ctx, op->text, op->text, op->text_len, op->iv, op->aad, op->aad_len,
                      icv, op->key->icv_len);
    op->ok = xs_same(icv, op->icv, op->key->icv_len);
}

enum { GMAC_NONCE = 12 };
static void gmac(const struct xs_op *op, uint8_t *icv)
{
    struct gcm_context_data ctx;
    const struct xs_key *key = op->key;
    key->auth_key.gmac.init(&key->cipher_key.gcm, &ctx, op->iv, GMAC_NONCE);
    key->auth_key.gmac.update(&key->cipher_key.gcm, &ctx, op->aad, op->aad_len);
    key->auth_key.gmac.update(&key->cipher_key.gcm, &ctx, xs_gmac_data(op), xs_gmac_len(op));
    key->auth_key.gmac.finalize(&key->cipher_key.gcm, &ctx, icv, key->icv_len);
}

static bool gmac_is_right(const struct xs_op *op)
{
    uint8_t icv[16];
    gmac(op, icv);
    return xs_same(icv, op->icv, op->key->icv_len);
}

static void done(IMB_JOB *job)
{
    if (job)
        ((struct xs_op *)job->user_data)->ok = job->status == IMB_STATUS_COMPLETED;
}

static void flush(void)
{
    IMB_JOB *job;
    while ((job = IMB_FLUSH_JOB(xs_mb)))
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
        if (op->key->cipher == XS_AES_GMAC) {
            gmac(op, op->icv);
            op->ok = true;
            continue;
        }
        op->ok = false;
        if (op->has_auth_tail)
            xs_put_tail(op->icv, op); /* the hash has read it before the ICV is written over it */
        IMB_JOB *job = IMB_GET_NEXT_JOB(xs_mb);
        xs_mb_job(job, op, true, op->icv);
        done(IMB_SUBMIT_JOB(xs_mb));
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
        IMB_JOB *job = IMB_GET_NEXT_JOB(xs_mb);
        xs_mb_job(job, op, false, computed[i]);
        done(IMB_SUBMIT_JOB(xs_mb));
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
        if (ops[i].key->cipher == XS_AES_GMAC) {
            ops[i].ok = gmac_is_right(&ops[i]);
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
    IMB_AES128_CFB_ONE(xs_mb, iv, (const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", block, key->iv_enc, 16);
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
    if (!xs_mb) {
        xs_mb = alloc_mb_mgr(0);
        if (!xs_mb)
            return NULL;
        init_mb_mgr_auto(xs_mb, NULL);
        if (imb_get_errno(xs_mb))
            return NULL;
    }
    return &engine;
}
