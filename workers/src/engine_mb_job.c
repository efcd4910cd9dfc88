/* intel-ipsec-mb: key schedules of every suite, and the jobs of those that are not called directly. */
#include "engine_mb.h"

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
    uint8_t *out[2] = {key->auth_key.hmac.ipad, key->auth_key.hmac.opad};
    for (int i = 0; i < 2; i++) {
        switch (conf->auth) {
        case XS_HMAC_SHA1_96:
            IMB_SHA1_ONE_BLOCK(xs_mb, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_1;
            break;
        case XS_HMAC_SHA256_128:
            IMB_SHA256_ONE_BLOCK(xs_mb, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_256;
            break;
        case XS_HMAC_SHA384_192:
            IMB_SHA384_ONE_BLOCK(xs_mb, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_384;
            break;
        default:
            IMB_SHA512_ONE_BLOCK(xs_mb, block[i], out[i]);
            key->hash = IMB_AUTH_HMAC_SHA_512;
        }
    }
    OPENSSL_cleanse(block, sizeof block);
}

static void schedule_mac(struct xs_key *key, const struct xs_sa_conf *conf)
{
    uint32_t *expanded = key->auth_key.mac.expanded, unused[XS_MB_MAC_WORDS];
    uint8_t(*sub)[16] = key->auth_key.mac.sub;
    switch (conf->auth) {
    case XS_AES_XCBC_96:
        key->hash = IMB_AUTH_AES_XCBC;
        IMB_AES_XCBC_KEYEXP(xs_mb, conf->auth_key, expanded, sub[0], sub[1]);
        break;
    case XS_AES_CMAC_96:
        key->hash = IMB_AUTH_AES_CMAC;
        IMB_AES_KEYEXP_128(xs_mb, conf->auth_key, expanded, unused);
        IMB_AES_CMAC_SUBKEY_GEN_128(xs_mb, expanded, sub[0], sub[1]);
        OPENSSL_cleanse(unused, sizeof unused);
        break;
    default:
        hmac_states(key, conf);
    }
}

static void schedule_aes(struct xs_key *key, const struct xs_sa_conf *conf)
{
    uint32_t *enc = key->cipher_key.aes.enc, *dec = key->cipher_key.aes.dec;
    key->enc = enc;
    key->dec = dec;
    if (key->cipher_key_len == 16)
        IMB_AES_KEYEXP_128(xs_mb, conf->key, enc, dec);
    else if (key->cipher_key_len == 24)
        IMB_AES_KEYEXP_192(xs_mb, conf->key, enc, dec);
    else
        IMB_AES_KEYEXP_256(xs_mb, conf->key, enc, dec);
}

static void schedule_gcm(struct xs_key *key, const struct xs_sa_conf *conf)
{
    struct gcm_key_data *gcm = &key->cipher_key.gcm;
    if (key->cipher_key_len == 16) {
        IMB_AES128_GCM_PRE(xs_mb, conf->key, gcm);
        key->gcm_seal = xs_mb->gcm128_enc;
        key->gcm_open = xs_mb->gcm128_dec;
    } else if (key->cipher_key_len == 24) {
        IMB_AES192_GCM_PRE(xs_mb, conf->key, gcm);
        key->gcm_seal = xs_mb->gcm192_enc;
        key->gcm_open = xs_mb->gcm192_dec;
    } else {
        IMB_AES256_GCM_PRE(xs_mb, conf->key, gcm);
        key->gcm_seal = xs_mb->gcm256_enc;
        key->gcm_open = xs_mb->gcm256_dec;
    }
}

static void schedule_gmac(struct xs_key *key, const struct xs_sa_conf *conf)
{
    schedule_gcm(key, conf);
    if (key->cipher_key_len == 16) {
        key->auth_key.gmac.init = xs_mb->gmac128_init;
        key->auth_key.gmac.update = xs_mb->gmac128_update;
        key->auth_key.gmac.finalize = xs_mb->gmac128_finalize;
    } else if (key->cipher_key_len == 24) {
        key->auth_key.gmac.init = xs_mb->gmac192_init;
        key->auth_key.gmac.update = xs_mb->gmac192_update;
        key->auth_key.gmac.finalize = xs_mb->gmac192_finalize;
    } else {
        key->auth_key.gmac.init = xs_mb->gmac256_init;
        key->auth_key.gmac.update = xs_mb->gmac256_update;
        key->auth_key.gmac.finalize = xs_mb->gmac256_finalize;
    }
}

static void schedule_des(struct xs_key *key, const struct xs_sa_conf *conf)
{
    for (uint32_t i = 0; i < XS_MB_DES_KEYS; i++) {
        IMB_DES_KEYSCHED(xs_mb, key->cipher_key.des.schedule[i], conf->key + 8 * i);
        key->cipher_key.des.order[i] = key->cipher_key.des.schedule[i];
    }
    key->enc = key->dec = key->cipher_key.des.order;
}

void xs_mb_schedule(struct xs_key *key, const struct xs_sa_conf *conf)
{
    uint32_t unused[XS_MB_AES_WORDS];
    key->cipher = conf->cipher;
    key->icv_len = conf->icv_len;
    key->cipher_key_len = xs_cipher_key_len(conf);
    key->iv_len = xs_cipher_facts(conf->cipher)->iv_len;
    key->chain_hash_last = conf->cipher != XS_AES_CCM;
    switch (conf->cipher) {
    case XS_AES_GCM:
        schedule_gcm(key, conf);
        return;
    case XS_AES_GMAC:
        schedule_gmac(key, conf);
        return;
    case XS_AES_CCM: /* RFC 4309 sec. 4: a nonce of 11 */
        schedule_aes(key, conf);
        key->mode = IMB_CIPHER_CCM;
        key->hash = IMB_AUTH_AES_CCM;
        key->iv_len = 11;
        return;
    case XS_CHACHA20_POLY1305:
        memcpy(key->cipher_key.chacha, conf->key, sizeof key->cipher_key.chacha);
        key->enc = key->dec = key->cipher_key.chacha;
        key->mode = IMB_CIPHER_CHACHA20_POLY1305;
        key->hash = IMB_AUTH_CHACHA20_POLY1305;
        key->iv_len = 12;
        return;
    case XS_AES_CTR:
        schedule_aes(key, conf);
        key->mode = IMB_CIPHER_CNTR;
        key->iv_len = 16;
        break;
    case XS_3DES_CBC:
        schedule_des(key, conf);
        key->mode = IMB_CIPHER_DES3;
        break;
    case XS_AES_CBC:
        schedule_aes(key, conf);
        key->mode = IMB_CIPHER_CBC;
        break;
    default:
        key->mode = IMB_CIPHER_NULL;
    }
    IMB_AES_KEYEXP_128(xs_mb, conf->iv_key, key->iv_enc, unused);
    schedule_mac(key, conf);
    OPENSSL_cleanse(unused, sizeof unused);
}

/* The algorithm's own fields. False: the ICV covers the text alone and what stands in aad, not the packet from there.
 */
static bool fill_auth(IMB_JOB *job, const struct xs_op *op)
{
    const struct xs_key *key = op->key;
    switch (key->hash) {
    case IMB_AUTH_AES_CCM:
        job->u.CCM.aad = op->aad;
        job->u.CCM.aad_len_in_bytes = op->aad_len;
        return false;
    case IMB_AUTH_CHACHA20_POLY1305:
        job->u.CHACHA20_POLY1305.aad = op->aad;
        job->u.CHACHA20_POLY1305.aad_len_in_bytes = op->aad_len;
        return false;
    case IMB_AUTH_AES_XCBC:
        job->u.XCBC._k1_expanded = key->auth_key.mac.expanded;
        job->u.XCBC._k2 = key->auth_key.mac.sub[0];
        job->u.XCBC._k3 = key->auth_key.mac.sub[1];
        return true;
    case IMB_AUTH_AES_CMAC:
        job->u.CMAC._key_expanded = key->auth_key.mac.expanded;
        job->u.CMAC._skey1 = key->auth_key.mac.sub[0];
        job->u.CMAC._skey2 = key->auth_key.mac.sub[1];
        return true;
    default:
        job->u.HMAC._hashed_auth_key_xor_ipad = key->auth_key.hmac.ipad;
        job->u.HMAC._hashed_auth_key_xor_opad = key->auth_key.hmac.opad;
        return true;
    }
}

void xs_mb_job(IMB_JOB *job, struct xs_op *op, bool seal, uint8_t *out)
{
    const struct xs_key *key = op->key;
    bool packet = fill_auth(job, op);
    job->cipher_mode = key->mode;
    job->cipher_direction = seal ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job->chain_order = seal == key->chain_hash_last ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job->key_len_in_bytes = key->cipher_key_len;
    job->enc_keys = key->enc;
    job->dec_keys = key->dec;
    job->src = packet ? op->aad : op->text;
    job->dst = op->text;
    job->cipher_start_src_offset_in_bytes = (uint64_t)(op->text - job->src);
    job->msg_len_to_cipher_in_bytes = op->text_len;
    job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = packet ? xs_authenticated(op) + (op->has_auth_tail ? 4 : 0) : op->text_len;
    job->iv = op->iv;
    job->iv_len_in_bytes = key->iv_len;
    job->hash_alg = key->hash;
    job->auth_tag_output = out;
    job->auth_tag_output_len_in_bytes = key->icv_len;
    job->user_data = op;
}
