/* One crypto engine behind one struct. An engine turns keys into an opaque schedule (never on the packet path) and
 * seals or opens a burst of operations in place. It knows nothing of ESP, SAs or frames. */
#ifndef XS_ENGINE_H
#define XS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"

struct xs_key; /* an engine's own key schedule for one SA and direction; aligned, locked, wiped on free */

/* What the cipher alone decides, in bytes. */
struct xs_cipher_facts {
    uint8_t iv_len; /* in the packet */
    uint8_t block;  /* alignment of the ciphertext */
    uint8_t salt_len;
    bool aead;
    bool counter; /* the nonce is the sequence number, behind the salt */
};
const struct xs_cipher_facts *xs_cipher_facts(uint8_t cipher); /* of XS_CIPHER_NONE and what is none: all zero */

struct xs_op {
    struct xs_key *key;
    uint8_t *aad;  /* AEAD: SPI, sequence number (ESN: 12 bytes). Else: first authenticated byte (ESP header) */
    uint8_t *iv;   /* AEAD: nonce, salt first. CTR: first counter block. CBC: the block. Readable, not changed */
    uint8_t *text; /* plaintext or ciphertext, transformed in place. The packet's IV stands in front (GMAC reads it) */
    uint8_t *icv;  /* written when sealing; compared in constant time when opening */
    uint32_t text_len;
    uint32_t aad_len;
    uint32_t auth_tail; /* no AEAD, with ESN: high 32 bits (host order) authenticated after the text */
    bool has_auth_tail;
    bool cold; /* text is not in our cache: the engine fetches it while it works on the packet before */
    bool ok;   /* out */
};

struct xs_engine {
    const char *name; /* "ipsec-mb", "openssl" */
    bool (*supports)(uint8_t cipher, uint8_t auth, uint8_t key_len, uint8_t icv_len);
    struct xs_key *(*key_new)(const struct xs_sa_conf *conf); /* NULL: no memory or unsupported */
    void (*key_free)(struct xs_key *key);                     /* wipes */
    /* All operations of a call may have different keys of this engine. Each sets ok. */
    void (*seal)(struct xs_op *ops, uint32_t count);
    void (*open)(struct xs_op *ops, uint32_t count);
    /* AES block of the sequence number under the SA's IV key: unpredictable CBC IVs (RFC 3602 sec. 3, RFC 2451 sec. 3)
     */
    void (*cbc_iv)(struct xs_key *key, uint64_t seq, uint8_t iv[16]);
};

/* Engines that passed their known answers at start; NULL when absent on this machine or refused. */
const struct xs_engine *xs_engine_get(uint8_t choice);
/* By conf->engine, AUTO is the fastest; what the library of that one lacks is served by the other. */
const struct xs_engine *xs_engine_for(const struct xs_sa_conf *conf);

#endif
