/* Frames that wait for a neighbour or an SA: bounded, in order, for their time, asked for again while it lasts, each
 * counted once; and what releases them. */
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

static void age(struct xs_held *held, uint32_t count, uint64_t ns)
{
    for (uint32_t i = 0; i < count; i++) {
        held[i].since_ns -= ns;
        held[i].asked_ns -= held[i].asked_ns ? ns : 0;
    }
}

static void pass_time(struct lab *lab, uint64_t ns)
{
    struct xs_loop *loop = lab->w->loop;
    age(loop->for_sa, loop->for_sa_count, ns);
    age(loop->for_hop, loop->for_hop_count, ns);
    for (uint32_t i = 0; i < 2; i++)
        loop->waits[i].asked_ns -= loop->waits[i].asked_ns ? ns : 0;
    xs_worker_breathe(lab->w);
}

static uint32_t waiting(const struct lab *lab)
{
    CHECK(lab->counters.held == xs_held_count(lab->w->loop)); /* the gauge says so too */
    return (uint32_t)lab->counters.held;
}

static void expire(void)
{
    struct lab lab;
    open_unresolved(&lab);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
    CHECK(waiting(&lab) == 3);
    pass_time(&lab, XS_HOLD_SA_NS / 2);
    CHECK(waiting(&lab) == 3 && lab_total(&lab) == 0);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
    pass_time(&lab, XS_HOLD_SA_NS / 2);
    CHECK(waiting(&lab) == 1 && lab_count(&lab, XS_V_DROP_NO_OUT_SA) == 3); /* only the last still has its time */
    pass_time(&lab, XS_HOLD_SA_NS);
    CHECK(waiting(&lab) == 0 && lab_count(&lab, XS_V_DROP_NO_OUT_SA) == 4);
    struct xs_sa_conf conf = outbound(0);
    lab_install(&lab, &conf);
    CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
    pass_time(&lab, XS_HOLD_HOP_NS / 2);
    CHECK(waiting(&lab) == 1);
    pass_time(&lab, XS_HOLD_HOP_NS); /* a neighbour answers soon or not at all */
    CHECK(waiting(&lab) == 0 && lab_count(&lab, XS_V_DROP_NO_NEIGHBOUR) == 1);
    lab_close(&lab);
}

static uint8_t sport_low(const struct xs_held *h)
{
    return h->frame.data[LAB_ETH + 21];
}

/* The first ones of a child are what a handshake is about: they stay. */
static void few_of_each_and_few_of_all(void)
{
    struct lab lab;
    struct lab_ip ip = PLAIN;
    open_unresolved(&lab);
    lab.w->conf.hold = 8;
    for (uint32_t i = 0; i < 20; i++) {
        ip.sport = (uint16_t)i;
        CHECK(send_ip(&lab, &ip) == (i < 8 ? XS_V_COUNT : XS_V_DROP_NO_OUT_SA));
    }
    CHECK(waiting(&lab) == 8 && events_of(&lab, XS_EVENT_ACQUIRE) == 1);
    for (uint32_t i = 0; i < 8; i++)
        CHECK(sport_low(&lab.w->loop->for_sa[i]) == i);
    static struct xs_policy rows[200];
    for (uint32_t i = 0; i < 200; i++) {
        rows[i] = (struct xs_policy){.selector = lab_selector(0, 0), .child = i};
        rows[i].selector.remote = (struct xs_prefix){{4, {10, (uint8_t)(3 + i)}}, 16};
    }
    CHECK(xs_policy_replace(lab.w, rows, 200) == 0);
    lab.w->conf.hold = XS_HELD_MAX;
    uint32_t sent = 20;
    for (; sent < 20 + XS_HELD_MAX && waiting(&lab) < LAB_CHUNKS / 2; sent++) {
        char dst[16];
        snprintf(dst, sizeof dst, "10.%u.0.1", 3 + sent % 200);
        ip.dst = dst;
        CHECK(send_ip(&lab, &ip) == XS_V_COUNT);
    }
    lab.w->loop->for_sa_count = XS_HELD_MAX; /* as if the room were full: no child may have more, even its first */
    CHECK(send_ip(&lab, &ip) == XS_V_DROP_NO_OUT_SA);
    lab.w->loop->for_sa_count = LAB_CHUNKS / 2;
    CHECK(lab_total(&lab) + LAB_CHUNKS / 2 == sent + 1);
    lab_close(&lab);
}

/* Hosts that nobody answers for have a room of their own. */
static void those_that_wait_for_neighbours_push_out_no_other(void)
{
    struct lab lab;
    struct xs_sa_conf conf = outbound(0);
    open_unresolved(&lab);
    lab_install(&lab, &conf);
    CHECK(send_ip(&lab, &OTHER) == XS_V_COUNT);
    for (uint32_t i = 0; i < XS_HELD_PER_HOP + 10; i++)
        CHECK(send_ip(&lab, &PLAIN) == (i < XS_HELD_PER_HOP ? XS_V_COUNT : XS_V_DROP_NO_NEIGHBOUR));
    CHECK(lab.w->loop->for_sa_count == 1 && lab.w->loop->for_hop_count == XS_HELD_PER_HOP);
    lab_close(&lab);
}

/* More than one burst, another child's frames between them: each comes out once, in order, and the others stay. */
static void released_in_order(void)
{
    struct lab lab;
    struct lab_ip ip = PLAIN;
    struct xs_sa_conf conf = outbound(0);
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    open_unresolved(&lab);
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.2", 0);
    lab.w->conf.hold = 200;
    for (uint32_t i = 0; i < 150; i++) {
        ip.sport = (uint16_t)i;
        CHECK(send_ip(&lab, &ip) == XS_V_COUNT && send_ip(&lab, &OTHER) == XS_V_COUNT);
    }
    lab_install(&lab, &conf);
    for (uint32_t i = 0; i < 150; i++) {
        CHECK(taken(&lab, &conf, i + 1, frame, inner));
        CHECK(inner[20] == 0 && inner[21] == i);
    }
    CHECK(waiting(&lab) == 150 && lab_count(&lab, XS_V_ENCRYPTED) == 150 && lab_total(&lab) == 150);
    lab_close(&lab);
}

/* A peer took less than was asked for: what it took is another child's from now on, the rest waits on and never goes.
 */
static void what_waits_follows_new_policies(void)
{
    struct lab lab;
    struct lab_ip rest = PLAIN;
    struct xs_sa_conf conf = outbound(1);
    struct xs_policy rows[] = {{.selector = lab_selector(0, 0), .child = 1}, {.selector = lab_selector(0, 0)}};
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    rest.dst = "10.2.200.1";
    rows[0].selector.remote.bits = 24;
    conf.spi = LAB_SPI;
    lab_open(&lab, 0, 1, 1500);
    lab_policy(&lab, 0, 0, 0);
    CHECK(send_ip(&lab, &rest) == XS_V_COUNT && send_ip(&lab, &PLAIN) == XS_V_COUNT);
    CHECK(events_of(&lab, XS_EVENT_ACQUIRE) == 1);
    pass_time(&lab, XS_HOLD_SA_NS / 2);
    lab_install(&lab, &conf);
    CHECK(waiting(&lab) == 2);
    CHECK(xs_policy_replace(lab.w, rows, 2) == 0);
    CHECK(taken(&lab, &conf, 1, frame, inner) && !memcmp(inner + 16, (uint8_t[]){10, 2, 0, 9}, 4));
    CHECK(waiting(&lab) == 1 && lab_total(&lab) == 1);
    CHECK(events_of(&lab, XS_EVENT_ACQUIRE) == 1); /* a second has passed, and then not for each of these */
    for (uint32_t i = 0; i < 3; i++)
        CHECK(xs_policy_replace(lab.w, rows, 2) == 0);
    CHECK(waiting(&lab) == 1 && lab.w->loop->waits[0].count == 1 && events_of(&lab, XS_EVENT_ACQUIRE) == 0);
    pass_time(&lab, XS_HOLD_SA_NS / 2 + 1000000); /* from when it came, not from the last policies */
    CHECK(waiting(&lab) == 0 && lab_count(&lab, XS_V_DROP_NO_OUT_SA) == 1);
    CHECK(send_ip(&lab, &rest) == XS_V_COUNT && send_ip(&lab, &PLAIN) == XS_V_ENCRYPTED);
    CHECK(events_of(&lab, XS_EVENT_ACQUIRE) == 1);
    lab_close(&lab);
}

/* A child that gets its SA while the peer's MAC is unknown: all of its frames go from one wait to the other. */
static void released_into_another_wait(void)
{
    struct lab lab;
    struct xs_sa_conf first = outbound(0), second = outbound(1);
    open_unresolved(&lab);
    lab_install(&lab, &first);
    for (uint32_t i = 0; i < 8; i++)
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
    for (uint32_t i = 0; i < XS_HELD_PER_HOP; i++)
        CHECK(send_ip(&lab, &OTHER) == XS_V_COUNT);
    lab_install(&lab, &second);
    CHECK(lab.w->loop->for_sa_count == 0); /* none is left waiting for an SA that is there */
    CHECK(waiting(&lab) == XS_HELD_PER_HOP && lab_count(&lab, XS_V_DROP_NO_NEIGHBOUR) == 8);
    lab_neighbour(&lab, LAB_OUTSIDE, "10.9.0.2", 0);
    CHECK(lab_count(&lab, XS_V_ENCRYPTED) == XS_HELD_PER_HOP && waiting(&lab) == 0);
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
        pass_time(&lab, XS_ASK_NS / 2 - XS_ASK_NS / 20);
    }
    lab_install(&lab, &conf);
    CHECK(events_of(&lab, XS_EVENT_RESOLVE) == 1);
    for (uint32_t half = 0; half < 6; half++) {
        CHECK(send_ip(&lab, &PLAIN) == XS_V_COUNT);
        CHECK(events_of(&lab, XS_EVENT_RESOLVE) == (half == 3));
        pass_time(&lab, XS_ASK_NS / 2 - XS_ASK_NS / 20);
    }
    lab_close(&lab);
}

static uint32_t asked_for(struct lab *lab, uint32_t host)
{
    struct xs_frame f = {.len = 60, .port = LAB_INSIDE};
    struct xs_addr addr = {4, {10, 1, (uint8_t)(host >> 8), (uint8_t)host}};
    CHECK(xs_chunk_take(lab->w, &f.chunk));
    f.data = xs_chunk_base(lab->w, f.chunk) + 256;
    xs_hold_for_neighbour(lab->w, &f, XS_V_DECRYPTED, &addr);
    return events_of(lab, XS_EVENT_RESOLVE);
}

/* Who scans a subnet through a tunnel must not make work for control and kernel with each packet: their tables hold
 * less than a thousand neighbours (gc_thresh3 in arp(7)). Whoever was not asked for is, once the second is over. */
static void a_scan_asks_for_few(void)
{
    struct lab lab;
    lab_open(&lab, 0, 1, 1500);
    xs_worker_breathe(lab.w); /* what time it is */
    for (uint32_t second = 0; second < 3; second++) {
        uint32_t asked = 0;
        for (uint32_t host = 0; host < 4000; host++)
            asked += asked_for(&lab, host);
        CHECK(asked > 0 && asked < 1000);
        CHECK(asked_for(&lab, 5000) == 0);
        lab.w->now_ns += XS_ASK_NS + 1;
        CHECK(asked_for(&lab, 5000) == 1);
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
        {"those_that_wait_for_neighbours_push_out_no_other", those_that_wait_for_neighbours_push_out_no_other},
        {"released_in_order", released_in_order},
        {"released_into_another_wait", released_into_another_wait},
        {"what_waits_follows_new_policies", what_waits_follows_new_policies},
        {"asked_again_while_it_lasts", asked_again_while_it_lasts},
        {"asked_when_there_is_room", asked_when_there_is_room},
        {"a_scan_asks_for_few", a_scan_asks_for_few},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
