/* What stands behind the inner packet, by RFC 4303 sec. 2.4 to 2.7: padding, its length, next header, dummies. The case
 * padding is the one that the mutant of this name must break. */
#include "path_peer.h"

static void trailer(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    start(&lab, &conf, false, true);
    uint8_t text[LAB_FRAME];
    uint32_t len = lab_ip_packet(text, &PLAIN), whole = lab_trailer(text, len + 1, 4, 4); /* a stray byte, pad 1 */
    CHECK(send_text(&lab, &conf, 1, text, whole) == XS_V_DECRYPTED);                      /* TFC padding: trimmed */
    uint8_t out[LAB_FRAME];
    CHECK(lab_take(&lab, LAB_INSIDE, out) == LAB_ETH + len);
    whole = lab_trailer(text, len, 16, 4);
    text[len] ^= 1;
    CHECK(send_text(&lab, &conf, 2, text, whole) == XS_V_DROP_TRAILER);
    text[len] ^= 1;
    text[whole - 2] = 200; /* longer than the text */
    CHECK(send_text(&lab, &conf, 3, text, whole) == XS_V_DROP_TRAILER);
    whole = lab_trailer(text, len, 4, 6);
    CHECK(send_text(&lab, &conf, 4, text, whole) == XS_V_DROP_TRAILER); /* TCP: that is transport mode */
    whole = lab_trailer(text, len, 4, 41);
    CHECK(send_text(&lab, &conf, 5, text, whole) == XS_V_DROP_UNSUPPORTED);
    whole = lab_trailer(text, len, 4, 59);
    CHECK(send_text(&lab, &conf, 6, text, whole) == XS_V_DUMMY);
    whole = lab_trailer(text, 0, 4, 59);
    CHECK(send_text(&lab, &conf, 7, text, whole) == XS_V_DUMMY);
    whole = lab_trailer(text, 0, 4, 4);
    CHECK(send_text(&lab, &conf, 8, text, whole) == XS_V_DROP_INNER); /* nothing inside */
    CHECK(!lab_take(&lab, LAB_INSIDE, out));
    lab_close(&lab);
}

/* Every amount around the word that is compared at once, every byte of it, every bit once: a bit that the sender did
 * not set by the book is refused (RFC 4303 sec. 2.4), and counted. */
static void padding(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    start(&lab, &conf, false, true);
    uint8_t text[LAB_FRAME], out[LAB_FRAME];
    uint64_t seq = 0, wrong = 0;
    for (uint32_t pad = 0; pad <= 20; pad++) {
        uint32_t len = lab_ip_packet(text, &PLAIN), before = len + (-(len + pad + 2) & 3); /* ESP ends on 4 bytes */
        for (uint32_t i = len; i < before; i++)
            text[i] = 0xa5; /* TFC padding may be anything */
        for (uint32_t i = 0; i < pad; i++)
            text[before + i] = (uint8_t)(i + 1);
        text[before + pad] = (uint8_t)pad;
        text[before + pad + 1] = 4;
        uint32_t whole = before + pad + 2;
        CHECK(send_text(&lab, &conf, ++seq, text, whole) == XS_V_DECRYPTED);
        CHECK(lab_take(&lab, LAB_INSIDE, out) == LAB_ETH + len);
        for (uint32_t i = 0; i < pad; i++, wrong++) {
            text[before + i] ^= (uint8_t)(1 << (seq & 7));
            CHECK(send_text(&lab, &conf, ++seq, text, whole) == XS_V_DROP_TRAILER);
            text[before + i] = (uint8_t)(i + 1);
        }
    }
    CHECK(!lab_take(&lab, LAB_INSIDE, out));
    CHECK(lab_count(&lab, XS_V_DROP_TRAILER) == wrong);
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {{"trailer", trailer}, {"padding", padding}};
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
