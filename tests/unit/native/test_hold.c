/* Frames that wait for a neighbour or an SA: few, in order, for a second, asked for again while it lasts, each counted
 * once; and what releases them. */
#include "loop.h"
#include "path_host.h"

static const struct lab_ip OTHER = {.src = "10.1.0.5", .dst = "10.3.0.9", .sport = 7, .dport = 8, .payload = 40};

/* Child 0 to 10.2.0.0/16, child 1 to 10.3.0.0/16; the peer is reached by 10.9.0.2, whose MAC nobody knows. */
static void open_unresolved(struct lab *lab)
{
    struct xs_addr peer = lab_addr("10.9.0.2");
    lab_open(lab, 0, 1, 1500);
    struct xs_policy rows[] = {{.selector = lab_selector(0, 0)}, {.selector = lab_selector(0, 0), .child = 1}};
    rows[1].selector.remote.addr = lab_addr("10.3.0.0");
    CHECK(xs_policy_replace(lab->w, rows, 2) == 0);
    CHECK(xs_neighbour_remove(lab->w, LAB_OUTSIDE, &peer) == 0);
}

static struct xs_sa_conf outbound(uint32_t child)
{
    struct xs_sa_conf conf = lab_sa(XS_OUTBOUND, false, true);
    conf.child = child;
    conf.slot = 1 + 2 * child;
    conf.spi += child;
    return conf;
}

static uint32_t events_of(struct lab *lab, uint32_t kind)
{
    struct xs_event event;
    uint32_t count = 0;
    while (xs_worker_event(lab->w, &event))
        count += event.kind == kind;
    return count;
}

static void pass_time(struct lab *lab, uint64_t ns)
{
    for (uint32_t i = 0; i < lab->w->loop->held_count; i++) {
        lab->w->loop->held[i].since_ns -= ns;
        lab->w->loop->held[i].asked_ns -= lab->w->loop->held[i].asked_ns ? ns : 0;
    }
    xs_worker_breathe(lab->w);
}

static void expire(void)
{
    struct lab lab;
    open_unresolved(&lab);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
    CHECK(lab.counters.held == 3);
    pass_time(&lab, XS_HOLD_NS / 2);
    CHECK(lab.counters.held == 3 && lab_total(&lab) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
    pass_time(&lab, XS_HOLD_NS / 2);
    CHECK(lab.counters.held == 1 && lab_count(&lab, XS_V_DROP_NO_OUT_SA) == 3); /* only the last still has its second */
    pass_time(&lab, XS_HOLD_NS);
    CHECK(lab.counters.held == 0 && lab_count(&lab, XS_V_DROP_NO_OUT_SA) == 4);
    lab_close(&lab);
}

static void few_of_each_and_few_of_all(void)
{
    struct lab lab;
    struct lab_ip ip = PLAIN;
    open_unresolved(&lab);
    for (uint32_t i = 0; i < 20; i++) {
        ip.sport = (uint16_t)i;
        CHECK(send_ip(&lab, &ip) == (i < XS_HELD_PER_KEY ? XS_V_COUNT : XS_V_DROP_NO_OUT_SA));
    }
    CHECK(lab.counters.held == XS_HELD_PER_KEY && events_of(&lab, XS_EVENT_ACQUIRE) == 1);
    const uint8_t *newest = lab.w->loop->held[XS_HELD_PER_KEY - 1].frame.data;
    CHECK(newest[LAB_ETH + 21] == 19); /* the oldest made place */
    struct xs_policy rows[40];
    for (uint32_t i = 0; i < 40; i++) {
        rows[i] = (struct xs_policy){.selector = lab_selector(0, 0), .child = i};
        rows[i].selector.remote = (struct xs_prefix){{4, {10, (uint8_t)(100 + i)}}, 16};
    }
    CHECK(xs_policy_replace(lab.w, rows, 40) == 0);
    for (uint32_t i = 0; i < 40 * 3; i++) {
        char dst[16];
        snprintf(dst, sizeof dst, "10.%u.0.1", 100 + i % 40);
        ip.dst = dst;
        send_ip(&lab, &ip);
    }
    CHECK(lab.counters.held == XS_HELD_MAX);
    CHECK(lab_total(&lab) + lab.counters.held == 20 + 120);
    lab_close(&lab);
}

/* A child that gets its SA while the peer's MAC is unknown: all of its frames go from one wait to the other. */
static void released_into_another_wait(void)
{
    struct lab lab;
    struct xs_sa_conf first = outbound(0), second = outbound(1);
    open_unresolved(&lab);
    lab_install(&lab, &first);
    for (uint32_t i = 0; i < XS_HELD_PER_KEY; i++)
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
    for (uint32_t i = 0; i < XS_HELD_PER_KEY; i++)
        CHECK(send_ip(&lab, &OTHER) == XS_V_COUNT);
    lab_install(&lab, &second);
    CHECK(lab.w->loop->held_count == XS_HELD_PER_KEY);
    for (uint32_t i = 0; i < XS_HELD_PER_KEY; i++)
        CHECK(lab.w->loop->held[i].addr.family == 4); /* none is left waiting for an SA that is there */
    CHECK(lab_count(&lab, XS_V_DROP_NO_NEIGHBOUR) == XS_HELD_PER_KEY);
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.2", 0);
    CHECK(lab_count(&lab, XS_V_ENCRYPTED) == XS_HELD_PER_KEY && lab.w->loop->held_count == 0);
    CHECK(lab.counters.held == 0); /* and the gauge says so */
    lab_close(&lab);
}

/* An answer that got lost must not silence a flow that goes on. */
static void asked_again_while_it_lasts(void)
{
    struct lab lab;
    struct xs_sa_conf conf = outbound(0);
    open_unresolved(&lab);
    for (uint32_t half = 0; half < 6; half++) {
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
        CHECK(events_of(&lab, XS_EVENT_ACQUIRE) == (half == 0 || half == 3));
        pass_time(&lab, XS_HOLD_NS / 2 - XS_HOLD_NS / 20);
    }
    lab_install(&lab, &conf);
    CHECK(events_of(&lab, XS_EVENT_RESOLVE) == 1);
    for (uint32_t half = 0; half < 6; half++) {
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
        CHECK(events_of(&lab, XS_EVENT_RESOLVE) == (half == 3));
        pass_time(&lab, XS_HOLD_NS / 2 - XS_HOLD_NS / 20);
    }
    lab_close(&lab);
}

/* With the queue of events full the question is put later. */
static void asked_when_there_is_room(void)
{
    struct lab lab;
    struct xs_event noise = {.kind = XS_EVENT_EXHAUSTED};
    open_unresolved(&lab);
    while (xs_event_push(lab.w, &noise))
        ;
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT && events_of(&lab, XS_EVENT_ACQUIRE) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT && events_of(&lab, XS_EVENT_ACQUIRE) == 1);
    lab_close(&lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"expire", expire},
        {"few_of_each_and_few_of_all", few_of_each_and_few_of_all},
        {"released_into_another_wait", released_into_another_wait},
        {"asked_again_while_it_lasts", asked_again_while_it_lasts},
        {"asked_when_there_is_room", asked_when_there_is_room},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
