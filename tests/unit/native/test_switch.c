/* SAs that change while packets flow: a thousand switches of both directions, install before use and removal after, at
 * every place of a burst. Nothing is lost, nothing comes twice or out of order, and no number is used twice under a
 * key. What leaves is opened by libcrypto under the SA that its SPI names. */
#include "path_host.h"

enum { SWITCHES = 1000, OUT_A = 2, OUT_B = 3, IN_A = 4, IN_B = 5, SPI_OUT = 0x9000, SPI_IN = 0x20000 };

struct flow {
    struct lab lab;
    struct xs_sa_conf out[2], in[2]; /* by generation modulo 2 */
    uint32_t generation;
    uint64_t sent_under[2], last_out[2]; /* numbers: of the peer's side to us, of ours to it */
    uint32_t put, got, put_back;         /* packets carry their count in the payload */
};

/* SA of a generation: its own SPI, key and slot. */
static struct xs_sa_conf sa_of(uint32_t generation, bool outbound)
{
    struct xs_sa_conf conf = lab_sa(outbound ? XS_OUTBOUND : XS_INBOUND, generation % 3 == 1, generation % 2);
    conf.spi = (outbound ? SPI_OUT : SPI_IN) + generation;
    conf.slot = (outbound ? OUT_A : IN_A) + generation % 2;
    memcpy(conf.key, &generation, sizeof generation);
    return conf;
}

static void install(struct flow *f, struct xs_sa_conf *conf)
{
    struct xs_selector any = lab_selector(0, 0);
    struct xs_sa_slot *slot = lab_slot(&f->lab, conf->slot);
    memset(slot, 0, sizeof *slot);
    slot->spi = conf->spi;
    slot->direction = conf->direction;
    slot->granted = 1ULL << 48;
    conf->selectors = &any;
    conf->selector_count = 1;
    CHECK(xs_sa_install(f->lab.w, conf) == 0);
    conf->selectors = NULL;
}

static void put(struct flow *f, uint32_t count)
{
    uint8_t packet[LAB_FRAME], frame[LAB_FRAME];
    for (uint32_t i = 0; i < count; i++) {
        struct lab_ip ip = PLAIN;
        ip.sport = (uint16_t)(f->put >> 16);
        ip.dport = (uint16_t)f->put++;
        uint32_t len = lab_frame(frame, packet, lab_ip_packet(packet, &ip), 0);
        CHECK(xs_memory_put(f->lab.w, LAB_INSIDE, frame, len) == 0);
    }
}

static uint32_t count_in(const uint8_t *inner)
{
    return (uint32_t)inner[20] << 24 | (uint32_t)inner[21] << 16 | (uint32_t)inner[22] << 8 | inner[23];
}

/* Everything that left outside, in order. */
static void check_out(struct flow *f)
{
    uint8_t frame[LAB_FRAME], inner[LAB_FRAME];
    for (uint32_t len; (len = lab_take(&f->lab, LAB_OUTSIDE, frame)); f->got++) {
        const uint8_t *esp = frame + OUTER;
        uint32_t spi = (uint32_t)esp[0] << 24 | (uint32_t)esp[1] << 16 | (uint32_t)esp[2] << 8 | esp[3];
        uint32_t seq = (uint32_t)esp[4] << 24 | (uint32_t)esp[5] << 16 | (uint32_t)esp[6] << 8 | esp[7];
        uint32_t which = (spi - SPI_OUT) % 2;
        CHECK(spi == f->out[which].spi && seq == ++f->last_out[which]);
        CHECK(lab_esp_open(inner, &f->out[which], seq, esp, len - OUTER));
        CHECK(count_in(inner) == f->got);
    }
}

static void breathe_all(struct flow *f)
{
    while (xs_worker_breathe(f->lab.w))
        ;
    check_out(f);
}

/* A packet from the peer under the SA of a generation that stands. */
static void put_back(struct flow *f, uint32_t generation, uint32_t count)
{
    uint8_t packet[LAB_FRAME], frame[LAB_FRAME];
    struct lab_ip ip = {.src = "10.2.0.9", .dst = "10.1.0.5", .payload = 40};
    for (uint32_t i = 0; i < count; i++) {
        ip.sport = (uint16_t)(f->put_back >> 16);
        ip.dport = (uint16_t)f->put_back++;
        uint32_t len = lab_ip_packet(packet, &ip), which = generation % 2;
        len = lab_sealed(frame, &f->in[which], ++f->sent_under[which], packet, len, 0);
        CHECK(xs_memory_put(f->lab.w, LAB_OUTSIDE, frame, len) == 0);
    }
}

static void check_back(struct flow *f, uint32_t from)
{
    uint8_t frame[LAB_FRAME];
    for (; from < f->put_back; from++)
        CHECK(lab_take(&f->lab, LAB_INSIDE, frame) && count_in(frame + LAB_ETH) == from);
    CHECK(!lab_take(&f->lab, LAB_INSIDE, frame));
}

/* The next generation beside the one in use. */
static void install_next(struct flow *f)
{
    uint32_t next = f->generation + 1;
    f->in[next % 2] = sa_of(next, false);
    f->out[next % 2] = sa_of(next, true);
    f->sent_under[next % 2] = f->last_out[next % 2] = 0;
    install(f, &f->in[next % 2]);
    install(f, &f->out[next % 2]);
}

static void begin(struct flow *f)
{
    memset(f, 0, sizeof *f);
    lab_open(&f->lab, 0, 1, 1500);
    lab_policy(&f->lab, 0, 0, 0);
    install_next(f);
    f->generation = 1;
    CHECK(xs_sa_use(f->lab.w, 0, f->out[1].slot) == 0);
}

/* Make before break: both stand while the old one's packets are still under way. */
static void make_before_break(void)
{
    static struct flow f;
    begin(&f);
    for (uint32_t n = 1; n <= SWITCHES; n++) {
        uint32_t old = n % 2, from = f.put_back;
        put(&f, 1 + n % 90); /* a burst and more is waiting when the SA changes */
        if (n % 3)
            CHECK(xs_worker_breathe(f.lab.w));
        install_next(&f);
        put(&f, n % 7);
        put_back(&f, n, 5);
        CHECK(xs_sa_use(f.lab.w, 0, f.out[(n + 1) % 2].slot) == 0);
        put_back(&f, n + 1, 3);
        put_back(&f, n, 2); /* the peer's last ones, overtaken */
        put(&f, 3);
        breathe_all(&f);
        check_back(&f, from);
        CHECK(xs_sa_remove(f.lab.w, f.out[old].slot) == 0 && xs_sa_remove(f.lab.w, f.in[old].slot) == 0);
        f.generation++;
        put(&f, 2);
        breathe_all(&f);
        CHECK(f.got == f.put);
    }
    CHECK(lab_count(&f.lab, XS_V_ENCRYPTED) == f.put && lab_count(&f.lab, XS_V_DECRYPTED) == f.put_back);
    CHECK(lab_total(&f.lab) == f.put + f.put_back); /* and no other verdict */
    CHECK(f.put > 40 * SWITCHES);
    lab_close(&f.lab);
}

/* The old SA goes before the new one comes: what arrives between waits and leaves first, in order. */
static void break_before_make(void)
{
    static struct flow f;
    begin(&f);
    for (uint32_t n = 1; n <= SWITCHES; n++) {
        put(&f, 1 + n % 70);
        if (n % 2)
            breathe_all(&f);
        CHECK(xs_sa_remove(f.lab.w, f.out[n % 2].slot) == 0);
        CHECK(xs_sa_remove(f.lab.w, f.in[n % 2].slot) == 0);
        if (n % 2 == 0) { /* all that waited in the ring finds no SA */
            while (xs_worker_breathe(f.lab.w))
                ;
            CHECK(f.lab.counters.held == (1 + n % 70 < XS_HOLD_DEFAULT ? 1 + n % 70 : XS_HOLD_DEFAULT));
            if (1 + n % 70 > XS_HOLD_DEFAULT)
                f.put -= 1 + n % 70 - XS_HOLD_DEFAULT; /* more than a child may hold: the last are dropped */
        }
        install_next(&f);
        struct xs_event event;
        while (xs_worker_event(f.lab.w, &event))
            CHECK(event.kind == XS_EVENT_ACQUIRE);
        CHECK(xs_sa_use(f.lab.w, 0, f.out[(n + 1) % 2].slot) == 0 && f.lab.counters.held == 0);
        put(&f, 2);
        f.generation++;
        breathe_all(&f);
        CHECK(f.got == f.put);
    }
    lab_close(&f.lab);
}

/* Policies replaced while packets flow: the next burst goes by the new ones, whoever they name. */
static void policies_change(void)
{
    static struct flow f;
    begin(&f);
    uint64_t refused = 0;
    for (uint32_t n = 1; n <= SWITCHES; n++) {
        struct xs_policy rows[2] = {{.selector = lab_selector(0, 0), .child = 0}, {.selector = lab_selector(0, 0)}};
        rows[1].selector.remote.addr = lab_addr("10.77.0.0");
        CHECK(xs_policy_replace(f.lab.w, rows + n % 3 / 2, 1 + n % 2 * (n % 3 != 2)) == 0);
        uint32_t before = f.put;
        put(&f, 5);
        if (n % 3 == 2) { /* nothing protects them now */
            CHECK(xs_worker_breathe(f.lab.w) == 5 && lab_count(&f.lab, XS_V_DROP_NO_POLICY) == (refused += 5));
            f.put = before;
        }
        breathe_all(&f);
        CHECK(f.got == f.put);
    }
    lab_close(&f.lab);
}

int main(int argc, char **argv)
{
    static const struct lab_case cases[] = {
        {"make_before_break", make_before_break},
        {"break_before_make", break_before_make},
        {"policies_change", policies_change},
    };
    return lab_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
