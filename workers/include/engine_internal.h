/* What the engines share with engine.c alone. */
#ifndef XS_ENGINE_INTERNAL_H
#define XS_ENGINE_INTERNAL_H

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <string.h>

#include "engine.h"

enum { XS_ICV_MAX = 64 };

const struct xs_engine *xs_engine_ipsec_mb(void); /* NULL when this machine cannot run it */
const struct xs_engine *xs_engine_openssl(void);
bool xs_engine_sane(uint8_t cipher, uint8_t auth, uint8_t key_len, uint8_t icv_len); /* the suites of this version */

/* Without the salt, in bytes. */
static inline uint8_t xs_cipher_key_len(const struct xs_sa_conf *conf)
{
    return (uint8_t)(conf->key_len - xs_cipher_facts(conf->cipher)->salt_len);
}

static inline bool xs_same(const uint8_t *a, const uint8_t *b, uint32_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

/* Bytes under the MAC, without the ESN tail: ESP header, IV and text lie side by side. */
static inline uint32_t xs_authenticated(const struct xs_op *op)
{
    return (uint32_t)(op->text - op->aad) + op->text_len;
}

/* What GMAC authenticates behind the aad: the IV of the packet, then the text, which stays (RFC 4543 sec. 3.3). */
enum { XS_GMAC_IV = 8 };
static inline const uint8_t *xs_gmac_data(const struct xs_op *op)
{
    return op->text - XS_GMAC_IV;
}
static inline uint32_t xs_gmac_len(const struct xs_op *op)
{
    return XS_GMAC_IV + op->text_len;
}

static inline void xs_put_tail(uint8_t *at, const struct xs_op *op)
{
    uint32_t tail = htonl(op->auth_tail);
    memcpy(at, &tail, sizeof tail);
}

#endif
