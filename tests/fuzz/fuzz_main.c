/* fuzz_path [--seed S] [--frames N]: see fuzz.h. Feeds frames alone and in bursts, checks each breath, and at the end
 * that nothing but counters has changed, that good packets still pass and that every verdict bytes can cause was hit.
 */
#include "fuzz.h"
#include "verdict.h"

enum { VOLLEY_MAX = 48, REST_EVERY = 20000 };

/* Bytes alone cause these. The others are in tests/fuzz/verdicts.tsv, each with the test that causes it. */
static const uint8_t BY_BYTES[] = {
    XS_V_DECRYPTED,         XS_V_ENCRYPTED,        XS_V_DUMMY,
    XS_V_ANSWERED,          XS_V_DROP_MALFORMED,   XS_V_DROP_NO_SA,
    XS_V_DROP_REPLAY,       XS_V_DROP_ICV,         XS_V_DROP_TRAILER,
    XS_V_DROP_INNER,        XS_V_DROP_ECN,         XS_V_DROP_SELECTOR,
    XS_V_DROP_ENCAP,        XS_V_DROP_TAG,         XS_V_DROP_NO_POLICY,
    XS_V_DROP_NO_OUT_SA,    XS_V_DROP_TTL,         XS_V_DROP_TOO_BIG,
    XS_V_DROP_FRAGMENT,     XS_V_DROP_NO_GRANT,    XS_V_DROP_NO_ROUTE,
    XS_V_DROP_NO_NEIGHBOUR, XS_V_DROP_UNSUPPORTED,
};

static struct fuzz fuzz;
static struct shot shots[VOLLEY_MAX];

static bool is_unauthenticated(uint32_t verdict)
{
    return verdict == XS_V_DROP_MALFORMED || verdict == XS_V_DROP_NO_SA || verdict == XS_V_DROP_REPLAY ||
           verdict == XS_V_DROP_ICV || verdict == XS_V_DROP_UNSUPPORTED || verdict == XS_V_DROP_ENCAP ||
           verdict == XS_V_DROP_TAG;
}

/* Where a packet may go once the inner checks have let it pass. */
static bool may_follow(uint32_t verdict)
{
    static const uint8_t roads[] = {XS_V_DECRYPTED,     XS_V_ENCRYPTED,      XS_V_DROP_TTL,     XS_V_DROP_TOO_BIG,
                                    XS_V_DROP_NO_ROUTE, XS_V_DROP_NO_POLICY, XS_V_DROP_FRAGMENT};
    return verdict == FORWARDED || memchr(roads, (int)verdict, sizeof roads); /* FORWARDED: held or handed over */
}

/* The one verdict that moved. What waited may be given up in the same breath, which says nothing of this frame. */
static uint32_t verdict_moved(const struct fuzz *f, const uint64_t *before)
{
    uint32_t found = FORWARDED;
    for (uint32_t v = 0; v < XS_V_COUNT; v++) {
        if (f->lab.counters.verdicts[v] == before[v] || v == XS_V_DROP_NO_NEIGHBOUR || v == XS_V_DROP_NO_OUT_SA)
            continue;
        MUST(f, found == FORWARDED && f->lab.counters.verdicts[v] == before[v] + 1);
        found = v;
    }
    return found;
}

/* One inbound frame fed alone: exactly the verdict that the book gives. */
static void check_alone(struct fuzz *f, const struct shot *s, uint32_t number, uint32_t verdict)
{
    struct peer_sa *sa = &f->in[s->sa];
    if (s->port != LAB_OUTSIDE)
        return;
    if (!s->honest) { /* nothing is authentic but what was sealed */
        bool whole = memmem(s->frame, s->len, s->esp, s->esp_len) != NULL;
        MUST(f, whole || is_unauthenticated(verdict));
        if (!is_unauthenticated(verdict) && verdict != XS_V_DROP_NO_GRANT)
            model_mark(sa, s->seq);
        return;
    }
    uint32_t expected = number == FORWARDED ? model_inbound(sa, s) : number;
    bool next_cycle = number == XS_V_DROP_REPLAY && sa->conf.esn && verdict == XS_V_DROP_ICV; /* RFC 4303 app. A2.2 */
    MUST(f, verdict == expected || next_cycle || (expected == FORWARDED && may_follow(verdict)));
}

/* What may have moved: the slots of SAs that got something authentic and new, or sealed something; no other. */
static void check_slots(struct fuzz *f, const struct xs_sa_slot *before, const bool *touched, bool sealed)
{
    for (uint32_t i = 0; i < LAB_SLOTS; i++) {
        struct xs_sa_slot now = *lab_slot(&f->lab, i);
        memcpy(now.drops, before[i].drops, sizeof now.drops);
        MUST(f, (i % 2 ? sealed : touched[i]) || !memcmp(&now, &before[i], sizeof now));
    }
    for (uint32_t i = 0; i < IN_SAS; i++)
        MUST(f, lab_slot(&f->lab, f->in[i].conf.slot)->top == f->in[i].top);
}

static void volley(struct fuzz *f, uint32_t count)
{
    static uint64_t before[XS_V_COUNT];
    static struct xs_sa_slot slots[LAB_SLOTS];
    bool touched[LAB_SLOTS] = {false};
    uint32_t number = FORWARDED;
    memcpy(before, f->lab.counters.verdicts, sizeof before);
    memcpy(slots, lab_slot(&f->lab, 0), sizeof slots);
    for (uint32_t i = 0; i < count; i++) {
        struct shot *s = &shots[i];
        MUST(f, xs_memory_put(f->lab.w, s->port, s->frame, s->len) == 0);
        f->fed++;
        f->spoilt[s->spoilt]++;
        f->to_inner_checks += s->spoilt == BEFORE_SEAL && s->port == LAB_OUTSIDE;
        if (!s->honest)
            continue;
        number = model_number(f, &f->in[s->sa], s->seq);
        if (number == FORWARDED) {
            model_mark(&f->in[s->sa], s->seq);
            touched[f->in[s->sa].conf.slot] = true;
        }
    }
    MUST(f, xs_worker_breathe(f->lab.w) == (int)count);
    if (count == 1) {
        uint32_t verdict = verdict_moved(f, before);
        check_alone(f, &shots[0], number, verdict);
        touched[f->in[shots[0].sa].conf.slot] |= !shots[0].honest && !is_unauthenticated(verdict);
    }
    check_slots(f, slots, touched, f->lab.counters.verdicts[XS_V_ENCRYPTED] != before[XS_V_ENCRYPTED]);
    check_inside(f, count == 1 ? &shots[0] : NULL);
    check_outside(f);
    gateway_drain_peer(f);
    gateway_events(f);
}

static void still_forwards(struct fuzz *f)
{
    for (uint32_t i = 0; i < IN_SAS + OUT_SAS; i++) {
        uint32_t verdict = i < IN_SAS ? XS_V_DECRYPTED : XS_V_ENCRYPTED;
        uint64_t before = lab_count(&f->lab, verdict);
        shot_good(f, &shots[0], i < IN_SAS ? LAB_OUTSIDE : LAB_INSIDE, i < IN_SAS ? i : i - IN_SAS);
        volley(f, 1);
        MUST(f, lab_count(&f->lab, verdict) == before + 1);
    }
}

static void run(struct fuzz *f, uint64_t frames)
{
    for (uint64_t rested = 0; f->fed < frames;) {
        uint32_t count = dice_below(&f->dice, 4) ? 1 : 2 + dice_below(&f->dice, VOLLEY_MAX - 1);
        count = count < frames - f->fed ? count : (uint32_t)(frames - f->fed);
        f->frame = f->fed + count;
        for (uint32_t i = 0; i < count; i++) {
            if (dice_below(&f->dice, 5) < 4)
                shot_inbound(f, &shots[i], count > 1);
            else
                shot_outbound(f, &shots[i]);
        }
        volley(f, count);
        if (f->fed - rested >= REST_EVERY) {
            gateway_rest(f);
            rested = f->fed;
        }
    }
}

static bool report(const struct fuzz *f)
{
    bool complete = true;
    printf("seed %llu: %llu frames; spoilt before sealing %llu (ESP %llu), on the wire %llu; good %llu; left %llu\n",
           (unsigned long long)f->seed, (unsigned long long)f->fed, (unsigned long long)f->spoilt[BEFORE_SEAL],
           (unsigned long long)f->to_inner_checks, (unsigned long long)f->spoilt[ON_WIRE],
           (unsigned long long)f->spoilt[GOOD], (unsigned long long)f->taken);
    for (uint32_t v = 0; v < XS_V_COUNT; v++) {
        bool wanted = memchr(BY_BYTES, (int)v, sizeof BY_BYTES);
        complete &= !wanted || lab_count(&f->lab, v);
        printf("%12llu %s%s\n", (unsigned long long)lab_count(&f->lab, v), xs_verdict_name(v),
               wanted ? "" : " (not by bytes)");
    }
    return complete && f->to_inner_checks * 2 >= f->fed;
}

int main(int argc, char **argv)
{
    uint64_t frames = 1000000;
    fuzz.seed = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        CHECK(!strcmp(argv[i], "--seed") || !strcmp(argv[i], "--frames"));
        *(strcmp(argv[i], "--seed") ? &frames : &fuzz.seed) = strtoull(argv[i + 1], NULL, 10);
    }
    fuzz.dice.state = fuzz.seed;
    gateway_open(&fuzz);
    still_forwards(&fuzz);
    run(&fuzz, frames);
    gateway_rest(&fuzz);
    still_forwards(&fuzz);
    gateway_rest(&fuzz);
    bool complete = report(&fuzz);
    if (!complete)
        fputs("a verdict that bytes can cause was never hit, or too few frames were spoilt before sealing\n", stderr);
    lab_close(&fuzz.lab);
    return complete ? 0 : 1;
}
