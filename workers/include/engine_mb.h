/* The intel-ipsec-mb engine's two files: bursts in engine_ipsec_mb.c, key schedules and jobs in engine_mb_job.c. */
#ifndef XS_ENGINE_MB_H
#define XS_ENGINE_MB_H

#include <intel-ipsec-mb.h>

#include "engine_internal.h"

enum { XS_MB_AES_WORDS = 15 * 4, XS_MB_MAC_WORDS = 11 * 4, XS_MB_DES_WORDS = 16, XS_MB_DES_KEYS = 3 };

struct xs_key {
    union {
        struct gcm_key_data gcm; /* wants 64 bytes alignment */
        struct {
            _Alignas(16) uint32_t enc[XS_MB_AES_WORDS];
            _Alignas(16) uint32_t dec[XS_MB_AES_WORDS];
        } aes;
        struct {
            uint64_t schedule[XS_MB_DES_KEYS][XS_MB_DES_WORDS];
            const void *order[XS_MB_DES_KEYS];
        } des;
        uint8_t chacha[32];
    } cipher_key;
    union {
        struct {
            _Alignas(16) uint8_t ipad[64];
            _Alignas(16) uint8_t opad[64];
        } hmac;
        struct { /* XCBC: K1 expanded, K2, K3; CMAC: key expanded, two subkeys */
            _Alignas(16) uint32_t expanded[XS_MB_MAC_WORDS];
            _Alignas(16) uint8_t sub[2][16];
        } mac;
        struct { /* over cipher_key.gcm */
            aes_gmac_init_t init;
            aes_gmac_update_t update;
            aes_gmac_finalize_t finalize;
        } gmac;
    } auth_key;
    _Alignas(16) uint32_t iv_enc[XS_MB_MAC_WORDS]; /* AES-128 of the CBC IVs */
    aes_gcm_enc_dec_t gcm_seal, gcm_open;
    const void *enc, *dec; /* as a job wants them */
    uint8_t cipher, cipher_key_len, icv_len, iv_len;
    bool chain_hash_last; /* when sealing: ciphertext is authenticated, not the text */
    IMB_CIPHER_MODE mode;
    IMB_HASH_ALG hash;
};

extern IMB_MGR *xs_mb; /* one manager per process: a worker is one thread */

void xs_mb_schedule(struct xs_key *key, const struct xs_sa_conf *conf); /* of a zeroed key; the suite is supported */
/* One job; out receives the ICV; with an ESN tail it already stands behind the text. */
void xs_mb_job(IMB_JOB *job, struct xs_op *op, bool seal, uint8_t *out);

#endif
