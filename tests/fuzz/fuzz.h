/* The packet fuzzer: a whole gateway on memory ports, frames that a hostile peer or host could send, and an independent
 * model of what must become of them. One seed makes one run; nothing else is random. */
#ifndef FUZZ_H
#define FUZZ_H

#include "loop.h"
#include "path_lab.h"

enum { IN_SAS = 4, OUT_SAS = 2, SEEN = 1 << 16, INNER_MAX = 1600, FRAME_MAX = LAB_CHUNK - 256 };
enum { PEER_WORKER = 1 }; /* its SAs are not ours: frames for it go into the handoff ring */

/* --- randomness: splitmix64 --------------------------------------------------------------------------------------- */
struct dice {
    uint64_t state;
};
uint64_t dice_roll(struct dice *d);
uint32_t dice_below(struct dice *d, uint32_t limit); /* 0 to limit - 1 */
bool dice_one_in(struct dice *d, uint32_t n);

/* --- what a frame is about ---------------------------------------------------------------------------------------- */
/* Where a frame was spoiled: not at all, before it was sealed (or as the host sends it), on the wire. */
enum spoilt { GOOD, BEFORE_SEAL, ON_WIRE };

struct shot {
    uint8_t port;
    enum spoilt spoilt;
    bool honest; /* inbound, not ON_WIRE: it is authentic, and what stands below is what it carries */
    uint32_t sa;
    uint32_t esp_len;
    uint8_t esp[LAB_FRAME]; /* as it was sealed */
    uint64_t seq;
    uint8_t tos; /* outer */
    uint32_t text_len;
    uint8_t text[LAB_FRAME]; /* inner packet, padding, trailer */
    uint32_t len;
    uint8_t frame[LAB_FRAME];
};

/* What the peer knows of an SA towards us, and which numbers it knows to have arrived. */
struct peer_sa {
    struct xs_sa_conf conf;
    struct xs_selector selectors[2];
    uint64_t next, top;
    uint64_t seen[SEEN]; /* by number modulo SEEN */
};

struct fuzz {
    struct lab lab;
    struct dice dice;
    uint64_t seed, frame; /* number of the frame at work */
    struct peer_sa in[IN_SAS];
    struct xs_sa_conf out[OUT_SAS];
    uint64_t out_next[OUT_SAS];
    uint64_t fed, taken, handed, spoilt[3];
    uint64_t to_inner_checks; /* ESP spoilt before it was sealed */
};

/* Says where it failed so that `run --seed S --frames N` comes there again. */
#define MUST(f, what)                                                                                                  \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            fuzz_failed(f, __FILE__, __LINE__, #what);                                                                 \
    } while (0)
_Noreturn void fuzz_failed(const struct fuzz *f, const char *file, int line, const char *what);

/* fuzz_gateway.c */
void gateway_open(struct fuzz *f);
void gateway_events(struct fuzz *f);     /* answers what control would answer */
void gateway_drain_peer(struct fuzz *f); /* plays the other worker: takes what was handed to it */
void gateway_rest(struct fuzz *f);       /* at rest: every frame accounted for, every chunk at home */

/* fuzz_frames.c */
void shot_inbound(struct fuzz *f, struct shot *s, bool forged); /* forged: what is spoilt ON_WIRE is never authentic */
void shot_outbound(struct fuzz *f, struct shot *s);
void shot_good(struct fuzz *f, struct shot *s, uint8_t port, uint32_t sa);

/* fuzz_model.c. FORWARDED: nothing in the way; it is decided by routes, sizes and policies from there on. */
enum { FORWARDED = XS_V_COUNT };
uint32_t model_inbound(const struct peer_sa *sa,
                       const struct shot *s); /* of an authentic, new frame: the inner checks */
uint32_t model_number(const struct fuzz *f, const struct peer_sa *sa, uint64_t seq); /* REPLAY, NO_GRANT or FORWARDED */
void model_mark(struct peer_sa *sa, uint64_t seq);
void check_inside(struct fuzz *f, const struct shot *only); /* takes all that left inside; only: the one frame fed */
void check_outside(struct fuzz *f);                         /* takes all that left outside: ESP that libcrypto opens */

#endif
