/* Anti-replay and ESN (RFC 4303 sec. 3.4.3, app. A) and the saved mark, seen from the wire. The case replay is the one
 * that the mutant REPLAY must break. */
#include "path_peer.h"

static void replay(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    uint8_t inner[LAB_FRAME], frame[LAB_FRAME];
    start(&lab, &conf, false, true);
    uint32_t len = lab_sealed(frame, &conf, 5, inner, lab_ip_packet(inner, &PLAIN), 0);
    for (int i = 0; i < 3; i++) /* in one burst */
        CHECK(xs_memory_put(lab.w, LAB_OUTSIDE, frame, len) == 0);
    CHECK(xs_worker_breathe(lab.w) == 3);
    CHECK(lab_count(&lab, XS_V_DECRYPTED) == 1 && lab_count(&lab, XS_V_DROP_REPLAY) == 2);
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_REPLAY); /* and in the next */
    CHECK(send_seq(&lab, &conf, 0) == XS_V_DROP_REPLAY);
    lab_close(&lab);
}

static void window(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    start(&lab, &conf, false, false);
    CHECK(send_seq(&lab, &conf, 100) == XS_V_DECRYPTED);
    CHECK(send_seq(&lab, &conf, 36) == XS_V_DROP_REPLAY); /* 100 - 64 is left of the window */
    CHECK(send_seq(&lab, &conf, 37) == XS_V_DECRYPTED);
    CHECK(send_seq(&lab, &conf, 37) == XS_V_DROP_REPLAY);
    CHECK(send_seq(&lab, &conf, 99) == XS_V_DECRYPTED);
    CHECK(send_seq(&lab, &conf, 101) == XS_V_DECRYPTED);
    CHECK(send_seq(&lab, &conf, 100) == XS_V_DROP_REPLAY);
    CHECK(send_seq(&lab, &conf, 230) == XS_V_DECRYPTED); /* further than a window: all of it is new */
    for (uint64_t seq = 167; seq < 230; seq++)
        CHECK(send_seq(&lab, &conf, seq) == XS_V_DECRYPTED);
    for (uint64_t seq = 167; seq <= 230; seq++)
        CHECK(send_seq(&lab, &conf, seq) == XS_V_DROP_REPLAY);
    lab_close(&lab);
}

/* Against the plainest model there is: a set of the numbers seen. */
static void window_at_random(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    start(&lab, &conf, false, false); /* with ESN a number left of the window is taken for one of the next cycle */
    static uint8_t seen[1 << 16];
    memset(seen, 0, sizeof seen);
    uint64_t top = 0;
    srand(1);
    for (int i = 0; i < 4000; i++) {
        int64_t step = rand() % 8 ? rand() % 90 - 80 : rand() % 200;
        uint64_t seq = (int64_t)top + step > 0 ? (uint64_t)((int64_t)top + step) : 1;
        if (seq >= sizeof seen)
            break;
        bool fresh = !seen[seq] && (seq > top || top - seq < 64);
        CHECK(send_seq(&lab, &conf, seq) == (fresh ? XS_V_DECRYPTED : XS_V_DROP_REPLAY));
        uint8_t out[LAB_FRAME];
        CHECK(!fresh || lab_take(&lab, LAB_INSIDE, out));
        seen[seq] = 1;
        top = seq > top ? seq : top;
    }
    CHECK(lab_slot(&lab, LAB_SLOT_IN)->top == top);
    lab_close(&lab);
}

static void esn_crosses(void)
{
    for (int cbc = 0; cbc < 2; cbc++) {
        struct lab lab;
        struct xs_sa_conf conf;
        const uint64_t edge = 1ULL << 32;
        start(&lab, &conf, cbc, true);
        lab_slot(&lab, LAB_SLOT_IN)->top = edge - 10;
        CHECK(send_seq(&lab, &conf, edge + 3) == XS_V_DECRYPTED);
        CHECK(send_seq(&lab, &conf, edge - 1) == XS_V_DECRYPTED); /* late, from the cycle before */
        CHECK(send_seq(&lab, &conf, edge) == XS_V_DECRYPTED);     /* low half zero is a number like others */
        CHECK(send_seq(&lab, &conf, edge - 1) == XS_V_DROP_REPLAY);
        CHECK(send_seq(&lab, &conf, 2 * edge + 9) == XS_V_DROP_ICV); /* a cycle ahead cannot be told (app. A2.2) */
        CHECK(lab_slot(&lab, LAB_SLOT_IN)->top == edge + 3);
        lab_close(&lab);
    }
}

static void grants(void)
{
    struct lab lab;
    struct xs_sa_conf conf;
    struct xs_event event;
    uint8_t inner[LAB_FRAME], frame[LAB_FRAME];
    lab_open(&lab, 0, 1, 1500);
    struct xs_sa_slot *slot = lab_slot(&lab, LAB_SLOT_IN);
    slot->floor = slot->top = 1000;
    slot->granted = 1100;
    conf = lab_sa(XS_INBOUND, false, true);
    lab_install(&lab, &conf);
    CHECK(send_seq(&lab, &conf, 1000) == XS_V_DROP_REPLAY); /* the floor is refused, it may have been seen */
    CHECK(send_seq(&lab, &conf, 990) == XS_V_DROP_REPLAY);  /* within the window, and still */
    uint32_t len = lab_sealed(frame, &conf, 1100, inner, lab_ip_packet(inner, &PLAIN), 0);
    frame[len - 1] ^= 1;
    CHECK(verdict_of(&lab, frame, len) == XS_V_DROP_ICV);
    CHECK(!xs_worker_event(lab.w, &event)); /* who cannot authenticate cannot move the mark */
    CHECK(send_seq(&lab, &conf, 1049) == XS_V_DECRYPTED && !xs_worker_event(lab.w, &event));
    CHECK(send_seq(&lab, &conf, 1050) == XS_V_DECRYPTED && xs_worker_event(lab.w, &event)); /* half of the block */
    CHECK(event.kind == XS_EVENT_GRANT_WANTED && event.slot == LAB_SLOT_IN);
    CHECK(send_seq(&lab, &conf, 1099) == XS_V_DECRYPTED && !xs_worker_event(lab.w, &event)); /* asked once */
    CHECK(send_seq(&lab, &conf, 1100) == XS_V_DROP_NO_GRANT);                                /* the mark is exclusive */
    CHECK(slot->top == 1099);
    CHECK(xs_sa_grant(lab.w, LAB_SLOT_IN, 1200) == 0);
    CHECK(send_seq(&lab, &conf, 1100) == XS_V_DECRYPTED);
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"replay", replay},           {"window", window}, {"window_at_random", window_at_random},
        {"esn_crosses", esn_crosses}, {"grants", grants},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
