/* The window of RFC 4303 sec. 3.4.3 and the reconstruction of its appendix A2.2, on the bare functions: typed cases,
 * and random sequences against a model that remembers every number. */
#include "path_lab.h"
#include "replay.h"

static const uint64_t EDGE = 1ULL << 32;

static struct xs_sa_slot slot;

static struct xs_sa sa_at(uint64_t top, uint32_t window, bool esn)
{
    memset(&slot, 0, sizeof slot);
    slot.top = top;
    slot.granted = UINT64_MAX;
    return (struct xs_sa){.slot = &slot, .esn = esn, .window = window, .ring_mask = XS_WINDOW_DEFAULT - 1};
}

/* RFC 4303 app. A2.2, worked by hand for W = 64: case A (the window within one cycle), case B (over its edge). */
static void appendix_a2(void)
{
    static const struct {
        uint64_t top;
        uint32_t low;
        uint64_t full;
    } cases[] = {
        {5 * (1ULL << 32) + 1000, 1000 - 63, 5 * (1ULL << 32) + 1000 - 63},   /* A: left edge, this cycle */
        {5 * (1ULL << 32) + 1000, 1000 - 64, 6 * (1ULL << 32) + 1000 - 64},   /* A: left of it, the next */
        {5 * (1ULL << 32) + 1000, 0, 6 * (1ULL << 32)},                       /* A: far left */
        {5 * (1ULL << 32) + 1000, 0xffffffff, 5 * (1ULL << 32) + 0xffffffff}, /* A: far right */
        {5 * (1ULL << 32) + 63, 0, 5 * (1ULL << 32)},                         /* A: the window begins at zero */
        {5 * (1ULL << 32) + 62, 0xffffffff, 4 * (1ULL << 32) + 0xffffffff},   /* B: it reaches back by one */
        {5 * (1ULL << 32) + 62, 0xfffffffe, 5 * (1ULL << 32) + 0xfffffffe},   /* B: one more is ahead */
        {5 * (1ULL << 32), 0xffffffc1, 4 * (1ULL << 32) + 0xffffffc1},        /* B: left edge */
        {5 * (1ULL << 32), 0xffffffc0, 5 * (1ULL << 32) + 0xffffffc0},
        {5 * (1ULL << 32), 1, 5 * (1ULL << 32) + 1},
        {(1ULL << 32) - 1, 0, 1ULL << 32}, /* the crossing itself */
        {0, 1, 1},
        {0, 0xffffffff, 0}, /* before the first packet there is no cycle before: a number that never passes */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct xs_sa sa = sa_at(cases[i].top, 64, true);
        CHECK(xs_replay_full_seq(&sa, cases[i].low) == cases[i].full);
        sa.esn = false;
        CHECK(xs_replay_full_seq(&sa, cases[i].low) == cases[i].low);
    }
    struct xs_sa last = sa_at(UINT64_MAX - 10, 64, true); /* past the last cycle: not a number that passes */
    slot.granted = UINT64_MAX;
    CHECK(xs_replay_check(&last, xs_replay_full_seq(&last, 5)) == XS_V_DROP_REPLAY);
}

/* Reboot: nothing received yet, everything up to the saved mark is refused, and the peer has passed 2^32 long since. */
static void first_packet_after_a_reboot(void)
{
    static const uint64_t marks[] = {(1ULL << 32) + 1024, (1ULL << 32) + 10, (1ULL << 32) - 10, 7 * (1ULL << 32), 2048};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        for (uint32_t window = 64; window <= XS_WINDOW_DEFAULT; window *= 8) {
            struct xs_sa sa = sa_at(marks[i], window, true);
            slot.floor = marks[i];
            slot.granted = marks[i] + 1025;
            for (uint64_t seq = marks[i] - 1024; seq <= marks[i];
                 seq++) { /* at worst the next cycle: ICV then says no */
                uint64_t taken_for = xs_replay_full_seq(&sa, (uint32_t)seq);
                CHECK(taken_for != seq || xs_replay_check(&sa, seq) == XS_V_DROP_REPLAY);
                CHECK(taken_for == seq || taken_for == seq + EDGE || taken_for == 0);
            }
            for (uint64_t seq = marks[i] + 1; seq <= marks[i] + 1024; seq++) {
                CHECK(xs_replay_full_seq(&sa, (uint32_t)seq) == seq);
                CHECK(xs_replay_check(&sa, seq) == XS_V_COUNT);
            }
            CHECK(xs_replay_check(&sa, marks[i] + 1025) == XS_V_DROP_NO_GRANT);
        }
    }
}

/* The model: every number ever marked. */
enum { REACH = 1 << 20 };
static uint8_t marked[REACH];

static void against_the_model(uint64_t start, uint32_t window, uint32_t seed)
{
    struct xs_sa sa = sa_at(start, window, true);
    uint64_t top = start;
    memset(marked, 0, sizeof marked);
    srand(seed);
    for (uint32_t i = 0; i < 60000; i++) {
        int64_t w = window, jump = rand() % 16 ? rand() % 8 - 3 : rand() % (3 * w) - w;
        int64_t at = (int64_t)(top - start) + jump - (rand() % 4 ? 0 : rand() % (w + w / 4));
        if (at <= 0 || at >= REACH)
            continue;
        uint64_t seq = start + (uint64_t)at;
        bool fresh = seq > top || (top - seq < window && !marked[at]);
        if (seq > top || top - seq < window)
            CHECK(xs_replay_full_seq(&sa, (uint32_t)seq) == seq);
        CHECK(xs_replay_check(&sa, seq) == (fresh ? XS_V_COUNT : XS_V_DROP_REPLAY));
        if (!fresh || rand() % 8 == 0) /* not authentic: nothing is marked */
            continue;
        xs_replay_mark(&sa, seq);
        marked[at] = 1;
        top = seq > top ? seq : top;
        CHECK(slot.top == top && xs_replay_check(&sa, seq) == XS_V_DROP_REPLAY);
    }
    CHECK(top > start + 10ULL * window);
}

static void random_sequences(void)
{
    static const uint64_t starts[] = {0, (1ULL << 32) - 20000, 5 * (1ULL << 32) - 1, 1ULL << 63};
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t window = 64; window <= XS_WINDOW_DEFAULT; window = window == 64    ? 192
                                                                         : window == 192 ? 1024
                                                                                         : window * 4)
            against_the_model(starts[i], window, 7 * i + window);
}

/* Jumps of every size: what enters the window is new, and nothing of a turn before shows through. */
static void jumps(void)
{
    for (uint64_t step = 1; step < 3 * XS_WINDOW_DEFAULT; step += step < 200 ? 1 : 61) {
        struct xs_sa sa = sa_at(50000, XS_WINDOW_DEFAULT, true);
        memset(slot.window, 0xff, sizeof slot.window);
        xs_replay_mark(&sa, 50000 + step);
        for (uint64_t seq = 50001; seq < 50000 + step; seq++)
            CHECK(50000 + step - seq >= sa.window || xs_replay_check(&sa, seq) == XS_V_COUNT);
        for (uint64_t seq = 50000; 50000 + step - seq < sa.window; seq--)
            CHECK(xs_replay_check(&sa, seq) == XS_V_DROP_REPLAY);
    }
}

/* The slot outlives a configuration: under another window nothing that was received comes in again. */
static void another_window(void)
{
    static const uint32_t windows[] = {64, 4096, 192, 1024, 64, 640, 4096};
    struct xs_sa sa = sa_at(0, 64, true);
    static uint8_t seen[40000];
    memset(seen, 0, sizeof seen);
    srand(3);
    for (uint32_t turn = 0; turn < 70; turn++) {
        sa.window = windows[turn % 7];
        for (uint32_t i = 0; i < 500; i++) {
            uint64_t seq = slot.top + (uint32_t)rand() % 3 + 1 - (rand() % 3 ? 0 : (uint32_t)rand() % (sa.window + 64));
            if (seq == 0 || seq > slot.top + 3 || seq >= sizeof seen)
                continue;
            if (xs_replay_check(&sa, seq) != XS_V_COUNT)
                continue;
            CHECK(!seen[seq]);
            seen[seq] = 1;
            xs_replay_mark(&sa, seq);
        }
    }
    CHECK(slot.top > 10000);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"appendix_a2", appendix_a2},           {"first_packet_after_a_reboot", first_packet_after_a_reboot},
        {"random_sequences", random_sequences}, {"jumps", jumps},
        {"another_window", another_window},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
