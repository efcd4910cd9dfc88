/* See path_lab.h: IPv4 packets and ESP by hand. Nothing of the core is used but its configuration struct. */
#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "path_lab.h"

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16), put16(at + 2, value);
}

uint16_t lab_sum(const uint8_t *bytes, uint32_t len, uint32_t start)
{
    for (uint32_t i = 0; i < len; i++)
        start += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return (uint16_t)~start;
}

uint32_t lab_ip_packet(uint8_t *out, const struct lab_ip *ip)
{
    uint32_t len = 24 + ip->payload;
    memset(out, 0, 20);
    out[0] = 0x45;
    out[1] = ip->tos;
    put16(out + 2, len);
    put16(out + 4, 0x7777);
    put16(out + 6, ip->frag);
    out[8] = ip->ttl ? ip->ttl : 64;
    out[9] = ip->protocol ? ip->protocol : 17;
    inet_pton(AF_INET, ip->src, out + 12);
    inet_pton(AF_INET, ip->dst, out + 16);
    put16(out + 10, lab_sum(out, 20, 0));
    put16(out + 20, ip->sport);
    put16(out + 22, ip->dport);
    for (uint32_t i = 0; i < ip->payload; i++)
        out[24 + i] = (uint8_t)(i * 3 + 1);
    return len;
}

uint32_t lab_frame(uint8_t *out, const uint8_t *packet, uint32_t len, uint16_t vlan)
{
    static const uint8_t from[6] = {2, 0, 0, 0, 7, 7}, to[6] = {2, 0, 0, 0, 0, 1};
    uint32_t at = 12;
    memcpy(out, to, 6);
    memcpy(out + 6, from, 6);
    if (vlan) {
        put16(out + 12, 0x8100);
        put16(out + 14, vlan);
        at = 16;
    }
    put16(out + at, 0x0800);
    memcpy(out + at + 2, packet, len);
    return at + 2 + len;
}

uint32_t lab_trailer(uint8_t *text, uint32_t len, uint32_t block, uint8_t next)
{
    uint8_t pad = 0;
    while ((len + pad + 2) % block) {
        text[len + pad] = (uint8_t)(pad + 1);
        pad++;
    }
    text[len + pad] = pad;
    text[len + pad + 1] = next;
    return len + pad + 2;
}

/* Seals or opens in place with GCM; the tag is written or compared. */
static bool gcm(bool seal, const struct xs_sa_conf *c, const uint8_t *aad, int aad_len, const uint8_t *iv,
                uint8_t *text, uint32_t len, uint8_t *icv)
{
    uint8_t nonce[12];
    int n = 0;
    memcpy(nonce, c->key + c->key_len - 4, 4);
    memcpy(nonce + 4, iv, 8);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    EVP_CipherInit_ex(ctx, c->key_len == 20 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(), NULL, c->key, nonce, seal);
    EVP_CipherUpdate(ctx, NULL, &n, aad, aad_len);
    EVP_CipherUpdate(ctx, text, &n, text, (int)len);
    if (!seal)
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, icv);
    bool ok = EVP_CipherFinal_ex(ctx, text + n, &n) == 1;
    if (seal)
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, icv);
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

static void cbc(bool seal, const struct xs_sa_conf *c, const uint8_t *iv, uint8_t *text, uint32_t len)
{
    int n = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    EVP_CipherInit_ex(ctx, EVP_aes_128_cbc(), NULL, c->key, iv, seal);
    EVP_CIPHER_CTX_set_padding(ctx, 0);
    EVP_CipherUpdate(ctx, text, &n, text, (int)len);
    EVP_CIPHER_CTX_free(ctx);
}

static void hmac(const struct xs_sa_conf *c, uint64_t seq, const uint8_t *esp, uint32_t len, uint8_t icv[32])
{
    uint8_t whole[LAB_FRAME + 4];
    memcpy(whole, esp, len);
    put32(whole + len, (uint32_t)(seq >> 32));
    HMAC(EVP_sha256(), c->auth_key, c->auth_key_len, whole, len + (c->esn ? 4 : 0), icv, NULL);
}

/* The additional data of RFC 4106 sec. 5. */
static int gcm_aad(uint8_t aad[12], const struct xs_sa_conf *c, uint64_t seq)
{
    put32(aad, c->spi);
    if (c->esn)
        put32(aad + 4, (uint32_t)(seq >> 32));
    put32(aad + (c->esn ? 8 : 4), (uint32_t)seq);
    return c->esn ? 12 : 8;
}

uint32_t lab_esp(uint8_t *out, const struct xs_sa_conf *c, uint64_t seq, const uint8_t *text, uint32_t text_len)
{
    uint32_t iv_len = c->cipher == XS_AES_GCM ? 8 : 16;
    uint8_t *iv = out + 8, *body = iv + iv_len, aad[12], icv[32];
    put32(out, c->spi);
    put32(out + 4, (uint32_t)seq);
    for (uint32_t i = 0; i < iv_len; i++)
        iv[i] = (uint8_t)(seq * 31 + i); /* any IV the peer likes */
    memcpy(body, text, text_len);
    if (c->cipher == XS_AES_GCM) {
        gcm(true, c, aad, gcm_aad(aad, c, seq), iv, body, text_len, icv);
    } else {
        cbc(true, c, iv, body, text_len);
        hmac(c, seq, out, 8 + iv_len + text_len, icv);
    }
    memcpy(body + text_len, icv, 16);
    return 8 + iv_len + text_len + 16;
}

uint32_t lab_esp_open(uint8_t *text, const struct xs_sa_conf *c, uint64_t seq, const uint8_t *esp, uint32_t len)
{
    uint32_t iv_len = c->cipher == XS_AES_GCM ? 8 : 16, text_len = len - 8 - iv_len - 16;
    uint8_t aad[12], icv[32];
    const uint8_t *body = esp + 8 + iv_len;
    memcpy(text, body, text_len);
    if (c->cipher == XS_AES_GCM) {
        memcpy(icv, body + text_len, 16);
        return gcm(false, c, aad, gcm_aad(aad, c, seq), esp + 8, text, text_len, icv) ? text_len : 0;
    }
    hmac(c, seq, esp, len - 16, icv);
    cbc(false, c, esp + 8, text, text_len);
    return memcmp(icv, body + text_len, 16) ? 0 : text_len;
}

uint32_t lab_outer(uint8_t *out, const struct xs_sa_conf *c, const uint8_t *esp, uint32_t len, uint8_t tos)
{
    uint8_t packet[LAB_FRAME] = {0x45, tos};
    uint32_t head = c->encap_local ? 28 : 20;
    put16(packet + 2, head + len);
    packet[8] = 60;
    packet[9] = c->encap_local ? 17 : 50;
    memcpy(packet + 12, c->remote.bytes, 4);
    memcpy(packet + 16, c->local.bytes, 4);
    put16(packet + 10, lab_sum(packet, 20, 0));
    if (c->encap_local) {
        put16(packet + 20, c->encap_remote);
        put16(packet + 22, c->encap_local);
        put16(packet + 24, 8 + len);
    }
    memcpy(packet + head, esp, len);
    return lab_frame(out, packet, head + len, 0);
}

uint32_t lab_sealed(uint8_t *out, const struct xs_sa_conf *c, uint64_t seq, const uint8_t *inner, uint32_t len,
                    uint8_t tos)
{
    uint8_t text[LAB_FRAME], esp[LAB_FRAME];
    memcpy(text, inner, len);
    uint32_t text_len = lab_trailer(text, len, c->cipher == XS_AES_GCM ? 4 : 16, 4);
    return lab_outer(out, c, esp, lab_esp(esp, c, seq, text, text_len), tos);
}
